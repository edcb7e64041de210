"""What an evaluation measures with: the kinds of measures wanted, and the networks that some of them look through."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ivideo.evaluation.metrics.features import FeatureNetwork, Kind, load_features
from ivideo.evaluation.metrics.perceptual import load_perceptual
from ivideo.evaluation.metrics.reduction import Quality, qualities
from ivideo.world_model import WorldModel

if TYPE_CHECKING:
    from ivideo.evaluation.evaluate import Evaluation

Measure = Literal[
    "all", "changes", "objects", "rewards", "actions", "tokens", "tokenizer", "drift", "following", "uncertainty"
]
_KINDS: dict[str, Kind] = {"fvd": "video", "fid": "image"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """Loaded once, before the first clip."""

    measures: frozenset[Measure]
    qualities: tuple[Quality, ...]
    networks: dict[str, FeatureNetwork] = field(default_factory=dict)
    """By "fvd" and "fid"."""
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Name and SHA-256 of every network that measures, by "lpips", "fvd" and "fid"."""
    beside: dict[str, WorldModel] = field(default_factory=dict)
    """By name, other models to imagine the same clips."""

    def wants(self, measure: Measure) -> bool:
        """Whether something is to be measured."""
        return measure in self.measures or "all" in self.measures

    @staticmethod
    def of(wanted: "Evaluation") -> "Instruments":
        """What an evaluation asks for; OSError or ValueError, before any work, for what is missing or not allowed."""
        perceptual = None
        hashes: dict[str, dict[str, str]] = {}
        if "lpips" in wanted.qualities:
            perceptual = load_perceptual(
                wanted.lpips,
                backbone=wanted.lpips_backbone,
                heads=wanted.lpips_heads,
                sha256=wanted.lpips_sha256,
                device=wanted.device,
            )
            hashes["lpips"] = {"name": perceptual.name, "sha256": perceptual.sha256}
        networks = {}
        for distance, kind in _KINDS.items():
            if (name := getattr(wanted, distance)) is None:
                continue
            network = load_features(
                name,
                trust=wanted.trust,
                weights=getattr(wanted, f"{distance}_weights"),
                sha256=getattr(wanted, f"{distance}_sha256"),
                kind=kind,
                device=wanted.device,
            )
            networks[distance] = network
            hashes[distance] = {"name": network.name, "sha256": network.sha256}
        beside = {}
        if wanted.beside is not None:
            beside[wanted.beside] = WorldModel.from_pretrained(wanted.beside, device=wanted.device)
        return Instruments(
            measures=frozenset(wanted.measures),
            qualities=qualities(wanted.qualities, perceptual),
            networks=networks,
            hashes=hashes,
            beside=beside,
        )
