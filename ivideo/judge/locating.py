"""Where the pushing table's things are in the frames of a rollout, and which of them have vanished."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor

from ivideo.evaluation.measures.objects import SHAPES, Detections, detect
from ivideo.simulate.drawing import GOAL_COLOUR, USUAL, Look
from ivideo.simulate.motion import DEFAULT_GOAL, GOAL_RADIUS, TABLE, Point

DISC = SHAPES.index("disc")
LOST_BELOW = 0.35
"""A thing is lost where less than this share of its area is found."""
_ALIKE = 40.0
"""Levels in RGB by which a pixel may differ from the goal's colour."""
_LEAST_GOAL = 0.3
"""Share of the goal's area that must be seen for it to count as found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """What was found in rollouts of t frames; the last axis but one is pusher, disc, square."""

    positions: Float32[Tensor, "b t 3 2"]
    """Centres (x, y) in table units; of what is lost, where it was last seen, and NaN where it never was."""
    lost: Bool[Tensor, "b t 3"]
    goals: Float32[Tensor, "b 2"]

    def upto(self, frames: int) -> "Located":
        """What was found in the first frames."""
        return Located(positions=self.positions[:, :frames], lost=self.lost[:, :frames], goals=self.goals)

    @property
    def distances(self) -> Float32[Tensor, "b t"]:
        """Of the disc from the goal, in table units."""
        away: Tensor = (self.positions[:, :, DISC] - self.goals[:, None]).norm(dim=-1)
        return away

    @property
    def disc_lost(self) -> Bool[Tensor, "b t"]:
        return self.lost[:, :, DISC]


def locate(frames: UInt8[Tensor, "b t 3 h w"], goals: Sequence[Point], looks: Sequence[Look]) -> Located:
    """Find everything in rollouts, each with a goal and a look of its own.

    Where the look is not the usual one, a thing may also be found in its usual colour, which a model that knows no
    other paints it in.
    """
    batch, steps = frames.shape[:2]
    positions, areas = torch.full((batch, steps, 3, 2), math.nan), torch.zeros(batch, steps, 3)
    for place in dict.fromkeys(zip(goals, looks, strict=True)):
        rows = torch.tensor([place == other for other in zip(goals, looks, strict=True)])
        found = _found(frames[rows], *place)
        positions[rows], areas[rows] = found.positions.cpu(), found.areas.cpu()
    lost = (areas < LOST_BELOW) | positions.isnan().any(dim=-1)
    return Located(positions=_held(positions, lost), lost=lost, goals=torch.tensor(goals, dtype=torch.float32))


def find_goal(frame: UInt8[Tensor, "3 h w"]) -> Point:
    """Where the goal is painted, in table units, to half a unit; the usual place where none is to be seen."""
    size = frame.shape[-1]
    wanted = torch.tensor(GOAL_COLOUR, dtype=torch.float32)[:, None, None]
    alike = ((frame.float() - wanted).norm(dim=0) < _ALIKE).float()
    radius = GOAL_RADIUS * size / TABLE
    reach = math.ceil(radius)
    axis = torch.arange(-reach, reach + 1, dtype=torch.float32)
    disc = ((axis[:, None].square() + axis[None].square()) <= radius**2).float()
    covered = F.conv2d(alike[None, None], disc[None, None], padding=reach)[0, 0]
    if float(covered.max()) < _LEAST_GOAL * float(disc.sum()):
        return DEFAULT_GOAL
    best = (covered >= covered.max() - 0.5).nonzero().float().mean(dim=0)
    x, y = ((float(value) + 0.5) * TABLE / size for value in best.flip(0))
    return round(2 * x) / 2, round(2 * y) / 2


def _found(frames: UInt8[Tensor, "b t 3 h w"], goal: Point, look: Look) -> Detections:
    found = detect(frames, goal, look)
    usual = Look(goal=look.goal, marks=look.marks)
    if look in (USUAL, usual):
        return found
    other = detect(frames, goal, usual)
    better = other.areas > found.areas
    return Detections(
        positions=torch.where(better[..., None], other.positions, found.positions),
        areas=torch.where(better, other.areas, found.areas),
    )


def _held(positions: Float32[Tensor, "b t 3 2"], lost: Bool[Tensor, "b t 3"]) -> Float32[Tensor, "b t 3 2"]:
    """The positions with those of lost things replaced by where they were last seen."""
    steps = positions.shape[1]
    seen = torch.where(lost, -1, torch.arange(steps)[None, :, None]).cummax(dim=1).values
    held = positions.gather(1, seen.clamp(min=0)[..., None].expand_as(positions))
    return held.masked_fill((seen < 0)[..., None], math.nan)
