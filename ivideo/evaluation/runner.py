"""Runs an evaluation: batch after batch of clips is measured, kept on disk and forgotten, and put together at the end.

However many clips there are, pixels of one batch are in memory at a time.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ivideo.data.store import Damaged
from ivideo.evaluation.case import Case
from ivideo.evaluation.clips import as_case, batches, is_pushing_table, windows
from ivideo.evaluation.instruments import Instruments
from ivideo.evaluation.measurement import measure
from ivideo.evaluation.measures.collected import Collected
from ivideo.evaluation.measures.truth import shown_frames
from ivideo.evaluation.metrics.frechet import Moments
from ivideo.evaluation.parts import Measured, Parts
from ivideo.evaluation.protocol import Protocol
from ivideo.evaluation.series import Series, joined, repeated
from ivideo.world_model import WorldModel

BATCH = 64
"""Clips whose frames are in memory together, and between which actions are exchanged."""
MAX_LEFT_OUT = 0.05
"""Share of the clips that may be missing from a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A model and the clips it has to imagine."""

    model: WorldModel
    protocol: Protocol
    """With the model's context and resolution, where the protocol asks for none."""
    source: str
    domain: str | None = None

    @staticmethod
    def of(model: WorldModel, protocol: Protocol, source: str, domain: str | None) -> "Task":
        """ValueError where the model is not one that the protocol is for."""
        has: dict[str, Any] = {"context": shown_frames(model), "resolution": model.tokenizer.config.resolution}
        for name, value in has.items():
            wanted = getattr(protocol, name)
            if wanted not in (None, value):
                raise ValueError(
                    f"the protocol has {name} {wanted} and the model {value}: evaluate another model, or pass "
                    f"--{name} {value}, which makes it another protocol"
                )
        return Task(model=model, protocol=replace(protocol, **has), source=source, domain=domain)

    @property
    def runs(self) -> tuple[int, ...]:
        """The seeds that are worth running: where nothing is drawn, further ones would repeat the first."""
        protocol = self.protocol
        return protocol.seeds if protocol.temperature > 0 or self.own_clips else protocol.seeds[:1]

    @property
    def own_clips(self) -> bool:
        """Whether every seed has clips of its own."""
        return is_pushing_table(self.source)

    def cases(self, seed: int) -> Iterator[tuple[Case, list[Damaged]]]:
        """Batches of clips, each with the episodes that could not be used since the batch before."""
        model, damaged = self.model, list[Damaged]()
        size, context = model.tokenizer.config.resolution, shown_frames(model)
        found = windows(self.source, self.protocol, context=context, size=size, seed=seed, damaged=damaged)
        for batch in batches(found, BATCH):
            case, unused = as_case(batch, self.domain), list(damaged)
            damaged.clear()
            if case.actions is not None and model.action_dim:
                model.check_actions(case.actions, where=f"{self.source}: ", domain=self.domain)
            yield case, unused


def run(task: Task, instruments: Instruments, parts: Parts, tell: Callable[[int, float], object]) -> None:
    """Measure every batch that is not measured yet.

    `tell` hears how many clips are done, and the seconds, after every batch.
    """
    began, done = time.perf_counter(), 0
    for number, seed in enumerate(task.runs):
        first = 0
        for place, (case, damaged) in enumerate(task.cases(seed)):
            if not parts.has(number, place):
                start = time.perf_counter()
                measured = measure(task.model, case, task.protocol, instruments, seed=seed + first)
                unused = tuple((each.name, each.reason) for each in damaged)
                kept = replace(
                    measured,
                    left_out=unused + measured.left_out,
                    digest=digest(case),
                    seconds=time.perf_counter() - start,
                )
                parts.save(number, place, kept)
            first += len(case)
            done += len(case)
            tell(done, time.perf_counter() - began)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What all batches found, without their pixels."""

    names: tuple[str, ...]
    """Of the clips, in the order in which series and collected numbers have them."""
    series: tuple[Series, ...]
    collected: dict[str, Collected]
    counted: dict[str, Tensor]
    moments: tuple[dict[str, Moments], ...]
    """Of every run."""
    left_out: tuple[tuple[str, str], ...]
    sha256: str
    """Of all the clips."""
    seconds: float
    """That measuring took, stops not counted."""


def gather(task: Task, parts: Parts) -> Found:
    """Put together what was kept; ValueError where too much was left out."""
    runs = [_run_of(parts.each(number, "collected", "counted", "moments")) for number in range(len(task.runs))]
    left_out = tuple(dict.fromkeys(each for one in runs for each in one.left_out))
    _check_enough(runs[0], left_out)
    if task.own_clips:
        names = tuple(name for one in runs for name in one.names)
        series = tuple(joined(each) for each in zip(*(one.series for one in runs), strict=True))
        kept = {name: Collected.joined([one.collected[name] for one in runs]) for name in runs[0].collected}
    else:  # the same clips in every run, but for those that were left out
        names = tuple(name for name in runs[0].names if all(name in one.names for one in runs))
        rows = [torch.tensor([one.names.index(name) for name in names], dtype=torch.long) for one in runs]
        chosen = [[each.rows(which) for each in one.series] for one, which in zip(runs, rows, strict=True)]
        series = tuple(repeated(each) for each in zip(*chosen, strict=True))
        kept = {
            name: Collected.repeated([one.collected[name].rows(which) for one, which in zip(runs, rows, strict=True)])
            for name in runs[0].collected
        }
    hashed = hashlib.sha256()
    for one in runs if task.own_clips else runs[:1]:
        hashed.update(one.digest.encode())
    return Found(
        names=names,
        series=series,
        collected=kept,
        counted={name: torch.stack([one.counted[name] for one in runs]).sum(dim=0) for name in runs[0].counted},
        moments=tuple(one.moments for one in runs),
        left_out=left_out,
        sha256=hashed.hexdigest(),
        seconds=sum(one.seconds for one in runs),
    )


def place_of(task: Task, parts: Parts, name: str) -> tuple[Measured, int]:
    """The first batch that has a clip of that name, with its videos, and the clip's row in it."""
    for number in range(len(task.runs)):
        for batch in range(parts.count(number)):
            names = parts.load(number, batch).names
            if name in names:
                return parts.load(number, batch, "shown"), names.index(name)
    raise KeyError(name)


def digest(case: Case) -> str:
    """SHA-256 of frames, actions, rewards and instructions, as a model is given them."""
    hashed = hashlib.sha256()
    for value in (case.frames, case.actions, case.rewards, case.terminals):
        if value is not None:
            hashed.update(f"{value.dtype}{list(value.shape)}".encode())
            hashed.update(value.contiguous().numpy().tobytes())
    for text in case.instructions or ():
        hashed.update(text.encode() + b"\0")
    return hashed.hexdigest()


def _run_of(batches: Iterable[Measured]) -> Measured:
    """The batches of one run in one; moments and counts, which are large, are added up as they come."""
    kept: list[Measured] = []
    moments: dict[str, Moments] = {}
    counted: dict[str, Tensor] = {}
    for each in batches:
        for name, of in each.moments.items():
            moments[name] = moments[name] + of if name in moments else of
        for name, counts in each.counted.items():
            counted[name] = counted[name] + counts if name in counted else counts
        kept.append(replace(each, moments={}, counted={}))
    return Measured(
        names=tuple(name for each in kept for name in each.names),
        series=tuple(joined(each) for each in zip(*(batch.series for batch in kept), strict=True)),
        collected={name: Collected.joined([each.collected[name] for each in kept]) for name in kept[0].collected},
        moments=moments,
        counted=counted,
        left_out=tuple(each for batch in kept for each in batch.left_out),
        digest="".join(each.digest for each in kept),
        seconds=sum(each.seconds for each in kept),
    )


def _check_enough(run: Measured, left_out: tuple[tuple[str, str], ...]) -> None:
    """ValueError where what was left out is more than a result can bear."""
    whole = len(run.names) + len(left_out)
    if len(left_out) > MAX_LEFT_OUT * whole:
        some = "; ".join(f"{name}: {why}" for name, why in left_out[:3])
        raise ValueError(
            f"{len(left_out)} of {whole} clips and episodes could not be used, more than {MAX_LEFT_OUT:.0%}: {some}; "
            "repair or remove them (ivideo data check says what is wrong with which)"
        )
