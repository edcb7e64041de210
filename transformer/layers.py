"""The parts of a LLaMA block that are not attention: RMSNorm, rotary positions, SwiGLU."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .linear import Linear


class RMSNorm(nn.Module):
    """Scales each state to a root mean square of one, then by a learned weight (arXiv 1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class SwiGLU(nn.Module):
    """The gated feed-forward network `down(silu(gate(x)) * up(x))` (arXiv 2002.05202)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = Linear(width, 2 * inner)  # one product where two would start two kernels
        self.down = Linear(inner, width)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        out: Tensor = self.down(F.silu(gate) * up)
        return out


_ROTARY_AT_FIRST = 4096


class RotaryTable(nn.Module):
    """Cosines and sines of the rotary position embedding for every position (arXiv 2104.09864).

    The table of a long limit grows as it is used: the limit is a number in a file, and memory is not taken on its word.
    """

    table: Tensor

    def __init__(self, positions: int, head_dim: int, theta: float) -> None:
        super().__init__()
        self.limit, self.head_dim, self.theta = positions, head_dim, theta
        self.positions = min(positions, _ROTARY_AT_FIRST)
        self.register_buffer("table", self._compute(torch.get_default_device()), persistent=False)

    def forward(self, start: int, stop: int) -> tuple[Float[Tensor, "s half"], Float[Tensor, "s half"]]:
        """Cosines and sines of positions `start:stop`, in float32."""
        self._reach(stop)
        cos, sin = self.table[:, start:stop].unbind()
        return cos, sin

    def at(self, positions: Int[Tensor, "b s"]) -> tuple[Float[Tensor, "b 1 s half"], Float[Tensor, "b 1 s half"]]:
        """The same of positions that differ from row to row, for all heads alike."""
        self._reach(int(positions.max()) + 1)
        cos, sin = self.table[:, positions[:, None].to(self.table.device)].unbind()
        return cos, sin

    def _reach(self, stop: int) -> None:
        if self.positions < stop <= self.limit:
            self.positions = min(self.limit, 2 * stop)
            with torch.inference_mode(False):  # training may read it later
                self.table = self._compute(self.table.device)

    def _compute(self, device: torch.device) -> Float[Tensor, "2 positions half"]:
        dims = torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=device)
        frequencies = 1.0 / self.theta ** (dims / self.head_dim)
        angles = torch.outer(torch.arange(self.positions, dtype=torch.float32, device=device), frequencies)
        return torch.stack([angles.cos(), angles.sin()])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RotaryTable":
        # A model cast to bfloat16 would blur its positions, so the table follows the device and never the dtype.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.table = self._compute(self.table.device)
        return self


def rotate(
    x: Float[Tensor, "*b s e"], cos: Float[Tensor, "*r s half"], sin: Float[Tensor, "*r s half"]
) -> Float[Tensor, "*b s e"]:
    """Turns each pair (i, i + e/2) of a head's values by its position's angle: Hugging Face's pairing."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
