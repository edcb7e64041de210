"""What every layout shares: the options a user gives, and turning arrays of any origin into a checked `Episode`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from ivideo.episode import Episode
from ivideo.video import resize

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to open episodes, whatever their layout."""

    size: int | None = 64
    camera: str | None = None
    key: str | None = None
    crop: bool = True
    min_frames: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way of keeping episodes in files."""

    name: str
    """What a user calls it."""
    read: Callable[[Path, str, Options], Episode]
    """Turns one file into the episode of the given name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One episode that was found but not read yet."""

    layout: Layout
    path: Path
    name: str
    camera: str | None = None
    """The view that was opened by its own file's name; None where the options decide."""

    def read(self, options: Options) -> Episode:
        if self.camera is not None and options.camera is None:
            options = replace(options, camera=self.camera)
        return self.layout.read(self.path, self.name, options)


def make_episode(
    path: Path,
    name: str,
    frames: UInt8[Tensor, "t 3 h w"],
    options: Options,
    *,
    actions: Array | None = None,
    rewards: Array | None = None,
    terminal: bool = False,
) -> Episode:
    """Return the episode, resized, after checking what comes beside its frames; errors name the file."""
    if len(frames) < options.min_frames:
        remedy = "drop the file" if options.min_frames <= 2 else "drop the file or lower min_frames"
        raise ValueError(f"{path}: {len(frames)} frames; expected at least {options.min_frames}: {remedy}")
    if options.size is not None:
        frames = resize(frames, options.size, options.crop)
    steps = len(frames) - 1
    return Episode(
        frames=frames,
        actions=None if actions is None else _numbers(path, "actions", actions, steps, 2),
        rewards=None if rewards is None else _numbers(path, "rewards", rewards, steps, 1),
        terminal=terminal,
        name=name,
    )


def frames_from_array(path: Path, key: str, array: Array) -> UInt8[Tensor, "t 3 h w"]:
    """Return `[t h w 3]` or `[t 3 h w]` numbers from 0 to 255, of any integer type, as frames."""
    where = f"{path}: {key!r}"
    if array.ndim != 4:
        raise ValueError(f"{where} has shape {list(array.shape)}; expected frames [t h w 3] or [t 3 h w]")
    if array.dtype.kind not in "ui":
        raise ValueError(
            f"{where} holds {array.dtype}; expected whole numbers from 0 to 255: "
            "save frames as (255 * frames).round().astype('uint8') if they lie in [0, 1]"
        )
    if array.shape[3] == 3:
        array = array.transpose(0, 3, 1, 2)
    elif array.shape[1] != 3:
        channels = min(array.shape[1], array.shape[3])
        raise ValueError(
            f"{where} has shape {list(array.shape)}, that is {channels} channels; expected 3 (RGB), as [t h w 3] or "
            "[t 3 h w]: drop an alpha channel, repeat a grey one"
        )
    if not array.size:
        raise ValueError(f"{where} has shape {list(array.shape)}: it is empty; expected frames")
    if array.dtype != np.uint8:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 255:
            raise ValueError(f"{where} holds values from {low} to {high}; expected pixels from 0 to 255")
    return torch.from_numpy(np.ascontiguousarray(array.astype(np.uint8, copy=False)))


def leaving(path: Path, what: str, values: Array, frames: int) -> Array:
    """Return one row per transition from rows taken at frames: the last frame's row, if there is one, leads nowhere."""
    if values.ndim == 0:
        raise ValueError(f"{path}: {what} are a single value; expected one row per step")
    if len(values) == frames:
        return values[:-1]
    if len(values) == frames - 1:
        return values
    raise ValueError(
        f"{path}: {len(values)} {what} beside {frames} frames; expected {frames - 1} (one per step) or {frames} "
        "(one per frame, the last unused): the file is cut short or mixes two episodes"
    )


def _numbers(path: Path, what: str, values: Array, steps: int, ndim: int) -> Tensor:
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{path}: {what} hold {values.dtype}; expected numbers")
    if ndim == 1 and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if ndim == 2 and values.ndim == 1:
        values = values[:, None]
    if values.ndim != ndim:
        expected = "[t a], one row per step" if ndim == 2 else "[t], one number per step"
        raise ValueError(f"{path}: {what} have shape {list(values.shape)}; expected {expected}")
    if len(values) != steps:
        raise ValueError(f"{path}: {len(values)} {what} for {steps} steps; expected one per step")
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argwhere(~finite)[0][0])
        raise ValueError(f"{path}: {what} are NaN or infinite at step {row}; expected numbers: repair or drop the file")
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
