"""Plots as lines, areas and labels in their own coordinates, which a page turns into SVG and a picture into pixels."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from ivideo.evaluation.report.words import DASH, MINUS, counted, decimals, with_interval
from ivideo.evaluation.series import Figure
from ivideo.evaluation.statistics import Interval

WIDTH, HEIGHT = 400, 242
_LEFT, _TOP, _BOTTOM = 50, 26, 36
_LETTER = 5.9
"""Pixels that a letter of a label takes, at most; labels are 11 pixels high."""
_LINE = 13
_UNIT = HEIGHT - _BOTTOM

Point = tuple[float, float]
Kind = Literal["grid", "line", "area", "dot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A line through points, an area within them, or a dot at each; the ink is an index into the palette."""

    kind: Kind
    points: tuple[Point, ...]
    ink: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Text whose baseline starts, has its middle, or ends at a point."""

    text: str
    at: Point
    anchor: Literal["start", "middle", "end"]
    ink: int | None = None
    title: bool = False
    """Whether it says what the whole drawing shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A place on the horizontal axis where values can be read."""

    x: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What to draw, from back to front, `WIDTH` by `HEIGHT`."""

    summary: str
    shapes: tuple[Shape, ...]
    labels: tuple[Label, ...]
    stops: tuple[Stop, ...] = ()
    top: float = _TOP
    bottom: float = _UNIT


@dataclass(slots=True, kw_only=True)
class _Canvas:
    """A drawing that is being made, and where its values lie."""

    x: tuple[float, float]
    y: tuple[float, float]
    right: float
    """Pixels kept free for labels."""
    shapes: list[Shape] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def place(self, x: float, y: float) -> Point:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return round(_LEFT + across * (WIDTH - self.right - _LEFT), 2), round(_UNIT - up * (_UNIT - _TOP), 2)

    def axes(self, x: Mapping[float, str], y: Mapping[float, str]) -> None:
        for value, text in y.items():
            left, right = self.place(self.x[0], value), self.place(self.x[1], value)
            self.shapes.append(Shape(kind="grid", points=(left, right)))
            self.labels.append(Label(text=text, at=(_LEFT - 7, left[1] + 4), anchor="end"))
        for value, text in x.items():
            at = self.place(value, self.y[0])
            self.shapes.append(Shape(kind="grid", points=(at, (at[0], at[1] + 4))))
            self.labels.append(Label(text=text, at=(at[0], at[1] + 16), anchor="middle"))

    def titles(self, x: str, y: str, *, whole: bool) -> None:
        """Name both axes; `whole` says that the vertical one's name is the drawing's too."""
        self.labels.append(Label(text=x, at=((_LEFT + WIDTH - self.right) / 2, HEIGHT - 4), anchor="middle"))
        self.labels.append(Label(text=y, at=(4, 11), anchor="start", title=whole))


def curves(figures: Sequence[Figure], inks: Mapping[str, int]) -> Drawing | None:
    """One quantity against the imagined frame: a line with its interval for every source; None without any value."""
    quantity, frames = figures[0].quantity, max(len(each.values) for each in figures)
    seen = [end for each in figures for point in each.values for end in (point.value, point.low, point.high)]
    finite = [value for value in seen if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    right = 14 + _LETTER * max(len(_cut(each.source)) for each in figures)
    canvas = _Canvas(x=(1, max(frames, 2)), y=(low - room, high + room), right=min(right, 150))
    canvas.axes(_whole_ticks(frames), ticks(*canvas.y))
    canvas.titles("imagined frame", quantity, whole=True)
    for figure in reversed(figures):  # the model's own line comes last, on top
        canvas.shapes += _bands(figure, canvas, inks[figure.source])
    for figure in reversed(figures):
        canvas.shapes += _lines(figure, canvas, inks[figure.source])
    canvas.labels += _names(figures, canvas, inks)
    return Drawing(
        summary=f"{quantity} of {counted(len(figures), 'source')} over {counted(frames, 'imagined frame')}",
        shapes=tuple(canvas.shapes),
        labels=tuple(canvas.labels),
        stops=tuple(_stop(figures, canvas, frame) for frame in range(1, frames + 1)),
    )


def histogram(counts: Sequence[int], name: str) -> Drawing | None:
    """How often codes occur, the most frequent first, on a logarithmic scale; None where none occurs."""
    ordered = sorted((count for count in counts if count > 0), reverse=True)
    if not ordered:
        return None
    top = max(math.ceil(math.log10(ordered[0])), 1)
    canvas = _Canvas(x=(0, len(counts)), y=(0, top), right=16)
    powers = {float(power): f"{10**power:,}" for power in range(0, top + 1, 1 + top // 6)}
    canvas.axes(ticks(0, len(counts)), powers)
    canvas.titles("codes, the most frequent first", "times each occurs, logarithmic", whole=False)
    # Steps, at most two for every pixel; neighbours with equal counts are one step.
    chosen = np.unique(np.linspace(0, len(ordered), 2 * WIDTH).astype(int)).tolist()
    steps = []
    for begin, end in pairwise(chosen):
        level = math.log10(ordered[begin])
        steps += [canvas.place(begin, level), canvas.place(end, level)]
    foot = [canvas.place(len(ordered), 0), canvas.place(0, 0)]
    canvas.shapes.append(Shape(kind="area", points=(*steps, *foot), ink=0))
    canvas.shapes.append(Shape(kind="line", points=(*steps, foot[0]), ink=0))
    return Drawing(
        summary=f"{name}: how often each code occurs, sorted",
        shapes=tuple(canvas.shapes),
        labels=tuple(canvas.labels),
    )


def ticks(low: float, high: float, most: int = 6) -> dict[float, str]:
    """Round values in a range, at most so many, with the decimals that tell them apart."""
    rough = (high - low) / most
    power = math.floor(math.log10(rough))
    step = next(factor * 10.0**power for factor in (1, 2, 5, 10) if factor * 10.0**power >= rough * (1 - 1e-9))
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [number * step for number in range(first, last + 1)]
    if places > 4 or abs(high) >= 1e6:
        return {value: f"{value:.1e}".replace("-", MINUS) for value in values}
    return {value: f"{value:,.{places}f}".replace("-", MINUS) for value in values}


def _whole_ticks(frames: int) -> dict[float, str]:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, frames) if frames / step <= 8)
    return {float(frame): str(frame) for frame in range(1, frames + 1) if frame == 1 or frame % step == 0}


def _bands(figure: Figure, canvas: _Canvas, ink: int) -> list[Shape]:
    return [
        Shape(
            kind="area",
            points=(
                *(canvas.place(frame, figure.values[frame - 1].low) for frame in run),
                *(canvas.place(frame, figure.values[frame - 1].high) for frame in reversed(run)),
            ),
            ink=ink,
        )
        for run in _runs(figure, lambda point: all(map(math.isfinite, (point.low, point.high))))
    ]


def _lines(figure: Figure, canvas: _Canvas, ink: int) -> list[Shape]:
    shapes = []
    for run in _runs(figure, lambda point: math.isfinite(point.value)):
        points = tuple(canvas.place(frame, figure.values[frame - 1].value) for frame in run)
        shapes.append(Shape(kind="line" if len(points) > 1 else "dot", points=points, ink=ink))
    return shapes


def _runs(figure: Figure, present: Callable[[Interval], bool]) -> list[list[int]]:
    """Frames, from 1, that follow each other without a gap."""
    runs: list[list[int]] = [[]]
    for frame, point in enumerate(figure.values, 1):
        if present(point):
            runs[-1].append(frame)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _names(figures: Sequence[Figure], canvas: _Canvas, inks: Mapping[str, int]) -> list[Label]:
    """The name of every source at the end of its line, moved apart where lines end close together."""
    wanted = []
    for figure in figures:
        finite = [point.value for point in figure.values if math.isfinite(point.value)]
        if finite:
            wanted.append((canvas.place(1, finite[-1])[1], figure.source))
    wanted.sort()
    heights: list[float] = []
    for height, _ in wanted:
        heights.append(max(height, heights[-1] + _LINE) if heights else height)
    limit = float(_UNIT)
    for place in reversed(range(len(heights))):  # what was pushed off the foot goes back up, and pushes others
        heights[place] = min(heights[place], limit)
        limit = heights[place] - _LINE
    x = WIDTH - canvas.right + 8
    return [
        Label(text=_cut(source), at=(x, round(height + 4, 2)), anchor="start", ink=inks[source])
        for height, (_, source) in zip(heights, wanted, strict=True)
    ]


def _stop(figures: Sequence[Figure], canvas: _Canvas, frame: int) -> Stop:
    lines, places = [f"frame {frame}"], decimals(figures)
    for figure in figures:
        point = figure.values[frame - 1] if frame <= len(figure.values) else None
        lines.append(f"{figure.source}: {DASH if point is None else with_interval(point, places)}")
    return Stop(x=canvas.place(frame, canvas.y[0])[0], text="\n".join(lines))


def _cut(text: str) -> str:
    """The end of a long name, whole words of it: comparisons differ there."""
    return text if len(text) <= 23 else f"…{text[-22:].partition(' ')[2] or text[-22:]}"
