"""Frames made square and small: the one way in which this project resizes pictures."""

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

_CHUNK = 64


def resize(frames: UInt8[Tensor, "t 3 h w"], size: int, crop: bool = True) -> UInt8[Tensor, "t 3 size size"]:
    """Return square frames of side `size`, by antialiased bilinear interpolation.

    A frame that is not square is cut to its centre square first, which keeps shapes as they are; with `crop=False`
    the whole frame is squeezed instead.
    """
    if size < 1:
        raise ValueError(f"size is {size}; expected the side of a frame in pixels, at least 1")
    height, width = frames.shape[2:]
    if crop and height != width:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        frames = frames[:, :, top : top + side, left : left + side]
    if frames.shape[2:] == (size, size):
        return frames.contiguous()
    out = torch.empty(len(frames), 3, size, size, dtype=torch.uint8, device=frames.device)
    for start in range(0, len(frames), _CHUNK):  # of a long video, the copies made here would not fit
        chunk = frames[start : start + _CHUNK]
        # On a processor bytes with their colours side by side are resized several times faster than floats, within
        # one level of them; elsewhere that way does not exist.
        on_cpu = frames.device.type == "cpu"
        chunk = chunk.contiguous(memory_format=torch.channels_last) if on_cpu else chunk.float()
        scaled = F.interpolate(chunk, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        if not on_cpu:
            scaled = scaled.round_().clamp_(0, 255).to(torch.uint8)
        out[start : start + _CHUNK] = scaled
    return out
