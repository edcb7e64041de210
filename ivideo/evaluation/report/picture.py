"""A card and its clips in one picture, to pass on or to print: tables, curves, and clips as strips."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
import torch
from einops import rearrange

from ivideo.evaluation.card import Card
from ivideo.evaluation.report.clip import AMPLIFIED, KINDS, ShownClip
from ivideo.evaluation.report.drawing import HEIGHT, WIDTH, Drawing, Point, curves
from ivideo.evaluation.report.palette import INKS, inks
from ivideo.evaluation.report.paper import BLACK, RULE, SOFT, WASH, Paper
from ivideo.evaluation.report.rows import Group, Table, by_quantity, tables
from ivideo.evaluation.report.words import digits, ends, protocol_sentence
from ivideo.evaluation.series import PREDICTION
from ivideo.video import write_video

_WIDTH, _MARGIN, _GAP = 1316, 30, 24
_ROW, _NAME, _CELL = 19, 196, 150
_HORIZONS = 7
_QUANTITIES, _PLOTS = 9, 6
"""Of a table, and of the plots: a picture is for the first ones, the page for all."""
_FRAMES = 12
"""Frames of a clip that are shown; of longer ones, evenly chosen ones."""
_GIVEN = "#b84a00"


def write_picture(path: Path, card: Card, clips: Sequence[ShownClip]) -> None:
    """Write a card and its clips as one png; it needs nothing beyond what the package itself needs.

    An existing file is replaced in one step. Raises an OSError that names a place which cannot be written.
    """
    colours = inks(card.figures)
    paper = Paper(_WIDTH, _MARGIN)
    _head(paper, card)
    for table in tables(card):
        _table(paper, table, colours)
    _plots(paper, card, colours)
    if clips:
        _title(paper, f"Clips (difference: absolute, {AMPLIFIED} times brighter; frames with a bar are context)")
    for clip in clips:
        _strip(paper, clip)
    write_video(path, rearrange(torch.from_numpy(paper.pixels()), "h w k -> 1 k h w"))


def _head(paper: Paper, card: Card) -> None:
    paper.text(str(card.model.get("name", "model")), 0, 20, size=24)
    paper.down(32)
    for line in wrap(f"Protocol: {protocol_sentence(card)}.", 150):
        paper.text(line, 0, 14, size=14)
        paper.down(20)
    facts = (str(card.data.get("source", "")), card.date, card.machine, "brackets and shades: 95% intervals over clips")
    paper.text("; ".join(fact for fact in facts if fact), 0, 12, colour=SOFT)
    paper.down(36)


def _title(paper: Paper, text: str) -> None:
    paper.text(text, 0, 15, size=15)
    paper.down(28)


def _table(paper: Paper, table: Table, colours: Mapping[str, int]) -> None:
    """Groups beside each other as far as the page is wide; of very many columns, evenly chosen ones."""
    chosen = _chosen(len(table.columns), _HORIZONS)
    width = _NAME + _CELL * len(chosen) + _GAP
    heights = [0.0] * max((_WIDTH + _GAP) // width, 1)
    more = len(table.groups) > _QUANTITIES
    _title(paper, table.title + (f" (the first {_QUANTITIES} of {len(table.groups)} quantities)" if more else ""))
    for group in table.groups[:_QUANTITIES]:
        column = heights.index(min(heights))
        _group(paper, group, table.columns, chosen, (column * width, heights[column]), colours)
        heights[column] += (len(group.rows) + 1.7) * _ROW
    paper.down(max(heights) + 8)


def _group(
    paper: Paper, group: Group, columns: Sequence[str], chosen: Sequence[int], at: Point, colours: Mapping[str, int]
) -> None:
    x, y = at
    rights = [x + _NAME + (place + 1) * _CELL for place in range(len(chosen))]
    paper.text(group.quantity, x, y + 13, size=13, most=_NAME)
    for place, right in zip(chosen, rights, strict=True):
        paper.text(columns[place], right - 4, y + 13, size=11, colour=SOFT, anchor="rs")
    paper.line([(x, y + _ROW - 1), (rights[-1], y + _ROW - 1)], RULE)
    intervals = [ends(cells[place], group.decimals) for _, cells in group.rows for place in chosen]
    wide = max(paper.wide(text, 10) for text in intervals)
    for number, (source, cells) in enumerate(group.rows, 1):
        top = y + number * _ROW
        if source == PREDICTION:
            paper.box(x, top, rights[-1] - x, _ROW, WASH)
        ink = INKS[colours[source]]
        paper.line([(x + 2, top + 10), (x + 24, top + 10)], ink.light, width=1.8, dash=ink.dash)
        paper.text(source, x + 30, top + 14, most=_NAME - 30)
        for place, right in zip(chosen, rights, strict=True):
            paper.text(digits(cells[place].value, group.decimals), right - wide - 10, top + 14, anchor="rs")
            paper.text(ends(cells[place], group.decimals), right - 4, top + 14, size=10, colour=SOFT, anchor="rs")


def _plots(paper: Paper, card: Card, colours: Mapping[str, int]) -> None:
    figures = [each for each in card.figures if each.per == "frame" and len(each.values) > 1]
    drawings = [curves(group, colours) for group in by_quantity(figures).values()]
    shown = [drawing for drawing in drawings if drawing is not None]
    if shown:
        _title(
            paper, "Over the horizon" + (f" (the first {_PLOTS} of {len(shown)} quantities)" if shown[_PLOTS:] else "")
        )
    zoom = (_WIDTH - 2 * _GAP) / 3 / WIDTH
    for first in range(0, min(len(shown), _PLOTS), 3):
        for column, drawing in enumerate(shown[first : min(first + 3, _PLOTS)]):
            _draw(paper, drawing, column * (WIDTH * zoom + _GAP), zoom)
        paper.down(HEIGHT * zoom + 20)


def _draw(paper: Paper, drawing: Drawing, x: float, zoom: float) -> None:
    def moved(point: Point) -> Point:
        return x + point[0] * zoom, point[1] * zoom

    for shape in drawing.shapes:
        points = [moved(point) for point in shape.points]
        ink = None if shape.ink is None else INKS[shape.ink]
        if ink is None:
            paper.line(points, RULE)
        elif shape.kind == "area":
            paper.area(points, ink.light)
        elif shape.kind == "dot":
            for point in points:
                paper.dot(point, ink.light)
        else:
            paper.line(points, ink.light, width=1.8, dash=ink.dash)
    for label in drawing.labels:
        colour = BLACK if label.title else SOFT if label.ink is None else INKS[label.ink].light
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[label.anchor]
        size = 12.5 if label.title else 11
        paper.text(label.text, *moved(label.at), size=size * zoom, colour=colour, anchor=anchor)


def _strip(paper: Paper, clip: ShownClip) -> None:
    """Rows of truth, prediction and difference, under the frames' numbers; context frames carry a bar."""
    chosen = _chosen(len(clip.truth), _FRAMES)
    paper.text(f"{clip.label}: {clip.name}", 0, 12, size=13, most=_WIDTH * 0.6)
    paper.text(clip.score, _WIDTH, 12, colour=SOFT, anchor="rs")
    paper.down(22)
    rows = rearrange(clip.rows()[:, chosen], "r t k h w -> r t h w k").numpy()
    _, _, height, width, _ = rows.shape
    left = 74.0
    across = min((_WIDTH - left) / _FRAMES - 3, 120)
    tall = across * height / width
    for place, frame in enumerate(chosen):
        x = left + place * (across + 3)
        given = frame < clip.context
        paper.text(str(frame + 1), x + across / 2, 10, size=10, colour=_GIVEN if given else SOFT, anchor="ms")
        if given:
            paper.box(x, 13, across, 2, _GIVEN)
        for number, row in enumerate(rows):
            paper.picture(row[place], x, 16 + number * (tall + 2), tall)
    for number, kind in enumerate(KINDS):
        paper.text(kind, 0, 16 + number * (tall + 2) + tall / 2 + 4, colour=BLACK)
    paper.down(16 + 3 * (tall + 2) + 18)


def _chosen(count: int, most: int) -> list[int]:
    """Up to so many places, evenly chosen, the first and the last among them."""
    places: list[int] = np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
    return places
