"""Layers that cost less where nothing is learned: from packed weights, in bfloat16, or in whole numbers of 8 bits.

With fewer bits, inputs and weights are rounded; sums and what comes out are not, and the weights themselves stay as
they are. In whole numbers every output channel of a weight has a unit of its own, and so has every row of a batch
(every token, where a layer maps tokens), so that no row depends on another.
"""

from collections.abc import Callable, Hashable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

_LARGEST, _ZERO = 127, 128
"""Largest whole number of 8 bits with a sign, and what stands for zero where there is none."""
_SMALLEST = 2**17
"""Smaller weights are read as they are in float32, since the call costs more than it saves."""
_TUNED_FOR = 256
"""Tokens that weights are packed for; what results is as good for any other number."""


class Reducible(nn.Module):
    """What may be told to compute in fewer bits (`reduced`), in evaluation on a CPU that has instructions for them.

    What a faster way makes of a weight is kept until the weight changes. Not every optimizer tells the weight's version
    of its changes, so that any pass with gradients has to drop it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.direct = False
        """Whether to leave faster ways alone, for comparison."""
        self.reduced: torch.dtype | None = None
        """In what to multiply where that can be: bfloat16, int8, or like the weight."""
        self._kept: dict[Hashable, tuple[Tensor, ...]] = {}
        self._source: tuple[Tensor, int] | None = None

    def reduces(self, x: Tensor) -> bool:
        """Whether to compute in fewer bits: told to, nothing is learned, and the processor can."""
        if self.reduced is None or not self.evaluates(x):
            return False
        if self.reduced == torch.int8:
            return torch.cpu._is_vnni_supported()
        return torch.cpu._is_avx512_bf16_supported()

    def evaluates(self, x: Tensor) -> bool:
        """Whether nothing is learned, on a CPU, in the type that weights are stored in."""
        return (
            not self.direct
            and x.device.type == "cpu"
            and x.dtype == torch.float32
            and not self.training
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
        )

    def packs(self, x: Tensor, weight: Tensor) -> bool:
        """Whether a linear map pays from a packed copy of its weight."""
        large = weight.numel() >= _SMALLEST and torch.backends.mkldnn.is_available()
        return self.reduces(x) or (large and self.evaluates(x))

    def kept(self, kind: Hashable, weight: Tensor, make: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What a way of computing reads in the weight's place and beside it, made at the first use."""
        weight = weight.detach()
        version = 0 if weight.is_inference() else weight._version
        # Holding on to the weight that was read keeps another one from appearing at its address.
        if self._source is None or (self._source[0].data_ptr(), self._source[1]) != (weight.data_ptr(), version):
            self._kept, self._source = {}, (weight, version)
        if kind not in self._kept:
            self._kept[kind] = make(weight)
        return self._kept[kind]

    def drop(self) -> None:
        """Forget what was made of the weight if it may be about to change."""
        if torch.is_grad_enabled():
            self._kept.clear()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}, "_source": None}  # a packed weight can be neither copied nor pickled

    def linear(
        self, x: Float[Tensor, "*b i"], weight: Float[Tensor, "n i"], bias: Float[Tensor, " n"], rows: slice
    ) -> Float[Tensor, "*b o"]:
        """`W x + b` by the wanted rows of a weight: in evaluation from a packed copy, perhaps in fewer bits."""
        if not self.packs(x, weight):
            self.drop()
            return F.linear(x, weight[rows], bias[rows])
        dtype = self.reduced if self.reduces(x) else torch.float32

        def make(weight: Tensor) -> tuple[Tensor, ...]:
            if dtype == torch.float32:
                return (torch.ops.mkldnn._reorder_linear_weight(weight[rows], _TUNED_FOR),)
            if dtype == torch.bfloat16:
                return (weight[rows].to(dtype),)
            whole, *units = _whole_weight(weight[rows])
            return torch.ops.onednn.qlinear_prepack(whole, None), *units

        made = self.kept((dtype, rows.start, rows.stop), weight, make)
        return _product(x.reshape(-1, x.shape[-1]), bias[rows], *made).view(*x.shape[:-1], -1)


class ReducibleLinear(nn.Linear, Reducible):
    """A linear layer with a bias that may compute in fewer bits."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        return self.linear(x, self.weight, self.bias, slice(None))


class ReducibleConv2d(nn.Conv2d, Reducible):
    """A convolution that may compute in fewer bits."""

    bias: Tensor

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=stride, padding=padding)

    def forward(self, x: Float[Tensor, "b c_in h w"]) -> Float[Tensor, "b c_out h2 w2"]:
        if self.kernel_size == (1, 1) and self.packs(x, self.weight):
            pixels = self.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias, slice(None))
            return pixels.permute(0, 3, 1, 2)
        if self.reduces(x):
            return self.in_fewer_bits(x)
        self.drop()
        return super().forward(x)

    def in_fewer_bits(
        self, x: Float[Tensor, "b c_in h w"], form: Callable[[Tensor], Tensor] | None = None
    ) -> Float[Tensor, "b c_out2 h2 w2"]:
        """In the `reduced` type, perhaps by another `form` of the filter, of several times the output channels."""
        geometry: tuple[Any, Any, Any] = (self.stride, self.padding, self.dilation)
        dtype = self.reduced
        assert dtype is not None

        def make(weight: Tensor) -> tuple[Tensor, ...]:
            weight = weight if form is None else form(weight)
            if dtype == torch.bfloat16:
                return (weight.to(dtype, memory_format=torch.channels_last),)
            whole, *units = _whole_weight(weight)
            return torch.ops.onednn.qconv_prepack(whole, units[0], 1.0, _ZERO, *geometry, 1, None), *units

        weight, *units = self.kept((dtype, form), self.weight, make)
        bias = self.bias.repeat(weight.shape[0] // self.out_channels)
        if dtype == torch.bfloat16:
            x = x.to(dtype, memory_format=torch.channels_last)
            return F.conv2d(x, weight, bias.to(dtype), *geometry).float()
        whole, unit = _whole(x.contiguous(memory_format=torch.channels_last), (1, 2, 3))
        out: Tensor = torch.ops.onednn.qconv2d_pointwise(
            whole, 1.0, _ZERO, weight, *units, None, *geometry, 1, 1.0, 0, torch.float32, "none", [], ""
        )
        return out.mul_(unit).add_(bias[:, None, None])


def _product(x: Float[Tensor, "n i"], bias: Tensor, weight: Tensor, *units: Tensor) -> Float[Tensor, "n o"]:
    """`W x + b` by what `Reducible.linear` keeps."""
    if weight.dtype == torch.bfloat16:
        return F.linear(x.to(weight.dtype), weight, bias.to(weight.dtype)).float()
    if not units:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return out
    whole, unit = _whole(x, (1,))
    out = torch.ops.onednn.qlinear_pointwise(
        whole, 1.0, _ZERO, weight, *units, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return out.mul_(unit).add_(bias)


def _whole(x: Tensor, dims: tuple[int, ...]) -> tuple[UInt8[Tensor, "..."], Float[Tensor, "..."]]:
    """Whole numbers that stand for `x` times a unit, which is one over `dims`, with 128 for zero."""
    unit = torch.maximum(x.amax(dims, keepdim=True), -x.amin(dims, keepdim=True))
    unit = unit.div_(_LARGEST).clamp_(min=torch.finfo(x.dtype).tiny)
    return (x * (1 / unit)).add_(_ZERO + 0.5).to(torch.uint8), unit


def _whole_weight(weight: Float[Tensor, "o ..."]) -> tuple[Tensor, Float[Tensor, " o"], Tensor]:
    """A weight in whole numbers, the unit of each output channel, and what stands for zero in each."""
    unit = weight.abs().flatten(1).amax(dim=1).div_(_LARGEST).clamp_(min=torch.finfo(weight.dtype).tiny)
    whole = (weight / unit.view(-1, *[1] * (weight.ndim - 1))).round_().to(torch.int8)
    return whole, unit, torch.zeros(len(unit), dtype=torch.long)
