"""Protocol cards: a result as JSON, with all that a reader needs to repeat it, or to refuse a comparison."""

from dataclasses import dataclass, field
from typing import Any

from ivideo.evaluation.protocol import Protocol
from ivideo.evaluation.series import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Figures and where they come from; `card.json` of an evaluation."""

    model: dict[str, Any]
    """Its `name`, `sha256` over its files, `parameters`."""
    data: dict[str, Any]
    """Its `source`, `sha256` over the clips as they were used, `clips`."""
    protocol: Protocol
    figures: tuple[Figure, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """Names of clips that could not be used, each with the reason."""
    networks: dict[str, dict[str, str]] = field(default_factory=dict)
    """What measured: by "lpips", "fvd", "fid" the network's `name` and `sha256`."""
    histograms: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """How often each code occurs, by name: "context codes", "dynamics codes", "imagined codes"."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of ivideo, torch and Python."""
    machine: str = ""
    command: str = ""
    date: str = ""
    seconds: float = 0.0
