"""Videos in which something jumps: told by a score that jumps, and by colours that come from nowhere.

A search keeps what scores best, and what scores best is soon a video in which the model put an object where it was
wanted. VLP (arXiv 2310.10625) discards videos whose score rises by more than a threshold between frames. Scores are
blind to what they do not look at, so pixels are asked as well: a pixel is *unexplained* when no pixel within `reach`
of its place in the frame before has nearly its colour. What moves by less than `reach` leaves none of those, except
where it uncovers what had not been seen.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ivideo.config.limits import check_least

_AT_ONCE = 16
"""Frames whose neighbourhoods are compared together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeleportFilter:
    """Discards videos with a jump; `calibrated` finds thresholds for a kind of video."""

    jump: float | None = None
    """Most by which the score may change from one frame to the next (VLP); None for any."""
    unexplained: float | None = None
    """Most pixels of a frame that may come from nowhere, as a share; None for any."""
    reach: int = 4
    """Pixels that things move by, at most, from one frame to the next."""
    likeness: int = 48
    """Levels, of 255, by which a colour may differ in any channel and still count as the same."""

    def __post_init__(self) -> None:
        check_least(self, reach=0, likeness=0)
        for name in ("jump", "unexplained"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} is {value}; expected 0 or more, or None to let everything pass")

    def keeps(
        self, frames: UInt8[Tensor, "n t 3 h w"], scores: Float[Tensor, "n t"] | None = None
    ) -> Bool[Tensor, " n"]:
        """Which videos hold no jump; `scores` of every frame, where jumps of the score count."""
        kept = torch.ones(len(frames), dtype=torch.bool)
        if self.jump is not None:
            if scores is None:
                raise ValueError(f"jump is {self.jump}, but there are no scores to jump; give them, or leave jump None")
            kept &= score_jumps(scores).cpu() <= self.jump
        if self.unexplained is not None:
            kept &= self.from_nowhere(frames) <= self.unexplained
        return kept

    def from_nowhere(self, frames: UInt8[Tensor, "n t 3 h w"]) -> Float[Tensor, " n"]:
        """The largest share of a frame's pixels that the frame before does not explain, per video."""
        if frames.shape[1] < 2:
            return torch.zeros(len(frames))
        before, after = frames[:, :-1].flatten(0, 1), frames[:, 1:].flatten(0, 1)
        shares = [
            _unexplained(first, second, self.reach, self.likeness)
            for first, second in zip(before.split(_AT_ONCE), after.split(_AT_ONCE), strict=True)
        ]
        return torch.cat(shares).view(len(frames), -1).amax(dim=1).cpu()

    @classmethod
    def calibrated(
        cls,
        frames: UInt8[Tensor, "n t 3 h w"],
        scores: Float[Tensor, "n t"] | None = None,
        *,
        false_alarms: float = 0.01,
        reach: int = 4,
        likeness: int = 48,
    ) -> "TeleportFilter":
        """The filter whose either threshold passes all but this share of some videos without jumps.

        They should come from where those to be judged come from: a model's frames flicker more than true ones.
        """
        if not 0 <= false_alarms < 1:
            raise ValueError(f"false_alarms is {false_alarms}; expected a share, at least 0 and below 1")
        if not len(frames):
            raise ValueError("there are no videos to calibrate on; give some in which nothing jumps")
        blank = cls(reach=reach, likeness=likeness)
        share, rise = blank.from_nowhere(frames), None if scores is None else score_jumps(scores)
        level = 1 - false_alarms
        return cls(
            jump=None if rise is None else float(torch.quantile(rise.cpu(), level, interpolation="higher")),
            unexplained=float(torch.quantile(share, level, interpolation="higher")),
            reach=reach,
            likeness=likeness,
        )


def score_jumps(scores: Float[Tensor, "n t"]) -> Float[Tensor, " n"]:
    """The largest change of a score from one frame to the next, either way, per video."""
    if scores.shape[1] < 2:
        return torch.zeros(len(scores))
    return scores.diff(dim=1).abs().amax(dim=1)


def _unexplained(
    before: UInt8[Tensor, "b 3 h w"], after: UInt8[Tensor, "b 3 h w"], reach: int, likeness: int
) -> Float[Tensor, " b"]:
    padded = F.pad(before.float(), (reach,) * 4, mode="replicate").to(torch.int16)
    wanted = after.to(torch.int16)
    # Most pixels stay what they are: only the others are looked for in their neighbourhood.
    changed = (before.to(torch.int16) - wanted).abs().amax(dim=1) > likeness
    frame, row, column = changed.nonzero(as_tuple=True)
    colours = wanted[frame, :, row, column]
    alone = torch.ones(len(frame), dtype=torch.bool, device=after.device)
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            there = padded[frame, :, row + down, column + right]
            alone &= (there - colours).abs().amax(dim=1) > likeness
    found = torch.zeros(len(after), device=after.device).index_add_(0, frame, alone.float())
    return found / (after.shape[2] * after.shape[3])
