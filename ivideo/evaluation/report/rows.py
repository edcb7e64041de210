"""The rows of a report's tables: quantities, each with the sources it was measured of, the model's own first."""

from collections.abc import Sequence
from dataclasses import dataclass

from ivideo.evaluation.card import Card
from ivideo.evaluation.report.words import decimals
from ivideo.evaluation.series import PREDICTION, Figure
from ivideo.evaluation.statistics import Interval

_NOTHING = Interval(value=float("nan"), low=float("nan"), high=float("nan"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One quantity of several sources, to be read beside each other."""

    quantity: str
    decimals: int
    rows: tuple[tuple[str, tuple[Interval, ...]], ...]
    """Sources, each with a figure for every column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Groups under common columns."""

    title: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]


def tables(card: Card) -> list[Table]:
    """The tables of a card that have rows: frames at the protocol's horizons, whole clips, and the set of clips."""
    by_frame = [each for each in card.figures if each.per == "frame"]
    length = max((len(each.values) for each in by_frame), default=0)
    horizons = tuple(horizon for horizon in card.protocol.horizons if horizon <= length)
    found = [
        Table(
            title="Imagined frames",
            columns=tuple(f"frame {horizon}" for horizon in horizons),
            groups=_groups(by_frame, tuple(horizon - 1 for horizon in horizons)),
        ),
        Table(title="Whole clips", columns=("per clip",), groups=_groups(_per(card, "clip"), (0,))),
        Table(title="The set of clips", columns=("of the set",), groups=_groups(_per(card, "set"), (0,))),
    ]
    return [table for table in found if table.groups and table.columns]


def by_quantity(figures: Sequence[Figure]) -> dict[str, list[Figure]]:
    """Figures of the same quantity together, in the order of the card, but the model's own first."""
    groups: dict[str, list[Figure]] = {}
    for each in figures:
        groups.setdefault(each.quantity, []).append(each)
    return {quantity: sorted(group, key=lambda each: each.source != PREDICTION) for quantity, group in groups.items()}


def _per(card: Card, per: str) -> list[Figure]:
    return [each for each in card.figures if each.per == per]


def _groups(figures: Sequence[Figure], places: tuple[int, ...]) -> tuple[Group, ...]:
    groups = []
    for quantity, group in by_quantity(figures).items():
        rows = tuple(
            (each.source, tuple(each.values[place] if place < len(each.values) else _NOTHING for place in places))
            for each in group
        )
        groups.append(Group(quantity=quantity, decimals=decimals(group), rows=rows))
    return tuple(groups)
