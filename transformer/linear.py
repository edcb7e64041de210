"""A linear layer that computes faster where nothing is learned."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_FEWEST = 4
"""Fewer rows than this take oneDNN's packed product longer than this many do."""
_SMALLEST, _SMALLEST_FOR_FEW = 2**17, 2**19
"""Smaller weights are read as they are, since the call costs more than it saves; the latter for few rows."""
_LARGEST, _ZERO = 127, 128
"""Largest whole number of 8 bits with a sign, and what stands for zero where there is none."""
_TUNED_FOR = 32
"""Rows that weights are packed for; what results is as good for any other number."""


class Linear(nn.Linear):
    """`y = W x`, without a bias; in evaluation on a CPU, from a copy of W in the order in which it is read.

    Its weight can be held in bfloat16 (`to`) or in whole numbers (`quantize`); inputs are then rounded like it, while
    what comes out keeps their type.

    The copy is made at the first use and anew when the weight has changed, and takes the weight's memory once more.
    Not every optimizer tells the weight's version of its changes, so that any pass with gradients drops the copy.
    """

    scale: Float[Tensor, " o"] | None
    """After `quantize`, the unit of each of the weight's rows."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.register_buffer("scale", None, persistent=False)
        self._packed: dict[tuple[int, int], Tensor] = {}
        self._source: tuple[Tensor, int] | None = None

    def forward(
        self, x: Float[Tensor, "*b i"], start: int | None = None, stop: int | None = None
    ) -> Float[Tensor, "*b o"]:
        """All outputs, or only those from `start` to `stop - 1`."""
        if self.scale is not None:
            return self._in_whole_numbers(x, start, stop)
        if x.dtype != self.weight.dtype and not torch.is_autocast_enabled(x.device.type):
            return self(x.to(self.weight.dtype), start, stop).to(x.dtype)  # type: ignore[no-any-return]
        if not self._packs(x):
            if torch.is_grad_enabled():
                self._packed.clear()
            return F.linear(x, self.weight if start is None and stop is None else self.weight[start:stop])
        rows = x.reshape(-1, x.shape[-1])
        few = len(rows)
        if few < _FEWEST:
            rows = F.pad(rows, (0, 0, 0, _FEWEST - few))
        out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._weight(start, stop), None, "none", [], "")
        return out[:few].view(*x.shape[:-1], out.shape[-1])

    @torch.no_grad()
    def quantize(self) -> None:
        """Hold the weight in 8 bits, each row in units of its own; without gradients from now on."""
        weight = self.weight.float()
        scale = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / _LARGEST
        self.weight = nn.Parameter((weight / scale[:, None]).round().to(torch.int8), requires_grad=False)
        self.scale = scale

    def _in_whole_numbers(self, x: Tensor, start: int | None, stop: int | None) -> Tensor:
        """Every row of inputs in units of its own too, so that no row depends on another."""
        assert self.scale is not None
        scale, rows = self.scale[start:stop], x.reshape(-1, x.shape[-1]).float()
        if x.device.type != "cpu" or not torch.cpu._is_vnni_supported():
            return F.linear(x, (self.weight[start:stop] * scale[:, None]).to(x.dtype))
        unit = rows.abs().amax(dim=1, keepdim=True).clamp_(min=torch.finfo(torch.float32).tiny).div_(_LARGEST)
        whole = (rows / unit).round_().add_(_ZERO).to(torch.uint8)
        offsets = torch.zeros(len(scale), dtype=torch.long)
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, _ZERO, self._weight(start, stop), scale, offsets, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return out.mul_(unit).view(*x.shape[:-1], len(scale)).to(x.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": {}, "_source": None}  # a packed weight can be neither copied nor pickled

    def _packs(self, x: Tensor) -> bool:
        smallest = _SMALLEST_FOR_FEW if x.numel() < _FEWEST * x.shape[-1] else _SMALLEST
        return (
            x.device.type == "cpu"
            and self.weight.numel() >= smallest
            and x.dtype == self.weight.dtype
            and x.dtype in (torch.float32, torch.bfloat16)
            and not self.training
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and torch.backends.mkldnn.is_available()
        )

    def _weight(self, start: int | None, stop: int | None) -> Tensor:
        """The wanted rows of the weight in oneDNN's order."""
        weight = self.weight.detach()
        version = 0 if weight.is_inference() else weight._version
        # Holding on to the weight that was packed keeps another one from appearing at its address.
        if self._source is None or (self._source[0].data_ptr(), self._source[1]) != (weight.data_ptr(), version):
            self._packed, self._source = {}, (weight, version)
        first, last, _ = slice(start, stop).indices(len(weight))
        if (first, last) not in self._packed:
            part = weight[first:last]
            if self.scale is None:
                self._packed[first, last] = torch.ops.mkldnn._reorder_linear_weight(part, _TUNED_FOR)
            else:
                self._packed[first, last] = torch.ops.onednn.qlinear_prepack(part, None)
        return self._packed[first, last]
