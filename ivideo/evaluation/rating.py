"""Scores futures of clips as a protocol says: qualities of frames, and features for distances between sets."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ivideo.evaluation.instruments import Instruments
from ivideo.evaluation.measures.truth import TRUTH
from ivideo.evaluation.metrics.frechet import Moments
from ivideo.evaluation.metrics.reduction import reduce_samples
from ivideo.evaluation.protocol import Protocol
from ivideo.evaluation.series import Series


@dataclass(slots=True, kw_only=True)
class Rating:
    """The scores of one batch of clips; `rate` is told of a source's futures, of all clips or of some after the other.

    Where a protocol counts context frames, every source's are those that the tokenizer reconstructs: sources then
    differ in what comes after the context alone.
    """

    truth: UInt8[Tensor, "n t 3 h w"]
    shown: UInt8[Tensor, "n c 3 h w"]
    """The context frames, reconstructed."""
    protocol: Protocol
    instruments: Instruments
    moments: dict[str, Moments] = field(default_factory=dict)
    """Of features, by distance and source: "fvd/prediction"."""
    _scores: dict[tuple[str, str], list[Tensor]] = field(default_factory=dict)
    _curves: dict[tuple[str, str], list[Tensor]] = field(default_factory=dict)

    @property
    def _first(self) -> int:
        """The first frame that counts."""
        return 0 if self.protocol.count_context else self.shown.shape[1]

    def rate(
        self, source: str, futures: UInt8[Tensor, "k s t 3 h w"], *, first: int = 0, usable: Bool[Tensor, " k"]
    ) -> None:
        """Score s futures of each of k clips, the first of which is clip `first`; sets are of the `usable` ones."""
        clips, context = slice(first, first + len(futures)), self.shown.shape[1]
        shown = self.shown[clips, None].expand(-1, futures.shape[1], -1, -1, -1, -1)
        made = torch.cat([shown, futures[:, :, context:]], dim=2)[:, :, self._first :]
        real = self.truth[clips, self._first :]
        for quality in self.instruments.qualities:
            reduced = reduce_samples(quality.measure_samples(real, made), self.protocol.reduce, quality.better)
            self._scores.setdefault((quality.label, source), []).append(reduced.score)
            self._curves.setdefault((quality.label, source), []).append(reduced.curve[:, context - self._first :])
        self._look(source, made[usable].flatten(0, 1))

    def look_at_truth(self, usable: Bool[Tensor, " n"]) -> None:
        """Take up the true clips into the sets that imagined ones are compared with."""
        self._look(TRUTH, self.truth[usable, self._first :])

    def series(self) -> list[Series]:
        """The scores of whole clips, then those of single imagined frames."""
        whole = [_series(*key, torch.cat(parts)[:, None], per_clip=True) for key, parts in self._scores.items()]
        single = [_series(*key, torch.cat(parts), per_clip=False) for key, parts in self._curves.items()]
        return whole + single

    def _look(self, source: str, videos: UInt8[Tensor, "n t 3 h w"]) -> None:
        for kind, network in self.instruments.networks.items() if len(videos) else ():
            features = network(videos if network.kind == "video" else videos.flatten(0, 1))
            key = f"{kind}/{source}"
            self.moments[key] = self.moments[key].add(features) if key in self.moments else Moments.of(features)


def _series(quantity: str, source: str, values: Float[Tensor, "n f"], *, per_clip: bool) -> Series:
    return Series(quantity=quantity, source=source, values=values[..., None], per="clip" if per_clip else "frame")
