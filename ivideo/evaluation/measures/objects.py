"""Where the pushing table's pusher, disc and square are in an imagined frame, and how far that is from the truth.

Pixels are blends of the still background and of one shape's colour. Each pixel is matched with the nearest such blend,
which gives it a share of that shape; the shape is where most of its shares are gathered. Colours that fit no blend
count for nothing, so a shape that fades, smears or turns grey loses area, and below a share of its true area it is
*lost*. Positions are in table units (pixels of a 64 pixel frame), x to the right and y down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor
from torch.nn import functional

from ivideo.simulate.drawing import USUAL, Look, background
from ivideo.simulate.motion import DISC_RADIUS, PUSHER_RADIUS, SQUARE_HALF, TABLE, WALL, Point, TableState

SHAPES = ("pusher", "disc", "square")

_AREAS = torch.tensor([np.pi * PUSHER_RADIUS**2, np.pi * DISC_RADIUS**2, 4.0 * SQUARE_HALF**2], dtype=torch.float32)
_REACH = (PUSHER_RADIUS, DISC_RADIUS, SQUARE_HALF)
_TOLERANCE = 0.25  # distance in RGB, of at most sqrt(3), beyond which a pixel resembles no blend
_SOFTNESS = 0.06  # distance in RGB over which a pixel between two blends is shared out
_CHUNK = 128  # frames looked at together
_NOISE = 0.15  # shares below this are taken for noise, and as much is granted at the other end


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """What was found in frames; the last axis of areas is pusher, disc, square."""

    positions: Float32[Tensor, "*batch 3 2"]
    """Centres (x, y) in table units; NaN where no pixel resembles the shape."""
    areas: Float32[Tensor, "*batch 3"]
    """Area found around the centre, as a share of the whole shape's area."""


def detect(
    frames: UInt8[Tensor, "*batch 3 h w"] | Float[Tensor, "*batch 3 h w"], goal: Point, look: Look = USUAL
) -> Detections:
    """Find the pusher and the objects in frames of a table whose goal is painted at `goal`."""
    if frames.shape[-1] != frames.shape[-2] or frames.shape[-3] != 3:
        raise ValueError(f"frames are {list(frames.shape)}; expected square RGB frames of the table, [... 3 size size]")
    batch, size = frames.shape[:-3], frames.shape[-1]
    pixels = frames.reshape(-1, 3, size, size)
    found = [_find(chunk, goal, look) for chunk in pixels.split(_CHUNK)]  # a chunk bounds the memory, not the result
    positions = torch.cat([position for position, _ in found]) * (TABLE / size)
    areas = torch.cat([area for _, area in found]) * (TABLE / size) ** 2 / _AREAS.to(pixels.device)
    return Detections(positions=positions.reshape(*batch, 3, 2), areas=areas.reshape(*batch, 3))


def _find(pixels: Tensor, goal: Point, look: Look) -> tuple[Float32[Tensor, "n 3 2"], Float32[Tensor, "n 3"]]:
    """Return the centres and areas of all shapes, in pixels."""
    pixels = pixels.float() / 255.0 if pixels.dtype == torch.uint8 else pixels.float().clamp(0.0, 1.0)
    shares = _shares(pixels, goal, look)
    found = [_gather(shares[:, k], reach * pixels.shape[-1] / TABLE) for k, reach in enumerate(_REACH)]
    return torch.stack([centre for centre, _ in found], dim=1), torch.stack([area for _, area in found], dim=1)


def _shares(pixels: Float32[Tensor, "n 3 h w"], goal: Point, look: Look) -> Float32[Tensor, "n 3 h w"]:
    """Return how much of every pixel each shape covers."""
    size = pixels.shape[-1]
    base = _base(size, goal, look).to(pixels.device)
    colours = torch.tensor([look.pusher, look.disc, look.square], dtype=torch.float32) / 255.0
    way = rearrange(colours.to(pixels.device), "k c -> k c 1 1") - base  # from the background to each shape's colour
    length = way.square().sum(dim=1)
    offset = pixels - base
    along = torch.einsum("nchw,kchw->nkhw", offset, way)
    cover = (along / length).clamp(0.0, 1.0)
    distance = offset.square().sum(dim=1, keepdim=True) - 2.0 * cover * along + cover.square() * length  # squared
    match = torch.softmax(-distance / (2.0 * _SOFTNESS**2), dim=1) * (distance < _TOLERANCE**2)
    cover = ((cover - _NOISE) / (1.0 - 2.0 * _NOISE)).clamp(0.0, 1.0)
    return cover * match * _inside(size).to(pixels.device)


def _gather(share: Float32[Tensor, "n h w"], reach: float) -> tuple[Float32[Tensor, "n 2"], Float32[Tensor, "n"]]:
    """Return the centre and area, in pixels, of the densest heap of shares of about the shape's size.

    Far away specks of the same colour neither move the centre nor add to the area.
    """
    size = share.shape[-1]
    half = round(reach)
    heaps = functional.avg_pool2d(share.unsqueeze(1), (2 * half + 1, 1), stride=1, padding=(half, 0))
    heaps = functional.avg_pool2d(heaps, (1, 2 * half + 1), stride=1, padding=(0, half))
    heap = heaps.flatten(1).argmax(dim=1)
    axis = torch.arange(size, dtype=share.dtype, device=share.device) + 0.5
    centre = torch.stack([heap % size, heap // size], dim=1) + 0.5
    for _ in range(2):  # the second look is centred better than a pixel
        x = ((axis - centre[:, :1]).abs() <= reach + 2.0).to(share.dtype)
        y = ((axis - centre[:, 1:]).abs() <= reach + 2.0).to(share.dtype)
        columns = torch.einsum("nhw,nh->nw", share, y) * x
        rows = torch.einsum("nhw,nw->nh", share, x) * y
        area = columns.sum(dim=1)
        centre = torch.stack([columns @ axis, rows @ axis], dim=1) / area.unsqueeze(1)  # NaN where there is nothing
    return centre, area


@lru_cache(maxsize=8)
def _base(size: int, goal: Point, look: Look) -> Float32[Tensor, "3 h w"]:
    return rearrange(torch.tensor(background(size, goal, look)).float() / 255.0, "h w c -> c h w")


@lru_cache(maxsize=8)
def _inside(size: int) -> Float32[Tensor, "h w"]:
    """Return 1 inside the walls, where shapes can be, and 0 on them."""
    place = (torch.arange(size) + 0.5) * (TABLE / size)
    inside = ((place > WALL) & (place < TABLE - WALL)).float()
    return torch.outer(inside, inside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """How far imagined shapes are from the true ones, per clip and imagined frame; last axis pusher, disc, square.

    Distances are between centres, in table units.
    """

    lost: Bool[Tensor, "n f 3"]
    """The shape is not there: too little of its area was found."""
    errors: Float32[Tensor, "n f 3"]
    """Distance from the truth; infinite where the shape is lost."""
    copy_errors: Float32[Tensor, "n f 3"]
    """Distance of the truth from where the shape was in the last context frame: copy-last-frame's error."""
    moved: Bool[Tensor, "n f 3"]
    """The shape truly moved since the last context frame, by more than 2 units."""

    def believed_errors(self) -> Float32[Tensor, "n f 3"]:
        """Return the errors of a viewer who believes that a lost shape is where it was last seen: always finite."""
        return torch.where(self.lost, self.copy_errors, self.errors)


def tracking(
    states: Sequence[Sequence[TableState]],
    predicted: UInt8[Tensor, "n f 3 h w"] | Float[Tensor, "n f 3 h w"],
    *,
    lost_below: float = 0.35,
    moved_beyond: float = 2.0,
) -> Tracking:
    """Compare where shapes are in imagined frames with where they truly are.

    Args:
        states: for every clip the state of the last context frame, then those of the f imagined frames.
        predicted: imagined frames.
        lost_below: a shape is lost when less than this share of its area is found. All of the area is visible in a
            true frame, since shapes cannot overlap.
        moved_beyond: how far a shape must truly be from its place in the last context frame to have moved.
    """
    if len(states) != len(predicted) or any(len(clip) != predicted.shape[1] + 1 for clip in states):
        raise ValueError(
            f"{len(states)} clips of {sorted({len(clip) for clip in states})} states beside frames "
            f"{list(predicted.shape)}; expected per clip the last context frame's state and one for each frame"
        )
    true = torch.stack([true_positions(clip) for clip in states])
    positions, areas = true[:, 1:].clone(), torch.empty_like(true[:, 1:, :, 0])
    goals = [clip[0].goal for clip in states]
    for goal in set(goals):
        clips = torch.tensor([goal == other for other in goals])
        found = detect(predicted[clips.to(predicted.device)], goal)
        positions[clips], areas[clips] = found.positions.cpu(), found.areas.cpu()
    lost = (areas < lost_below) | positions.isnan().any(dim=-1)
    copy_errors = (true[:, 1:] - true[:, :1]).norm(dim=-1)
    return Tracking(
        lost=lost,
        errors=(positions - true[:, 1:]).norm(dim=-1).masked_fill(lost, torch.inf),
        copy_errors=copy_errors,
        moved=copy_errors > moved_beyond,
    )


def true_positions(states: Sequence[TableState]) -> Float32[Tensor, "t 3 2"]:
    """Return the centres of pusher, disc and square in every state, in table units."""
    return torch.tensor([(state.pusher, state.disc, state.square) for state in states], dtype=torch.float32)
