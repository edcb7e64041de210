"""One self-contained page: nothing is fetched, and nothing but the page's own script may run.

Names of models, clips and sources are shown as they are and never used; see `markup`. Beyond that, the page's policy
allows one script and one style sheet, by their hashes, and pictures that are part of the page.
"""

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from ivideo.evaluation.card import Card
from ivideo.evaluation.report import palette, svg
from ivideo.evaluation.report.clip import ShownClip
from ivideo.evaluation.report.drawing import curves, histogram
from ivideo.evaluation.report.markup import Child, Markup, element, section
from ivideo.evaluation.report.player import player
from ivideo.evaluation.report.rows import Group, Table, by_quantity, tables
from ivideo.evaluation.report.words import counted, digits, ends, protocol_sentence, usage
from ivideo.evaluation.series import PREDICTION
from ivideo.files import replace_file


def write_page(path: Path, card: Card, clips: Sequence[ShownClip]) -> None:
    """Write a card and its clips as one HTML file that works without a network, and best with its script.

    An existing file is replaced in one step. Raises an OSError that names a place which cannot be written.
    """
    text = page(card, clips)
    replace_file(path, lambda stage: stage.write_text(text, encoding="utf-8"))


def page(card: Card, clips: Sequence[ShownClip]) -> str:
    """The page's text."""
    inks = palette.inks(card.figures)
    style, script = palette.style() + _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    title = f"{_name(card)}: evaluation"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        element("main", _header(card), player(clips), _tables(card, inks), _plots(card, inks), _codes(card)),
        element("footer", _left_out(card), _provenance(card)),
        element("script", Markup(_json(card)), type="application/json", id="card"),
        element("script", Markup(script)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _name(card: Card) -> str:
    return str(card.model.get("name", "model"))


def _header(card: Card) -> Markup:
    facts: list[tuple[str, Child]] = [
        ("model", _hashed(card.model.get("sha256"), card.model.get("parameters"), "parameters")),
        ("data", [str(card.data.get("source", "")), " ", _hashed(card.data.get("sha256"))]),
        ("clips", f"{card.data['clips']:,}" if "clips" in card.data else None),
        ("date", card.date or None),
        ("machine", card.machine or None),
        ("took", _duration(card.seconds) if card.seconds else None),
    ]
    return element(
        "header",
        element("h1", _name(card)),
        element("p", f"Protocol: {protocol_sentence(card)}.", class_="protocol"),
        element(
            "dl",
            (element("div", element("dt", name), element("dd", said)) for name, said in facts if said),
            class_="facts",
        ),
        element("div", element("pre", element("code", card.command)), class_="command") if card.command else None,
    )


def _hashed(sha256: object, number: object = None, unit: str = "") -> list[Markup | str]:
    size = f", {number:,} {unit}" if isinstance(number, int) else ""
    return [element("code", str(sha256)[:12], title=f"sha256 {sha256}") if sha256 else "", size]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _tables(card: Card, inks: dict[str, int]) -> Markup:
    found = tables(card)
    missing = any(math.isnan(cell.value) for t in found for g in t.groups for _, row in g.rows for cell in row)
    note = "In brackets, the 95% interval over clips (bootstrap); of the set, the lowest and the highest run."
    return section(
        "figures",
        "Figures",
        element("p", note + (" A dash: there was nothing to average." if missing else ""), class_="note"),
        (
            [
                element("h3", table.title),
                element("div", (_group(each, table, inks) for each in table.groups), class_=place),
            ]
            for table in found
            for place in (f"groups {'wide' if len(table.columns) > 1 else 'narrow'}",)
        ),
    )


def _group(group: Group, table: Table, inks: dict[str, int]) -> Markup:
    """A quantity with a row for every source and a column for every horizon, which scrolls by itself."""
    head = element(
        "tr",
        element("th", group.quantity, scope="col"),
        (element("th", name, scope="col") for name in table.columns),
    )
    rows = (
        element(
            "tr",
            element("th", svg.key(inks[source]), source, scope="row"),
            (
                element("td", digits(cell.value, group.decimals), element("small", ends(cell, group.decimals)))
                for cell in cells
            ),
            class_="model" if source == PREDICTION else None,
        )
        for source, cells in group.rows
    )
    held = element("table", element("thead", head), element("tbody", rows))
    return element("div", held, class_="scroll", tabindex="0", role="region", aria_label=group.quantity)


def _plots(card: Card, inks: dict[str, int]) -> Markup | None:
    figures = [each for each in card.figures if each.per == "frame"]
    if max((len(each.values) for each in figures), default=0) < 2:
        return None
    shown = []
    for group in by_quantity(figures).values():
        drawing = curves(group, inks)
        if drawing is not None:
            readout = element("p", drawing.stops[-1].text, class_="readout")
            shown.append(element("figure", svg.plot(drawing), readout))
    note = "Shaded: the 95% interval over clips. Point at a plot, or focus it and use the arrow keys, to read values."
    return section(
        "horizon", "Over the horizon", element("p", note, class_="note"), element("div", shown, class_="plots")
    )


def _codes(card: Card) -> Markup | None:
    shown = []
    for name, counts in card.histograms.items():
        drawing = histogram(counts, name)
        picture = None if drawing is None else svg.plot(drawing)
        shown.append(element("figure", element("figcaption", name), picture, element("p", usage(counts))))
    return section("codes", "Codes", element("div", shown, class_="plots")) if shown else None


def _left_out(card: Card) -> Markup | None:
    if not card.left_out:
        return None
    return element(
        "details",
        element("summary", f"Left out: {counted(len(card.left_out), 'clip')}"),
        _pairs(card.left_out),
        open=len(card.left_out) <= 10,
    )


def _provenance(card: Card) -> Markup:
    parts: list[tuple[str, dict[str, Any]]] = [
        ("Protocol", asdict(card.protocol)),
        ("Model", card.model),
        ("Data", card.data),
        ("Networks that measured", {name: " ".join(network.values()) for name, network in card.networks.items()}),
        ("Versions", card.versions),
    ]
    return section(
        "provenance",
        "Protocol and provenance",
        element("p", element("a", "Download this card as JSON", id="download", download="card.json", hidden=True)),
        element("div", (_part(title, held) for title, held in parts if held), class_="parts"),
    )


def _part(title: str, held: dict[str, Any]) -> Markup:
    return element("figure", element("figcaption", title), _pairs([(name, _said(each)) for name, each in held.items()]))


def _pairs(pairs: Sequence[tuple[str, str]]) -> Markup:
    rows = (element("tr", element("th", name, scope="row"), element("td", said)) for name, said in pairs)
    return element("div", element("table", element("tbody", rows), class_="pairs"), class_="scroll", tabindex="0")


def _said(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(map(_said, value))
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def _json(card: Card) -> str:
    """The card in a form that no part of it can end: between script tags, only a "<" could."""
    return card.text().replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a policy calls an inline text that it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
