"""The 3x3 convolution of the residual networks, which costs less where nothing is learned."""

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from . import winograd
from .reduced import ReducibleConv2d

Kind: TypeAlias = Callable[[], winograd.Transforms]

_MIN_CHANNELS = 64
"""Below this, moving the windows costs more than the multiplications that are saved."""
_MIN_WINDOWS: dict[Kind, int] = {winograd.plain: 16, winograd.doubling: 4}
"""Below this, reading the larger filters costs more; measured on a CPU with AVX-512."""


class Convolution(ReducibleConv2d):
    """A 3x3 convolution with a border of zeros; in evaluation on a CPU, by Winograd's minimal filtering.

    The evaluated filter is four to eleven times as large as the filter. Told to compute in fewer bits, the convolution
    does that instead.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c_in h w"]) -> Float[Tensor, "b c_out h w"]:
        if not self.reduces(x) and self._pays(x, winograd.plain):
            return self._filtered(x, winograd.plain)
        return super().forward(x)

    def after_doubling(self, x: Float[Tensor, "b c_in h w"]) -> Float[Tensor, "b c_out h2 w2"]:
        """The convolution of a map of twice the sides, in which every pixel is repeated.

        In fewer bits too the pixels themselves are never repeated: the four that one becomes see 2x2 of them each.
        """
        if self.reduces(x):
            return _interleaved(self.in_fewer_bits(x, _four_of_2x2))
        if self._pays(x, winograd.doubling):
            return self._filtered(x, winograd.doubling)
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))

    def _filtered(self, x: Tensor, kind: Kind) -> Tensor:
        weight = self.kept(kind, self.weight, lambda weight: winograd.packed(kind().weight(weight)))
        return winograd.convolve(x, weight, self.bias, kind())

    def _pays(self, x: Tensor, kind: Kind) -> bool:
        batch, channels, height, width = x.shape
        return (
            self.evaluates(x)
            and self.weight.dtype == torch.float32
            and channels >= _MIN_CHANNELS
            and height % winograd.STEP == width % winograd.STEP == 0
            and batch * height * width // winograd.STEP**2 >= _MIN_WINDOWS[kind]
        )


def _four_of_2x2(weight: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "o4 i 2 2"]:
    """The filters by which the four pixels that one becomes see what was there before."""
    taps = winograd.TAPS_OF_DOUBLED.to(weight)
    return torch.einsum("pua,oiab,qvb->pqoiuv", taps, weight, taps).flatten(0, 2)


def _interleaved(phases: Float[Tensor, "b o4 h w"]) -> Float[Tensor, "b o h2 w2"]:
    """One map of the four whose pixels lie beside each other; the second along an axis begins a pixel further on."""
    batch, channels, height, width = phases.shape
    four = phases.view(batch, 2, 2, channels // 4, height, width)
    rows, columns = height - 1, width - 1
    out = phases.new_empty(batch, 2 * rows, 2 * columns, channels // 4).permute(0, 3, 1, 2)
    for row in (0, 1):
        for column in (0, 1):
            seen = four[:, row, column, :, row : rows + row, column : columns + column]
            out[:, :, row::2, column::2] = seen
    return out
