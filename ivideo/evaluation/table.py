"""Figures as a table: for a terminal, and for a document."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.markup import escape
from rich.table import Table

from ivideo.evaluation.series import Figure, Series, figure
from ivideo.evaluation.statistics import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureTable:
    """Figures of one evaluation, by imagined frame where they have one."""

    clips: int
    horizons: tuple[int, ...]
    """Which imagined frames are shown, counted from 1."""
    figures: tuple[Figure, ...]

    @staticmethod
    def of(series: Sequence[Series], horizons: tuple[int, ...], *, resamples: int = 1000) -> "FigureTable":
        """The figures of some series, which are of the same clips."""
        figures = tuple(figure(each, resamples=resamples) for each in series)
        return FigureTable(clips=len(series[0].values), horizons=horizons, figures=figures)

    def at(self, quantity: str, source: str, horizon: int | None = None) -> Interval:
        """Return one figure, at an imagined frame where it has one for each; the quantity with or without its unit."""
        for each in self.figures:
            named = quantity in (each.quantity, each.quantity.rpartition(", ")[0])
            if named and each.source == source and (each.per == "frame") == (horizon is not None):
                return each.values[0 if horizon is None else horizon - 1]
        known = "; ".join(f"{each.quantity}: {each.source}" for each in self.figures)
        raise KeyError(f"no figure {quantity!r} of {source!r}; there are {known}")

    def only(self, *quantities: str) -> "FigureTable":
        """The same without other quantities."""
        kept = tuple(each for each in self.figures if each.quantity in quantities)
        return FigureTable(clips=self.clips, horizons=self.horizons, figures=kept)

    def markdown(self) -> str:
        """Return the figures as Markdown, those of whole clips first, ending in a newline."""
        whole = [each for each in self.figures if each.per != "frame"]
        single = [each for each in self.figures if each.per == "frame"]
        parts = []
        if whole:
            parts.append(_lines(["", "", "whole clips"], [[e.quantity, e.source, str(e.values[0])] for e in whole]))
        if single:
            head = ["", "", *(f"frame {horizon}" for horizon in self.horizons)]
            rows = [[e.quantity, e.source, *(str(e.values[h - 1]) for h in self.horizons)] for e in single]
            parts.append(_lines(head, rows))
        return "\n".join(parts)

    def rich(self, title: str | None = None) -> Table:
        """Return the figures of single frames for a terminal of 80 columns; for want of room, intervals are even."""
        table = Table(title=title, caption=f"{self.clips} clips; 95% intervals")
        table.add_column("")
        for horizon in self.horizons:
            table.add_column(f"frame {horizon}", justify="right", no_wrap=True)
        single = [each for each in self.figures if each.per == "frame"]
        _fill(table, single, lambda each: [each.values[horizon - 1].short() for horizon in self.horizons])
        return table

    def rich_of_clips(self, title: str | None = None) -> Table:
        """Return the figures of whole clips, and of the set of clips, likewise."""
        table = Table(title=title)
        for head in ("", "whole clips"):
            table.add_column(head, justify="right" if head else "left", no_wrap=True)
        _fill(table, [each for each in self.figures if each.per != "frame"], lambda each: [str(each.values[0])])
        return table


def _fill(table: Table, figures: Sequence[Figure], cells: Callable[[Figure], list[str]]) -> None:
    for quantity, group in groupby(figures, key=lambda each: each.quantity):
        table.add_section()
        table.add_row(f"[bold]{escape(quantity)}")
        for each in group:
            table.add_row(f"  {escape(each.source)}", *cells(each))


def _lines(head: list[str], rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])
