"""BAIR robot pushing as it was published (Ebert et al. 2017): `softmotion30_44k/{train,test}/*.tfrecords`.

An Example holds a whole episode, step t under `t/image_main/encoded`, `t/image_aux1/encoded` (64x64 RGB, raw bytes),
`t/action` (4) and `t/endeffector_pos` (3). The action of step t leads from frame t to frame t+1; the last is left
out.
"""

from pathlib import Path

import numpy as np

from ivideo.data.sources.encoded_image import decode_image, decode_images
from ivideo.data.sources.example import Damaged, Example
from ivideo.data.sources.source import Array, Item, Layout, Options, alias, leaving, make_episode
from ivideo.data.sources.tfrecord import records
from ivideo.episode import Episode

CAMERAS = {"aux1": "image_aux1", "main": "image_main"}
SIDE = 64


def matches(path: Path) -> bool:
    """Whether the first record of a file is an episode of this kind; ValueError for a file without a whole record."""
    try:
        example = Example(records(path).read(0))
    except Damaged:
        return False
    return any(f"0/{key}/encoded" in example for key in CAMERAS.values())


def items(paths: list[Path], names: list[str], options: Options) -> list[Item]:
    """Return the episodes of files, named by their place in them; folders above a file give its split."""
    wanted = None if options.split is None else alias(options.split)
    found = []
    for path, name in zip(paths, names, strict=True):
        if wanted is None or wanted in map(alias, path.parts[-3:-1]):
            held = records(path)
            count = len(held) + (held.damage is not None)
            found += [Item(layout=LAYOUT, path=path, name=f"{name}-{part:05d}", part=part) for part in range(count)]
    if paths and not found:
        raise ValueError(f"split is {options.split!r}; no file lies in a folder of that name: expected train or test")
    return found


def read(item: Item, options: Options) -> Episode:
    """Return the episode seen by camera "aux1" (the default) or "main"."""
    assert isinstance(item.part, int)
    camera = options.camera or "aux1"
    if camera not in CAMERAS:
        raise ValueError(f"camera is {camera!r}; BAIR episodes have {', '.join(map(repr, CAMERAS))}: choose one")
    where = f"{item.path}: record {item.part}"
    key = f"{CAMERAS[camera]}/encoded"
    try:
        example = Example(records(item.path).read(item.part))
        steps = sum(name.endswith(f"/{key}") for name in example)
        frames = decode_images(
            (_one(example, f"{step}/{key}") for step in range(steps)),
            lambda step: f"{where}: '{step}/{key}'",
            options.size,
            options.crop,
            _pixels,
        )
        actions = None
        if "0/action" in example:
            rows = sum(name.endswith("/action") for name in example)
            actions = np.stack([_numbers(example, f"{step}/action") for step in range(rows)])
            actions = leaving(where, "actions", actions, steps)
    except Damaged as error:
        raise ValueError(f"{where}: {error}; expected an episode of BAIR robot pushing: the file is damaged") from error
    return make_episode(where, item.name, frames, options, actions=actions)


def _one(example: Example, name: str) -> bytes:
    values = example.bytes_list(name) if name in example else []
    if len(values) != 1:
        raise Damaged(f"there are {len(values)} values of {name!r}")
    return values[0]


def _numbers(example: Example, name: str) -> Array:
    values = example.numbers(name) if name in example else np.empty(0)
    if len(values) != 4:
        raise Damaged(f"{name!r} has {len(values)} numbers, not 4")
    return values


def _pixels(data: bytes, where: str) -> Array:
    if len(data) == SIDE * SIDE * 3:
        return np.frombuffer(data, np.uint8).reshape(SIDE, SIDE, 3)
    return decode_image(data, where)


LAYOUT = Layout(name="BAIR tfrecord", read=read, knows=("camera", "split"))
