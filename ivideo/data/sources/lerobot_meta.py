"""What a LeRobotDataset says of itself below `meta/`, in versions 2.0, 2.1 and 3.0."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ivideo.data.sources.annotations import MAX_BYTES, load
from ivideo.data.sources.hub_files import fetched
from ivideo.data.sources.parquet import column_names, read_rows
from ivideo.data.sources.source import inside

INFO = "meta/info.json"
_FIELD = re.compile(r"\{(\w+)(?::0?(\d+)d)?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """The description of a data set."""

    root: Path
    version: str
    """"v2.0", "v2.1" or "v3.0"."""
    fps: float
    data_path: str
    video_path: str
    chunks_size: int
    cameras: Mapping[str, str]
    """Which features are pictures: name to "video" or "image"."""
    splits: Mapping[str, range]
    """Episode numbers by split."""
    episodes: Mapping[int, Mapping[str, Any]]
    """What is known of each episode, by its number: "length", "tasks", and where in its files it lies."""
    tasks: Mapping[int, str]

    def file(self, template: str, number: int, prefix: str, **names: str) -> Path:
        """Return the file of an episode, fetched where it has to be; see `name`."""
        return fetched(inside(self.root, self.name(template, number, prefix, **names), self.root / INFO))

    def name(self, template: str, number: int, prefix: str, **names: str) -> str:
        """Return a file's name for an episode, from its number in version 2, from its row of meta in version 3."""
        row = self.episodes[number]
        fields: dict[str, int | str] = {"episode_chunk": number // self.chunks_size, "episode_index": number, **names}
        for field in ("chunk_index", "file_index"):
            if f"{prefix}/{field}" in row:
                fields[field] = int(row[f"{prefix}/{field}"])
        try:
            return _FIELD.sub(lambda found: _formatted(fields[found[1]], found[2]), template)
        except KeyError as error:
            raise ValueError(
                f"{self.root / INFO}: {template!r} asks for {error}, which nothing says for episode {number}; expected "
                f"{', '.join(fields)}"
            ) from error

    def instruction(self, number: int) -> str:
        """Return the first task of an episode; empty where it has none."""
        tasks = self.episodes[number].get("tasks")
        first = tasks[0] if isinstance(tasks, list) and tasks else tasks
        return first.strip() if isinstance(first, str) else ""


def meta(root: Path) -> Meta:
    """Return the description of a data set; it is read once as long as it does not change.

    Raises ValueError naming the file for a version that is not read here, and for a file that is damaged.
    """
    files = [root / INFO, *(root / "meta").glob("*.jsonl"), *(root / "meta/episodes").glob("*/*.parquet")]
    states = [path.stat() for path in files]
    return _meta(root, tuple((state.st_size, state.st_mtime_ns) for state in states))


@lru_cache(maxsize=16)
def _meta(root: Path, _states: tuple[tuple[int, int], ...]) -> Meta:
    path = root / INFO
    info = load(path)
    version = str(info.get("codebase_version"))
    if version not in ("v2.0", "v2.1", "v3.0"):
        raise ValueError(
            f"{path}: LeRobot's format {version}; expected v2.0, v2.1 or v3.0: convert it with lerobot's own scripts"
        )
    third = version == "v3.0"
    try:
        features = info["features"]
        cameras = {name: kind["dtype"] for name, kind in features.items() if kind["dtype"] in ("video", "image")}
        cameras = {name: kind for name, kind in cameras.items() if not _is_depth(features[name])}
        splits = {name: _range(text) for name, text in info.get("splits", {}).items()}
        return Meta(
            root=root,
            version=version,
            fps=float(info["fps"]),
            data_path=str(info["data_path"]),
            video_path=str(info.get("video_path") or ""),
            chunks_size=max(1, int(info.get("chunks_size", 1000))),
            cameras=cameras,
            splits=splits,
            episodes=_episode_table(root) if third else _episode_lines(root),
            tasks=_task_table(root) if third else _task_lines(root),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: no description as LeRobot writes it ({type(error).__name__}: {error})") from error


def _is_depth(feature: Mapping[str, Any]) -> bool:
    about = feature.get("info") or feature.get("video_info") or {}
    return bool(about.get("video.is_depth_map") or about.get("is_depth_map"))


def _range(text: object) -> range:
    first, _, last = str(text).partition(":")
    return range(int(first or 0), int(last)) if first.isdecimal() and last.isdecimal() else range(0)


def _formatted(value: int | str, width: str | None) -> str:
    return f"{value:0{width}d}" if width and isinstance(value, int) else str(value)


def _episode_table(root: Path) -> dict[int, Mapping[str, Any]]:
    rows: dict[int, Mapping[str, Any]] = {}
    files = sorted((root / "meta/episodes").glob("*/*.parquet"))
    if not files:
        raise FileNotFoundError(
            f"{root}/meta/episodes: no parquet file there; the data set is incomplete: fetch it again"
        )
    for path in files:
        names = [name for name in column_names(path) if not name.startswith("stats/")]
        for row in read_rows(path, names).to_pylist():
            rows[int(row["episode_index"])] = row
    return rows


def _episode_lines(root: Path) -> dict[int, Mapping[str, Any]]:
    return {int(row["episode_index"]): row for row in _lines(root / "meta/episodes.jsonl")}


def _task_table(root: Path) -> dict[int, str]:
    path = root / "meta/tasks.parquet"
    if not path.is_file():
        return {}
    names = column_names(path)
    # Written by pandas, with the tasks themselves as the index.
    told = [name for name in names if name in ("task", "__index_level_0__")]
    if not told or "task_index" not in names:
        return {}
    return {int(row["task_index"]): str(row[told[0]]) for row in read_rows(path, ["task_index", told[0]]).to_pylist()}


def _task_lines(root: Path) -> dict[int, str]:
    path = root / "meta/tasks.jsonl"
    return {int(row["task_index"]): str(row["task"]) for row in _lines(path)} if path.is_file() else {}


def _lines(path: Path) -> list[Mapping[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; the data set is incomplete: fetch it again")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; expected at most {MAX_BYTES // 2**20} MiB")
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{path}: line {number} is no JSON ({error}); the file is truncated or damaged") from error
        if isinstance(row, dict):
            rows.append(row)
    return rows
