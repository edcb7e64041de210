"""What goes over the wire, both ways: MessagePack, with arrays as {"dtype", "shape", "data"}.

Nothing is ever unpickled. An array has one of a few dtypes, and as many bytes as its shape says; a number is finite;
what is not as described is a ValueError in one line.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from ivideo.web.message import MOST_BYTES, Message, shown

DTYPES = ("|b1", "|u1", "<i8", "<f4", "<f8")
_PARTS = {"dtype", "shape", "data"}
_DIMENSIONS = 5


def read(given: str | bytes | None) -> Message:
    """What a client wants; ValueError where it is no message."""
    if not isinstance(given, bytes):
        raise ValueError("the message is text; expected MessagePack in a binary message")
    if len(given) > MOST_BYTES:
        raise ValueError(f"the message has {len(given)} bytes; expected at most {MOST_BYTES}")
    fields = _unpacked(given)
    if not isinstance(fields, dict) or not isinstance(fields.get("do"), str):
        raise ValueError('the message says nothing to do; expected {"do": ...}')
    return Message(do=fields["do"], fields=fields)


def reply_to(given: object) -> int | None:
    """The number that a message has, to be repeated in its answer; None where it has none."""
    return given if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 2**53 else None


def packed(fields: Mapping[str, Any]) -> bytes:
    """A message to send; FloatingPointError where it would hold a number that is not finite."""
    made: bytes = msgpack.packb(_sendable(fields), use_bin_type=True)
    return made


def unpacked(given: bytes) -> dict[str, Any]:
    """A message that `packed` made, its arrays as arrays; for clients."""
    fields = _unpacked(given)
    if not isinstance(fields, dict):
        raise ValueError("the message holds no fields")
    return {name: _array(name, value) if _is_array(value) else value for name, value in fields.items()}


def array(message: Message, name: str, *, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array of that dtype and shape, all its numbers finite."""
    value = message.fields.get(name)
    if not isinstance(value, dict) or not _is_array(value):
        raise ValueError(f'{name} is {shown(value)}; expected an array: {{"dtype", "shape", "data"}}')
    made = _array(name, value)
    if made.dtype.str != dtype or made.shape != shape:
        raise ValueError(
            f"{name} is an array {made.dtype.str} of shape {list(made.shape)}; expected {dtype} of {list(shape)}"
        )
    return made


def seeds(message: Message, name: str, count: int) -> list[int | None] | None:
    """So many whole numbers or nulls, or nothing at all."""
    value = message.fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{name} is {shown(value)}; expected a list of {count} whole numbers or nulls")
    for each in value:
        if each is not None and (not isinstance(each, int) or isinstance(each, bool) or not 0 <= each < 2**63):
            raise ValueError(f"{name} holds {shown(each)}; expected whole numbers from 0 to 2**63 - 1, or nulls")
    return value


def _unpacked(given: bytes) -> Any:
    try:
        return msgpack.unpackb(given, raw=False, strict_map_key=True, ext_hook=_no_extension)
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
        why = " ".join(str(error).split())[:80] or type(error).__name__
        raise ValueError(f"the message is no MessagePack that is known here ({why})") from error


def _no_extension(code: int, data: bytes) -> object:
    raise ValueError(f"extension type {code} is not used here")


def _is_array(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == _PARTS


def _array(name: str, value: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape, data = value["dtype"], value["shape"], value["data"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"the dtype of {name} is {shown(dtype)}; expected one of {', '.join(DTYPES)}")
    whole = isinstance(shape, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in shape)
    if not whole or len(shape) > _DIMENSIONS or not all(0 <= each < 2**31 for each in shape):
        raise ValueError(f"the shape of {name} is no list of at most {_DIMENSIONS} whole numbers")
    wanted = math.prod(shape) * np.dtype(dtype).itemsize
    if not isinstance(data, bytes) or len(data) != wanted:
        held = f"{len(data)} bytes" if isinstance(data, bytes) else shown(data)
        raise ValueError(f"{name} holds {held}; expected the {wanted} bytes of {dtype} in shape {shape}")
    if dtype == "|b1" and data.strip(b"\0\1"):
        raise ValueError(f"{name} holds bytes that are neither false nor true")
    made = np.frombuffer(data, dtype).reshape(shape).copy()  # or it could not be written to
    if dtype in ("<f4", "<f8") and not np.isfinite(made).all():
        raise ValueError(f"{name} holds NaN or infinite values; expected finite numbers")
    return made


def _sendable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.str not in DTYPES:
            raise TypeError(f"an array of {value.dtype} is not sent here")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise FloatingPointError("the model gave numbers that are not finite")
        return {"dtype": value.dtype.str, "shape": list(value.shape), "data": np.ascontiguousarray(value).tobytes()}
    if isinstance(value, float) and not math.isfinite(value):
        raise FloatingPointError("the model gave numbers that are not finite")
    if isinstance(value, Mapping):
        return {key: _sendable(each) for key, each in value.items()}
    return [_sendable(each) for each in value] if isinstance(value, Sequence) and _is_list(value) else value


def _is_list(value: Sequence[Any]) -> bool:
    return not isinstance(value, str | bytes)
