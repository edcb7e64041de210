"""Features of a convolutional network with random weights: a distance that needs no download.

The weights are bytes of a hash function, so they are the same on every machine and with every version of every
library. Distances tell better from worse of one kind of clips; they compare with no published figure.
"""

import hashlib
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from tokenizer.published import tensors_sha256

WIDTHS = (32, 64, 128)
"""Channels of the three maps, each half as high and wide as the one before; the last two also half as long."""


class RandomFeatures(nn.Module):
    """Frames to the averages of all maps over all positions: 224 numbers of each clip or image.

    `name` is the seed. Half of the first filters see no uniform colour. Of a network with `time`, the others see
    nothing that stands still: random features of pictures drown what moves otherwise.
    """

    dim = sum(WIDTHS)

    def __init__(self, name: str, *, time: bool) -> None:
        super().__init__()
        before = 3
        for layer, width in enumerate(WIDTHS):
            drawn = _drawn(f"{name}/{layer}", (width, before, *((3,) if time else ()), 5, 5))
            if layer == 0:
                edges, others = drawn.chunk(2)
                others = _centred(others, (2,)) if time else others
                drawn = torch.cat([_centred(edges, tuple(range(2, drawn.ndim))), others])
            self.register_buffer(f"weight{layer}", drawn * math.sqrt(6 / math.prod(drawn.shape[1:])))
            before = width
        self._time = time

    @property
    def sha256(self) -> str:
        """Over the weights."""
        return tensors_sha256(self.buffers())

    def forward(self, frames: UInt8[Tensor, "n t 3 h w"] | UInt8[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 224"]:
        x = frames.float() / 127.5 - 1
        x = x.transpose(1, 2) if self._time else x
        means: list[Tensor] = []
        for layer in range(len(WIDTHS)):
            weight = self.get_buffer(f"weight{layer}")
            if self._time:
                x = F.relu(F.conv3d(x, weight, stride=(2 if layer else 1, 2, 2), padding=(1, 2, 2)))
            else:
                x = F.relu(F.conv2d(x, weight, stride=2, padding=2))
            means.append(x.flatten(2).mean(dim=2))
        features: Tensor = torch.cat(means, dim=1)
        return features


def _drawn(name: str, shape: tuple[int, ...]) -> Float32[Tensor, "..."]:
    """Numbers spread evenly over (-1, 1), multiples of 1/256."""
    stream = bytearray(hashlib.shake_256(name.encode()).digest(math.prod(shape)))
    numbers: Tensor = (2 * torch.frombuffer(stream, dtype=torch.int8).float() + 1).reshape(shape) / 256
    return numbers


def _centred(weights: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Weights less their mean, computed on integers first: sums of floats depend on the machine."""
    whole = (weights * 256).long()
    total = whole.sum(dim=axes, keepdim=True)
    count = whole.numel() // total.numel()
    return (whole * count - total).float() / (256 * count)
