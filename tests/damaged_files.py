"""Folders of one layout each, in which some episodes are damaged in every way that this layout can be.

Every writer takes a path without suffix, frames `[t h w k]` and actions, one at each frame, and writes them as they
are, sound or not; it returns the files that it made, the main one first.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from layout_files import encoded, numbered, save_video
from record_files import RLDS_STEP, example, rlds_episode, write_records, write_tfds

Frames = np.ndarray
Writer = Callable[[Path, Frames, np.ndarray], list[Path]]
GOOD = 12
"""How many episodes of a folder are sound."""


def acted(frames: int, width: int = 4) -> np.ndarray:
    return np.arange(frames * width, dtype=np.float32).reshape(frames, width) / 100


def coded(frames: Frames, kind: str = "PNG") -> list[bytes]:
    """Pictures as files; where they are to be of a wrong shape, the last is smaller than the others."""
    if frames.shape[-1] == 3:
        return [encoded(picture, kind) for picture in frames]
    return [encoded(np.repeat(picture, 3, axis=2), kind) for picture in (*frames[:-1], frames[-1, :32])]


def npz(path: Path, frames: Frames, actions: np.ndarray) -> list[Path]:
    path = path.with_suffix(".npz")
    np.savez(path, frames=frames, actions=actions)
    return [path]


def video(suffix: str) -> Writer:
    def write(path: Path, frames: Frames, actions: np.ndarray) -> list[Path]:
        path = path.with_suffix(suffix)
        save_video(path, frames, fps=12)
        return [path]

    return write


def bridge(path: Path, frames: Frames, actions: np.ndarray) -> list[Path]:
    save_video(path.with_suffix(".mp4"), frames)
    np.savez(path.with_suffix(".npz"), actions=actions)
    return [path.with_suffix(".mp4"), path.with_suffix(".npz")]


def hdf5(frames_at: str, actions_at: str) -> Writer:
    def write(path: Path, frames: Frames, actions: np.ndarray) -> list[Path]:
        import h5py

        path = path.with_suffix(".hdf5")
        with h5py.File(path, "w") as file:
            file[frames_at], file[actions_at] = frames, actions
        return [path]

    return write


def robonet(path: Path, frames: Frames, actions: np.ndarray) -> list[Path]:
    import h5py

    path = path.with_suffix(".hdf5")
    with h5py.File(path, "w") as file:
        file["policy/actions"] = actions[: max(0, len(frames) - 1)]
        group = file.create_group("env/cam0_video")
        if frames.dtype != np.uint8:
            group["frames"] = frames
        for t, picture in enumerate(coded(frames) if frames.dtype == np.uint8 else ()):
            group[f"frame{t}"] = np.frombuffer(picture, np.uint8)
    return [path]


def softmotion(path: Path, frames: Frames, actions: np.ndarray) -> list[Path]:
    path = path.with_suffix(".tfrecords")
    features: dict[str, object] = {}
    for t, picture in enumerate(frames):
        features[f"{t}/image_aux1/encoded"] = [picture.tobytes()] if picture.dtype == np.uint8 else picture
        features[f"{t}/action"] = actions[t]
    write_records(path, [example(features)])  # type: ignore[arg-type]
    return [path]


def rlds(path: Path, frames: Frames, actions: np.ndarray) -> list[Path]:
    shard = path.with_name(f"arms-train.tfrecord-{path.name}-of-00099")
    if not (path.parent / "features.json").exists():
        write_tfds(path.parent / "scratch", RLDS_STEP, {}, info=False)
        (path.parent / "scratch/features.json").rename(path.parent / "features.json")
        (path.parent / "scratch").rmdir()
    pictures = coded(frames, "JPEG") if frames.dtype == np.uint8 else frames
    held = rlds_episode(max(1, len(frames))) | {"steps/observation/image": pictures, "steps/action": actions}
    for name in ("steps/reward", "steps/is_terminal"):
        held[name] = held[name][: len(frames)]
    write_records(shard, [example(held)])
    return [shard]


LAYOUTS: dict[str, tuple[Writer, int]] = {
    "npz": (npz, 4),
    "mp4": (video(".mp4"), 0),
    "webm": (video(".webm"), 0),
    "mp4 with npz actions": (bridge, 4),
    "HDF5": (hdf5("frames", "actions"), 4),
    "VP2 HDF5": (hdf5("data/demo_0/obs/camera_image", "data/demo_0/actions"), 4),
    "RoboNet HDF5": (robonet, 4),
    "BAIR tfrecord": (softmotion, 4),
    "RLDS": (rlds, 2),
}
"""Writers, and how wide their actions are; 0 where there are none."""


def _looped(files: list[Path]) -> None:
    files[0].unlink()
    files[0].symlink_to(files[0])


def _of_another_set(files: list[Path]) -> None:
    """A whole file of its kind, in which there is nothing that this layout knows."""
    path = files[0]
    if path.suffix == ".npz":
        np.savez(path, other=np.zeros(3))
    elif path.suffix == ".hdf5":
        hdf5("other", "another")(path, np.zeros(3), np.zeros(3))
    else:
        write_records(path, [example({"other": np.zeros(3, np.float32)})])


BYTES: dict[str, Callable[[list[Path]], object]] = {
    "truncated": lambda files: os.truncate(files[0], files[0].stat().st_size // 2),
    "0 bytes": lambda files: os.truncate(files[0], 0),
    "link to itself": _looped,
    "another file's suffix": lambda files: files[0].write_bytes(encoded(numbered(1, 64)[0])),
    "another data set's file": _of_another_set,
    "second file truncated": lambda files: os.truncate(files[1], files[1].stat().st_size // 2),
}
"""What can happen to the files of an episode."""


def contents(width: int, *, pictures: bool) -> Mapping[str, tuple[Frames, np.ndarray]]:
    """Frames and actions that no episode has; those of other shapes and types only where `pictures` can have them."""
    frames, actions = numbered(5, 64), acted(5, max(width, 1))
    found = {"1 frame": (frames[:1], actions[:1])}
    if pictures:
        found |= {
            "wrong shape": (frames[..., :1], actions),
            "wrong dtype": (frames.astype(np.float32) / 255, actions),
            "0 frames": (frames[:0], actions[:0]),
        }
    if width:
        nan = actions.copy()
        nan[2, 1] = np.nan
        found |= {"NaN": (frames, nan), "another action dimension": (frames, acted(5, width + 1))}
    return found


def fill(layout: str, folder: Path, clean: Path) -> dict[str, str]:
    """Write the sound episodes, to `clean` as well, and the damaged ones; return the damage of each by its number."""
    write, width = LAYOUTS[layout]
    folder.mkdir()
    clean.mkdir()
    filmed = layout in ("mp4", "webm", "mp4 with npz actions")
    unfit = {"another data set's file"} if filmed else set()
    unfit |= set() if layout == "mp4 with npz actions" else {"second file truncated"}
    spoilt = {name: spoil for name, spoil in BYTES.items() if name not in unfit}
    strange = contents(width, pictures=not filmed)
    damaged = dict(zip(range(0, 100, 2), [*spoilt, *strange], strict=False))
    for place in range(GOOD + len(damaged)):
        name, length = f"{place:05d}", 3 + place % 5
        kind = damaged.get(place)
        frames, actions = strange.get(kind or "", (numbered(length, 64), acted(length, max(width, 1))))
        files = write(folder / name, frames, actions)
        if kind is None:
            for file in files:
                (clean / file.name).write_bytes(file.read_bytes())
        elif kind in spoilt:
            spoilt[kind](files)
    if (folder / "features.json").exists():
        (clean / "features.json").write_bytes((folder / "features.json").read_bytes())
    return {f"{place:05d}": kind for place, kind in damaged.items()}
