"""Small data sets in the layouts that are published, written as their own tools write them.

Frame t of every episode is of one colour, red level `10 * t`, so that order and alignment can be read off; actions are
`[t, 0.5]` at frame t.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ivideo.episode import Episode
from ivideo.video import write_video


def numbered(frames: int, side: int = 16) -> np.ndarray:
    """Frames `[t side side 3]`, frame t of red level `10 * t`."""
    video = np.zeros((frames, side, side, 3), np.uint8)
    video[..., 0] = (10 * np.arange(frames, dtype=np.uint8))[:, None, None]
    return video


def levels(episode: Episode, channel: int = 0) -> list[int]:
    """The numbers that `numbered` gave the frames of an episode."""
    side = episode.frames.shape[2] // 2
    return [round(int(frame[channel, side, side]) / 10) for frame in episode.frames]


def rows(frames: int) -> np.ndarray:
    """Actions `[t 2]`, one taken at each frame."""
    return np.stack([np.arange(frames), np.full(frames, 0.5)], axis=1).astype(np.float32)


def save_video(path: Path, frames: np.ndarray, fps: float = 10) -> None:
    write_video(path, torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).contiguous(), fps)


def encoded(picture: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return file.getvalue()


def write_lerobot(
    root: Path, lengths: Sequence[int], version: str = "v2.1", *, pictures: bool = False, fps: int = 10
) -> None:
    """A LeRobotDataset with the views `observation.images.top` and `observation.images.wrist`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    third = version == "v3.0"
    views = ("observation.images.wrist", "observation.images.top")
    kind = "image" if pictures else "video"
    features: dict[str, Any] = {
        view: {
            "dtype": kind,
            "shape": [64, 64, 3],
            "names": ["height", "width", "channels"],
            "info": {"video.fps": float(fps), "video.codec": "h264", "video.is_depth_map": False},
        }
        for view in views
    }
    features |= {
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "next.done": {"dtype": "bool", "shape": [1], "names": None},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        "frame_index": {"dtype": "int64", "shape": [1], "names": None},
        "episode_index": {"dtype": "int64", "shape": [1], "names": None},
        "index": {"dtype": "int64", "shape": [1], "names": None},
        "task_index": {"dtype": "int64", "shape": [1], "names": None},
    }
    info = {
        "codebase_version": version,
        "robot_type": "so100",
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "total_tasks": 2,
        "chunks_size": 1000,
        "fps": fps,
        "splits": {"train": f"0:{len(lengths) - 1}", "val": f"{len(lengths) - 1}:{len(lengths)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        if third
        else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": None
        if pictures
        else "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        if third
        else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info, indent=4))
    tasks = ["push the block", "lift the block"]
    tables, episodes, seen = [], [], 0
    films: dict[str, list[np.ndarray]] = {view: [] for view in views}
    for number, length in enumerate(lengths):
        seen_in = {
            "observation.images.top": numbered(length, 64),
            "observation.images.wrist": numbered(length, 64)[::-1],
        }
        columns: dict[str, Any] = {
            "action": pa.FixedSizeListArray.from_arrays(pa.array(rows(length).ravel()), 2),
            "next.reward": pa.array(np.arange(length, dtype=np.float32)),
            "next.done": pa.array(np.arange(length) == length - 1),
            "timestamp": pa.array((np.arange(length) / fps).astype(np.float32)),
            "frame_index": pa.array(np.arange(length)),
            "episode_index": pa.array(np.full(length, number)),
            "index": pa.array(np.arange(seen, seen + length)),
            "task_index": pa.array(np.full(length, number % 2)),
        }
        for view, video in seen_in.items():
            films[view].append(video)
            if pictures:
                stored = [{"bytes": encoded(image), "path": f"frame-{t:06d}.png"} for t, image in enumerate(video)]
                columns[view] = pa.array(stored, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
            elif not third:
                save_video(root / f"videos/chunk-000/{view}/episode_{number:06d}.mp4", video, fps)
        tables.append(pa.table(columns))
        row: dict[str, Any] = {"episode_index": number, "tasks": [tasks[number % 2]], "length": length}
        if third:
            row |= {"data/chunk_index": 0, "data/file_index": 0, "meta/episodes/chunk_index": 0}
            row |= {"dataset_from_index": seen, "dataset_to_index": seen + length, "meta/episodes/file_index": 0}
            row |= {"stats/action/mean": [0.0, 0.5]}
            for view in () if pictures else views:
                row |= {f"videos/{view}/chunk_index": 0, f"videos/{view}/file_index": 0}
                row |= {
                    f"videos/{view}/from_timestamp": seen / fps,
                    f"videos/{view}/to_timestamp": (seen + length) / fps,
                }
        episodes.append(row)
        seen += length
    if third:
        (root / "data/chunk-000").mkdir(parents=True)
        with pq.ParquetWriter(root / "data/chunk-000/file-000.parquet", tables[0].schema) as writer:
            for table in tables:
                writer.write_table(table)
        for view in () if pictures else views:
            save_video(root / f"videos/{view}/chunk-000/file-000.mp4", np.concatenate(films[view]), fps)
        (root / "meta/episodes/chunk-000").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(episodes), root / "meta/episodes/chunk-000/file-000.parquet")
        named = pa.table({"task_index": [0, 1], "__index_level_0__": tasks})
        pq.write_table(named, root / "meta/tasks.parquet")
        return
    (root / "data/chunk-000").mkdir(parents=True)
    for number, table in enumerate(tables):
        pq.write_table(table, root / f"data/chunk-000/episode_{number:06d}.parquet")
    _write_lines(root / "meta/episodes.jsonl", episodes)
    _write_lines(root / "meta/tasks.jsonl", [{"task_index": n, "task": task} for n, task in enumerate(tasks)])


def _write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_robonet(path: Path, frames: int, *, robot: str = "sawyer", kind: str = "mp4", order: str = "RGB") -> None:
    """A RoboNet file with two cameras, the second running backwards; `order` is that of the arrays it was made from."""
    import h5py

    with h5py.File(path, "w") as file:
        file["file_version"] = "0.1.0"
        file.create_group("misc")
        file.create_group("metadata").attrs["robot"] = robot
        file["policy/actions"] = rows(frames)[:-1]
        file["env/state"] = np.zeros((frames, 5), np.float32)
        file["env"].attrs["n_cams"] = 2
        file["env"].attrs["cam_encoding"] = kind
        for camera, video in enumerate((numbered(frames, 64), numbered(frames, 64)[::-1])):
            group = file.create_group(f"env/cam{camera}_video")
            array = video if order == "RGB" else video[..., ::-1]
            if kind == "mp4":
                movie = path.with_name("scratch.mp4")
                save_video(movie, array)
                group["frames"] = np.frombuffer(movie.read_bytes(), np.uint8)
                movie.unlink()
                names = ["frames"]
            else:
                # OpenCV takes what it is given for BGR.
                for t, image in enumerate(array):
                    group[f"frame{t}"] = np.frombuffer(encoded(image[..., ::-1], "JPEG"), np.uint8)
                names = [f"frame{t}" for t in range(frames)]
            for name in names:
                group[name].attrs.update({"T": frames, "shape": (64, 64, 3), "image_format": order})


def write_vp2(path: Path, lengths: Sequence[int], camera: str = "agentview_shift_2") -> None:
    """A robomimic file as VP2 publishes them, with a second camera that runs backwards."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_group("data")
        for number, length in enumerate(lengths):
            demo = file.create_group(f"data/demo_{number}")
            demo.attrs["model_file"] = "<mujoco/>"
            demo["states"] = np.zeros((length, 45))
            demo["actions"] = rows(length)
            demo[f"obs/{camera}_image"] = numbered(length)
            demo["obs/side_image"] = numbered(length)[::-1]
        names = [f"demo_{number}" for number in range(len(lengths))]
        file["mask/train"] = np.array(names[:-1], "S")
        file["mask/valid"] = np.array(names[-1:], "S")


def write_ssv2(root: Path, prefix: str = "") -> None:
    """Five clips of Something-Something V2, one of them without a label; one label without its clip."""
    lists = {
        "train": [
            ("2", "holding a cup next to a book", "Holding [something] next to [something]"),
            ("10", "pushing a pen from left to right", "Pushing [something] from left to right"),
            ("99", "pushing a cup from left to right", "Pushing [something] from left to right"),
        ],
        "validation": [("3", "pushing a box from left to right", "Pushing [something] from left to right")],
    }
    (root / "labels").mkdir(parents=True)
    for split, entries in lists.items():
        listed = [{"id": i, "label": label, "template": kind, "placeholders": []} for i, label, kind in entries]
        (root / f"labels/{prefix}{split}.json").write_text(json.dumps(listed))
    (root / f"labels/{prefix}test.json").write_text(json.dumps([{"id": "4"}]))
    (root / f"labels/{prefix}labels.json").write_text(json.dumps({"Pushing something from left to right": "94"}))
    for number in (2, 3, 4, 10, 50):
        save_video(root / f"20bn-something-something-v2/{number}.webm", numbered(4, 64), fps=12)
