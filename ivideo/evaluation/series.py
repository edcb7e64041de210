"""Values of single clips, and the figures they become.

What an evaluation measures of one batch of clips is a list of series. Batches can then be forgotten: series of further
batches are laid behind them, and figures with intervals are made of all of them at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from ivideo.evaluation.statistics import HALVED, STATISTICS, Interval, StatisticName, bootstrap

PREDICTION = "prediction"
COPY = "copy-last-frame"
SHUFFLED = "shuffled actions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One quantity of one source, for every clip."""

    quantity: str
    """What is measured, with its unit: "PSNR, dB"."""
    source: str
    """Whose it is: "prediction", "copy-last-frame", "shuffled actions", "zero actions", ... or a comparison of two."""
    values: Float[Tensor, "n f k"]
    """Per clip and imagined frame (the first is the first imagined one); k values belong to each. NaN is missing."""
    statistic: StatisticName = "mean"
    """How they become one figure."""
    per: Literal["frame", "clip"] = "frame"
    """Whether frames are reported one by one; of a clip there is one value, and f is 1."""

    def __post_init__(self) -> None:
        assert self.per == "frame" or self.values.shape[1] == 1, f"{self.quantity}: a clip has one value"
        assert self.statistic not in HALVED or self.values.shape[2] % 2 == 0, f"{self.quantity}: two halves"

    def rows(self, which: Int[Tensor, " r"]) -> "Series":
        """Of some of the clips."""
        return _with(self, self.values[which])


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of a table."""

    quantity: str
    source: str
    per: Literal["frame", "clip", "set"]
    """"frame": `values` belong to the imagined frames, from the first; otherwise there is one, of whole clips, or of
    something that only a set of clips has, such as FVD."""
    values: tuple[Interval, ...]


def joined(batches: Sequence[Series]) -> Series:
    """The same series of several batches of clips, in one."""
    first = batches[0]
    assert all((each.quantity, each.source) == (first.quantity, first.source) for each in batches)
    return _with(first, torch.cat([each.values for each in batches]))


def repeated(runs: Sequence[Series]) -> Series:
    """The same clips, measured several times: what was measured of a clip belongs to it, and is drawn with it."""
    first = runs[0]
    assert all(each.values.shape == first.values.shape for each in runs)
    halves = 2 if first.statistic in HALVED else 1
    stacked = torch.stack([each.values for each in runs])
    return _with(first, rearrange(stacked, "r n f (two k) -> n f (two r k)", two=halves))


def figure(series: Series, *, resamples: int = 1000, seed: int = 0) -> Figure:
    """The figures of a series, each with its bootstrap interval over clips."""
    return Figure(
        quantity=series.quantity,
        source=series.source,
        per=series.per,
        values=tuple(
            bootstrap(column, STATISTICS[series.statistic], resamples=resamples, seed=seed)
            for column in series.values.cpu().unbind(dim=1)
        ),
    )


def _with(series: Series, values: Tensor) -> Series:
    return Series(
        quantity=series.quantity,
        source=series.source,
        values=values,
        statistic=series.statistic,
        per=series.per,
    )
