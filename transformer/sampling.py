"""Draws the next token from logits: greedy, or by temperature, top-k and top-p."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is drawn; the defaults are those of the released model."""

    temperature: float = 1.0
    """Divides the logits; 0 always takes the likeliest token."""
    top_k: int = 100
    """Draw among this many likeliest tokens only; 0 for all."""
    top_p: float = 1.0
    """Draw among the fewest likeliest tokens that together reach this probability only; 1 for all."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature} must be 0 (greedy) or a positive number")
        if self.top_k < 0:
            raise ValueError(f"top_k={self.top_k} must be 0 (all tokens) or the number of tokens to draw among")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} must be above 0 and at most 1 (all tokens)")


def sample(
    logits: Float[Tensor, "b v"],
    sampling: Sampling,
    generator: torch.Generator | None = None,
    *,
    allowed: tuple[int, int] | None = None,
) -> Int[Tensor, "b"]:
    """One token id per row, drawn with one uniform number of the generator each; see `choose`."""
    device = logits.device if generator is None else generator.device
    uniform = torch.rand(len(logits), generator=generator, device=device)
    return choose(logits, sampling, uniform.to(logits.device), allowed=allowed)


def choose(
    logits: Float[Tensor, "b v"],
    sampling: Sampling,
    uniform: Float[Tensor, "b"],
    *,
    allowed: tuple[int, int] | None = None,
    checks: bool = True,
) -> Int[Tensor, "b"]:
    """The token ids at the quantiles `uniform` (in [0, 1)) of each row's distribution.

    Likelier tokens come first where top-k or top-p is on; ids in order otherwise. `allowed=(start, stop)` restricts
    the choice to the ids `start` to `stop - 1`. Minus infinity excludes a token; ValueError for rows with NaN or
    infinity, or in which nothing is left; `checks=False` leaves that to the caller, since it waits for the device.
    """
    first = 0
    if allowed is not None:
        first, stop = allowed
        if not 0 <= first < stop <= logits.shape[-1]:
            raise ValueError(f"allowed={allowed} is no range of ids within 0 to {logits.shape[-1]}")
        logits = logits[:, first:stop]
    if sampling.temperature == 0:
        if checks:
            refuse_non_finite(logits.amax(dim=-1))
        return logits.argmax(dim=-1) + first
    kept = min(sampling.top_k or logits.shape[-1], logits.shape[-1])
    ids: Tensor | None = None
    if kept < logits.shape[-1] or sampling.top_p < 1:
        logits, ids = logits.topk(kept)
    best = logits.amax(dim=-1, keepdim=True)
    if checks:
        refuse_non_finite(best)
    weights = ((logits.float() - best) / sampling.temperature).exp()  # not normalised: only ratios matter below
    if sampling.top_p < 1:
        likelier = weights.cumsum(dim=-1) - weights
        weights = weights.masked_fill(likelier >= sampling.top_p * weights.sum(dim=-1, keepdim=True), 0)
    cumulative = weights.cumsum(dim=-1)
    total = cumulative[:, -1:]
    below = total.nextafter(torch.zeros_like(total))  # rounding must not carry a quantile past the last token
    quantile = torch.minimum(uniform[:, None].to(total.dtype) * total, below)
    index = torch.searchsorted(cumulative, quantile, right=True)
    if not checks:
        index.clamp_(max=cumulative.shape[-1] - 1)  # no number lies behind all of them
    return (index if ids is None else ids.gather(-1, index)).squeeze(-1) + first


def refuse_non_finite(best: Float[Tensor, "*b"]) -> None:
    """ValueError where the largest logit of a row is no number; it is NaN or infinite wherever any is.

    So is the log-probability of a token that was drawn from them.
    """
    if not best.isfinite().all():
        raise ValueError(
            "the logits hold NaN or infinite values, so no token can be drawn; "
            "check the checkpoint and the inputs for non-finite numbers, or compute in float32"
        )
