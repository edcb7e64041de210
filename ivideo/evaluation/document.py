"""Results in a document, written by the evaluation itself, so that nobody has to copy a number.

The document marks a place, which is replaced each time; everything else stays as it is::

    <!-- evaluation pushing_table -->
    <!-- end of evaluation -->
"""

import os
from collections.abc import Sequence
from pathlib import Path

from ivideo.evaluation.card import Card
from ivideo.evaluation.report.words import protocol_sentence
from ivideo.files import replace_file

_END = "<!-- end of evaluation -->"


def check_place(document: Path, name: str) -> None:
    """Raise FileNotFoundError or ValueError for a document that has no place of that name."""
    if not document.is_file():
        raise FileNotFoundError(f"{document} does not exist; expected a Markdown file with a place for the results")
    _place(document.read_text(encoding="utf-8"), document, name)


def fill(document: Path, name: str, card: Card, quantities: Sequence[str], picture: Path) -> None:
    """Write what a card says into the place of that name: some quantities, and a picture beside the document."""
    text = document.read_text(encoding="utf-8")
    begin, end = _place(text, document, name)
    link = Path(os.path.relpath(picture, document.parent)).as_posix()
    new = f"{text[:begin]}\n{said(card, quantities)}\n![{name}]({link})\n\n{text[end:]}"
    replace_file(document, lambda path: path.write_text(new, encoding="utf-8"))


def said(card: Card, quantities: Sequence[str]) -> str:
    """A card in Markdown: the command, what was measured of what, and the figures of some quantities."""
    model, data = card.model, card.data
    facts = (
        f"{protocol_sentence(card)}. Model {model['sha256'][:12]}, {model['parameters']:,} numbers, "
        f"{model['precision']}; clips {data['sha256'][:12]}; {card.machine}; {card.date}, {card.seconds:,.0f} s."
    )
    left = "".join(f"\nLeft out: {name}, {why}.\n" for name, why in card.left_out)
    table = card.table().only(*quantities).markdown()
    return f"```sh\n{card.command}\n```\n\n{facts[0].upper()}{facts[1:]}\n{left}\n{table}"


def _place(text: str, document: Path, name: str) -> tuple[int, int]:
    """Where the replaceable part begins and ends."""
    mark = f"<!-- evaluation {name} -->\n"
    begin = text.find(mark)
    end = text.find(_END, begin)
    if begin < 0 or end < 0:
        raise ValueError(
            f"{document} has no place for {name}; expected a line {mark.strip()!r} and after it a line {_END!r}"
        )
    return begin + len(mark), end
