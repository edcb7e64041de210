"""Frames as they are sent: raw, or as pictures that take fewer bytes and more time."""

import io
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Pictures: TypeAlias = Literal["raw", "png", "jpeg"]
"""png is exact; jpeg is not."""
PICTURES: tuple[Pictures, ...] = get_args(Pictures)


def drawn(frames: NDArray[np.uint8], kind: Pictures) -> "NDArray[np.uint8] | list[bytes]":
    """Frames `[n h w 3]` as they are sent."""
    if kind == "raw":
        return frames
    from PIL import Image

    made = []
    for frame in frames:
        file = io.BytesIO()
        if kind == "png":
            Image.fromarray(frame).save(file, "PNG", compress_level=1)
        else:
            Image.fromarray(frame).save(file, "JPEG", quality=90)
        made.append(file.getvalue())
    return made


def seen(sent: "NDArray[Any] | Sequence[bytes]") -> NDArray[Any]:
    """Frames, or whatever else was observed, as they were sent."""
    if isinstance(sent, np.ndarray):
        return sent
    from PIL import Image

    return np.stack([np.asarray(Image.open(io.BytesIO(each), formats=("PNG", "JPEG"))) for each in sent])
