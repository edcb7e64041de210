"""How sharply an agent sees: frames as they are, or smaller ones that cost it less."""

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor


def shrunken(frames: UInt8[Tensor, "b c s s"], shrink: int) -> UInt8[Tensor, "b c r r"]:
    """Means over squares with sides of `shrink` pixels, rounded; a remainder at the right and lower edge is left out.

    1 gives the frames themselves.
    """
    if shrink == 1:
        return frames
    pooled = F.avg_pool2d(frames.float(), shrink)
    return pooled.round().to(torch.uint8)
