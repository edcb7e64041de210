"""Folders as a search for episodes sees them: names alone, in natural order, each folder once."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder of a data set, and what is in it that is not hidden."""

    path: Path
    prefix: str
    """Where it lies below what was opened: "" or "some/where/"."""
    folders: list[str]
    files: list[str]

    def named(self, *suffixes: str) -> list[str]:
        return [name for name in self.files if name.lower().endswith(suffixes)]


def walk(root: Path) -> Iterator[Folder]:
    """Yield folders from the top, in natural order; what is taken out of `folders` is not entered, nor is a loop."""
    waiting = [(root, "")]
    seen: set[tuple[int, int]] = set()
    while waiting:
        path, prefix = waiting.pop()
        state = path.stat()
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        folders: list[str] = []
        files: list[str] = []
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    (folders if _is_folder(entry) else files).append(entry.name)
        folder = Folder(
            path=path, prefix=prefix, folders=sorted(folders, key=natural), files=sorted(files, key=natural)
        )
        yield folder
        waiting += [(path / name, f"{prefix}{name}/") for name in reversed(folder.folders)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: reading it will say so
        return False


def stem(name: str) -> str:
    """Return a name without its last suffix."""
    return name.rpartition(".")[0] or name


def suffix(name: str) -> str:
    """Return the last suffix of a name, with its dot; empty without one."""
    dot = name.rfind(".")
    return name[dot:] if dot > 0 else ""


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts episode 2 before episode 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
