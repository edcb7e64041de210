"""An episode drawn with its actions and rewards: frames above, a lane for every number below, on one clock.

    | frame 0 | frame 7 | frame 14 | frame 21 |
    0 |~~~~~~\\____/~~~~~~~~~\\______________| 0.98      a lane per action dimension, and one for the rewards; the
    1 |_____/~~~~~~~~~~~~\\_____/~~~~~~~~~~~|-1.00      grey line is 0, the numbers are the lane's ends

Row t of actions and rewards is drawn between frames t and t+1, to which it leads.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.episode import Episode
from ivideo.glyphs import write

LANES = 16
"""Action dimensions that are drawn; more do not fit a screen."""
_LANE, _GAP = 36, 6
_LEFT, _RIGHT = 20, 58
_PAPER, _INK, _ZERO, _GROUND = 255, 70, 205, 245
# Okabe and Ito's colours stay apart under every common colour blindness.
_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (90, 90, 90))

Picture = UInt8[Tensor, "3 _h _w"]


def strip_with_curves(episode: Episode, columns: int = 10, height: int = 128) -> Picture:
    """Return up to `columns` evenly chosen frames side by side, and under them the curves, as far as there are any."""
    frames = F.pad(_enlarged(episode.frames[_chosen(len(episode), columns)], height), (1, 1), value=_PAPER)
    count, _, _, width = frames.shape
    top = rearrange(frames, "t k h w -> k h (t w)")
    # Frame t lies above the place of t on the lanes' clock: the middles of the first and last are its ends.
    lanes = _lanes(episode, count * width, (width / 2, count * width - width / 2))
    return _stacked(F.pad(top, (_LEFT, _RIGHT), value=_PAPER), lanes)


def video_with_curves(episode: Episode, height: int = 256) -> UInt8[Tensor, "t 3 H W"]:
    """Return all frames, enlarged by a whole factor towards `height`, above curves with a line that says when it is."""
    frames = _enlarged(episode.frames, height)
    _, _, _, width = frames.shape
    ends = (2.0, width - 3.0)
    lanes = _lanes(episode, width, ends)
    pictures = []
    for step, frame in enumerate(frames):
        marked = (
            None if lanes is None else _marked(lanes, ends[0] + (ends[1] - ends[0]) * step / max(len(frames) - 1, 1))
        )
        pictures.append(_stacked(F.pad(frame, (_LEFT, _RIGHT), value=_PAPER), marked))
    return torch.stack(pictures)


def _chosen(frames: int, columns: int) -> Tensor:
    return torch.linspace(0, frames - 1, min(columns, frames)).round().long()


def _enlarged(frames: UInt8[Tensor, "t 3 h w"], height: int) -> UInt8[Tensor, "t 3 H W"]:
    """Every pixel as a square where frames are small, averaged over squares where they are large."""
    factor = max(1, height // frames.shape[2])
    if frames.shape[2] > 2 * height:
        scaled = F.interpolate(frames.float(), scale_factor=height / frames.shape[2], mode="area")
        return scaled.round().to(torch.uint8)
    return frames.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def _stacked(top: Picture, lanes: Picture | None) -> Picture:
    if lanes is None:
        return top
    return torch.cat([top, torch.full((3, _GAP, top.shape[2]), _PAPER, dtype=torch.uint8), lanes], dim=1)


def _lanes(episode: Episode, width: int, ends: tuple[float, float]) -> Picture | None:
    rows: list[tuple[str, Tensor, tuple[int, int, int]]] = []
    if episode.actions is not None:
        for place, column in enumerate(episode.actions.T[:LANES]):
            rows.append((str(place), column, _COLOURS[place % (len(_COLOURS) - 1)]))
    if episode.rewards is not None:
        rows.append(("r", episode.rewards, _COLOURS[-1]))
    rows = [row for row in rows if len(row[1])]
    return torch.cat([_lane(*row, width, ends) for row in rows], dim=1) if rows else None


def _lane(
    name: str, values: Float[Tensor, "s"], colour: tuple[int, int, int], width: int, ends: tuple[float, float]
) -> Picture:
    low, high = float(values.min()), float(values.max())
    room = (high - low) * 0.12 or max(abs(high), 1.0) * 0.5
    below, above = low - room, high + room
    # Row t leads from frame t to t+1, so it is drawn half way.
    x = ends[0] + (ends[1] - ends[0]) * (torch.arange(len(values)) + 0.5) / len(values)
    y = (_LANE - 1) * (above - values.cpu()) / (above - below)
    canvas = torch.full((3, _LANE, width), float(_GROUND))
    if below < 0 < above:
        canvas[:, round((_LANE - 1) * above / (above - below))] = _ZERO
    ink = torch.tensor(colour, dtype=torch.float32)[:, None, None]
    cover = _line(x, y, _LANE, width)
    canvas = canvas + cover * (ink - canvas)
    lane = torch.full((3, _LANE + 2, _LEFT + width + _RIGHT), _PAPER, dtype=torch.uint8)
    lane[:, :_LANE, _LEFT : _LEFT + width] = canvas.round().to(torch.uint8)
    write(lane, name, (4, _LANE // 2 - 5), colour)
    write(lane, _number(high), (_LEFT + width + 4, 2), (_INK, _INK, _INK))
    if high != low:
        write(lane, _number(low), (_LEFT + width + 4, _LANE - 12), (_INK, _INK, _INK))
    return lane


def _line(x: Float[Tensor, "s"], y: Float[Tensor, "s"], height: int, width: int) -> Float[Tensor, "h w"]:
    """How much of every pixel a line of two pixels' width through the points covers, column by column."""
    columns = torch.arange(width, dtype=torch.float32)
    inside = (columns >= x[0] - 0.5) & (columns <= x[-1] + 0.5)
    at = torch.searchsorted(x.contiguous(), columns.clamp(float(x[0]), float(x[-1]))).clamp(1, max(len(x) - 1, 1))
    if len(x) == 1:
        path = y.expand(width)
    else:
        share = ((columns - x[at - 1]) / (x[at] - x[at - 1])).clamp(0, 1)
        path = torch.lerp(y[at - 1], y[at], share)
    # In each column the line spans what it passes through on the way to the neighbouring ones.
    near = F.pad(path[None], (1, 1), mode="replicate")[0] if width > 1 else path.repeat(3)
    halves = torch.stack([(near[:-2] + path) / 2, path, (near[2:] + path) / 2])
    top, bottom = halves.amin(0) - 0.9, halves.amax(0) + 0.9
    # Several points can share a column: where they do, the span is theirs.
    spot = x.round().long().clamp(0, width - 1)
    top = top.scatter_reduce(0, spot, y - 0.9, "amin")
    bottom = bottom.scatter_reduce(0, spot, y + 0.9, "amax")
    rows = torch.arange(height, dtype=torch.float32)[:, None]
    cover = (torch.minimum(bottom, rows + 0.5) - torch.maximum(top, rows - 0.5)).clamp(0, 1)
    return cover * inside


def _marked(lanes: Picture, x: float) -> Picture:
    marked = lanes.clone()
    column = _LEFT + round(x)
    marked[:, :, column] = _INK
    return marked


def _number(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:.0e}" if len(text) > 6 or (value and abs(value) < 0.005) else text
