"""Clips of a camera that moves: crops of a larger picture, with the move as the action (UniSim, section 3.1).

A view is a square cut out of the picture and scaled to the size of a frame. Moves are told in views: one view to the
right is as far as the frame is wide::

    +------------------------------------------+      pan    views to the right in a step, negative to the left
    |            +------+------+               |      tilt   views down
    |            | view | next |  pan = +0.5   |      zoom   octaves: +1 makes everything twice as large
    |            +------+------+               |
    +------------------------------------------+

A picture twice as wide as high is taken for a panorama of the whole circle: its right edge goes on at its left. Crops
are flat; nothing is projected onto a sphere.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo.episode import Episode
from ivideo.resizing import resize

Moves: TypeAlias = Literal["words", "choices", "numbers"]
STEP = 1 / 16
"""Views, or octaves, that a named move makes in one step."""
LENGTH = 16
"""Frames of a clip."""
HELD = 5
"""Steps for which a move goes on, where a clip has several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What a camera does in a step."""

    pan: float = 0.0
    tilt: float = 0.0
    zoom: float = 0.0


MOVES: dict[str, Move] = {
    "hold still": Move(),
    "turn left": Move(pan=-STEP),
    "turn right": Move(pan=STEP),
    "look up": Move(tilt=-STEP),
    "look down": Move(tilt=STEP),
    "zoom in": Move(zoom=STEP),
    "zoom out": Move(zoom=-STEP),
}
"""Moves by the words for them; as choices, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where a camera looks: the centre and side of a square, in pixels of the picture."""

    x: float
    y: float
    side: float

    def after(self, move: Move) -> "View":
        """The view one step on; the centre moves by the side it had."""
        side = self.side * 2.0**-move.zoom
        return View(x=self.x + move.pan * self.side, y=self.y + move.tilt * self.side, side=side)

    def is_inside(self, picture: Tensor) -> bool:
        """Whether all of it shows the picture; sideways, a panorama has no end."""
        height, width = picture.shape[1:]
        half = self.side / 2
        beside = is_panorama(picture) or half <= self.x <= width - half
        return beside and half <= self.y <= height - half and self.side <= width

    def cut(self, picture: UInt8[Tensor, "3 h w"], size: int) -> UInt8[Tensor, "3 {size} {size}"]:
        """What it shows."""
        height, width = picture.shape[1:]
        side = max(1, round(self.side))
        left, top = round(self.x - self.side / 2), round(self.y - self.side / 2)
        columns = torch.arange(left, left + side)
        columns = columns % width if is_panorama(picture) else columns.clamp(0, width - 1)
        rows = torch.arange(top, top + side).clamp(0, height - 1)
        return resize(picture[:, rows][:, :, columns][None], size)[0]


def is_panorama(picture: UInt8[Tensor, "3 h w"]) -> bool:
    """Whether the picture is twice as wide as high, as one of the whole circle is."""
    return picture.shape[2] == 2 * picture.shape[1]


def camera_clip(
    picture: UInt8[Tensor, "3 h w"],
    moves: Moves,
    rng: np.random.Generator,
    *,
    size: int,
    first: str = "hold still",
    frames: int = LENGTH,
    name: str = "",
) -> Episode:
    """A clip cut out of a picture along camera moves, from a place that the generator draws.

    Args:
        picture: what to look at; at least twice as large as a frame, so that frames are not enlarged.
        moves: how they are told. "words": the clip is one move throughout, and its name the instruction. "choices":
            actions `[t-1 1]`, the numbers of moves in `MOVES`, another one every `HELD` steps. "numbers": actions
            `[t-1 3]`, pan, tilt and zoom of every step, drawn anew every `HELD` steps.
        rng: draws the place, and all moves but the first.
        size: side of the frames in pixels.
        first: the move to begin with, one of `MOVES`.
        frames: how many.
        name: what the episode is called.

    Raises:
        ValueError: for a picture that is too small, or has no room for the first move.
    """
    if moves not in get_args(Moves):
        raise ValueError(f"moves is {moves!r}; expected one of {', '.join(get_args(Moves))}")
    if first not in MOVES:
        raise ValueError(f"the move is {first!r}; expected one of {', '.join(MOVES)}")
    short = min(picture.shape[1:])
    if short < 2 * size:
        raise ValueError(
            f"{name or 'the picture'} is {picture.shape[2]}x{picture.shape[1]} pixels; expected {2 * size} or more on "
            f"either side to cut frames of {size} out of: use a larger one, or a smaller size"
        )
    steps = frames - 1
    view = _start(picture, MOVES[first], steps if moves == "words" else min(HELD, steps), short / 2, rng)
    shown, told = [view.cut(picture, size)], []
    number, move = list(MOVES).index(first), MOVES[first]
    for step in range(steps):
        turn = moves != "words" and step % HELD == 0 and step > 0
        if turn or not view.after(move).is_inside(picture):
            number, move = _next(picture, view, moves, rng)
        view = view.after(move)
        shown.append(view.cut(picture, size))
        told.append([float(number)] if moves == "choices" else [move.pan, move.tilt, move.zoom])
    actions = None if moves == "words" else torch.tensor(told)
    return Episode(frames=torch.stack(shown), actions=actions, name=name, instruction=first if moves == "words" else "")


def _start(picture: UInt8[Tensor, "3 h w"], move: Move, steps: int, side: float, rng: np.random.Generator) -> View:
    """A place from which a move can go on for so many steps."""
    height, width = picture.shape[1:]
    for _ in range(_TRIES):
        view = View(x=rng.uniform(0, width), y=rng.uniform(0, height), side=side * 2.0 ** rng.uniform(-0.25, 0.25))
        end = view
        for _ in range(steps):
            end = end.after(move)
        if view.is_inside(picture) and end.is_inside(picture):
            return view
    raise ValueError(f"a picture of {width}x{height} pixels has no room for a camera to move {steps} steps")


def _next(picture: UInt8[Tensor, "3 h w"], view: View, moves: Moves, rng: np.random.Generator) -> tuple[int, Move]:
    """Another move that stays inside for a step at least: to hold still always does."""
    for _ in range(_TRIES):
        number = int(rng.integers(len(MOVES)))
        move = list(MOVES.values())[number]
        if moves == "numbers":
            pan, tilt, zoom = rng.uniform(-STEP, STEP, 3)
            move = Move(pan=float(pan), tilt=float(tilt), zoom=float(zoom))
        if view.after(move).is_inside(picture):
            return number, move
    return 0, MOVES["hold still"]


_TRIES = 200
"""Draws after which a place, or a move, is given up."""
