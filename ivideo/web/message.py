"""What somebody wants, as it came over the wire: a field is trusted once it was asked for by kind and limits."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 1 << 20
"""Of a message that comes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody wants. A field that is not as asked for is a ValueError in one line."""

    do: str
    fields: Mapping[str, Any]
    payload: bytes = b""

    def whole(self, name: str, *, least: int = 0, most: int = 2**31) -> int:
        """A whole number within limits."""
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name} is {shown(value)}; expected a whole number from {least} to {most}")
        return value

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """So many finite numbers."""
        value = self.fields.get(name)
        if not isinstance(value, list) or len(value) != count:
            raise ValueError(f"{name} is {shown(value)}; expected a list of {count} numbers")
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
            raise ValueError(f"{name} is {shown(value)}; expected one of {', '.join(among)}")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.fields.get(name)
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {shown(value)}; expected true or false")
        return value


def shown(value: object) -> str:
    """A value as it may be repeated to whoever sent it: short."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return "a huge number"
    text = json.dumps(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:36]} ..."


def _finite(name: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e9 and math.isfinite(value):
        return float(value)
    raise ValueError(f"{name} holds {shown(value)}; expected finite numbers, at most 1e9")
