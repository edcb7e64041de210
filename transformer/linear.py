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
_TUNED_FOR = 32
"""Rows that weights are packed for; what results is as good for any other number."""


class Linear(nn.Linear):
    """`y = W x`, without a bias; in evaluation on a CPU, from a copy of W in the order in which it is read.

    The copy is made at the first use and anew when the weight has changed, and takes the weight's memory once more.
    Not every optimizer tells the weight's version of its changes, so that any pass with gradients drops the copy.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self._packed: dict[tuple[int, int], Tensor] = {}
        self._source: tuple[Tensor, int] | None = None

    def forward(
        self, x: Float[Tensor, "*b i"], start: int | None = None, stop: int | None = None
    ) -> Float[Tensor, "*b o"]:
        """All outputs, or only those from `start` to `stop - 1`; inputs are rounded to the type of the weight."""
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
            self._packed[first, last] = torch.ops.mkldnn._reorder_linear_weight(weight[first:last], _TUNED_FOR)
        return self._packed[first, last]
