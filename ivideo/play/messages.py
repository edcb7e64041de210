"""What goes over the wire, both ways: JSON, with raw bytes behind it where there are pictures or files.

A text message is JSON. A binary one is the length of its JSON, four bytes with the lowest first, then the JSON, then
the bytes. Nothing that comes in is trusted: what is not as described is a ValueError in one line.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 1 << 20
"""Of a message that comes in."""
_HEAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody at the page wants."""

    do: str
    fields: Mapping[str, Any]
    payload: bytes = b""

    def whole(self, name: str, *, least: int = 0, most: int = 2**31) -> int:
        """A whole number within limits."""
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name} is {_shown(value)}; expected a whole number from {least} to {most}")
        return value

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """So many finite numbers."""
        value = self.fields.get(name)
        if not isinstance(value, list) or len(value) != count:
            raise ValueError(f"{name} is {_shown(value)}; expected a list of {count} numbers")
        return tuple(_finite(name, each) for each in value)

    def number(self, name: str, *, least: float, most: float) -> float:
        """A finite number within limits."""
        value = _finite(name, self.fields.get(name))
        if not least <= value <= most:
            raise ValueError(f"{name} is {value:g}; expected {least:g} to {most:g}")
        return value

    def word(self, name: str, among: Sequence[str]) -> str:
        """One of some words."""
        value = self.fields.get(name)
        if not isinstance(value, str) or value not in among:
            raise ValueError(f"{name} is {_shown(value)}; expected one of {', '.join(among)}")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.fields.get(name)
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {_shown(value)}; expected true or false")
        return value


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


def _finite(name: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e9 and math.isfinite(value):
        return float(value)
    raise ValueError(f"{name} holds {_shown(value)}; expected finite numbers, at most 1e9")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number that JSON knows")


def _sendable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _sendable(each) for key, each in value.items()}
    return [_sendable(each) for each in value] if isinstance(value, list | tuple) else value


def _shown(value: object) -> str:
    """A value as it may be repeated to whoever sent it: short."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return "a huge number"
    shown = json.dumps(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return shown if len(shown) <= 40 else f"{shown[:36]} ..."
