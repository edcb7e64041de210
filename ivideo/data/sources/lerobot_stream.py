"""A LeRobotDataset whose rows are streamed through `datasets`: none of its tables is ever kept on this machine.

For data sets on the Hub that keep their pictures in their rows, and are larger than the disk. Episodes come in the
order of the files; each is the same as the one that `open_episodes` gives. Films are fetched whole, as an episode in
them is reached.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.data.sources import hub_files, lerobot
from ivideo.data.sources.lerobot_meta import Meta, meta
from ivideo.data.sources.source import Array, Options, inside
from ivideo.episode import Episode


def stream(source: str | Path, options: Options) -> Iterator[Episode]:
    """Yield the episodes of `hf://datasets/<owner>/<name>`, or of a folder, one by one, each read once.

    Raises as `open_episodes` does, for an episode when it is reached.
    """
    lerobot.LAYOUT.check(options)
    place = Path(source)
    folder = hub_files.snapshot(place, lerobot.META) if hub_files.is_address(place) else place
    known = meta(folder)
    camera = lerobot.chosen_camera(known, options.camera)
    chosen = {item.part for item in lerobot.items(folder, "", options)}
    for path, rows in _rows(known, folder, camera, hub_files.is_address(place)):
        for number, group in groupby(rows, key=lambda row: int(row["episode_index"])):
            if number in chosen:
                gathered = list(group)
                columns = lerobot.wanted_columns(path, known, camera, list(gathered[0]))
                values = {name: _column(path, gathered, name) for name in columns if name != camera}
                pictures = [row[camera] for row in gathered] if camera in columns else None
                name = f"episode_{number:06d}"
                yield lerobot.assembled(known, number, camera, path, values, pictures, name, options)


def _rows(known: Meta, folder: Path, camera: str, remote: bool) -> Iterator[tuple[Path, Iterator[Mapping[str, Any]]]]:
    """Yield each file of rows with its rows, pictures among them as they are stored."""
    import datasets

    names = dict.fromkeys(known.name(known.data_path, number, "data") for number in sorted(known.episodes))
    for name in names:
        path = inside(folder, name, folder)
        address = hub_files.address(path) if remote else str(path)
        streamed = datasets.load_dataset("parquet", data_files=address, split="train", streaming=True)
        features = streamed.features or {}
        if isinstance(features.get(camera), datasets.Image):
            streamed = streamed.cast_column(camera, datasets.Image(decode=False))
        yield path, iter(streamed)


def _column(path: Path, rows: list[Mapping[str, Any]], name: str) -> Array:
    try:
        return np.array([row[name] for row in rows])
    except ValueError as error:
        raise ValueError(f"{path}: {name!r} is no column of numbers ({error}); expected rows of one length") from error
