"""Folders of shards: arrays on disk that are whole or not there, written by many processes, mapped into memory.

::

    OUT/
      shard-00000/ ...        published by one rename each, once complete
        frames.npy ...        arrays of equal first axis or of their own, as numpy writes them
        shard.json            what else there is to know of the shard; bytes and SHA-256 of its arrays
      manifest.json           what the folder is, every file's bytes and SHA-256; written last
      plan.json               only while it is being written: what a repeated command goes on with
      .shard-00007-x7f3/      being written, or left by a crash: swept at the next start
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from ivideo.data.npy import save_array
from ivideo.files import check_new_folder, digest, read_json, replace_file, sync

MANIFEST, PLAN, SHARD = "manifest.json", "plan.json", "shard.json"
_NAME = re.compile(r"shard-\d{5,}")
_MAX_JSON = 2**30


class ShardFolder:
    """A folder of shards that is being written; one process at a time has it, and a killed one lets go of it.

    The same plan given again goes on where the last attempt stopped; `done` is True where nothing is left to do.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        """Open or make the folder.

        Raises:
            FileExistsError: it holds something else, or was begun with another plan; it says in what they differ.
            BlockingIOError: another process is writing it.
        """
        self.path, self.plan = path, dict(json.loads(_spelt(plan)))
        begun = _begun(path)
        if begun is None:
            if not (path.is_dir() and all(re.fullmatch(r"\.plan.*\.part", file.name) for file in path.iterdir())):
                check_new_folder(path)
        elif begun != self.plan:
            keys = [key for key in {**begun, **self.plan} if begun.get(key) != self.plan.get(key)]
            raise FileExistsError(
                f"{path} was made with {keys[0]} {begun.get(keys[0])!r}, now it is {self.plan.get(keys[0])!r}; choose "
                "another folder, or give the same options to go on"
            )
        self.done = (path / MANIFEST).is_file()
        with _writable(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path)
            self._sweep()
            if not self.done:
                replace_file(path / PLAN, lambda file: file.write_text(_spelt(self.plan), encoding="utf-8"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sweep()
        os.close(self._lock)

    def missing(self, count: int) -> list[int]:
        """Return which of `count` shards are not there yet."""
        return [number for number in range(count) if not (self.path / shard_name(number)).is_dir()]

    def said(self, number: int) -> dict[str, Any]:
        """Return what the `shard.json` of a shard says."""
        return read_said(self.path / shard_name(number) / SHARD)

    def discard(self, number: int) -> None:
        """Have a shard made again."""
        with _writable(self.path):
            grave = Path(mkdtemp(prefix=f".{shard_name(number)}-", dir=self.path))
            (self.path / shard_name(number)).rename(grave / shard_name(number))
            shutil.rmtree(grave, ignore_errors=True)

    def write_array(self, name: str, values: NDArray[Any]) -> None:
        """Write an array beside the shards."""
        with _writable(self.path):
            replace_file(self.path / name, lambda file: save_array(file, values))

    def finish(self, facts: Mapping[str, Any], count: int, files: tuple[str, ...] = ()) -> None:
        """Write the manifest, which makes the folder readable; `files` lie beside the shards."""
        listed = {name: described(self.path / name) for name in files}
        for number in range(count):
            name = shard_name(number)
            listed |= {f"{name}/{file}": entry for file, entry in self.said(number)["files"].items()}
            listed[f"{name}/{SHARD}"] = described(self.path / name / SHARD)
        content = {**facts, "plan": self.plan, "shards": count, "files": listed}
        with _writable(self.path):
            replace_file(self.path / MANIFEST, lambda file: _write_json(file, content))
            sync(self.path)
            (self.path / PLAN).unlink(missing_ok=True)
        self.done = True

    def _sweep(self) -> None:
        for left in [*self.path.glob(".shard-*"), *self.path.glob(".*.part")]:
            shutil.rmtree(left, ignore_errors=True)
            left.unlink(missing_ok=True)


@contextmanager
def new_shard(folder: Path, number: int, said: dict[str, Any]) -> Iterator[Path]:
    """A place to write the arrays of a shard, which appears in the folder when the block ends well.

    `said` is written to its `shard.json` and may be filled within the block.
    """
    final = folder / shard_name(number)
    with _writable(folder):
        stage = Path(mkdtemp(prefix=f".{final.name}-", dir=folder))
        try:
            yield stage
            said["files"] = {file.name: described(file) for file in sorted(stage.iterdir())}
            _write_json(stage / SHARD, said)
            stage.chmod(0o755)
            sync(stage)
            stage.rename(final)
            sync(folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def read_manifest(folder: Path, format_name: str, version: int) -> dict[str, Any]:
    """Return what the manifest of a complete folder says, after checking that every file is there in its size.

    Files beside the shards are small and are compared with their SHA-256 as well; `verify` does so with all of them.
    """
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{folder} is not complete, it has no {MANIFEST}; say the command that makes it again")
    manifest = read_said(folder / MANIFEST)
    if manifest.get("format") != format_name:
        raise ValueError(f"{folder} holds {manifest.get('format')!r}; expected {format_name!r}")
    if manifest.get("version") != version:
        raise ValueError(
            f"{folder} is of version {manifest.get('version')}, this program reads {version}; make the folder anew"
        )
    for name, problem in _problems(folder, manifest, everything=False):
        raise ValueError(f"{folder}: {name} {problem}; the folder is damaged: fetch or make it again")
    return manifest


def verify(folder: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Return every file of a stored folder that is not what was written, with what is wrong; all bytes are read."""
    path = Path(folder)
    return list(_problems(path, read_said(path / MANIFEST), everything=True))


def is_stored(folder: Path, format_name: str) -> bool:
    """Whether a folder says of itself that it is of a format, complete or not; ValueError where it is damaged."""
    for name in (MANIFEST, PLAN):
        if (folder / name).is_file():
            try:
                return bool(read_said(folder / name).get("format") == format_name)
            except ValueError:
                if any(folder.glob("shard-*")):
                    raise
    return False


def shard_name(number: int) -> str:
    return f"shard-{number:05d}"


def read_said(path: Path) -> dict[str, Any]:
    """Return what a JSON file of a stored folder says; ValueError names one that is damaged."""
    return read_json(path, what="what a stored folder says of itself", most=_MAX_JSON, remedy="make the folder anew")


def described(file: Path) -> dict[str, Any]:
    """A file's bytes and SHA-256, once they are on the disk."""
    sync(file)
    return {"bytes": file.stat().st_size, "sha256": digest(file)}


def _problems(folder: Path, manifest: dict[str, Any], *, everything: bool) -> Iterator[tuple[str, str]]:
    listed = manifest.get("files")
    if not isinstance(listed, dict):
        raise ValueError(f"{folder / MANIFEST}: it lists no files; the file is damaged: make the folder anew")
    for name, entry in listed.items():
        shard, _, file = name.rpartition("/")
        if (shard and not _NAME.fullmatch(shard)) or not re.fullmatch(r"[a-z_]+\.(npy|json)", file):
            raise ValueError(f"{folder / MANIFEST}: it lists {name!r}, which no stored folder holds: make it anew")
        if not isinstance(entry, dict) or not entry.keys() >= {"bytes", "sha256"}:
            raise ValueError(f"{folder / MANIFEST}: it says nothing of {name}; it is damaged: make the folder anew")
        path = folder / name
        if not path.is_file():
            yield name, "is missing"
        elif path.stat().st_size != entry["bytes"]:
            yield name, f"has {path.stat().st_size} bytes, written were {entry['bytes']}"
        elif (everything or not shard) and digest(path) != entry["sha256"]:
            yield name, "is not what was written: its SHA-256 differs"


def _begun(path: Path) -> dict[str, Any] | None:
    """The plan of what is in a folder; None where nothing was begun."""
    if (path / MANIFEST).is_file():
        return dict(read_said(path / MANIFEST).get("plan", {}))
    if (path / PLAN).is_file():
        return read_said(path / PLAN)
    return None


def _locked(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass  # no such locks on this system
    except BlockingIOError:
        os.close(descriptor)
        raise BlockingIOError(f"another process is writing {folder}; wait for it, or stop it") from None
    return descriptor


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise  # it says already what is wrong
        raise OSError(
            f"{folder} cannot be written ({error.strerror or error}); what is complete stays: make room, or choose "
            "another place, and say the same again"
        ) from error


def _spelt(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(_spelt(content), encoding="utf-8")
    sync(file)
