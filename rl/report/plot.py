"""Lines, bands and dots between two axes, large enough to be read on a phone; needs no plotting library."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ivideo.evaluation.report.drawing import Point, ticks
from ivideo.evaluation.report.palette import INKS
from ivideo.evaluation.report.paper import BLACK, RULE, SOFT, Paper

_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 12.0, 26.0, 38.0
_SIZE, _TITLE = 13, 15
_KEY = 22.0
"""Length of the piece of line before a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is drawn in one ink."""

    name: str
    ink: int
    """Index into the palette."""
    points: tuple[Point, ...] = ()
    """Joined by a line."""
    band: tuple[tuple[float, float, float], ...] = ()
    """x, lower and upper end of what is tinted around the line."""
    dots: tuple[Point, ...] = ()
    """Drawn one by one."""
    bars: tuple[tuple[float, float, float], ...] = ()
    """x, lower and upper end of upright bars, such as the intervals of dots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Lines over one axis."""

    title: str
    lines: tuple[Line, ...]
    x_title: str
    x: tuple[float, float]
    """What the axis reaches from and to."""
    y: tuple[float, float] | None = None
    """The same of the upright one; None: as far as the lines go."""
    height: float = 230

    def draw(self, paper: Paper, width: float) -> None:
        """Draw on paper, and go on below."""
        low, high = self.y or self._reach()
        area = _Area((self.x[0], max(self.x[1], self.x[0] + 1e-9)), (low, high), width, self.height)
        paper.text(self.title, 0, _TITLE, size=_TITLE, most=width)
        for value, text in ticks(low, high, 5).items():
            y = area.place(area.x[0], value)[1]
            paper.line([(_LEFT, y), (width - _RIGHT, y)], RULE)
            paper.text(text, _LEFT - 6, y + 4.5, size=_SIZE, colour=SOFT, anchor="rs")
        for value, text in ticks(*area.x).items():
            x, y = area.place(value, low)
            paper.line([(x, y), (x, y + 4)], SOFT)
            room = paper.wide(text, _SIZE) / 2
            paper.text(text, min(x, width - room), y + 18, size=_SIZE, colour=SOFT, anchor="ms")
        paper.text(self.x_title, (_LEFT + width - _RIGHT) / 2, self.height - 4, size=_SIZE, colour=SOFT, anchor="ms")
        for line in self.lines:
            _band(paper, area, line)
        for line in reversed(self.lines):  # the first one comes last, on top
            _line(paper, area, line)
        paper.down(self.height)

    def across(self, x: float, width: float) -> float:
        """How far from the plot's left end a value of the horizontal axis lies."""
        return _Area(self.x, (0.0, 1.0), width, self.height).place(x, 0.0)[0]

    def _reach(self) -> tuple[float, float]:
        values = [y for line in self.lines for _, y in (*line.points, *line.dots)]
        values += [end for line in self.lines for _, *ends in (*line.band, *line.bars) for end in ends]
        values = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(values), max(values)
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        return low - room, high + room


@dataclass(frozen=True, slots=True)
class _Area:
    """Where values lie on paper."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: float
    height: float

    def place(self, x: float, y: float) -> Point:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        bottom = self.height - _BOTTOM
        return _LEFT + across * (self.width - _RIGHT - _LEFT), bottom - up * (bottom - _TOP)


def key(paper: Paper, names: Sequence[tuple[str, int]], width: float) -> None:
    """Write names, each after a piece of its line, and go on below."""
    x = 0.0
    for name, ink in names:
        taken = _KEY + 8 + min(paper.wide(name, _SIZE), width - _KEY - 8)
        if x and x + taken > width:
            x = 0.0
            paper.down(20)
        paper.line([(x, 10), (x + _KEY, 10)], INKS[ink].light, width=2.2, dash=INKS[ink].dash)
        paper.text(name, x + _KEY + 6, 14.5, size=_SIZE, colour=BLACK, most=width - _KEY - 8)
        x += taken + 14
    paper.down(30)


def _band(paper: Paper, area: _Area, line: Line) -> None:
    if len(line.band) > 1:
        lower = [area.place(x, low) for x, low, _ in line.band]
        upper = [area.place(x, high) for x, _, high in reversed(line.band)]
        paper.area([*lower, *upper], INKS[line.ink].light)


def _line(paper: Paper, area: _Area, line: Line) -> None:
    ink = INKS[line.ink]
    for x, low, high in line.bars:
        paper.line([area.place(x, low), area.place(x, high)], ink.light, width=1.4)
    if len(line.points) > 1:
        paper.line([area.place(*point) for point in line.points], ink.light, width=2.2, dash=ink.dash)
    for point in line.dots if len(line.points) != 1 else (*line.points, *line.dots):
        paper.dot(area.place(*point), ink.light)
