"""Whether a model knows when it is wrong, by two signs that are there without the truth, and so of use to a planner.

Surprise is minus the mean log-probability of the tokens of a frame that was imagined, in nats per token, as
`Prediction.log_likelihood` has it. Entropy is the mean entropy of what these tokens were drawn from: it costs a pass
more, and does not depend on which of several likely tokens was taken. Of either is asked:

- Is it larger where the frame turns out worse? Spearman's rank correlation with the mean squared error, over the clips
  at the same imagined frame, so that both growing with the horizon does not count. 0 is no relation.
- Is it larger under actions that a model was not trained on? The area under the ROC curve that tells the clips imagined
  under such actions from the clips under their own. 0.5 is chance, and below it strange actions make a model surer.

Collected batch by batch, since both are of a whole set.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ivideo.evaluation.case import Case
from ivideo.evaluation.measures.collected import Collected, Per, figure, pairs
from ivideo.evaluation.measures.forcing import read
from ivideo.evaluation.measures.ranks import auroc, spearman
from ivideo.evaluation.measures.truth import Truth, steps
from ivideo.evaluation.series import PREDICTION, Figure
from ivideo.evaluation.statistics import Interval
from ivideo.world_model import WorldModel

_OF: dict[Per, str] = {"frame": "", "clip": " of clips"}
_SIGNS, _ERROR = ("surprise", "entropy"), "squared error"


@torch.inference_mode()
def entropies(
    model: WorldModel, case: Case, truth: Truth, codes: Int[Tensor, "n f m"], actions: Float[Tensor, "n s a"] | None
) -> Float[Tensor, "n f"]:
    """How open each imagined frame was, in nats per token, of frames with these `codes` imagined under `actions`.

    Before guidance, temperature and top-k, as likelihoods are. A frame is one pass of all its tokens.
    """
    state, found = truth.start, []
    codes = codes.to(truth.codes)
    for frame, action in zip(codes.unbind(dim=1), steps(model, case, actions), strict=True):
        state, hidden = read(model, state, frame, action)
        logs = model.logits(hidden[:, -frame.shape[1] :], "dynamics").float().log_softmax(-1)
        found.append(-(logs.exp() * logs).sum(-1).mean(-1))
    return torch.stack(found, dim=1).cpu()


def signs(
    truth: UInt8[Tensor, "n t 3 h w"],
    predicted: UInt8[Tensor, "n t 3 h w"],
    context: int,
    *,
    surprise: Mapping[str, Float[Tensor, "n f"]],
    entropy: Mapping[str, Float[Tensor, "n f"]] | None = None,
) -> Collected:
    """What a batch tells of both signs, by source, "prediction" among them, and of the errors of that prediction.

    The other sources are frames imagined under unusual actions, by the actions' name. Signs are in nats per token.
    """
    errors = [
        (a.double() - b.double()).square().mean(dim=(1, 2, 3)) / 255.0**2
        for a, b in zip(truth[:, context:], predicted[:, context:], strict=True)
    ]
    given = zip(_SIGNS, (surprise, entropy or {}), strict=True)
    values = {f"{sign}: {source}": each for sign, sources in given for source, each in sources.items()}
    return Collected.of({_ERROR: torch.stack(errors)} | values)


def uncertainty(found: Collected, *, resamples: int = 1000, seed: int = 0) -> list[Figure]:
    """Rank correlations and areas under the ROC curve, of single frames and of means over a clip's frames."""
    figures: list[Figure] = []
    for sign in _SIGNS:
        own = found.values.get(f"{sign}: {PREDICTION}")
        if own is None:
            continue
        others = {
            name.removeprefix(f"{sign}: "): each
            for name, each in found.values.items()
            if name.startswith(f"{sign}: ") and each is not own
        }
        for per, of in _OF.items():
            values = pairs(_by(per, own), _by(per, found.values[_ERROR]))
            quantity = f"Rank correlation of {sign} and error{of}"
            figures.append(figure(quantity, PREDICTION, values, spearman, per=per, resamples=resamples, seed=seed))
        for per, of in _OF.items():
            quantity = f"AUROC of {sign}{of}"
            for name, each in others.items():
                known, strange = _by(per, own), _by(per, each)
                labels = torch.cat([torch.zeros_like(known), torch.ones_like(strange)], dim=1)
                values = pairs(labels, torch.cat([known, strange], dim=1))
                figures.append(figure(quantity, name, values, auroc, per=per, resamples=resamples, seed=seed))
            if others:
                figures.append(_chance(quantity, per, own.shape[2]))
    return figures


def _chance(quantity: str, per: Per, frames: int) -> Figure:
    half = Interval(value=0.5, low=0.5, high=0.5)
    return Figure(quantity=quantity, source="chance", per=per, values=(half,) * (frames if per == "frame" else 1))


def _by(per: Per, values: Float[Tensor, "n r f"]) -> Float[Tensor, "n r g"]:
    """Frame by frame, or the means over frames."""
    return values if per == "frame" else values.mean(dim=2, keepdim=True)
