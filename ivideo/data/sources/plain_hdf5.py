"""Any other HDF5 file with videos in it, in one of three ways.

One episode: an array of frames `[t h w 3]` or `[t 3 h w]`, wherever it lies, with `action(s)` and `reward(s)` beside
it or at the root. One group per episode: groups at the root, each like that. Flat: one array of all frames, with
`episode_ends` (`meta/episode_ends`: the row after each episode's last) or `ep_len` (its rows). Rows lead from their
frame to the next, as in `.npz` files; the last of an episode is left out.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.data.sources.arrays import FRAME_KEYS
from ivideo.data.sources.hdf5 import array, children, datasets, member, opened
from ivideo.data.sources.source import Array, Item, Layout, Options, frames_from_array, leaving, make_episode, plain
from ivideo.episode import Episode

ENDS = ("meta/episode_ends", "episode_ends")
LENGTHS = "ep_len"
_PREFERRED = (*FRAME_KEYS, "pixels", "img")


def items(paths: list[Path], names: list[str], options: Options) -> list[Item]:
    """Return the episodes of files. Where the first holds one episode, so do all, which are not opened.

    A file that cannot be opened is an episode that fails to read.
    """
    found: list[Item] = []
    single = False
    for path, name in zip(paths, names, strict=True):
        parts: list[int | str] = []
        if not single:
            try:
                with opened(path) as file:
                    parts = _parts(path, file)
                    single = not parts
            except (ValueError, OSError):
                parts = []
        if parts:
            found += [Item(layout=LAYOUT, path=path, name=f"{name}/{plain(str(part))}", part=part) for part in parts]
        else:
            found.append(Item(layout=LAYOUT, path=path, name=name))
    return found


def read(item: Item, options: Options) -> Episode:
    """Return an episode; `options.key` or `options.camera` names the array of frames, or the last part of its name."""
    path = item.path
    with opened(path) as file:
        where = f"{path}: {item.part!r}" if item.part is not None else str(path)
        group = member(path, file, item.part) if isinstance(item.part, str) else file
        if group is None:
            raise ValueError(f"{where}: there is no such group; the file is damaged")
        if item.part is None and (several := len(_parts(path, file))):
            raise ValueError(f"{path}: {several} episodes, where the first file beside it has one; open it by itself")
        rows = slice(None)
        if isinstance(item.part, int):
            ends = _ends(path, file)
            if ends is None or item.part >= len(ends):
                raise ValueError(f"{where}: there is no such episode; the file has changed since it was opened")
            rows = slice(int(ends[item.part - 1]) if item.part else 0, int(ends[item.part]))
        held = datasets(path, group)
        key = _frame_key(where, held, options.key or options.camera)
        frames = frames_from_array(where, key, array(path, group, key, rows))
        given: dict[str, Array | None] = {"action": None, "reward": None}
        for what in given:
            near = key.rpartition("/")[0]
            places = [f"{near}/{what}{s}".lstrip("/") for s in ("", "s")] + [what, f"{what}s"]
            found = next((place for place in places if place in held), None)
            found = found or next((name for name in held if name.rpartition("/")[2] in (what, f"{what}s")), None)
            if found is not None:
                given[what] = leaving(where, f"{what}s", array(path, group, found, rows), len(frames))
    return make_episode(where, item.name, frames, options, actions=given["action"], rewards=given["reward"])


def _parts(path: Path, file: Any) -> list[int | str]:
    """Return what names each episode of a file of several; nothing for a file of one."""
    ends = _ends(path, file)
    if ends is not None:
        return list(range(len(ends)))
    below = children(file)
    if not all(hasattr(found, "keys") for found in below.values()):
        return []
    episodes: list[int | str] = [
        key for key, group in below.items() if any(_is_frames(found) for found in datasets(path, group).values())
    ]
    return sorted(episodes, key=_natural) if len(episodes) > 1 or len(below) == 1 else []


def _ends(path: Path, file: Any) -> Array | None:
    """Return the row after the last of each episode; None for a file that is not flat."""
    for name in ENDS:
        if member(path, file, name) is not None:
            ends = array(path, file, name)
            break
    else:
        if member(path, file, LENGTHS) is None:
            return None
        ends = np.cumsum(array(path, file, LENGTHS))
    if ends.ndim != 1 or ends.dtype.kind not in "iu" or (np.diff(ends, prepend=0) < 1).any():
        raise ValueError(f"{path}: the ends of episodes are {ends[:5].tolist()}, ...; expected rising whole numbers")
    return ends


def _frame_key(where: str, held: dict[str, Any], asked: str | None) -> str:
    pictures = [name for name, found in held.items() if _is_frames(found)]
    if asked is not None:
        named = [name for name in held if asked in (name, name.rpartition("/")[2])]
        if len(named) == 1:
            return named[0]
        choice = ", ".join(map(repr, pictures)) or "none"
        raise ValueError(f"{where}: no single array {asked!r} among its frames: {choice}; name one in full with key=")
    if not pictures:
        raise ValueError(
            f"{where}: no frames [t h w 3] or [t 3 h w] of whole numbers; it holds "
            f"{', '.join(map(repr, held)) or 'nothing'}: name them with key="
        )
    return next((name for key in _PREFERRED for name in pictures if name.rpartition("/")[2] == key), pictures[0])


def _is_frames(found: Any) -> bool:
    return found.ndim == 4 and found.dtype.kind in "ui" and 3 in (found.shape[1], found.shape[3])


def _natural(name: int | str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(name)) if part]


LAYOUT = Layout(name="HDF5", read=read, knows=("camera", "key"))
