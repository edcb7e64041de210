"""The `.json` beside a video, read with one clear error for each way in which it can be wrong."""

from pathlib import Path
from typing import Any

import numpy as np

from ivideo.data.sources.source import Array
from ivideo.files import read_json

MAX_BYTES = 256 * 2**20


def load(path: Path) -> dict[str, Any]:
    """Return the annotation, a JSON object."""
    return read_json(path, what="the episode's annotation", most=MAX_BYTES, remedy="fetch it again")


def table(path: Path, annotation: dict[str, Any], key: str, columns: int | None = None) -> Array:
    """Return a list of equally long lists of numbers as float64 `[t columns]`."""
    try:
        values = np.array(annotation[key], dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {key!r} is no table of numbers ({error}); expected rows of numbers") from error
    if values.ndim != 2 or columns not in (None, values.shape[1]):
        width = "any number of" if columns is None else columns
        raise ValueError(f"{path}: {key!r} has shape {list(values.shape)}; expected rows of {width} numbers")
    return values


def text(annotation: dict[str, Any]) -> str:
    """Return the instruction that an annotation holds under "texts", "text" or "instruction"; empty without one."""
    for key in ("texts", "text", "instruction", "language_instruction"):
        value = annotation.get(key)
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""
