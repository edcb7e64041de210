"""Arrays out of HDF5 files nobody vouches for: no link is followed, and sizes are checked before reading."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.data.sources.source import Array

SUFFIXES = (".hdf5", ".h5")
MAX_ARRAY_BYTES = 8 * 2**30
"""Largest array that is read; a file of a few kilobytes can claim to hold terabytes."""
_MAX_OBJECTS = 10_000


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file to read; ValueError naming it when it is empty, damaged or of another kind, now or while reading."""
    import h5py

    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty; expected HDF5: fetch or record it again")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path}: no readable HDF5 ({reason}); the file is truncated or damaged: fetch or record it again"
        ) from error


def member(path: Path, group: Any, name: str) -> Any | None:
    """Return what lies under a name, such as `env/state`; None for nothing, ValueError for a link to elsewhere."""
    import h5py

    for part in name.split("/"):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise ValueError(
                f"{path}: {name!r} is a link ({type(link).__name__}), which could lead out of the file; expected the "
                "data itself: copy it in with h5repack or h5py"
            )
        group = group[part]
    return group


def array(path: Path, group: Any, name: str, rows: slice = slice(None)) -> Array:
    """Return an array, or some of its rows; ValueError naming it when there is none, or it is not plain numbers."""
    import h5py

    found = member(path, group, name)
    if not isinstance(found, h5py.Dataset):
        raise ValueError(
            f"{path}: there is no array {name!r} in {group.name!r}; it holds {', '.join(map(repr, group))}"
        )
    if found.external or found.is_virtual:
        raise ValueError(f"{path}: {name!r} keeps its numbers in another file; expected them in this one: repack it")
    if found.dtype.hasobject:
        raise ValueError(f"{path}: {name!r} holds objects ({found.dtype}); expected plain numbers")
    first, last, _ = rows.indices(found.shape[0] if found.shape else 0)
    total = found.dtype.itemsize * int(np.prod((last - first, *found.shape[1:]), dtype=float)) if found.shape else 0
    if total > MAX_ARRAY_BYTES:
        raise ValueError(
            f"{path}: {name!r} has shape {list(found.shape)}, {total / 2**30:.1f} GiB; expected at most "
            f"{MAX_ARRAY_BYTES / 2**30:.0f} GiB: split the file into episodes"
        )
    return np.asarray(found[rows] if found.shape else found[()])


def texts(path: Path, group: Any, name: str) -> list[str]:
    """Return an array of texts."""
    import h5py

    found = member(path, group, name)
    if not isinstance(found, h5py.Dataset) or found.ndim != 1 or found.size > 10**7:
        raise ValueError(f"{path}: there is no list of texts {name!r}")
    if h5py.check_string_dtype(found.dtype) is None:
        raise ValueError(f"{path}: {name!r} holds {found.dtype}; expected texts")
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in found[:].tolist()]


def children(group: Any) -> dict[str, Any]:
    """Return the groups and arrays right below a group by name; links are left out."""
    import h5py

    return {key: group[key] for key in group if isinstance(group.get(key, getlink=True), h5py.HardLink)}


def datasets(path: Path, group: Any, prefix: str = "", depth: int = 4) -> dict[str, Any]:
    """Return the arrays below a group by their names, those in groups below it too; links are left out."""
    found: dict[str, Any] = {}
    for key, inner in children(group).items():
        if not hasattr(inner, "keys"):
            found[prefix + key] = inner
        elif depth:
            found |= datasets(path, inner, f"{prefix}{key}/", depth - 1)
        if len(found) > _MAX_OBJECTS:
            raise ValueError(f"{path}: more than {_MAX_OBJECTS} arrays; expected the episodes of one data set")
    return found


def attribute(group: Any, name: str) -> str | float | None:
    """Return a single text or number that is noted on a group or array; None without it."""
    value = group.attrs.get(name)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (str, int, float)):
        return value
    return float(value) if isinstance(value, (np.number, np.bool_)) else None
