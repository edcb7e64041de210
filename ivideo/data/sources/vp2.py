"""VP2 (Tian et al. 2023) and other robomimic files: HDF5 with many episodes, `data/demo_<k>/...`.

`obs/<camera>_image` uint8 `[t h w 3]`, `actions` `[t a]`; row t of the actions is taken at frame t, so the last leads
nowhere and is left out, and so it is with `rewards`, where there are any. `dones` in one of the last two rows makes
the episode terminal. `mask/train` and `mask/valid` list names of episodes. Cameras are `agentview_shift_2` in
robosuite, `camera` in RoboDesk.
"""

import re
from pathlib import Path
from typing import Any

from ivideo.data.sources.hdf5 import array, member, opened, texts
from ivideo.data.sources.source import Item, Layout, Options, alias, frames_from_array, leaving, make_episode, plain
from ivideo.episode import Episode

CAMERAS = ("agentview_shift_2", "camera", "agentview")
_IMAGE = "_image"


def matches(path: Path, file: Any) -> bool:
    """Whether an open file holds `data/<episode>/obs`."""
    data = member(path, file, "data")
    first = next(iter(data), None) if data is not None and hasattr(data, "keys") else None
    return first is not None and member(path, data, f"{first}/obs") is not None


def items(paths: list[Path], names: list[str], options: Options) -> list[Item]:
    """Return the episodes of files in order of their number; a file that cannot be opened is one that fails to read."""
    found: list[Item] = []
    for path, name in zip(paths, names, strict=True):
        try:
            with opened(path) as file:
                demos = _chosen(path, file, options.split)
        except (ValueError, OSError) as error:
            if "split is" in str(error):
                raise
            found.append(Item(layout=LAYOUT, path=path, name=name))
            continue
        found += [Item(layout=LAYOUT, path=path, name=f"{name}/{plain(demo)}", part=demo) for demo in demos]
    return found


def read(item: Item, options: Options) -> Episode:
    """Return an episode; `options.camera` names a view, with or without `_image`."""
    path = item.path
    with opened(path) as file:
        if item.part is None:
            _chosen(path, file, None)  # which says what is wrong with it
        demo = member(path, file, f"data/{item.part}")
        if demo is None:
            raise ValueError(f"{path}: there is no episode {item.part!r} below 'data'; the file is damaged")
        pictures = [key for key in (member(path, demo, "obs") or ()) if key.endswith(_IMAGE)]
        views = [key.removesuffix(_IMAGE) for key in pictures]
        camera = options.camera.removesuffix(_IMAGE) if options.camera else None
        if camera is None:
            camera = next((name for name in (*CAMERAS, *views) if name in views), None)
        if camera not in views:
            known = ", ".join(map(repr, views)) or "no pictures"
            raise ValueError(f"camera is {options.camera!r}; {path}: {item.part!r} has {known}: choose one")
        where = f"{path}: {item.part!r}"
        key = f"obs/{camera}{_IMAGE}"
        frames = frames_from_array(where, key, array(path, demo, key))
        rows = {
            name: leaving(where, name, array(path, demo, name), len(frames))
            for name in ("actions", "rewards")
            if member(path, demo, name) is not None
        }
        done = array(path, demo, "dones") if member(path, demo, "dones") is not None else None
    return make_episode(
        where,
        item.name,
        frames,
        options,
        actions=rows.get("actions"),
        rewards=rows.get("rewards"),
        terminal=done is not None and bool(done[-2:].any()),
    )


def _chosen(path: Path, file: Any, split: str | None) -> list[str]:
    data = member(path, file, "data")
    demos = set(data or ())
    if not demos:
        raise ValueError(f"{path}: there are no episodes below 'data'; the file is damaged or of another data set")
    if split is not None:
        masks = {alias(name): name for name in (member(path, file, "mask") or ())}
        if alias(split) not in masks:
            known = ", ".join(map(repr, masks.values())) or "none"
            raise ValueError(f"split is {split!r}; {path} has {known} under 'mask': choose one of these")
        demos &= set(texts(path, file, f"mask/{masks[alias(split)]}"))
    return sorted(
        demos, key=lambda name: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
    )


LAYOUT = Layout(name="VP2 HDF5", read=read, knows=("camera", "split"))
