"""What every layout shares: the options a user gives, and turning arrays of any origin into a checked `Episode`."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from ivideo.data.camera import Moves
from ivideo.episode import Episode
from ivideo.resizing import resize

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How the files of one source are read; each layout knows some of it."""

    camera: str | None = None
    """Which view, in sources with several."""
    key: str | None = None
    """Which array of an .npz or HDF5 file holds the frames."""
    split: str | None = None
    """Only this part of a data set that has parts: "train", "valid" or "test"."""
    classes: str | None = None
    """A file that names the classes of Something-Something V2 to take, one template a line."""
    robot: str | None = None
    """Of RoboNet, only what this robot did."""
    colours: Literal["rgb", "bgr"] | None = None
    """The order in which RLDS or RoboNet files keep colours; null for what is known."""
    placeholder: int | None = None
    """White frames in front of a single picture; null for 2."""
    moves: Moves | None = None
    """Cut clips of a moving camera out of single pictures, and tell its moves as words, choices or numbers."""


OPTIONAL = tuple(field.name for field in fields(SourceOptions))
"""The options that only some layouts know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(SourceOptions):
    """How episodes are opened: what every layout knows, beside what belongs to the source."""

    size: int | None = 64
    """Side of the square frames in pixels; None keeps them as they are."""
    crop: bool = True
    """Cut frames that are not square to their centre square; False squeezes them."""
    min_frames: int = 2
    """Refuse shorter episodes."""

    @classmethod
    def of(cls, source: SourceOptions, *, size: int | None, crop: bool = True, min_frames: int = 2) -> Self:
        """Return the options that settings of some verb or run say of their source, with the rest."""
        said = {name: getattr(source, name) for name in OPTIONAL}
        return cls(size=size, crop=crop, min_frames=min_frames, **said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way of keeping episodes in files."""

    name: str
    """What a user calls it."""
    read: "Callable[[Item, Options], Episode]"
    """Turns an item into the episode."""
    knows: tuple[str, ...] = ()
    """Which of the `OPTIONAL` options it takes."""

    def check(self, options: Options) -> None:
        """Raise ValueError for an option that this layout would have to ignore."""
        for name in OPTIONAL:
            value = getattr(options, name)
            if value is not None and name not in self.knows:
                known = f"it takes {', '.join(self.knows)}" if self.knows else "it takes none of this kind"
                raise ValueError(f"{name} is {value!r}, but the layout {self.name!r} knows no {name}; {known}")
        if options.colours not in (None, "rgb", "bgr"):
            raise ValueError(f"colours is {options.colours!r}; expected 'rgb' or 'bgr'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One episode that was found but not read yet."""

    layout: Layout
    path: Path
    """The file that holds it, or the data set's folder."""
    name: str
    part: int | str | None = None
    """Which episode of the file, where it holds several."""
    camera: str | None = None
    """The view that was opened by its own file's name; None where the options decide."""

    def read(self, options: Options) -> Episode:
        """Return the episode; a pure function of the files and options, from any process or thread."""
        self.layout.check(options)
        if self.camera is not None and options.camera is None:
            options = replace(options, camera=self.camera)
        return self.layout.read(self, options)


def make_episode(
    path: Path | str,
    name: str,
    frames: UInt8[Tensor, "t 3 h w"],
    options: Options,
    *,
    actions: Array | None = None,
    rewards: Array | None = None,
    terminal: bool = False,
    instruction: str = "",
    fps: float | None = None,
) -> Episode:
    """Return the episode, resized, after checking what comes beside its frames; errors begin with `path`."""
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
        instruction=instruction,
        fps=fps,
    )


def frames_from_array(path: Path | str, key: str, array: Array) -> UInt8[Tensor, "t 3 h w"]:
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


def alias(split: str) -> str:
    """Return "train", "valid" or "test" for the names that data sets give these; other names as they are."""
    return {"validation": "valid", "val": "valid", "eval": "valid", "training": "train"}.get(
        split.lower(), split.lower()
    )


def leaving(path: Path | str, what: str, values: Array, frames: int) -> Array:
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


def _numbers(path: Path | str, what: str, values: Array, steps: int, ndim: int) -> Tensor:
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
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))


def plain(name: str) -> str:
    """Return a name out of a file as part of an episode's name, without what would mean something in a path."""
    return re.sub(r"[^\w .+-]|\.\.+", "_", name)


def inside(root: Path, name: str, where: Path) -> Path:
    """Return the file of a relative name that `where` gives; ValueError for one that leads out of `root`."""
    place = PurePosixPath(name)
    if not name or place.is_absolute() or ".." in place.parts or "\\" in name or "\0" in name or ":" in name:
        raise ValueError(f"{where}: it names the file {name!r}; expected one below {root}: the data set is not safe")
    return root / place
