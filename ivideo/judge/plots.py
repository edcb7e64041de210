"""Pictures of results: values against truth, reliability diagrams, agreement by horizon."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ivideo.evaluation.report.drawing import Point, ticks
from ivideo.evaluation.report.palette import INKS
from ivideo.evaluation.report.paper import BLACK, RULE, SOFT, Paper
from ivideo.evaluation.statistics import Interval
from ivideo.judge.results import AgreementRow, PolicyRow, ReliabilityRow
from ivideo.video import write_video

_WIDTH, _MARGIN, _GAP = 720, 16, 24
_SIDE = (_WIDTH - _GAP) // 2
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 10.0, 24.0, 40.0
_SIZE = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A dot with a bar, and what is written beside it."""

    x: float
    y: Interval
    name: str = ""
    across: Interval | None = None
    """The interval along x, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Dots over two axes."""

    title: str
    x_title: str
    y_title: str
    groups: tuple[tuple[str, tuple[Mark, ...]], ...]
    """What is drawn in one ink each, and joined where `joined`."""
    diagonal: bool = False
    """Whether both axes have one unit, so that they reach as far and equality is drawn."""
    joined: bool = False


def value_charts(rows: Sequence[PolicyRow], pairs: Sequence[tuple[str, str]]) -> list[Chart]:
    """Judged against true values, a dot for each policy, for pairs of a judge and its true value."""
    return [
        Chart(
            title=f"{judge}, judged in the model",
            x_title=f"true {truth}",
            y_title="judged",
            groups=tuple(
                (
                    row.policy,
                    (Mark(x=row.true[truth].value, y=row.judged[judge], name=row.policy, across=row.true[truth]),),
                )
                for row in rows
            ),
            diagonal=True,
        )
        for judge, truth in pairs
    ]


def reliability_charts(rows: Sequence[ReliabilityRow], own: Sequence[str]) -> list[Chart]:
    """Reliability diagrams: bins of tries that were judged alike; the diagonal where a judge is in `own`."""
    return [
        Chart(
            title=f"reliability of {row.judge}",
            x_title="judged, mean of a bin",
            y_title=f"true {row.truth}",
            groups=(("bins", tuple(Mark(x=each.judged, y=each.true, name=f"{each.episodes}") for each in row.bins)),),
            diagonal=row.judge in own,
            joined=True,
        )
        for row in rows
    ]


def horizon_chart(rows: Sequence[AgreementRow], truth: str) -> Chart:
    """Spearman with a true value by horizon, a line for each judge."""
    judges = list(dict.fromkeys(row.judge for row in rows))
    lines = []
    for judge in judges:
        own = [row for row in rows if row.judge == judge and not math.isnan(row.found.spearman.value)]
        lines.append((judge, tuple(Mark(x=float(row.steps), y=row.found.spearman) for row in own)))
    return Chart(
        title=f"Spearman with the true {truth} of as many steps",
        x_title="steps",
        y_title="Spearman",
        groups=tuple((name, marks) for name, marks in lines if marks),
        joined=True,
    )


def write_charts(path: Path, charts: Sequence[Chart]) -> None:
    """Charts in two columns, as a png."""
    paper = Paper(_WIDTH, _MARGIN)
    for first in range(0, len(charts), 2):
        both = charts[first : first + 2]
        for place, chart in enumerate(both):
            _draw(paper, chart, place * (_SIDE + _GAP))
        paper.down(_SIDE + 4)
        for chart in both:
            if chart.joined and len(chart.groups) > 1:
                _key(paper, [name for name, _ in chart.groups])
        paper.down(8)
    write_video(path, torch.from_numpy(paper.pixels()).permute(2, 0, 1)[None].contiguous())


def _draw(paper: Paper, chart: Chart, left: float) -> None:
    xs, ys = _reaches(chart)

    def place(x: float, y: float) -> Point:
        across, up = (x - xs[0]) / (xs[1] - xs[0]), (y - ys[0]) / (ys[1] - ys[0])
        bottom = _SIDE - _BOTTOM
        return left + _LEFT + across * (_SIDE - _LEFT - _RIGHT), bottom - up * (bottom - _TOP)

    paper.text(chart.title, left, 14, size=13, most=_SIDE)
    for value, text in ticks(*ys, 5).items():
        x, y = place(xs[0], value)
        paper.line([(x, y), (left + _SIDE - _RIGHT, y)], RULE)
        paper.text(text, x - 5, y + 4, size=_SIZE, colour=SOFT, anchor="rs")
    for value, text in ticks(*xs, 5).items():
        x, y = place(value, ys[0])
        paper.line([(x, y), (x, y + 4)], SOFT)
        paper.text(text, x, y + 16, size=_SIZE, colour=SOFT, anchor="ms")
    middle = left + (_LEFT + _SIDE - _RIGHT) / 2
    paper.text(
        f"{chart.x_title} (across), {chart.y_title} (up)", middle, _SIDE - 6, size=_SIZE, colour=SOFT, anchor="ms"
    )
    if chart.diagonal:
        low, high = max(xs[0], ys[0]), min(xs[1], ys[1])
        paper.line([place(low, low), place(high, high)], SOFT, dash=(4, 4))
    for ink, (_, marks) in enumerate(chart.groups):
        colour = INKS[ink % len(INKS)].light
        if chart.joined and len(marks) > 1:
            dash = INKS[ink % len(INKS)].dash
            paper.line([place(mark.x, mark.y.value) for mark in marks], colour, width=1.8, dash=dash)
        for mark in marks:
            _mark(paper, mark, place, colour, chart, left)


def _mark(paper: Paper, mark: Mark, place: object, colour: str, chart: Chart, left: float) -> None:
    assert callable(place)
    point = place(mark.x, mark.y.value)
    if not math.isnan(mark.y.low):
        paper.line([place(mark.x, mark.y.low), place(mark.x, mark.y.high)], colour)
    if mark.across is not None and not math.isnan(mark.across.low):
        paper.line([place(mark.across.low, mark.y.value), place(mark.across.high, mark.y.value)], colour)
    paper.dot(point, colour)
    if mark.name:
        right = point[0] > left + 0.7 * _SIDE
        x = point[0] - 6 if right else point[0] + 6
        paper.text(mark.name, x, point[1] - 5, size=_SIZE, colour=BLACK, anchor="rs" if right else "ls")


def _reaches(chart: Chart) -> tuple[tuple[float, float], tuple[float, float]]:
    marks = [mark for _, group in chart.groups for mark in group]
    xs = [value for mark in marks for value in _ends(mark.across, mark.x)]
    ys = [value for mark in marks for value in _ends(mark.y, mark.y.value)]
    if chart.diagonal:
        xs = ys = [*xs, *ys]
    return _reach(xs), _reach(ys)


def _ends(interval: Interval | None, value: float) -> list[float]:
    return [value] if interval is None else [value, interval.low, interval.high]


def _reach(values: Sequence[float]) -> tuple[float, float]:
    there = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(there), max(there)
    room = (high - low) * 0.06 or max(abs(high) * 0.1, 0.1)
    return low - room, high + room


def _key(paper: Paper, names: Sequence[str]) -> None:
    x = 0.0
    for ink, name in enumerate(names):
        wide = 34 + paper.wide(name, _SIZE)
        if x and x + wide > _WIDTH:
            paper.down(16)
            x = 0.0
        style = INKS[ink % len(INKS)]
        paper.line([(x, 8), (x + 20, 8)], style.light, width=2, dash=style.dash)
        paper.text(name, x + 24, 12, size=_SIZE)
        x += wide
    paper.down(18)


def sheet(rows: Sequence[tuple[str, np.ndarray, np.ndarray | None]], steps: Sequence[int]) -> Paper:
    """Frames of policies at some steps: of each, what is true above what was imagined. Pictures are `[t h w 3]`."""
    paper = Paper(_WIDTH, _MARGIN)
    side = min(84.0, (_WIDTH - 110) / max(len(steps), 1) - 4)
    for place, step in enumerate(steps):
        paper.text(f"step {step}", 110 + place * (side + 4), 12, size=_SIZE, colour=SOFT)
    paper.down(18)
    for name, dream, truth in rows:
        for kind, frames in (("truth", truth), ("model", dream)):
            if frames is None:
                continue
            if kind == "truth" or truth is None:
                paper.text(name, 0, 16, size=13, most=104)
            paper.text(kind, 0, 34, size=_SIZE, colour=SOFT)
            for place, step in enumerate(steps):
                paper.picture(frames[min(step, len(frames) - 1)], 110 + place * (side + 4), 0, side)
            paper.down(side + 4)
        paper.down(8)
    return paper
