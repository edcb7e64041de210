"""TFRecord files, read without TensorFlow: where each record lies, and any one of them.

A record is its length (8 bytes, little-endian), the length's checksum (4), the payload, and the payload's checksum
(4). The first three are checked for every record on the way to the next; payloads only when asked, for that means
reading them.
"""

import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from ivideo.data.sources.crc32c import masked
from ivideo.data.sources.source import Array

MAX_RECORD_BYTES = 2 * 2**30
"""What a protocol buffer may take at most."""
_HEADER, _FOOTER = 12, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The whole records of a file, and what is wrong after the last of them."""

    path: Path
    starts: Int64[Array, "n"]
    """Where each payload begins, in bytes."""
    lengths: Int64[Array, "n"]
    damage: str | None
    """Why the file ends here, if it should not; None for a whole file."""

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, number: int, *, check: bool = False) -> bytes:
        """Return a payload; with `check`, after comparing it to its checksum.

        Raises ValueError naming file and record when there is no such record, or it is damaged.
        """
        if not 0 <= number < len(self):
            why = self.damage or f"it holds {len(self)} records"
            raise ValueError(f"{self.path}: record {number} cannot be read: {why}; fetch the file again")
        length = int(self.lengths[number])
        with self.path.open("rb") as file:
            file.seek(int(self.starts[number]))
            payload, footer = file.read(length), file.read(_FOOTER)
        if len(payload) < length or len(footer) < _FOOTER:
            raise ValueError(f"{self.path}: record {number} breaks off; the file is truncated: fetch it again")
        if check and masked(payload) != struct.unpack("<I", footer)[0]:
            raise ValueError(
                f"{self.path}: record {number} does not match its checksum; the file is damaged: fetch it again"
            )
        return payload


def records(path: Path) -> Records:
    """Return where the records of a file lie; a file is gone through once as long as it does not change.

    One that cannot be opened has none, and its damage says so.
    """
    try:
        state = path.stat()
        return _records(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        none = np.array([], dtype=np.int64)
        return Records(path=path, starts=none, lengths=none, damage=f"it cannot be opened ({error.strerror or error})")


@lru_cache(maxsize=256)
def _records(path: Path, size: int, _modified: int) -> Records:
    starts: list[int] = []
    lengths: list[int] = []
    damage = "the file is empty" if not size else None
    place = 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while place < size and damage is None:
            header = os.pread(descriptor, _HEADER, place)
            if len(header) < _HEADER:
                damage = f"the file breaks off within record {len(starts)}, it is truncated"
                break
            length, checksum = struct.unpack("<QI", header)
            end = place + _HEADER + length + _FOOTER
            if masked(header[:8]) != checksum:
                damage = f"the length of record {len(starts)} does not match its checksum, the file is damaged"
            elif length > MAX_RECORD_BYTES:
                damage = f"record {len(starts)} claims {length} bytes, more than {MAX_RECORD_BYTES}"
            elif end > size:
                damage = f"the file breaks off within record {len(starts)}, it is truncated"
            else:
                starts.append(place + _HEADER)
                lengths.append(length)
                place = end
    finally:
        os.close(descriptor)
    return Records(
        path=path, starts=np.array(starts, dtype=np.int64), lengths=np.array(lengths, dtype=np.int64), damage=damage
    )
