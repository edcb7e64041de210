"""Measures one batch of clips in all the ways that are asked for."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ivideo.evaluation.case import Case
from ivideo.evaluation.imagine import ROWS, Imagined, imagine
from ivideo.evaluation.instruments import Instruments, Measure
from ivideo.evaluation.measures import action_variants, drift, following, scores
from ivideo.evaluation.measures.calibration import outcomes
from ivideo.evaluation.measures.codebook import code_counts
from ivideo.evaluation.measures.collected import Collected
from ivideo.evaluation.measures.inverse_dynamics import motions
from ivideo.evaluation.measures.likelihood import likelihood
from ivideo.evaluation.measures.reconstruction import CEILING, ceiling
from ivideo.evaluation.measures.repetition import repetition
from ivideo.evaluation.measures.truth import TRUTH, see, shown_frames
from ivideo.evaluation.measures.uncertainty import entropies, signs
from ivideo.evaluation.metrics.reduction import qualities
from ivideo.evaluation.parts import Measured
from ivideo.evaluation.protocol import Protocol
from ivideo.evaluation.rating import Rating
from ivideo.evaluation.series import COPY, PREDICTION, SHUFFLED, Series
from ivideo.evaluation.table import FigureTable
from ivideo.world_model import WorldModel
from transformer import Sampling

PROBE, SIGNS, OUTCOMES = "probe", "signs", "outcomes"
"""Names under which numbers of clips are collected."""


def measure(model: WorldModel, case: Case, protocol: Protocol, instruments: Instruments, *, seed: int) -> Measured:
    """Everything that is to be kept of a batch; its first clip draws from `seed`, the next from `seed + 1`.

    Qualities are of all futures of a clip, reduced as the protocol says; everything else is of the first.
    """
    return _Batch(model, case, protocol, instruments, seed).measured()


def quick_table(model: WorldModel, case: Case, *, seed: int = 0) -> FigureTable:
    """Frame by frame, the likeliest future beside copied frames and exchanged actions: pixels, objects and rewards."""
    frames = case.frames.shape[1] - shown_frames(model)
    horizons = tuple(horizon for horizon in (1, 5, 10) if horizon <= frames)
    protocol = Protocol(frames=frames, qualities=("psnr",), horizons=horizons)
    wanted: frozenset[Measure] = frozenset({"changes", "objects", "rewards", "actions"})
    instruments = Instruments(measures=wanted, qualities=qualities(protocol.qualities))
    found = measure(model, case, protocol, instruments, seed=seed)
    return FigureTable.of([each for each in found.series if each.per == "frame"], horizons)


def exchange_actions(actions: Float[Tensor, "n s a"], context: int, seed: int) -> Float[Tensor, "n s a"]:
    """Every clip with another clip's actions on the way to its imagined frames; no clip keeps its own."""
    if len(actions) < 2:
        raise ValueError(
            f"there is {len(actions)} clip; expected two or more, between which actions are exchanged: pass more "
            "--clips, or --held_out all"
        )
    order = torch.randperm(len(actions), generator=torch.Generator().manual_seed(seed))
    exchanged = actions.clone()
    exchanged[order, context - 1 :] = actions[order.roll(1), context - 1 :]
    return exchanged


class _Batch:
    """A batch of clips while it is measured."""

    def __init__(self, model: WorldModel, case: Case, protocol: Protocol, instruments: Instruments, seed: int) -> None:
        self.model, self.case, self.protocol, self.seed = model, case, protocol, seed
        self.wants, self.beside = instruments.wants, instruments.beside
        self.context = shown_frames(model)
        self.sampling = Sampling(temperature=protocol.temperature, top_k=protocol.top_k)
        self.truth = see(model, case, seed=seed)
        self.ceiling = ceiling(model, self.truth)
        shown = self.ceiling[:, : self.context]
        self.rating = Rating(truth=case.frames, shown=shown, protocol=protocol, instruments=instruments)
        self.usable = torch.ones(len(case), dtype=torch.bool)
        self.left_out: list[tuple[str, str]] = []
        self.series: list[Series] = []
        self.collected: dict[str, Collected] = {}

    def measured(self) -> Measured:
        case = self.case
        commanded = self._commanded()
        others = {name: self._imagine(actions=actions) for name, actions in commanded.items()}
        for name, seen in others.items():
            self._leave_out(seen.finite, f"the prediction under {name} is not finite")
        first = self._futures()
        videos = {PREDICTION: first.frames, COPY: scores.copied(case.frames, self.context)}
        videos |= {name: seen.frames for name, seen in others.items() if name not in action_variants.OUTLIERS}
        codes = {PREDICTION: first.codes}
        if self.wants("drift"):
            guidance = self.protocol.guidance
            forced = drift.teacher_forced(self.model, case, self.truth, sampling=self.sampling, guidance=guidance)
            videos[drift.FORCED], codes[drift.FORCED] = forced.frames, forced.codes
        videos |= {name: self._imagine(model=other).frames for name, other in self.beside.items()}
        if self.wants("tokenizer"):
            videos[CEILING] = self.ceiling
        for name, video in videos.items():
            if name != PREDICTION:
                self.rating.rate(name, video[:, None], usable=self.usable)
        self.rating.look_at_truth(self.usable)
        baselines = {name: video for name, video in videos.items() if name not in (CEILING, drift.FORCED)}
        self.series += self.rating.series() + scores.gains(case.frames, baselines, self.context)
        if self.wants("changes"):
            self.series += scores.changes(case.frames, videos, self.context)
        if self.wants("objects") and case.states is not None:
            self.series += scores.objects(case.states, _some(videos, PREDICTION, COPY, SHUFFLED), self.context)
        if self.wants("drift"):
            self.series += drift.drift(case.frames, first.frames, videos[drift.FORCED], self.context)
            self.series += drift.agreement(self.truth, codes)
        if self.wants("tokens"):
            self.series += likelihood(self.model, case, self.truth, wrong=commanded.get(SHUFFLED))
            self.series += repetition(self.truth, _some(codes, PREDICTION))
        self._follow(first, others, commanded)
        self._collect(first, others, commanded)
        return self._kept(first)

    def _futures(self) -> Imagined:
        """Imagine and rate all futures of every clip, some clips at a time; the first future of each."""
        samples, kept = self.protocol.samples, []
        step = max(1, ROWS // samples)
        for place in range(0, len(self.case), step):
            seen = self._imagine(slice(place, place + step), samples=samples)
            firsts = seen.firsts(samples)
            usable = firsts.finite & self.usable[place : place + step]
            self.rating.rate(PREDICTION, seen.frames.unflatten(0, (-1, samples)), first=place, usable=usable)
            kept.append(firsts)
        first = Imagined.stack(kept)
        self._leave_out(first.finite, "the prediction is not finite")
        return first

    def _leave_out(self, finite: Bool[Tensor, " n"], why: str) -> None:
        """Note which clips cannot be used, each with the first reason."""
        for row in (self.usable & ~finite).nonzero()[:, 0].tolist():
            self.left_out.append((self.case.names[row], why))
        self.usable &= finite

    def _imagine(
        self,
        clips: slice = slice(None),
        *,
        actions: Tensor | None = None,
        model: WorldModel | None = None,
        samples: int = 1,
    ) -> Imagined:
        case, model = self.case, model or self.model
        told = case.actions if actions is None else actions
        count = len(case.frames[clips])
        return imagine(
            model,
            case.frames[clips],
            None if told is None else told[clips],
            samples=samples,
            domains=[case.domain] * count if case.domain is not None and model.embodiments.domains else None,
            instructions=case.instructions[clips] if case.instructions and model.read_instructions else None,
            guidance=self.protocol.guidance,
            sampling=self.sampling,
            seed=self.seed + (clips.start or 0),
        )

    def _commanded(self) -> dict[str, Float[Tensor, "n s a"]]:
        """The actions to imagine under beside the clips' own, by name."""
        actions = self.case.actions
        if actions is None or not self.model.action_dim:
            return {}
        found = {}
        if self.wants("actions"):
            found[SHUFFLED] = exchange_actions(actions, self.context, self.seed)
        if self.wants("following"):
            found |= action_variants.variants(actions, self.context)
        if self.wants("uncertainty"):
            low, high = actions.flatten(0, 1).aminmax(dim=0)
            names = self.case.names
            found |= action_variants.outliers(actions, self.context, names=names, low=low, high=high, seed=self.seed)
        return found

    def _follow(self, first: Imagined, others: dict[str, Imagined], commanded: dict[str, Tensor]) -> None:
        """What becomes of the prediction under other actions."""
        usual = {name: seen for name, seen in others.items() if name not in action_variants.OUTLIERS}
        if not self.wants("following") or not usual:
            return
        videos = {PREDICTION: first.frames} | {name: seen.frames for name, seen in usual.items()}
        codes = {PREDICTION: first.codes} | {name: seen.codes for name, seen in usual.items()}
        self.series += following.effects(self.case.frames, videos, self.context) + following.differing(codes)
        self.collected[PROBE] = motions(
            self.case,
            self.context,
            _some(videos, PREDICTION, SHUFFLED),
            commanded=_some(commanded, SHUFFLED),
            ceiling=self.ceiling,
        )

    def _collect(self, first: Imagined, others: dict[str, Imagined], commanded: dict[str, Tensor]) -> None:
        """What only a whole set of clips can say: is the model surprised when it is wrong, do its rewards come true."""
        case = self.case
        if self.wants("uncertainty"):
            told = {PREDICTION: case.actions} | commanded
            seen = {PREDICTION: first} | {name: others[name] for name in action_variants.OUTLIERS if name in others}
            tokens = self.model.layout.dynamics_tokens
            self.collected[SIGNS] = signs(
                case.frames,
                first.frames,
                self.context,
                surprise={name: -each.log_likelihood / tokens for name, each in seen.items()},
                entropy={
                    name: entropies(self.model, case, self.truth, each.codes, told[name]) for name, each in seen.items()
                },
            )
        if self.wants("rewards"):
            rewards = _both(case.rewards, first.rewards)
            terminals = _both(case.terminals, first.terminals)
            self.collected[OUTCOMES] = outcomes(self.context, rewards=rewards, terminals=terminals)
            if rewards is not None:
                self.series.append(scores.rewards(*rewards, self.context))

    def _kept(self, first: Imagined) -> Measured:
        """What was found of the clips that can be used; the others are named."""
        rows, names = self.usable.nonzero()[:, 0], self.case.names
        counts = code_counts(self.model, self.truth, first.codes)
        return Measured(
            names=tuple(names[int(row)] for row in rows),
            series=tuple(each.rows(rows) for each in self.series),
            collected={name: each.rows(rows) for name, each in self.collected.items()},
            moments=self.rating.moments,
            counted={name: each.counts for name, each in counts.items()},
            shown={TRUTH: self.case.frames[rows], PREDICTION: first.frames[rows]},
            left_out=tuple(self.left_out),
        )


def _both(truth: Tensor | None, predicted: Tensor | None) -> tuple[Tensor, Tensor] | None:
    return None if truth is None or predicted is None else (truth, predicted)


def _some(of: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: of[name] for name in names if name in of}
