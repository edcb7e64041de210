"""From what batches found to a protocol card, and to the clips that are worth looking at."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ivideo.evaluation.card import Card
from ivideo.evaluation.instruments import Instruments
from ivideo.evaluation.measurement import OUTCOMES, PROBE, SIGNS
from ivideo.evaluation.measures.calibration import calibration, reliability
from ivideo.evaluation.measures.codebook import DYNAMICS_CODES, CodeCounts, codebook, unigram
from ivideo.evaluation.measures.inverse_dynamics import recovered
from ivideo.evaluation.measures.likelihood import PER_CLIP, PER_CLIP_MARKED, PER_FRAME, PER_FRAME_MARKED, perplexity
from ivideo.evaluation.measures.truth import TRUTH, shown_frames
from ivideo.evaluation.measures.uncertainty import uncertainty
from ivideo.evaluation.metrics.frechet import frechet_distance
from ivideo.evaluation.parts import Parts
from ivideo.evaluation.report import ShownClip
from ivideo.evaluation.runner import Found, Task, place_of
from ivideo.evaluation.series import COPY, PREDICTION, Figure, figure
from ivideo.evaluation.statistics import Interval

_COLLECTED = {OUTCOMES: calibration, PROBE: recovered, SIGNS: uncertainty}
_NATS = (PER_CLIP, PER_CLIP_MARKED, PER_FRAME, PER_FRAME_MARKED)


def figures(found: Found, *, tokens: bool, min_clips: int) -> tuple[Figure, ...]:
    """All figures of an evaluation, those of whole clips first."""
    of_series = [figure(each) for each in found.series]
    made = [
        *distances(found, min_clips=min_clips),
        *of_series,
        *(perplexity(each) for each in of_series if each.quantity in _NATS),
    ]
    for name, summed in _COLLECTED.items():
        if name in found.collected:
            made += summed(found.collected[name])
    if tokens:
        counts = {name: CodeCounts(counts=each) for name, each in found.counted.items()}
        made += [unigram(PER_CLIP, counts[DYNAMICS_CODES]), *codebook(counts)]
    order = {quantity: place for place, quantity in enumerate(dict.fromkeys(each.quantity for each in made))}
    return tuple(sorted(made, key=lambda each: (each.per == "frame", order[each.quantity])))


def distances(found: Found, *, min_clips: int) -> Iterator[Figure]:
    """FVD and FID of every source: the mean over runs, and the lowest and the highest."""
    for name in dict.fromkeys(name for run in found.moments for name in run):
        kind, _, source = name.partition("/")
        if source == TRUTH:
            continue
        runs = [run for run in found.moments if name in run]
        values = [frechet_distance(run[f"{kind}/{TRUTH}"], run[name], min_clips=min_clips) for run in runs]
        yield Figure(quantity=kind.upper(), source=source, per="set", values=(over_runs(values),))


def over_runs(values: list[float]) -> Interval:
    """The mean, with the lowest and the highest; of a single run no more than its value."""
    low, high = (min(values), max(values)) if len(values) > 1 else (math.nan, math.nan)
    return Interval(value=sum(values) / len(values), low=low, high=high)


def card_of(task: Task, instruments: Instruments, found: Found, *, min_clips: int, about: dict[str, Any]) -> Card:
    """The protocol card; `about` is what only the caller knows: the model, the machine, the command, the date."""
    counts = found.counted if instruments.wants("tokens") else {}
    return Card(
        data={"source": task.source, "sha256": found.sha256, "clips": len(found.names)},
        protocol=replace(task.protocol, seeds=task.runs),
        figures=figures(found, tokens=instruments.wants("tokens"), min_clips=min_clips),
        left_out=found.left_out,
        seconds=found.seconds,
        networks=instruments.hashes,
        reliability={
            name: tuple((each.predicted, each.true, each.count) for each in bins)
            for name, bins in (reliability(found.collected[OUTCOMES]) if OUTCOMES in found.collected else {}).items()
        },
        histograms={name: tuple(each.tolist()) for name, each in counts.items()},
        **about,
    )


def worth_showing(task: Task, instruments: Instruments, parts: Parts, found: Found) -> list[ShownClip]:
    """The best, the median and the worst clip, by PSNR where it was measured, else by the first quality there is."""
    whole = {(each.quantity, each.source): each for each in found.series if each.per == "clip"}
    quality = min(instruments.qualities, key=lambda each: each.name != "psnr")
    scores, copied = (whole[quality.label, source].values.mean(dim=(1, 2)) for source in (PREDICTION, COPY))
    order = scores.argsort(descending=quality.better == "higher").tolist()
    places = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    clips = []
    for label, place in places.items():
        batch, row = place_of(task, parts, found.names[place])
        clips.append(
            ShownClip(
                label=label,
                name=found.names[place],
                score=f"{quality.label} {scores[place]:.2f} (copy-last-frame {copied[place]:.2f})",
                context=shown_frames(task.model),
                truth=batch.shown[TRUTH][row],
                prediction=batch.shown[PREDICTION][row],
            )
        )
    return clips
