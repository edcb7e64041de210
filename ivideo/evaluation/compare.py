"""`ivideo evaluate --compare A B`: two results beside each other, if they are alike in all that numbers depend on."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.table import Table

from ivideo.evaluation.card import Card
from ivideo.evaluation.protocol import Protocol
from ivideo.evaluation.report.words import protocol_sentence
from ivideo.evaluation.series import Figure

_TITLE = "title"


def differences(first: Card, second: Card) -> list[str]:
    """In what two results differ that makes their figures no figures of the same thing, one line each."""
    found = [
        f"{field.name}: {_said(mine)} and {_said(theirs)}"
        for field in fields(Protocol)
        if (mine := getattr(first.protocol, field.name)) != (theirs := getattr(second.protocol, field.name))
        and field.name not in (_TITLE, "horizons")
    ]
    if first.data.get("sha256") != second.data.get("sha256"):
        found.append(f"data: {_data(first)} and {_data(second)}")
    for name in sorted({*first.networks, *second.networks}):
        mine, theirs = first.networks.get(name), second.networks.get(name)
        if mine != theirs:
            found.append(f"network of {name}: {_network(mine)} and {_network(theirs)}")
    return found


def check_alike(first: Card, second: Card, names: tuple[str, str]) -> None:
    """ValueError that names every difference between results that cannot be compared."""
    found = differences(first, second)
    if found:
        raise ValueError(f"{names[0]} and {names[1]} cannot be compared, for they differ in {'; '.join(found)}")


def comparison(first: Card, second: Card) -> Table:
    """The figures of two like results, model beside model, for a terminal."""
    names = [str(card.model["name"]) for card in (first, second)]
    if names[0] == names[1]:
        names = [f"{name} {card.model['sha256'][:8]}" for name, card in zip(names, (first, second), strict=True)]
    table = Table(title=protocol_sentence(first), caption=f"{first.data['clips']} clips; 95% intervals")
    for head in ("", "of", *names):
        table.add_column(head, justify="left" if head in ("", "of") else "right")
    horizon = max(first.protocol.horizons)
    others = {(each.quantity, each.source, each.per): each for each in second.figures}
    for figure in first.figures:
        other = others.get((figure.quantity, figure.source, figure.per))
        if other is None:
            continue
        at = f" at frame {horizon}" if figure.per == "frame" else ""
        table.add_row(f"{figure.quantity}{at}", figure.source, *(_value(each, horizon) for each in (figure, other)))
    return table


def compare(one: str, other: str) -> Table:
    """The comparison of two cards by their files or folders; raises as `Card.load` and `check_alike` do."""
    first, second = (Card.load(Path(path).expanduser()) for path in (one, other))
    check_alike(first, second, (one, other))
    return comparison(first, second)


def _value(figure: Figure, horizon: int) -> str:
    return figure.values[horizon - 1 if figure.per == "frame" else 0].short()


def _said(value: Any) -> str:
    return "none" if value is None else str(list(value) if isinstance(value, tuple) else value)


def _data(card: Card) -> str:
    return f"{card.data['clips']} clips of {card.data['source']} ({str(card.data['sha256'])[:12]})"


def _network(network: dict[str, str] | None) -> str:
    return "none" if network is None else f"{network['name']} ({network['sha256'][:12]})"
