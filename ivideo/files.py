"""Writing files and folders so that nothing that existed is damaged; what a mistyped path could have meant."""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile, mkdtemp
from typing import Any

_UNFINISHED = re.compile(r"\.(.+)\.\d+\.[0-9a-f]{8}\.part")
"""The file that `replace_file` moves into place when it is whole: `.NAME.PROCESS.RANDOM.part`."""


def check_new_file(path: Path, *, overwrite: bool = False) -> None:
    """Raise what writing to `path` would raise, before the work that leads up to it; leaves no trace.

    An existing file is a FileExistsError unless `overwrite`, a folder of that name an IsADirectoryError; a place in
    which nothing can be made is a NotADirectoryError, PermissionError or other OSError that names it.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected the name of a file to write")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; choose another --out, or pass --overwrite")
    place = _existing_parent(path)
    try:
        with TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def check_new_folder(folder: Path, *, overwrite: bool = False) -> None:
    """Raise FileExistsError for a file of that name, and for a folder that is not empty unless `overwrite`."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; expected a folder to make: choose another name, or remove the file")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} exists already and is not empty; choose another name, or remove it first")


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file beside `path`, then move it there in one step; missing folders are made.

    Raises an OSError that names `path` where that fails; what was there before is then untouched.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected the name of a file to write")
    made = _make_parent(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        temporary.touch()
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
        _remove_empty(made)


def remove_unfinished(folder: Path, name: re.Pattern[str]) -> None:
    """Remove what a process that was killed inside `replace_file` left of files with such names.

    For folders that one process at a time writes to: what another is writing there would go too.
    """
    for path in folder.glob(".*.part"):
        if (match := _UNFINISHED.fullmatch(path.name)) and name.fullmatch(match[1]):
            path.unlink(missing_ok=True)


@contextmanager
def staged_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into that takes the place of `folder` when the block ends well, and leaves no trace otherwise.

    Raises as `check_new_folder` does, and an OSError that names a place which cannot be written.
    """
    check_new_folder(folder, overwrite=overwrite)
    made = _make_parent(folder)
    try:
        stage = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield stage
        stage.chmod(0o755)
        if folder.exists():
            _exchange(stage, folder)
        else:
            stage.replace(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        _remove_empty(made)


@contextmanager
def folder_or_none(out: str | None) -> Iterator[Path]:
    """The folder to write to, which need not exist yet; without one a temporary one, forgotten when the block ends.

    Raises FileExistsError for a file of that name.
    """
    if out is None:
        with TemporaryDirectory() as folder:
            yield Path(folder)
        return
    place = Path(out).expanduser()
    if place.exists() and not place.is_dir():
        raise FileExistsError(f"{place} is a file; expected a folder to write to: choose another --out")
    yield place


def read_lines(file: Path) -> list[str]:
    """Return the lines of a text that are neither empty nor a comment (`#`); errors name the file."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: {nearby(file)}")
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text; expected one name a line") from None
    return [line for line in lines if line and not line.startswith("#")]


def read_json(file: Path, *, what: str, most: int, remedy: str) -> dict[str, Any]:
    """Return a JSON object; ValueError names a file that holds none, or more than `most` bytes: it is read whole.

    `what` says what the object holds, `remedy` what to do about a file that does not.
    """
    size = file.stat().st_size
    if size > most:
        raise ValueError(f"{file}: {size:,} bytes long; expected {what}, of at most {most:,} bytes")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{file}: no valid JSON in its {size:,} bytes ({error}); it is truncated or damaged: {remedy}"
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"{file}: a JSON {type(found).__name__}; expected an object with {what}: {remedy}")
    return found


def digest(file: Path) -> str:
    """Return a file's SHA-256, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Have the system put a file, or a folder's list of names, on the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def nearby(path: Path) -> str:
    """What to say of a path that does not exist: what is spelt most like it, else what there is in its place."""
    if path.is_symlink():
        return "it is a link that leads nowhere, or to itself"
    parent, names = _neighbours(path)
    near = near_names(path)
    if near:
        return f"there is no such file or folder; did you mean {' or '.join(near)}?"
    where = "this folder" if parent == Path() else str(parent)
    listed = f"holds {', '.join(names[:5])}{', ...' if names[5:] else ''}" if names else "is empty"
    return f"there is no such file or folder; {where} {listed}"


def near_names(path: Path) -> list[str]:
    """The paths that a path which does not exist could have meant: neighbours spelt like its first missing part."""
    parent, names = _neighbours(path)
    missing = path.relative_to(parent).parts[:1]
    return [str(parent / name) for part in missing for name in get_close_matches(part, names, n=3)]


def _neighbours(path: Path) -> tuple[Path, list[str]]:
    """The nearest folder above a path that exists, and the names in it that are not hidden."""
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    try:
        return parent, sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    except OSError:
        return parent, []


def _existing_parent(path: Path) -> Path:
    """The nearest thing above a path that exists, which must be a folder."""
    place = path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(f"{path} cannot be written, for {place} is a file; expected a folder")
    return place


def _make_parent(path: Path) -> list[Path]:
    """Make the folder that `path` lies in; the folders that this took, innermost first."""
    place = _existing_parent(path)
    made = [folder for folder in path.parents if folder != place and folder.is_relative_to(place)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return made


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders that were made for something that did not come to be."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _exchange(stage: Path, folder: Path) -> None:
    """Put `stage` in the place of `folder`, which is deleted once that is done."""
    grave = Path(mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    old = grave / folder.name
    folder.replace(old)
    try:
        stage.replace(folder)
    except OSError:
        old.replace(folder)
        raise
    finally:
        shutil.rmtree(grave, ignore_errors=True)


def _unwritable(path: Path, error: OSError) -> OSError:
    # PyAV's errors are OSErrors too, but are made from other arguments.
    kind = next(base for base in type(error).__mro__ if base.__module__ == "builtins")
    reason = error.strerror or str(error)
    refusal: OSError = kind(f"{path} cannot be written ({reason}); make room, or choose a place you may write to")
    return refusal
