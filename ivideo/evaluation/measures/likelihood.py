"""How likely a model finds what truly happens: cross-entropy of the true tokens, each given all true ones before it.

Two figures, in nats per token, which must not be mixed up::

    without markers     the m codes of a frame, among the dynamics codes alone: all that a rollout draws from
    with markers        among all ids, and the marker in front of every frame but the first is a target too, as in the
                        released training loss: 17 * frames - 1 targets in its layout

A marker always comes where it comes. A model that was trained to predict it does so at next to no cost, and one trained
on the dynamics codes alone never has to: it counts there as a target of 0 nats. Either way it pulls the mean down by up
to 1 in m + 1 and says nothing about the future.

How often the likeliest token is the true one is never among the figures: where little moves, copying is right.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ivideo.evaluation.case import Case
from ivideo.evaluation.measures.forcing import read
from ivideo.evaluation.measures.truth import Truth, steps
from ivideo.evaluation.series import PREDICTION, SHUFFLED, Figure, Series
from ivideo.evaluation.statistics import Interval
from ivideo.world_model import WorldModel

PER_FRAME = "Cross-entropy, nats per token"
PER_FRAME_MARKED = "Cross-entropy with markers, nats per token"
PER_CLIP = "Cross-entropy of a clip, nats per token"
PER_CLIP_MARKED = "Cross-entropy of a clip with markers, nats per token"
SAVED = "Saved cross-entropy, nats per token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nats:
    """Minus the log-probability of what is true, summed over the tokens of each frame."""

    codes: Float[Tensor, "n f"]
    """Of the codes, among the dynamics codes."""
    marked: Float[Tensor, "n f"]
    """Of the codes and, from the second frame on, of the marker in front of them, among all ids."""
    tokens: Int[Tensor, " f"]
    """How many tokens `codes` sums over."""
    targets: Int[Tensor, " f"]
    """How many `marked` sums over."""


def likelihood(
    model: WorldModel, case: Case, truth: Truth, *, wrong: Float[Tensor, "n s a"] | None = None
) -> list[Series]:
    """Cross-entropy of the true codes per frame and per clip; under the `wrong` actions too, where a model takes any.

    A figure under wrong actions that is no higher says that the model does not listen.
    """
    found = {PREDICTION: nats(model, case, truth, case.actions)}
    if wrong is not None and model.action_dim:
        found[SHUFFLED] = nats(model, case, truth, wrong)
    series = []
    for source, each in found.items():
        series += [
            _series(PER_FRAME, source, each.codes / each.tokens),
            _series(PER_FRAME_MARKED, source, each.marked / each.targets),
            _series(PER_CLIP, source, _of_clips(each.codes, each.tokens)),
            _series(PER_CLIP_MARKED, source, _of_clips(each.marked, each.targets)),
        ]
    if SHUFFLED in found:
        saved = found[SHUFFLED].codes - found[PREDICTION].codes
        series.append(_series(SAVED, f"over {SHUFFLED}", saved / found[PREDICTION].tokens))
    return series


@torch.inference_mode()
def nats(model: WorldModel, case: Case, truth: Truth, actions: Float[Tensor, "n s a"] | None) -> Nats:
    """What each frame's tokens cost a model, given the true frames before it under `actions`; on the CPU's memory.

    The cost is one pass over each frame: a small part of imagining it, which takes a pass for every token.
    """
    codes, marked, targets, state = [], [], [], truth.start
    for frame, action in zip(truth.codes.unbind(dim=1), steps(model, case, actions), strict=True):
        state, hidden = read(model, state, frame, action)
        among_codes, among_all = _frame_nats(model, hidden, frame)
        codes.append(among_codes)
        marked.append(among_all)
        targets.append(hidden.shape[1])
    per_frame = model.layout.dynamics_tokens
    return Nats(
        codes=torch.stack(codes, dim=1).cpu(),
        marked=torch.stack(marked, dim=1).cpu(),
        tokens=torch.full((truth.frames,), per_frame),
        targets=torch.tensor(targets),
    )


def _frame_nats(
    model: WorldModel, hidden: Float[Tensor, "n l d"], codes: Int[Tensor, "n m"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """The nats of a frame's codes among codes, and of its codes and marker among all ids."""
    start, stop = model.layout.dynamics_ids
    if model.config.vocabulary == "dynamics":
        logits = model.logits(hidden[:, -codes.shape[1] :], "dynamics").float()
        among_codes = _nats(logits, codes)
        return among_codes, among_codes
    logits = model.logits(hidden, "full").float()
    ids = codes + start
    if hidden.shape[1] > codes.shape[1]:
        marker = torch.full_like(ids[:, :1], model.layout.dynamics_marker)
        ids = torch.cat([marker, ids], dim=1)
    return _nats(logits[:, -codes.shape[1] :, start:stop], codes), _nats(logits, ids)


def _nats(logits: Float[Tensor, "n l v"], targets: Int[Tensor, "n l"]) -> Float[Tensor, " n"]:
    chosen = logits.gather(-1, targets[..., None]).squeeze(-1)
    return (logits.logsumexp(-1) - chosen).sum(dim=1)


def perplexity(figure: Figure) -> Figure:
    """A figure of nats per token as a perplexity: the number of equally likely tokens that would leave as much open.

    It is e to the power of the mean, and the ends of the interval likewise. (The mean of the clips' perplexities is
    another number, which a single clip can rule.)
    """
    name, _, unit = figure.quantity.partition(", ")
    assert unit == "nats per token", f"{figure.quantity} is not in nats per token"
    return Figure(
        quantity=name.replace("Cross-entropy", "Perplexity"),
        source=figure.source,
        per=figure.per,
        values=tuple(_exp(each) for each in figure.values),
    )


def _exp(interval: Interval) -> Interval:
    value, low, high = torch.tensor([interval.value, interval.low, interval.high], dtype=torch.float64).exp().tolist()
    return Interval(value=value, low=low, high=high)


def _of_clips(sums: Float[Tensor, "n f"], counts: Int[Tensor, " f"]) -> Float[Tensor, "n 1"]:
    return sums.sum(dim=1, keepdim=True) / counts.sum()


def _series(quantity: str, source: str, values: Float[Tensor, "n f"]) -> Series:
    whole = quantity in (PER_CLIP, PER_CLIP_MARKED)
    return Series(quantity=quantity, source=source, values=values[..., None], per="clip" if whole else "frame")
