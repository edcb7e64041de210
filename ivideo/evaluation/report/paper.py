"""Paper to draw on with text, lines and pictures; it grows downwards as more is drawn."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from ivideo.evaluation.report.drawing import Point
from ivideo.evaluation.report.words import DASH, MINUS

BLACK, SOFT, RULE, WASH, WHITE = "#1b1f24", "#5b6570", "#dfe3e8", "#f1f4f7", "#ffffff"
_SCALE, _SMOOTH = 2, 2
"""Pixels of the result for a unit of length, and how many times finer it is drawn, so that lines are smooth."""
_FINE = _SCALE * _SMOOTH
# The font that comes with Pillow is Latin only.
_SPELT = str.maketrans({DASH: "-", MINUS: "-", "∞": "inf", "…": "..."})


class Paper:
    """A white page; x counts from the left margin, y from where `down` has moved to."""

    def __init__(self, width: int, margin: int) -> None:
        self._margin = margin
        self._y = float(margin)
        self._image = Image.new("RGB", ((width + 2 * margin) * _FINE, 400 * _FINE), WHITE)

    def down(self, height: float) -> None:
        """Go on further below."""
        self._y += height

    def text(
        self,
        text: str,
        x: float,
        y: float,
        *,
        size: float = 12,
        colour: str = BLACK,
        anchor: str = "ls",
        most: float | None = None,
    ) -> None:
        """Write one line, cut where it gets wider than `most`.

        The anchor says what lies at the point: "ls" the left end of the baseline, "rs" the right end, "ms" the middle.
        """
        spelt = _spelt(text)
        if most is not None and self.wide(spelt, size) > most:
            while spelt and self.wide(f"{spelt}...", size) > most:
                spelt = spelt[:-1]
            spelt += "..."
        font = ImageFont.load_default(size * _FINE)
        self._brush(y + size).text(self._at((x, y)), spelt, fill=colour, font=font, anchor=anchor)

    def wide(self, text: str, size: float) -> float:
        """How wide text is."""
        return ImageFont.load_default(size * _FINE).getlength(_spelt(text)) / _FINE

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle."""
        left, top = self._at((x, y))
        self._brush(y + height).rectangle((left, top, left + width * _FINE - 1, top + height * _FINE - 1), colour)

    def line(self, points: Sequence[Point], colour: str, *, width: float = 1, dash: Sequence[int] = ()) -> None:
        """Draw through points; `dash` holds the lengths of strokes and gaps by turns, and nothing for one stroke."""
        brush = self._brush(max(y for _, y in points))
        for piece in _dashed(points, dash):
            brush.line([self._at(point) for point in piece], colour, round(width * _FINE), joint="curve")

    def area(self, points: Sequence[Point], colour: str) -> None:
        """Tint what lies within points."""
        brush = self._brush(max(y for _, y in points))
        brush.polygon([self._at(point) for point in points], f"{colour}26")

    def dot(self, point: Point, colour: str) -> None:
        """Draw a point that belongs to no line."""
        self._brush(point[1]).circle(self._at(point), 3 * _FINE, colour)

    def picture(self, pixels: UInt8[np.ndarray, "h w 3"], x: float, y: float, height: float) -> None:
        """Show pixels, enlarged as squares, at a height."""
        rows = round(height * _FINE)
        image = Image.fromarray(pixels)
        how = Image.Resampling.NEAREST if rows >= image.height else Image.Resampling.BOX
        image = image.resize((max(round(image.width * rows / image.height), 1), rows), how)
        self._brush(y + height)
        left, top = self._at((x, y))
        self._image.paste(image, (round(left), round(top)))

    def pixels(self) -> UInt8[np.ndarray, "h w 3"]:
        """What was drawn, with a margin below."""
        self._brush(0)
        used = self._image.crop((0, 0, self._image.width, round(self._y + self._margin) * _FINE))
        return np.asarray(used.reduce(_SMOOTH)).copy()

    def _at(self, point: Point) -> Point:
        return (self._margin + point[0]) * _FINE, (self._y + point[1]) * _FINE

    def _brush(self, bottom: float) -> ImageDraw.ImageDraw:
        needed = round((self._y + bottom + 2 * self._margin) * _FINE)
        if needed > self._image.height:
            longer = Image.new("RGB", (self._image.width, needed + self._image.height), WHITE)
            longer.paste(self._image, (0, 0))
            self._image = longer
        return ImageDraw.Draw(self._image, "RGBA")


def _spelt(text: str) -> str:
    return text.translate(_SPELT).encode("latin-1", "replace").decode("latin-1")


def _dashed(points: Sequence[Point], dash: Sequence[int]) -> list[list[Point]]:
    """The line cut into strokes; `dash` holds strokes and gaps by turns, and nothing for one stroke."""
    if not dash:
        return [list(points)]
    pieces: list[list[Point]] = []
    place, left, on = 0, float(dash[0]), True
    here, path = points[0], [points[0]]
    for there in points[1:]:
        length = float(np.hypot(there[0] - here[0], there[1] - here[1]))
        while length > left:
            share = left / length
            here = (here[0] + share * (there[0] - here[0]), here[1] + share * (there[1] - here[1]))
            if on:
                pieces.append([*path, here])
            length -= left
            place, on, path = place + 1, not on, [here]
            left = float(dash[place % len(dash)])
        left -= length
        here = there
        path.append(there)
    return [*pieces, path] if on and len(path) > 1 else pieces
