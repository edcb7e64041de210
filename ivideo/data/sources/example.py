"""`tf.train.Example`, the protocol buffer in TFRecord files, parsed without TensorFlow.

An Example is a map from names to lists of bytes, floats (float32) or integers (int64). Names are found first; a list is
taken apart when it is asked for::

    Example   1: Features   1: repeated entry   1: name
                                                2: Feature   1: BytesList | 2: FloatList | 3: Int64List   1: values
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ivideo.data.sources.source import Array

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
KINDS = {1: "bytes", 2: "floats", 3: "integers"}


class Damaged(ValueError):
    """These bytes are no `tf.train.Example`."""


class Example:
    """One record's lists by name.

    Raises `Damaged` for bytes that are no Example, there and then or when a list is asked for.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._places: dict[str, tuple[int, int, int]] = {}
        try:
            for field, start, end in _messages(self._data, 0, len(data)):
                if field == 1:
                    for _, first, last in _messages(self._data, start, end):
                        self._entry(first, last)
        except (IndexError, UnicodeDecodeError) as error:
            raise Damaged("no tf.train.Example") from error

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def kind(self, name: str) -> str:
        """Return what a list holds: "bytes", "floats", "integers", or "nothing"."""
        return KINDS.get(self._places[name][0], "nothing")

    def bytes_list(self, name: str) -> list[bytes]:
        """Return the values of a list of bytes."""
        kind, start, end = self._places[name]
        if kind not in (0, 1):
            raise Damaged(f"{name!r} holds {self.kind(name)}, expected bytes")
        try:
            return [bytes(self._data[first:last]) for _, first, last in _messages(self._data, start, end)]
        except IndexError as error:
            raise Damaged(f"{name!r} breaks off") from error

    def numbers(self, name: str) -> Array:
        """Return the values of a list of floats, as float32, or of integers, as int64: `[n]`."""
        kind, start, end = self._places[name]
        if kind == 1:
            raise Damaged(f"{name!r} holds bytes, expected numbers")
        try:
            return _floats(self._data, start, end) if kind == 2 else _integers(self._data, start, end)
        except (IndexError, ValueError) as error:
            raise Damaged(f"{name!r} breaks off") from error

    def _entry(self, start: int, end: int) -> None:
        name, value = "", (end, end)
        for field, first, last in _messages(self._data, start, end):
            if field == 1:
                name = str(self._data[first:last], "utf-8")
            elif field == 2:
                value = (first, last)
        place = (0, 0, 0)
        for kind, first, last in _messages(self._data, *value):
            place = (kind, first, last)
        self._places[name] = place


def _messages(data: memoryview, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield field number, start and end of each length-delimited field; any other kind of field is damage."""
    while place < end:
        tag = data[place]
        place += 1
        if tag & 7 != _BYTES or tag > 127:
            raise IndexError(place)
        length = data[place]
        place += 1
        if length > 127:
            length, place = _varint(data, place - 1)
        last = place + length
        if last > end:
            raise IndexError(last)
        yield tag >> 3, place, last
        place = last


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise IndexError(place)


def _floats(data: memoryview, place: int, end: int) -> NDArray[np.float32]:
    if place == end:
        return np.empty(0, dtype=np.float32)
    if data[place] & 7 == _BYTES:  # packed, as TensorFlow writes them
        parts = [np.frombuffer(data[first:last], dtype="<f4") for _, first, last in _messages(data, place, end)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    single = np.frombuffer(data[place:end], dtype=[("tag", "u1"), ("value", "<f4")])
    if (single["tag"] != (1 << 3 | _FIXED32)).any():
        raise IndexError(place)
    return np.ascontiguousarray(single["value"])


def _integers(data: memoryview, place: int, end: int) -> NDArray[np.int64]:
    if place == end:
        return np.empty(0, dtype=np.int64)
    if data[place] & 7 == _BYTES:
        parts = [_varints(data[first:last]) for _, first, last in _messages(data, place, end)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    values = []
    while place < end:
        if data[place] != 1 << 3 | _VARINT:
            raise IndexError(place)
        value, place = _varint(data, place + 1)
        values.append(value - (1 << 64) if value >> 63 else value)
    if place != end:
        raise IndexError(place)
    return np.array(values, dtype=np.int64)


def _varints(data: memoryview) -> NDArray[np.int64]:
    """Return packed integers: seven bits a byte, low ones first, the eighth set on all but the last."""
    if not len(data):
        return np.empty(0, dtype=np.int64)
    raw = np.frombuffer(data, dtype=np.uint8)
    last = raw < 128
    if not last[-1]:
        raise IndexError(len(data))
    if last.all():
        return raw.astype(np.int64)
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() > 9:
        raise IndexError(len(data))
    shifts = 7 * (np.arange(len(raw)) - np.repeat(starts, ends - starts + 1))
    bits = (raw & 127).astype(np.uint64) << shifts.astype(np.uint64)
    return np.add.reduceat(bits, starts).view(np.int64)
