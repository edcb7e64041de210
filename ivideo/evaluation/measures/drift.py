"""Drift: what is lost because a model goes on from its own frames instead of from true ones.

::

    free-running      context -> 1' -> 2' -> 3'        each frame from the imagined ones before it
    teacher-forced    context -> 1'
                      context, 1 -> 2'                 each frame from the true ones before it
                      context, 1, 2 -> 3'

At the first frame the two are the same. Beyond, teacher-forced frames say how good single steps are at that place of a
clip, and the difference is what errors cost by adding up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ivideo.evaluation.case import Case
from ivideo.evaluation.measures.forcing import read
from ivideo.evaluation.measures.truth import Truth, shown_frames, steps
from ivideo.evaluation.metrics.pixels import changed_psnr, psnr
from ivideo.evaluation.series import COPY, PREDICTION, Series
from ivideo.state import Branch, RolloutState
from ivideo.world_model import WorldModel
from transformer import KVCache, Sampling

FORCED = "teacher-forced"
"""The source of frames that are predicted from the true ones before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """Clips predicted one step at a time; on the CPU's memory."""

    frames: UInt8[Tensor, "n t 3 h w"]
    """The true context frames, then each frame as predicted from the true ones before it."""
    codes: Int[Tensor, "n f m"]


@torch.inference_mode()
def teacher_forced(
    model: WorldModel,
    case: Case,
    truth: Truth,
    *,
    actions: Float[Tensor, "n s a"] | None = None,
    sampling: Sampling,
    guidance: float = 0.0,
) -> Forced:
    """Predict every frame from the true codes of all frames before it, drawn as a rollout draws them.

    `actions` None takes the case's. Tokens are drawn with the same random numbers as those of a rollout from
    `truth.start`, so that the first frame is the same. A frame costs what it costs to imagine it, and one pass more to
    read the true one in its place; nothing of the prefix is computed again.
    """
    state, codes = truth.start, []
    if guidance:
        assert isinstance(state.cache, KVCache)
        state = replace(state, untold=Branch(cache=state.cache, unread=None))
    told = steps(model, case, case.actions if actions is None else actions)
    for place, (frame, action) in enumerate(zip(truth.codes.unbind(dim=1), told, strict=True)):
        _, seen = model.step(state, action, decode=False, sampling=sampling, guidance=guidance, reward=False)
        codes.append(seen.codes)
        state, _ = read(model, _given_up(state) if place else state, frame, action)
    predicted = torch.stack(codes, dim=1)
    future = model.frames(replace(truth.start, ids=predicted + model.layout.dynamics_ids[0])).cpu()
    shown = case.frames[:, : shown_frames(model)].cpu()
    return Forced(frames=torch.cat([shown, future], dim=1), codes=predicted.cpu())


def _given_up(state: RolloutState) -> RolloutState:
    """The state without what a step has written behind it, which nobody reads any more: going on copies nothing."""
    untold = state.untold
    assert isinstance(state.cache, KVCache)
    if untold is not None:
        untold = replace(untold, cache=untold.cache.rewind(untold.cache.length))
    return replace(state, cache=state.cache.rewind(state.cache.length), untold=untold)


def drift(
    truth: UInt8[Tensor, "n t 3 h w"],
    imagined: UInt8[Tensor, "n t 3 h w"],
    forced: UInt8[Tensor, "n t 3 h w"],
    context: int,
    *,
    threshold: float = 0.1,
) -> list[Series]:
    """By how many decibels teacher-forced frames are above imagined ones, per imagined frame: 0 at the first.

    Over all pixels, and over those that truly changed since the last context frame by more than `threshold`.
    """
    future, last = truth[:, context:], truth[:, context - 1 : context].expand_as(truth[:, context:])
    free, single = imagined[:, context:], forced[:, context:]
    whole = psnr(future, single) - psnr(future, free)
    changed = changed_psnr(future, single, last, threshold=threshold) - changed_psnr(
        future, free, last, threshold=threshold
    )
    source = f"{FORCED} over {PREDICTION}"
    return [
        Series(quantity="Drift in PSNR, dB", source=source, values=whole[..., None]),
        Series(quantity="Drift in PSNR on changed pixels, dB", source=source, values=changed[..., None]),
    ]


def agreement(truth: Truth, codes: Mapping[str, Int[Tensor, "n f m"]]) -> list[Series]:
    """How many of the tokens that truly change are predicted rightly, in percent, for every source of codes.

    Only tokens that differ from those of the true frame before count, since a model that repeats what it sees would
    otherwise nearly always be right; here such a copy gets 0. Beside the given sources stands the last context frame,
    encoded as later ones are, whose figure is what a token is worth that merely comes back.
    """
    true = truth.codes.cpu()
    changed = true != truth.previous.cpu()
    found = {name: each.cpu() for name, each in codes.items()} | {COPY: truth.before.cpu()[:, None].expand_as(true)}
    return [
        Series(
            quantity="Agreement on tokens that change, %",
            source=name,
            values=torch.stack([100.0 * ((each == true) & changed).sum(-1), changed.sum(-1)], dim=-1).double(),
            statistic="ratio",
        )
        for name, each in found.items()
    ]
