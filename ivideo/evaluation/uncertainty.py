"""Whether a model knows when it is wrong.

Its surprise at a frame it imagines is minus the mean log-probability of the frame's tokens, in nats per token, as
`Prediction.log_likelihood` has it: known without the truth, and so of use to a planner. Two questions are asked of it:

- Is it larger where the frame turns out worse? Spearman's rank correlation with the mean squared error, over the clips
  at the same imagined frame, so that both growing with the horizon does not count. 0 is no relation.
- Is it larger under actions that a model was not trained on? The area under the ROC curve that tells the clips imagined
  under such actions from the clips under their own. 0.5 is chance.

Collected batch by batch, since both are of a whole set.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.evaluation.collected import Collected, Per, figure, pairs
from ivideo.evaluation.ranks import auroc, spearman
from ivideo.evaluation.series import PREDICTION, Figure
from ivideo.evaluation.statistics import Interval

_OF: dict[Per, str] = {"frame": "", "clip": " of clips"}
_SURPRISE, _ERROR = "surprise: ", "squared error"


def surprise(
    truth: UInt8[Tensor, "n t 3 h w"],
    predicted: UInt8[Tensor, "n t 3 h w"],
    context: int,
    likelihoods: Mapping[str, Float[Tensor, "n f"]],
    tokens: int,
) -> Collected:
    """What a batch tells: `likelihoods` by source, in nats per frame of so many `tokens`, with "prediction" among them.

    The other sources are what the model gave to frames imagined under unusual actions, by the actions' name.
    """
    errors = [
        (a.double() - b.double()).square().mean(dim=(1, 2, 3)) / 255.0**2
        for a, b in zip(truth[:, context:], predicted[:, context:], strict=True)
    ]
    return Collected.of(
        {_ERROR: torch.stack(errors)} | {_SURPRISE + name: -each / tokens for name, each in likelihoods.items()}
    )


def uncertainty(found: Collected, *, resamples: int = 1000, seed: int = 0) -> list[Figure]:
    """Rank correlations and areas under the ROC curve, of single frames and of means over a clip's frames."""
    own, errors = found.values[_SURPRISE + PREDICTION], found.values[_ERROR]
    figures = []
    for per, of in _OF.items():
        name = "Rank correlation of surprise and error" + of
        values = pairs(_by(per, own), _by(per, errors))
        figures.append(figure(name, PREDICTION, values, spearman, per=per, resamples=resamples, seed=seed))
    others = {
        name.removeprefix(_SURPRISE): each
        for name, each in found.values.items()
        if name.startswith(_SURPRISE) and each is not own
    }
    for per, of in _OF.items():
        quantity = "AUROC of surprise" + of
        for name, each in others.items():
            known, strange = _by(per, own), _by(per, each)
            labels = torch.cat([torch.zeros_like(known), torch.ones_like(strange)], dim=1)
            values = pairs(labels, torch.cat([known, strange], dim=1))
            figures.append(figure(quantity, name, values, auroc, per=per, resamples=resamples, seed=seed))
        if others:
            chance = Interval(value=0.5, low=0.5, high=0.5)
            frames = own.shape[2] if per == "frame" else 1
            figures.append(Figure(quantity=quantity, source="chance", per=per, values=(chance,) * frames))
    return figures


def _by(per: Per, values: Float[Tensor, "n r f"]) -> Float[Tensor, "n r g"]:
    """Frame by frame, or the means over frames."""
    return values if per == "frame" else values.mean(dim=2, keepdim=True)
