"""What is kept of clips for figures that only a whole set of them has: rankings, and what has to be fitted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ivideo.evaluation.series import Figure
from ivideo.evaluation.statistics import Statistic, bootstrap

Per: TypeAlias = Literal["frame", "clip"]
"""Whether a figure is of single frames, or of all imagined frames of a clip together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Numbers of single clips, by name; the first axis is the clips and the second the runs they were imagined in."""

    values: dict[str, Float[Tensor, "n r ..."]]

    @staticmethod
    def joined(batches: "Sequence[Collected]") -> "Collected":
        """What was kept of several batches of clips, in one."""
        return Collected(values={name: torch.cat([e.values[name] for e in batches]) for name in batches[0].values})

    @staticmethod
    def repeated(runs: "Sequence[Collected]") -> "Collected":
        """The same clips, imagined several times: what belongs to a clip is drawn with it."""
        return Collected(values={name: torch.cat([e.values[name] for e in runs], dim=1) for name in runs[0].values})

    def rows(self, which: Int[Tensor, " r"]) -> "Collected":
        """Of some of the clips."""
        return Collected(values={name: value[which] for name, value in self.values.items()})

    @staticmethod
    def of(values: dict[str, Tensor]) -> "Collected":
        """What is known of clips that were imagined once, a row for each."""
        return Collected(values={name: value[:, None].double().cpu() for name, value in values.items()})


def pairs(first: Float[Tensor, "n r f"], second: Float[Tensor, "n r f"]) -> Float[Tensor, "n f k"]:
    """Two numbers of every clip, run and frame, as statistics of two halves read them."""
    return torch.cat([first.transpose(1, 2), second.transpose(1, 2)], dim=-1)


def figure(
    quantity: str,
    source: str,
    values: Float[Tensor, "n f k"],
    statistic: Statistic,
    *,
    per: Per = "frame",
    resamples: int = 1000,
    seed: int = 0,
) -> Figure:
    """A statistic of all clips with its interval over clips: frame by frame, or of all frames of a clip together."""
    if per == "clip":  # the halves stay halves
        values = torch.cat([half.flatten(1) for half in values.chunk(2, dim=-1)], dim=1)[:, None]
    return Figure(
        quantity=quantity,
        source=source,
        per=per,
        values=tuple(bootstrap(each, statistic, resamples=resamples, seed=seed) for each in values.unbind(dim=1)),
    )
