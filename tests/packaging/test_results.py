"""docs/results.md: what an evaluation wrote there is what the cards beside it say."""

from pathlib import Path

import pytest

from ivideo.evaluation.card import Card
from ivideo.evaluation.document import said
from ivideo.evaluation.evaluate import HEADLINES

DOCS = Path(__file__).resolve().parents[2] / "docs"
CARDS = sorted((DOCS / "evaluations").glob("*/card.json"))


@pytest.mark.parametrize("file", CARDS, ids=lambda file: file.parent.name)
def test_filled_sections_are_those_of_the_cards(file: Path) -> None:
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    name = file.parent.name
    section = text.partition(f"<!-- evaluation {name} -->\n")[2].partition("<!-- end of evaluation -->")[0]
    assert section == f"\n{said(Card.load(file), HEADLINES)}\n![{name}](evaluations/{name}/report.png)\n\n"


def test_there_are_cards() -> None:
    assert {file.parent.name for file in CARDS} == {"pushing_table", "metaworld"}
