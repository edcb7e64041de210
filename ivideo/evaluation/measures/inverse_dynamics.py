"""Whether actions can be read off imagined frames: a probe that recovers them from how one frame follows another.

The probe is a ridge regression from changes between frames (those of `ivideo.data.check.motion`) to the action between
them. It is fitted on true frames alone, encoded and decoded, since all that the tokenizer loses would otherwise look
like motion to it. It is fitted in folds: no clip is judged by a probe that has seen it, and neighbouring clips, which
may be of one episode, are in the same fold. Figures are R2 over all controls, each scaled to unit variance::

    tokenizer's ceiling     from true frames that were encoded and decoded: the most that can be asked for
    truth                   from the true frames themselves
    prediction              from imagined frames: how far they do what was commanded
    shuffled actions        from frames imagined under another clip's actions, against those: the same, where what is
                            commanded does not go with what is seen
    shuffled actions against the true ones
                            against what was done in truth, which these frames should know nothing of: 0 or less

Only a whole set can be fitted and scored; batches are collected.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.data.check.motion import changes, shrunk
from ivideo.evaluation.case import Case
from ivideo.evaluation.measures.collected import Collected, Per, figure
from ivideo.evaluation.measures.reconstruction import CEILING
from ivideo.evaluation.measures.truth import TRUTH
from ivideo.evaluation.series import Figure
from ivideo.evaluation.statistics import determination
from ivideo.regression import STRENGTHS, ridge

FOLDS = 5
_QUANTITIES: dict[Per, str] = {"frame": "Actions recovered, R2", "clip": "Actions recovered from clips, R2"}
_CHANGES, _ACTIONS = "changes: ", "actions: "
_UNUSUAL = 4.0
"""Changes beyond so many standard deviations count as this large: the probe is linear, and frames break in odd ways."""


def motions(
    case: Case,
    context: int,
    videos: Mapping[str, UInt8[Tensor, "n t 3 h w"]],
    *,
    commanded: Mapping[str, Float[Tensor, "n s a"]],
    ceiling: UInt8[Tensor, "n t 3 h w"],
) -> Collected:
    """What a batch of clips with actions tells a probe, to be joined with others.

    `videos` holds imagined clips by source, each of which goes on from its own frames, and `commanded` the actions they
    were imagined under, where these are not the case's. `ceiling` is the true clips decoded; what is imagined follows
    its last context frame, decoded as well.
    """
    assert case.actions is not None, "a probe of actions needs clips with actions"
    first = slice(context - 1, None)
    values = {_CHANGES + TRUTH: _changes(case.frames[:, first]), _ACTIONS + TRUTH: case.actions[:, first]}
    for name, video in {CEILING: ceiling, **videos}.items():
        decoded = torch.cat([ceiling[:, context - 1 : context], video[:, context:]], dim=1)
        values[_CHANGES + name] = _changes(decoded)
        if name in commanded:
            values[_ACTIONS + name] = commanded[name][:, first]
    return Collected.of(values)


def recovered(found: Collected, *, resamples: int = 1000, seed: int = 0) -> list[Figure]:
    """R2 of the probe for every source, frame by frame and over all frames of a clip together.

    NaN where there are too few clips to fit one, or where what was commanded does not vary.
    """
    taken = found.values[_ACTIONS + TRUTH]
    spread = taken.flatten(0, 2).std(0)
    varies = (spread > 0) | (spread == 0).all()  # constant controls are left out, where there are others
    scale = spread[varies].clamp(min=1e-12)
    aims = {TRUTH: taken[..., varies] / scale}
    predicted = _cross_fitted(found, aims[TRUTH])
    compared = []
    for name, guess in predicted.items():
        commanded = found.values.get(_ACTIONS + name)
        aim = aims[TRUTH] if commanded is None else commanded[..., varies] / scale
        compared.append((name, aim, guess))
        if commanded is not None and name != TRUTH:
            compared.append((f"{name} against the true ones", aims[TRUTH], guess))
    figures = []
    for per, quantity in _QUANTITIES.items():
        for source, aim, guess in compared:
            centre = aim.flatten(0, 2).mean(0)  # so that no control is explained by being unlike another
            halves = [(each - centre).permute(0, 2, 1, 3).flatten(2) for each in (aim, guess)]
            values = torch.cat(halves, dim=-1)
            figures.append(figure(quantity, source, values, determination, per=per, resamples=resamples, seed=seed))
    return figures


def _cross_fitted(found: Collected, aims: Float[Tensor, "n r f k"]) -> dict[str, Float[Tensor, "n r f k"]]:
    """What is read off every source's changes by probes that were fitted on true changes of other clips, decoded."""
    seen = {name.removeprefix(_CHANGES): value for name, value in found.values.items() if name.startswith(_CHANGES)}
    true = seen[CEILING]
    folds = torch.arange(len(true)) * FOLDS // len(true)
    best = {name: torch.full_like(aims, torch.nan) for name in seen}
    steps = int((folds > 0).sum()) * true.shape[2]
    if steps < 2 * true.shape[-1]:
        return best
    least = float("inf")
    for strength in STRENGTHS:
        predicted = {name: torch.empty_like(aims) for name in seen}
        for fold in folds.unique():
            out = folds == fold
            known = true[~out].flatten(0, 2)
            centre, scale = known.mean(0), known.std(0).clamp(min=1e-9)
            probe = ridge(_usual((known - centre) / scale), aims[~out].flatten(0, 2), strength)
            for name, each in seen.items():
                predicted[name][out] = probe(_usual((each[out] - centre) / scale))
        missed = float((predicted[CEILING] - aims).square().mean())
        if missed < least:
            best, least = predicted, missed
    return best


def _usual(changes: Tensor) -> Tensor:
    return changes.clamp(-_UNUSUAL, _UNUSUAL)


def _changes(frames: UInt8[Tensor, "n g 3 h w"]) -> Float[Tensor, "n g-1 42"]:
    return torch.stack([changes(shrunk(clip)) for clip in frames])
