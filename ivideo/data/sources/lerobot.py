"""LeRobotDataset, versions 2.0, 2.1 and 3.0: rows in parquet, pictures in mp4 or beside the rows.

Row t holds what was seen and done at frame t; `next.reward` and `next.done` of that row are of the step that follows.
So actions and rewards lead from frame t to frame t+1 as they stand, without the last of each, whose step ends in a
frame that is not stored. An episode is terminal when `next.done` is set in one of its last two rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from ivideo.data.sources.encoded_image import decode_images
from ivideo.data.sources.hub_files import fetched
from ivideo.data.sources.lerobot_meta import INFO, Meta, meta
from ivideo.data.sources.parquet import column_names, numbers, read_rows
from ivideo.data.sources.source import Array, Item, Layout, Options, alias, inside, leaving, make_episode
from ivideo.episode import Episode
from ivideo.video import read_clip, read_span

META = ("meta/*",)
"""What describes a data set on the Hub."""
ACTIONS = ("action", "actions")


def matches(names: set[str], folder: Path) -> bool:
    """Whether a folder of these names is a LeRobotDataset."""
    return "meta" in names and (folder / INFO).is_file()


def items(folder: Path, name: str, options: Options) -> list[Item]:
    """Return the episodes of a data set, named by their number."""
    known = meta(folder)
    chosen = sorted(known.episodes)
    if options.split is not None:
        splits = {alias(split): episodes for split, episodes in known.splits.items()}
        if alias(options.split) not in splits:
            raise ValueError(
                f"split is {options.split!r}; {folder / INFO} has {', '.join(map(repr, known.splits)) or 'none'}: "
                "choose one of these"
            )
        chosen = [number for number in chosen if number in splits[alias(options.split)]]
    return [Item(layout=LAYOUT, path=folder, name=f"{name}episode_{number:06d}", part=number) for number in chosen]


def read(item: Item, options: Options) -> Episode:
    """Return one episode; `options.camera` names a view, in full or by the last part of its name."""
    assert isinstance(item.part, int)
    number, known = item.part, meta(item.path)
    camera = chosen_camera(known, options.camera)
    path = known.file(known.data_path, number, "data")
    wanted = wanted_columns(path, known, camera, column_names(path))
    table = read_rows(path, wanted, where=("episode_index", number))
    values = {name: numbers(path, table, name) for name in wanted if name != camera}
    pictures = table[camera].to_pylist() if camera in wanted else None
    return assembled(known, number, camera, path, values, pictures, item.name, options)


def wanted_columns(path: Path, known: Meta, camera: str, present: Sequence[str]) -> list[str]:
    """Return which of a file's columns are read; ValueError when the pictures are not among them."""
    pictures = camera if known.cameras[camera] == "image" else ""
    if pictures and pictures not in present:
        raise ValueError(f"{path}: there is no column {camera!r}; it has {', '.join(map(repr, present))}")
    action = next((name for name in ACTIONS if name in present), "")
    optional = (action, "next.reward", "next.done", "task_index", pictures)
    return ["frame_index", *(name for name in optional if name in present)]


def assembled(
    known: Meta,
    number: int,
    camera: str,
    path: Path,
    values: Mapping[str, Array],
    pictures: Sequence[Any] | None,
    name: str,
    options: Options,
) -> Episode:
    """Return an episode from the columns of its rows, after checking that rows, meta and frames fit together.

    Args:
        known: what the data set says of itself.
        number: which episode it is.
        camera: the view, by its full name.
        path: what errors name.
        values: columns of numbers.
        pictures: the column of pictures, `{"bytes": ..., "path": ...}` each; None where the view is a film.
        name: what the episode is to be called.
        options: how to open it.
    """
    rows = len(values["frame_index"])
    promised = known.episodes[number].get("length")
    if rows == 0 or (promised is not None and rows != promised):
        raise ValueError(
            f"{path}: {rows} rows of episode {number}; expected {promised or 'some'}, as meta says: the file is cut "
            "short, or meta belongs to another version"
        )
    if (values["frame_index"] != np.arange(rows)).any():
        raise ValueError(
            f"{path}: the rows of episode {number} are not frames 0 to {rows - 1} in order; repair the file"
        )
    where = f"{path}: episode {number}"
    if pictures is None:
        frames = _filmed(known, number, camera, rows, options)
    else:
        frames = _stored(known, path, pictures, camera, options)
    instruction = known.instruction(number)
    if not instruction and "task_index" in values:
        instruction = known.tasks.get(int(values["task_index"].reshape(-1)[0]), "").strip()
    action = next((values[key] for key in ACTIONS if key in values), None)
    rewards, done = values.get("next.reward"), values.get("next.done")
    return make_episode(
        where,
        name,
        frames,
        options,
        actions=None if action is None else leaving(where, "actions", action, rows),
        rewards=None if rewards is None else leaving(where, "rewards", rewards.reshape(rows, -1)[:, 0], rows),
        terminal=done is not None and bool(done[-2:].any()),
        instruction=instruction,
        fps=known.fps,
    )


def chosen_camera(known: Meta, asked: str | None) -> str:
    """Return the full name of a view; by default the first that is not on the hand."""
    if not known.cameras:
        raise ValueError(f"{known.root / INFO}: none of its features are pictures; expected at least one camera")
    if asked is None:
        outside = [name for name in known.cameras if not any(word in name for word in ("wrist", "hand", "gripper"))]
        return (outside or list(known.cameras))[0]
    found = [name for name in known.cameras if asked in (name, name.rpartition(".")[2])]
    if len(found) != 1:
        raise ValueError(
            f"camera is {asked!r}; {known.root} has {', '.join(map(repr, known.cameras))}: choose one by its full name"
        )
    return found[0]


def _filmed(known: Meta, number: int, camera: str, rows: int, options: Options) -> UInt8[Tensor, "t 3 h w"]:
    """Return an episode's frames from its own mp4, or from its stretch of one that holds several."""
    path = known.file(known.video_path, number, f"videos/{camera}", video_key=camera)
    if known.version == "v3.0":
        row = known.episodes[number]
        try:
            start, end = (float(row[f"videos/{camera}/{side}_timestamp"]) for side in ("from", "to"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{known.root}: nothing in meta says where in {path} episode {number} lies") from error
        if abs((end - start) * known.fps - rows) > 1:
            raise ValueError(
                f"{path}: episode {number} lies from {start:.3f} to {end:.3f} s, {(end - start) * known.fps:.1f} "
                f"frames; expected {rows}, as it has rows: meta and data are of different versions"
            )
        return read_span(path, start, rows, size=options.size, crop=options.crop)
    frames = read_clip(path, size=options.size, crop=options.crop).frames
    if len(frames) != rows:
        raise ValueError(f"{path}: {len(frames)} frames beside {rows} rows of episode {number}; expected one for each")
    return frames


def _stored(
    known: Meta, path: Path, pictures: Sequence[Any], camera: str, options: Options
) -> UInt8[Tensor, "t 3 h w"]:
    """Return an episode's frames from the pictures in its rows, or the files that these name."""

    def data(picture: Any) -> bytes:
        if isinstance(picture, dict) and picture.get("bytes"):
            return bytes(picture["bytes"])
        if isinstance(picture, dict) and picture.get("path"):
            return fetched(inside(known.root, str(picture["path"]), path)).read_bytes()
        raise ValueError(f"{path}: {camera!r} holds neither the bytes nor the path of a picture")

    encoded = (data(picture) for picture in pictures)
    return decode_images(encoded, lambda row: f"{path}: {camera!r} in row {row}", options.size, options.crop)


LAYOUT = Layout(name="LeRobot", read=read, knows=("camera", "split"))
