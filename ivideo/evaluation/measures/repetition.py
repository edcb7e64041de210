"""Repetition: how often a model imagines that nothing happens.

A frame repeats when all of its codes equal those of the frame before it; the first imagined one is compared with the
last context frame, encoded as later frames are. An imagined frame is compared with the imagined one before it, a true
one with the true one. True frames repeat too, so a rate means something only beside theirs.

RLVR-World (Wu et al., arXiv 2505.13934) calls a sample repeating when the codes of its last frame equal those of the
one before, by its released evaluation code; its published rates (48.6% of RT-1 samples, before it is trained not to)
compare with the figure of the last imagined frame here.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ivideo.evaluation.measures.truth import TRUTH, Truth
from ivideo.evaluation.series import Series


def repetition(truth: Truth, codes: Mapping[str, Int[Tensor, "n f m"]]) -> list[Series]:
    """Repeated frames and unchanged tokens in percent, of every source of codes and of the truth.

    "Frames repeated, %" and "Tokens unchanged, %" are per frame, "Repetition rate, %" is over all frames of a clip.
    "Frames repeated wrongly, %" counts only the frames in which something truly changes.
    """
    before, true = truth.before.cpu(), truth.codes.cpu()
    kept = {name: _unchanged(before, each.cpu()) for name, each in {**codes, TRUTH: true}.items()}
    still = kept[TRUTH] == 1
    series = []
    for name, share in kept.items():
        repeated = (share == 1).double()
        series += [
            _series("Frames repeated, %", name, repeated),
            _series("Tokens unchanged, %", name, share),
            Series(
                quantity="Repetition rate, %",
                source=name,
                values=100.0 * repeated.mean(dim=1, keepdim=True)[..., None],
                per="clip",
            ),
        ]
        if name != TRUTH:
            series.append(_series("Frames repeated wrongly, %", name, repeated.masked_fill(still, torch.nan)))
    return series


def _unchanged(before: Int[Tensor, "n m"], codes: Int[Tensor, "n f m"]) -> Float[Tensor, "n f"]:
    """The share of each frame's tokens that equal those of the frame before."""
    previous = torch.cat([before[:, None], codes[:, :-1]], dim=1)
    share: Tensor = (codes == previous).double().mean(dim=2)
    return share


def _series(quantity: str, source: str, shares: Float[Tensor, "n f"]) -> Series:
    return Series(quantity=quantity, source=source, values=100.0 * shares[..., None])
