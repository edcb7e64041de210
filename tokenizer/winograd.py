"""3x3 convolutions in fewer multiplications, exact but for rounding: Winograd's minimal filtering.

A window of 6x6 inputs and the filter are each evaluated at points where the convolution is a plain product, the
products are summed over channels as matrix products, and the outputs are interpolated from the sums::

    plain       6x6 inputs -> 36 products for  4x4 outputs     2.25 a pixel instead of 9
    doubling    6x6 inputs -> 100 products for 8x8 outputs     1.56 a pixel instead of 9

*Doubling* is a convolution after every pixel was repeated 2x2: each of the four output pixels of an input pixel sees
2x2 different inputs only, through a filter whose taps were added up, and the pixels themselves are never repeated.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308, section 4.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

STEP = 4
"""Inputs from one window to the next, along either axis."""
_WINDOW = STEP + 2
_TILES = 128
"""Windows that are transformed at once: what lies in between then stays in the processor's cache."""
_LARGE = 2**14
"""Numbers of a filter at one point from which on a call for every point pays."""
TAPS_OF_DOUBLED = torch.tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float64)
"""Along an axis on which pixels were repeated: which of three taps two pixels meet, for even outputs and for odd."""


@dataclass(frozen=True, slots=True)
class Transforms:
    """The three linear maps along an axis, with P products: windows to P, filters to P, sums of P to outputs."""

    inputs: Float[Tensor, "p 6"]
    filter: Float[Tensor, "p 3"]
    outputs: Float[Tensor, "o p"]

    def weight(self, weight: Float[Tensor, "c_out c_in 3 3"]) -> Float[Tensor, "pp c_in c_out"]:
        """A filter evaluated at all pairs of points."""
        grid = torch.einsum("pa,oiab,qb->pqio", self.filter, weight.double(), self.filter)
        return grid.flatten(0, 1).to(weight.dtype).contiguous()


@cache
def plain() -> Transforms:
    """Of a 3x3 convolution with a border of zeros: 4 outputs from 6 inputs by 6 products."""
    inputs, taps, outputs = _minimal_filtering(STEP, 3, (0, 1, -1, 2, -2))
    return Transforms(inputs.float(), taps, outputs.float())


@cache
def doubling() -> Transforms:
    """Of the same after pixels were repeated: 8 outputs from 6 inputs by 10 products."""
    inputs, taps, outputs = _minimal_filtering(STEP, 2, (0, 1, -1, 2))
    even, odd = TAPS_OF_DOUBLED
    both = torch.zeros(2 * STEP, 2 * len(taps), dtype=torch.float64)
    both[0::2, : len(taps)] = both[1::2, len(taps) :] = outputs
    windows = torch.cat([F.pad(inputs, (0, 1)), F.pad(inputs, (1, 0))])  # odd outputs look one input further
    return Transforms(windows.float(), torch.cat([taps @ even, taps @ odd]), both.float())


def packed(weight: Float[Tensor, "pp c_in c_out"]) -> tuple[Tensor, ...]:
    """A filter in the order in which products read it: a large one packed by oneDNN for each pair of points.

    PyTorch's own product of many matrices leaves half of what some processors can do, but is one call.
    """
    if weight[0].numel() < _LARGE or not torch.backends.mkldnn.is_available():
        return (weight,)
    pack = torch.ops.mkldnn._reorder_linear_weight
    return tuple(pack(each.T.contiguous(), _TILES) for each in weight)


@torch.no_grad()
def convolve(
    x: Float[Tensor, "b c_in h w"],
    weight: tuple[Tensor, ...],
    bias: Float[Tensor, " c_out"] | None,
    transforms: Transforms,
) -> Float[Tensor, "b c_out h2 w2"]:
    """Convolve with a `packed` filter that `transforms` has evaluated, without gradients.

    `h` and `w` are multiples of `STEP`.

    The result lies channels last in memory, and so should `x`, since windows are copied pixel by pixel.
    """
    batch, rows, columns = x.shape[0], x.shape[2] // STEP, x.shape[3] // STEP
    (points, _), (side, _) = transforms.inputs.shape, transforms.outputs.shape
    channels, wide = x.shape[1], weight[0].shape[-1 if len(weight) == 1 else 0]
    out = x.new_empty(batch, rows * side, columns * side, wide)
    tiles = out.view(batch, rows, side, columns, side, wide).permute(2, 4, 0, 1, 3, 5)
    images, lines = max(1, _TILES // (rows * columns)), max(1, _TILES // columns)
    most = min(batch, images) * min(rows, lines) * columns * max(channels, wide) * points**2
    ping, pong = x.new_empty(most), x.new_empty(most)  # fresh memory for every step would cost more than the step
    for first in range(0, batch, images):
        for line in range(0, rows, lines):
            windows = _windows(x[first : first + images], line, min(line + lines, rows))
            count = windows[0, 0, ..., 0].numel()
            seen = _view(ping, *windows.shape).copy_(windows).view(_WINDOW, _WINDOW, -1)
            evaluated = _both_axes(transforms.inputs, seen, pong, ping).view(-1, count, channels)
            products = _products(evaluated, weight, _view(pong, points**2, count, wide))
            made = _both_axes(transforms.outputs, products.view(points, points, -1), ping, pong)
            if bias is not None:
                made.view(-1, wide).add_(bias)
            tiles[:, :, first : first + images, line : line + lines] = made.view(side, side, *windows.shape[2:-1], wide)
    return out.permute(0, 3, 1, 2)


def _products(
    seen: Float[Tensor, "pp n c_in"], weight: tuple[Tensor, ...], into: Float[Tensor, "pp n c_out"]
) -> Float[Tensor, "pp n c_out"]:
    """The matrix product at every pair of points."""
    if len(weight) == 1:
        return torch.bmm(seen, weight[0], out=into)
    for point, each, made in zip(seen, weight, into, strict=True):
        made.copy_(torch.ops.mkldnn._linear_pointwise(point, each, None, "none", [], ""))
    return into


def _both_axes(
    transform: Float[Tensor, "n m"], grid: Float[Tensor, "m m k"], between: Tensor, into: Tensor
) -> Float[Tensor, "n n k"]:
    """A linear map along either of the first two axes, computed in the memory of `between` and `into`."""
    (new, old), wide = transform.shape, grid.shape[2]
    rows = torch.mm(transform, grid.view(old, -1), out=_view(between, new, old * wide))
    return torch.bmm(transform.expand(new, -1, -1), rows.view(new, old, wide), out=_view(into, new, new, wide))


def _view(memory: Float[Tensor, " n"], *shape: int) -> Tensor:
    """The first elements of some memory in a shape."""
    return memory[: math.prod(shape)].view(shape)


def _windows(x: Float[Tensor, "b c h w"], first: int, stop: int) -> Float[Tensor, "6 6 b r columns c"]:
    """The rows `first` to `stop - 1` of windows, which overlap and reach one pixel beyond the border."""
    top, bottom = STEP * first - 1, STEP * stop + 1
    inside = x[:, :, max(top, 0) : bottom].permute(0, 2, 3, 1)
    padded = F.pad(inside, (0, 0, 1, 1, max(-top, 0), max(bottom - x.shape[2], 0)))
    image, row, column, _ = padded.stride()
    return padded.as_strided(
        (_WINDOW, _WINDOW, len(x), stop - first, x.shape[3] // STEP, x.shape[1]),
        (row, column, image, STEP * row, STEP * column, 1),
    )


def _minimal_filtering(outputs: int, taps: int, points: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """F(outputs, taps) of the paper by interpolation at the points and at infinity: inputs, filter, outputs."""
    finite = torch.tensor(points, dtype=torch.float64)
    count = outputs + taps - 1
    assert len(points) == count - 1
    inputs, filters = torch.zeros(count, count, dtype=torch.float64), torch.zeros(count, taps, dtype=torch.float64)
    for index in range(len(points)):
        others = torch.cat([finite[:index], finite[index + 1 :]])
        inputs[index, : count - 1] = _polynomial(others)
        filters[index] = finite[index] ** torch.arange(taps) / (finite[index] - others).prod()
    inputs[-1] = _polynomial(finite)
    filters[-1, -1] = 1
    read = torch.zeros(outputs, count, dtype=torch.float64)
    read[:, :-1] = finite ** torch.arange(outputs, dtype=torch.float64)[:, None]
    read[-1, -1] = 1
    return inputs, filters, read


def _polynomial(roots: Float[Tensor, " n"]) -> Float[Tensor, " n1"]:
    """Coefficients of the monic polynomial with these roots, constant first."""
    coefficients = torch.ones(1, dtype=torch.float64)
    for root in roots:
        coefficients = F.pad(coefficients, (1, 0)) - root * F.pad(coefficients, (0, 1))
    return coefficients
