"""Learning curves: success and return against environment steps, of one run or of groups of runs.

The line is what training came to, smoothed: at each of `PLACES` steps, a run's mean over the episodes that ended
within the last tenth of the whole axis, and over the last ten at least. Dots are evaluations. Of several runs both are
interquartile means, with bands and bars of 95% bootstrap intervals; a run is in as far as it has come.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float

from ivideo.evaluation.report.palette import INKS
from ivideo.evaluation.report.paper import SOFT, Paper
from ivideo.evaluation.statistics import Interval
from ivideo.video import write_video
from rl.report.metrics import Metrics
from rl.report.plot import Line, Plot, key
from rl.report.statistics import iqm_interval

PLACES = 80
"""Steps at which a line is drawn."""
WINDOW = 0.1
"""Share of the axis over which training is averaged."""
EPISODES = 10
"""Episodes over which it is averaged at least, as far as there are as many."""
_WIDTH, _MARGIN = 420, 14
_RESAMPLES = 500
_APART = 0.008
_CAPTION = "Line: training, smoothed. Dots: evaluation."


def write_curves(path: Path, groups: Mapping[str, Sequence[Metrics]], *, title: str = "") -> None:
    """Draw the runs of every label into a png, which is replaced in one step.

    Raises an OSError that names a place which cannot be written.
    """
    end = max((run.come_to for runs in groups.values() for run in runs), default=0)
    paper = Paper(_WIDTH, _MARGIN)
    if title:
        paper.text(title, 0, 17, size=17, most=_WIDTH)
        paper.down(28)
    key(paper, [(_named(label, runs), _ink(place)) for place, (label, runs) in enumerate(groups.items())], _WIDTH)
    for what, reach in (("success", (-0.03, 1.03)), ("return", None)):
        lines = tuple(
            _line(label, runs, what, end, _ink(place), (place - (len(groups) - 1) / 2) * _APART * end)
            for place, (label, runs) in enumerate(groups.items())
        )
        plot = Plot(title=what, lines=lines, x_title="environment steps", x=(0, max(end, 1)), y=reach)
        plot.draw(paper, _WIDTH)
        paper.down(14)
    several = any(len(runs) > 1 for runs in groups.values())
    paper.text(_CAPTION, 0, 10, size=12, colour=SOFT, most=_WIDTH)
    if several:
        paper.down(16)
        paper.text("Interquartile means; shades and bars: 95% intervals.", 0, 10, size=12, colour=SOFT, most=_WIDTH)
    paper.down(14)
    write_video(path, rearrange(torch.from_numpy(paper.pixels()), "h w k -> 1 k h w"))


def smoothed(
    steps: Float[np.ndarray, "n"],
    values: Float[np.ndarray, "n"],
    places: Float[np.ndarray, "p"],
    window: float,
    least: int = EPISODES,
) -> Float[np.ndarray, "p"]:
    """At each place the mean of the values within the `window` that ends there, and of the last `least` in any case.

    NaN before the first value, and where the last one is more than a window away: nothing is known there any more.
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    last = np.searchsorted(steps, places, side="right")
    first = np.minimum(np.searchsorted(steps, places - window, side="right"), np.maximum(last - least, 0))
    found = np.divide(sums[last] - sums[first], last - first, out=np.full(len(places), np.nan), where=last > first)
    beyond = places > (steps[-1] + window if len(steps) else -math.inf)
    return np.where(beyond, np.nan, found)


def _line(label: str, runs: Sequence[Metrics], what: str, end: int, ink: int, aside: float) -> Line:
    """One group; its dots stand a little `aside`, so that bars of several groups do not cover each other."""
    places = np.linspace(0.0, float(max(end, 1)), PLACES)
    training = [smoothed(*run.series(f"train/{what}"), places, WINDOW * max(end, 1)) for run in runs]
    for run, values in zip(runs, training, strict=True):
        values[places > run.come_to] = np.nan
    points = [(float(place), _average([values[at] for values in training])) for at, place in enumerate(places)]
    measured = [run.evaluations(what) for run in runs]
    when = sorted({step for each in measured for step in each})
    dots = [(step + aside, _average([each[step] for each in measured if step in each])) for step in when]
    return Line(
        name=label,
        ink=ink,
        points=tuple((x, found.value) for x, found in points if math.isfinite(found.value)),
        band=tuple((x, found.low, found.high) for x, found in points if math.isfinite(found.low)),
        dots=tuple((x, found.value) for x, found in dots),
        bars=tuple((x, found.low, found.high) for x, found in dots if math.isfinite(found.low)),
    )


def _average(values: Sequence[float]) -> Interval:
    """Over the runs that have a value."""
    return iqm_interval([np.array([value for value in values if math.isfinite(value)])], resamples=_RESAMPLES)


def _named(label: str, runs: Sequence[Metrics]) -> str:
    return f"{label} ({len(runs)} runs)" if len(runs) > 1 else label


def _ink(place: int) -> int:
    return place % len(INKS)
