"""The folder of a run: what it was asked, what it measured, what it drew, and where it can go on from."""

import json
import math
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
import yaml
from jaxtyping import UInt8
from torch import Tensor

from ivideo.config import save_config
from ivideo.config.dump import to_yaml
from ivideo.training import checkpoints
from ivideo.training.checkpoints import Checkpoint
from ivideo.training.process import is_first
from ivideo.video import grid, strip, write_video

_OURS = ("config.yaml", "metrics.jsonl", "tensorboard", "media", "diverged", "checkpoints", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Where a run lives on disk and how much of it is kept."""

    folder: Path = Path("runs/unnamed")
    """Folder of the run; made when it is not there."""
    keep_checkpoints: int = 2
    """How many of the newest checkpoints stay."""
    tensorboard: bool = True
    """Write TensorBoard events beside the JSONL."""

    def __post_init__(self) -> None:
        if self.keep_checkpoints < 1:
            raise ValueError(f"keep_checkpoints is {self.keep_checkpoints}; expected at least 1")


class RunFolder:
    """One run on disk, held by one process.

    ::

        config.yaml     metrics.jsonl     tensorboard/     media/     diverged/     checkpoints/     model/

    `model/` is the latest weights as people load them; `checkpoints/` is what a run resumes from. Use it in a `with`
    statement: only one process at a time has it, and a process that dies lets go of it.
    """

    def __init__(
        self,
        config: RunConfig,
        settings: object | None = None,
        *,
        resume: bool = False,
        overwrite: bool = False,
        further: Sequence[str] = (),
    ) -> None:
        """Open or make the folder.

        Args:
            config: where, and how much is kept.
            settings: what the run was asked, a dataclass; written to config.yaml when the run begins.
            resume: go on from the newest whole checkpoint; from nothing when there is none.
            overwrite: delete what an earlier run left in the folder.
            further: names of what runs of this kind write there besides, to be deleted with the rest.

        Raises:
            FileExistsError: the folder holds something, and neither `resume` nor `overwrite` is set or it is no run.
            BlockingIOError: another process has it.
            PermissionError, NotADirectoryError: it cannot be written.
        """
        self.path = config.folder
        self.config = config
        self.resuming = resume
        self._settings = settings
        self._ours = (*_OURS, *further)
        self._metrics: IO[str] | None = None
        self._there: set[tuple[int, frozenset[str]]] = set()
        self._lock: IO[str] | None = None
        if not is_first():
            return  # one of several processes; the first one has the folder
        check_vacant(config, resume=resume, overwrite=overwrite)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.path / "lock")
        except BlockingIOError:
            raise
        except OSError as error:
            reason = "it is a file, not a folder" if self.path.is_file() else error.strerror or str(error)
            raise type(error)(f"cannot write {self.path}: {reason}; choose another --run.folder") from error
        if overwrite:
            self._clear()
        checkpoints.sweep(self.checkpoints)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Where the latest weights are exported to, as people load them."""
        return self.path / "model"

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        self._close_metrics()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest whole checkpoint, with a warning for every damaged one that is newer."""
        return checkpoints.newest(self.checkpoints)

    def latest(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest whole checkpoint when resuming, with what a person should know of it.

        That is every damaged checkpoint that is newer, and every setting that is no longer as it was.
        """
        if not self.resuming:
            return None, []
        found, damaged = self.newest()
        if found is None and damaged:
            raise ValueError(
                f"every checkpoint is damaged; the newest: {damaged[0]}. Remove {self.checkpoints} or start anew"
            )
        return found, [*self._changes(), *damaged]

    def save(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
        """Publish a checkpoint; see `checkpoints.publish`."""
        return checkpoints.publish(self.checkpoints, step, tensors, state, keep=self.config.keep_checkpoints)

    def record(self, step: int, figures: Mapping[str, float]) -> None:
        """Append a line to metrics.jsonl; figures that are not finite become null.

        What a run measures again at the very step at which it was taken up is there already.
        """
        if (step, frozenset(figures)) in self._there:
            return
        if self._metrics is None:
            self._metrics = (self.path / "metrics.jsonl").open("a", encoding="utf-8")
        line = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        self._metrics.write(json.dumps({"step": step, **line}) + "\n")
        self._metrics.flush()

    def begin(self, step: int) -> None:
        """Write config.yaml, now that the run goes on from `step`, and drop metrics that lie after it.

        A resumed run measures those again.
        """
        if self._settings is not None:
            fresh = self.path / ".config.yaml"
            save_config(self._settings, fresh)
            fresh.replace(self.path / "config.yaml")
        path = self.path / "metrics.jsonl"
        self._close_metrics()
        if not path.is_file():
            return
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        self._there = {(step, frozenset(json.loads(line)) - {"step"}) for line in kept if _step_of(line) == step}
        fresh = path.with_name(".metrics.jsonl")
        fresh.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        fresh.replace(path)

    def report(self, step: int, found: Mapping[str, Any]) -> None:
        """Write down what is known of an update that diverged, to diverged/."""
        path = self.path / "diverged" / f"step-{step:08d}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")

    def draw(self, step: int, name: str, videos: UInt8[Tensor, "n k t 3 h w"], *, fps: float = 5) -> None:
        """Write n clips of a step to media/, the k videos of each beside each other.

        The mp4 has a line per clip; the png has a line per video, with time to the right.
        """
        clips = videos.cpu()
        zoom = max(1, 128 // clips.shape[-1])
        path = self.path / "media" / f"{step:08d}-{name}.mp4"
        write_video(path, grid(clips.flatten(0, 1), columns=clips.shape[1]), fps, zoom=zoom)
        lines = torch.stack([strip(video) for video in clips.flatten(0, 1)])
        write_video(path.with_suffix(".png"), grid(lines[:, None], columns=1))

    def _close_metrics(self) -> None:
        if self._metrics is not None:
            with suppress(OSError):  # of a full disk, which whoever wrote the line has heard of
                self._metrics.close()
            self._metrics = None

    def _changes(self) -> list[str]:
        """The settings that are not those in config.yaml, as one line, or nothing."""
        path = self.path / "config.yaml"
        if self._settings is None or not path.is_file():
            return []
        before, now = _leaves(path.read_text(encoding="utf-8")), _leaves(to_yaml(self._settings))
        changed = [f"{key} {before.get(key)} -> {now.get(key)}" for key in now if before.get(key) != now.get(key)]
        return [f"settings differ from those the run was started with: {', '.join(changed)}"] if changed else []

    def _clear(self) -> None:
        """Delete what a run makes, and nothing else that may lie in the folder."""
        for name in self._ours:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def check_vacant(config: RunConfig, *, resume: bool, overwrite: bool) -> None:
    """Raise `FileExistsError` where a run may not go, before anything is loaded for it."""
    if resume and overwrite:
        raise ValueError("resume and overwrite are both set; one goes on with a run, the other deletes it")
    if not is_first():
        return
    folder = config.folder
    left = sorted(entry.name for entry in folder.iterdir() if entry.name != "lock") if folder.is_dir() else []
    if left and not (resume or overwrite):
        raise FileExistsError(
            f"{folder} holds {left[0]}{' and more' if left[1:] else ''}; add --resume to go on with that run, "
            "--overwrite to delete it, or choose another --run.folder"
        )
    if left and not {"config.yaml", "checkpoints"} & set(left):
        raise FileExistsError(
            f"{folder} holds {left[0]} but no run of ours; choose another --run.folder, or empty it yourself"
        )


def _leaves(document: str) -> dict[str, Any]:
    """The values of a YAML document by dotted key."""

    def walk(tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        if isinstance(tree, dict):
            for name, inner in tree.items():
                yield from walk(inner, f"{prefix}.{name}".lstrip("."))
        else:
            yield prefix, tree

    return dict(walk(yaml.safe_load(document), ""))


def _step_of(line: str) -> float:
    """The step of a line of metrics; infinity for a line that a crash cut short."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _lock(path: Path) -> IO[str]:
    """Return the open lock file; the system lets go of it when the process ends, however it ends."""
    stream = path.open("a+", encoding="utf-8")
    try:
        import fcntl
    except ImportError:  # Windows
        return stream
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        holder = stream.read().strip() or "another process"
        stream.close()
        raise BlockingIOError(
            f"{path.parent} is in use by {holder}; wait for it, stop it, or choose another --run.folder"
        ) from None
    stream.seek(0)
    stream.truncate()
    stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    stream.flush()
    return stream
