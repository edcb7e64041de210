"""Arrays out of `.npz` files nobody vouches for: sizes are checked before unpacking, and nothing is unpickled."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ivideo.data.sources.source import Array

MAX_ARRAY_BYTES = 8 * 2**30
"""Largest array that is read, unpacked; a file of a few kilobytes can claim to hold terabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an array is, read without unpacking it."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Arrays:
    """The arrays of an `.npz` file by name; each is read when asked for.

    Raises ValueError for a file that is empty, truncated, no archive, or larger than `MAX_ARRAY_BYTES` once unpacked,
    and for an array of Python objects, which would have to be unpickled.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.stat().st_size == 0:
            raise ValueError(f"{path}: the file is empty; expected an .npz archive: fetch or record it again")
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {
                    info.filename.removesuffix(".npy"): info.filename
                    for info in archive.infolist()
                    if info.filename.endswith(".npy")
                }
                self.headers = {key: self._header(archive, member) for key, member in self._members.items()}
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise ValueError(
                f"{path}: no readable .npz archive ({error}); expected one as numpy.savez writes it: "
                "the file is truncated or damaged, fetch or record it again"
            ) from error
        if not self._members:
            raise ValueError(f"{path}: the archive holds no arrays; expected an .npz as numpy.savez writes it")

    def __getitem__(self, key: str) -> Array:
        header = self.headers[key]
        if header.dtype.hasobject:
            raise ValueError(
                f"{self.path}: {key!r} is an array of Python objects, which could run code when read; expected plain "
                "numbers: save it again as a numeric array of one shape"
            )
        if header.bytes > MAX_ARRAY_BYTES:
            raise ValueError(
                f"{self.path}: {key!r} would unpack to {header.bytes / 2**30:.1f} GiB, shape {list(header.shape)}; "
                f"expected at most {MAX_ARRAY_BYTES / 2**30:.0f} GiB: split the file into episodes"
            )
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._members[key]) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self.path}: {key!r} cannot be read ({error}); expected an array of shape {list(header.shape)}: "
                "the file is truncated or damaged, fetch or record it again"
            ) from error

    def text(self, key: str) -> str:
        """Return a text kept as an array of one; empty where there is none."""
        return str(self[key].item()).strip() if self._single(key, "U") else ""

    def number(self, key: str) -> float | None:
        """Return a number kept as an array of one; None where there is none."""
        return float(self[key].item()) if self._single(key, "fiu") else None

    def _single(self, key: str, kinds: str) -> bool:
        header = self.headers.get(key)
        return header is not None and header.dtype.kind in kinds and math.prod(header.shape) == 1

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def __iter__(self) -> Iterator[str]:
        """The names of the arrays, in the order in which they were saved."""
        return iter(self._members)

    def _header(self, archive: zipfile.ZipFile, member: str) -> Header:
        with archive.open(member) as stream:
            try:
                version = np.lib.format.read_magic(stream)
                old = version == (1, 0)
                read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(stream)
            except ValueError as error:
                raise ValueError(
                    f"{self.path}: {member!r} is no array ({error}); expected .npy members: save it with numpy.savez"
                ) from error
            header, start = Header(shape=shape, dtype=dtype), stream.tell()
        held = archive.getinfo(member).file_size - start
        if held != header.bytes and not dtype.hasobject:
            raise ValueError(
                f"{self.path}: {member!r} holds {held} bytes but claims the shape {list(shape)}, {header.bytes} bytes; "
                "the file is truncated or damaged, fetch or record it again"
            )
        return header
