"""What goes over the wire, both ways: JSON, with raw bytes behind it where there are pictures or files.

A text message is JSON. A binary one is the length of its JSON, four bytes with the lowest first, then the JSON, then
the bytes. Nothing that comes in is trusted: what is not as described is a ValueError in one line.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from ivideo.web.message import MOST_BYTES as MOST_BYTES
from ivideo.web.message import Message as Message

_HEAD = 4


def read(given: str | bytes) -> Message:
    """What came in; ValueError where it is no message."""
    if len(given) > MOST_BYTES:
        raise ValueError(f"the message has {len(given)} bytes; expected at most {MOST_BYTES}")
    payload = b""
    if isinstance(given, bytes):
        length = int.from_bytes(given[:_HEAD], "little")
        if len(given) < _HEAD or length > len(given) - _HEAD:
            raise ValueError("the binary message is shorter than it says; expected a length, JSON and bytes")
        given, payload = given[_HEAD : _HEAD + length], given[_HEAD + length :]
    try:
        fields = json.loads(given, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the message is no JSON ({str(error)[:80]})") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("do"), str):
        raise ValueError('the message says nothing to do; expected {"do": ...}')
    return Message(do=fields["do"], fields=fields, payload=payload)


def text(fields: Mapping[str, Any]) -> str:
    """JSON to send; numbers that are not finite become null, which is all that JSON has for them."""
    return json.dumps(_sendable(fields), allow_nan=False, separators=(",", ":"))


def binary(fields: Mapping[str, Any], payload: bytes) -> bytes:
    """JSON with bytes behind it."""
    head = text(fields).encode()
    return len(head).to_bytes(_HEAD, "little") + head + payload


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """What `binary` put together, for clients in Python."""
    length = int.from_bytes(message[:_HEAD], "little")
    return json.loads(message[_HEAD : _HEAD + length]), message[_HEAD + length :]


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number that JSON knows")


def _sendable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _sendable(each) for key, each in value.items()}
    return [_sendable(each) for each in value] if isinstance(value, list | tuple) else value
