"""Many imagined futures of a clip to one value, and the metrics of single frames that this is done with.

Papers report samples as their mean or as the best of many; the best of 100 is a different quantity, which grows with
their number, and is chosen for every metric by itself (iVideoGPT, arXiv 2405.15223).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ivideo.evaluation.metrics.perceptual import lpips
from ivideo.evaluation.metrics.pixels import Frames, mse, psnr
from ivideo.evaluation.metrics.ssim import ssim
from ivideo.evaluation.protocol import QUALITIES
from tokenizer.perceptual import LPIPS


class Reduced(NamedTuple):
    """Samples of every clip, become one."""

    score: Float[Tensor, "n"]
    """The frame average."""
    curve: Float[Tensor, "n f"]
    """Frame by frame: the mean of all samples, or the values of the chosen one."""
    chosen: Int[Tensor, "n"] | None
    """Which sample is the best, -1 where none has a value; None for the mean."""


def reduce_samples(
    values: Float[Tensor, "n s f"], how: Literal["mean", "best"], better: Literal["higher", "lower"]
) -> Reduced:
    """Return the score of every clip: the average over frames, then the mean, or the best, of the samples.

    A sample with a value that is NaN or infinite in any frame is a broken prediction, and NaN as a whole. It is never
    the best while another is whole. The mean over samples is NaN with it: a model is not to gain by failing.
    """
    if not values.shape[1] or not values.shape[2]:
        raise ValueError(f"values are {list(values.shape)}; expected at least one sample of at least one frame")
    values = torch.where(values.isfinite().all(dim=2, keepdim=True), values, torch.nan)
    scores = values.mean(dim=2)
    if how == "mean":
        return Reduced(score=scores.mean(dim=1), curve=values.mean(dim=1), chosen=None)
    sign = 1.0 if better == "higher" else -1.0
    best = (sign * scores).nan_to_num(nan=-torch.inf).argmax(dim=1)
    row = torch.arange(len(values), device=values.device)
    score = scores[row, best]
    return Reduced(score=score, curve=values[row, best], chosen=torch.where(score.isnan(), -1, best))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """A metric of single frames, on the scale that tables have it in."""

    name: str
    """As protocols call it: "ssim"."""
    label: str
    """As tables call it, with its unit or scale: "SSIM x100"."""
    better: Literal["higher", "lower"]
    scale: float
    """What values are multiplied with for tables; the label says so."""
    metric: Callable[[Tensor, Tensor], Tensor]

    def measure(self, truth: Frames, predicted: Frames) -> Float[Tensor, "*batch"]:
        """Return the value of every frame, scaled."""
        values: Tensor = self.scale * self.metric(truth, predicted)
        return values

    def measure_samples(
        self,
        truth: UInt8[Tensor, "n f 3 h w"] | Float[Tensor, "n f 3 h w"],
        samples: UInt8[Tensor, "n s f 3 h w"] | Float[Tensor, "n s f 3 h w"],
    ) -> Float[Tensor, "n s f"]:
        """Return the value of every frame of every sample against the one truth, one sample at a time."""
        return torch.stack([self.measure(truth, sample) for sample in samples.unbind(dim=1)], dim=1)


def qualities(names: Sequence[str] = ("mse", "psnr", "ssim"), network: LPIPS | None = None) -> tuple[Quality, ...]:
    """Return metrics by their names, in the order of these; "lpips" needs its network.

    Scaled so that two decimals tell models apart: SSIM and LPIPS x100, as published, and MSE x1000.
    """
    table = {
        "mse": Quality(name="mse", label="MSE x1000", better="lower", scale=1000.0, metric=mse),
        "psnr": Quality(name="psnr", label="PSNR, dB", better="higher", scale=1.0, metric=psnr),
        "ssim": Quality(name="ssim", label="SSIM x100", better="higher", scale=100.0, metric=ssim),
    }
    if network is not None:
        look = partial(lpips, network=network)
        table["lpips"] = Quality(name="lpips", label="LPIPS x100", better="lower", scale=100.0, metric=look)
    for name in names:
        if name not in QUALITIES:
            raise ValueError(f"{name!r} is no metric of frames; expected some of {', '.join(QUALITIES)}")
        if name not in table:
            raise ValueError(f"{name} is measured by a network; load one, or leave {name} out")
    return tuple(table[name] for name in names)
