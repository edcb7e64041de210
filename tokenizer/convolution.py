"""The 3x3 convolution of the residual networks, which costs less where nothing is learned."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from . import winograd

Kind: TypeAlias = Callable[[], winograd.Transforms]

_MIN_CHANNELS = 64
"""Below this, moving the windows costs more than the multiplications that are saved."""
_MIN_WINDOWS: dict[Kind, int] = {winograd.plain: 16, winograd.doubling: 4}
"""Below this, reading the larger filters costs more; measured on a CPU with AVX-512."""


class Convolution(nn.Conv2d):
    """A 3x3 convolution with a border of zeros; in evaluation on a CPU, by Winograd's minimal filtering.

    The evaluated filter, four to eleven times as large as the filter, is kept until the weight changes. Not every
    optimizer tells the weight's version of its changes, so that any pass with gradients drops it.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1)
        self.direct = False
        """Whether to leave the fast way alone, for comparison."""
        self._evaluated: dict[Kind, Tensor] = {}
        self._source: tuple[Tensor, int] | None = None

    def forward(self, x: Float[Tensor, "b c_in h w"]) -> Float[Tensor, "b c_out h w"]:
        if self._pays(x, winograd.plain):
            return self._filtered(x, winograd.plain)
        return self._direct(x)

    def after_doubling(self, x: Float[Tensor, "b c_in h w"]) -> Float[Tensor, "b c_out h2 w2"]:
        """The convolution of a map of twice the sides, in which every pixel is repeated."""
        if self._pays(x, winograd.doubling):
            return self._filtered(x, winograd.doubling)
        return self._direct(F.interpolate(x, scale_factor=2.0, mode="nearest"))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_evaluated": {}, "_source": None}

    def _direct(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self._evaluated.clear()
        return super().forward(x)

    def _filtered(self, x: Tensor, kind: Kind) -> Tensor:
        weight = self.weight.detach()
        version = 0 if weight.is_inference() else weight._version
        # Holding on to the weight that was evaluated keeps another one from appearing at its address.
        if self._source is None or (self._source[0].data_ptr(), self._source[1]) != (weight.data_ptr(), version):
            self._evaluated, self._source = {}, (weight, version)
        if kind not in self._evaluated:
            self._evaluated[kind] = kind().weight(weight)
        return winograd.convolve(x, self._evaluated[kind], self.bias, kind())

    def _pays(self, x: Tensor, kind: Kind) -> bool:
        batch, channels, height, width = x.shape
        return (
            not self.direct
            and x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and not self.training
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and channels >= _MIN_CHANNELS
            and height % winograd.STEP == width % winograd.STEP == 0
            and batch * height * width // winograd.STEP**2 >= _MIN_WINDOWS[kind]
        )
