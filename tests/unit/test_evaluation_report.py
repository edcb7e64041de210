"""The report page and picture: structure, escaping, and figures that are shown as they are."""

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import made_up_report as made_up
import numpy as np
import pytest
import torch
from PIL import Image

from ivideo.evaluation.card import Card
from ivideo.evaluation.protocol import Protocol
from ivideo.evaluation.report import ShownClip, write_page, write_picture
from ivideo.evaluation.report.clip import sheet
from ivideo.evaluation.report.drawing import HEIGHT, WIDTH, curves, ticks
from ivideo.evaluation.report.palette import INKS, inks
from ivideo.evaluation.report.words import DASH, MINUS, decimals, digits, protocol_sentence, usage, with_interval
from ivideo.evaluation.series import COPY, PREDICTION, SHUFFLED, Figure
from ivideo.evaluation.statistics import Interval

_VOID = {"meta", "img", "input"}


class Parsed(HTMLParser):
    """The elements of a page with their attributes and texts; fails on one that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self) -> str:
        return " ".join(data for tag, data in self.texts if tag not in ("script", "style"))


def _page(folder: Path, card: Card, clips: list[ShownClip]) -> tuple[str, Parsed]:
    write_page(folder / "report.html", card, clips)
    text = (folder / "report.html").read_text(encoding="utf-8")
    return text, Parsed(text)


_VARIANTS = {
    "three clips": (made_up.card(), [made_up.clip(label=label) for label in ("best", "median", "worst")]),
    "no clips": (made_up.card(), []),
    "no actions": (made_up.card(sources=(PREDICTION, COPY)), [made_up.clip()]),
    "nothing but figures": (made_up.bare(made_up.card()), [made_up.clip()]),
    "one frame": (made_up.card(frames=1), [made_up.clip(frames=1)]),
    "60 frames": (made_up.card(frames=60), [made_up.clip(frames=62)]),
    "holes": (made_up.holes(made_up.card()), [made_up.clip()]),
    "no figures": (replace(made_up.card(), figures=()), []),
    "hostile names": (
        made_up.card(name=made_up.HOSTILE, sources=(PREDICTION, made_up.HOSTILE)),
        [made_up.clip(name=made_up.HOSTILE, label=made_up.HOSTILE)],
    ),
}


@pytest.mark.parametrize("variant", _VARIANTS)
def test_page_is_whole_and_refers_to_nothing_outside(variant: str, tmp_path: Path) -> None:
    card, clips = _VARIANTS[variant]
    text, page = _page(tmp_path, card, clips)
    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            assert name not in ("src", "href") or str(value).startswith("data:image/png;base64,")
    style = next(data for tag, data in page.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    assert len(page.all("script")) == 2  # the card, and what moves the page
    assert len(page.all("img")) == len(clips)
    shown = [attributes.get("points", "") for attributes in page.all("polyline") + page.all("polygon")]
    numbers = [float(number) for points in shown for number in re.split("[ ,]", str(points))]
    assert all(-1 <= number <= max(WIDTH, HEIGHT) + 1 for number in numbers)  # NaN would fail too
    assert not re.search(r"\b(nan|inf)\b", page.text(), flags=re.IGNORECASE)
    for drawing in re.findall("<svg.*?</svg>", text, flags=re.DOTALL):
        ET.fromstring(drawing)


def test_names_are_shown_and_never_run(tmp_path: Path) -> None:
    text, page = _page(tmp_path, *_VARIANTS["hostile names"])
    assert "<script>alert" not in text
    assert "<img src=//" not in text
    assert page.text().count(made_up.HOSTILE) >= 6  # title, heading, data, source, clip, clip left out


def test_only_the_pages_own_script_and_style_are_allowed(tmp_path: Path) -> None:
    _, page = _page(tmp_path, *_VARIANTS["three clips"])
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    script = [data for tag, data in page.texts if tag == "script"][-1]
    style = next(data for tag, data in page.texts if tag == "style")
    for rule, held in (("script-src", script), ("style-src", style)):
        expected = base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{expected}'"


def test_the_card_is_in_the_page_as_json(tmp_path: Path) -> None:
    _, page = _page(tmp_path, *_VARIANTS["hostile names"])
    held = json.loads(next(data for tag, data in page.texts if tag == "script"))
    assert held["model"]["name"] == made_up.HOSTILE
    assert held["figures"][0]["values"][0] == {"value": 30.0, "low": 29.5, "high": 30.5}
    assert held["figures"][-1]["values"][0]["value"] is None  # NaN, which JSON has not


def test_figures_stand_beside_their_baselines(tmp_path: Path) -> None:
    text, page = _page(tmp_path, *_VARIANTS["three clips"])
    table = text[text.index("<table>") : text.index("</table>")]
    for shown in ("frame 1<", "frame 10<", "30.00", "[29.50, 30.50]", "27.30", "26.00", "23.30", "copy-last-frame"):
        assert shown in table
    assert table.index(PREDICTION) < table.index(COPY)
    assert "frame 2<" not in table
    assert "there was nothing to average" in page.text()  # of the FVD that is missing
    assert DASH in page.text()


def test_sheet_holds_every_frame_where_the_page_looks_for_it(tmp_path: Path) -> None:
    clip = made_up.clip(frames=20)
    _, page = _page(tmp_path, made_up.card(), [clip])
    (image,) = page.all("img")
    picture = np.asarray(Image.open(BytesIO(base64.b64decode(str(image["src"]).split(",")[1]))))
    assert picture.shape == (2 * 3 * 8, 16 * 8, 3)
    assert (torch.from_numpy(picture.copy()).permute(2, 0, 1) == sheet(clip)).all()
    for frame in range(20):
        x, y = frame % 16 * 8 + 4, frame // 16 * 24 + 4
        assert [picture[y + 8 * row, x, 0] for row in range(3)] == [3 * frame, 3 * frame + 10, 40]


def test_lines_break_where_values_are_missing() -> None:
    gap = Figure(
        quantity="PSNR, dB",
        source=PREDICTION,
        per="frame",
        values=tuple(made_up.interval(value) for value in (1.0, 2.0, made_up.NAN, 4.0)),
    )
    drawing = curves([gap], inks([gap]))
    assert drawing is not None
    assert [len(shape.points) for shape in drawing.shapes if shape.kind == "line"] == [2]
    assert [len(shape.points) for shape in drawing.shapes if shape.kind == "dot"] == [1]
    assert drawing.stops[2].text == "frame 3\nprediction: " + DASH
    assert curves([replace(gap, values=(made_up.interval(made_up.NAN),) * 3)], inks([gap])) is None


def test_names_of_lines_do_not_overlap() -> None:
    sources = [f"source {place}" for place in range(8)]
    figures = [
        Figure(quantity="loss", source=source, per="frame", values=(made_up.interval(1.0), made_up.interval(0.0)))
        for source in sources
    ]
    drawing = curves(figures, inks(figures))
    assert drawing is not None
    heights = sorted(label.at[1] for label in drawing.labels if label.text in sources)
    assert len(heights) == 8
    assert min(b - a for a, b in pairwise(heights)) >= 12
    assert heights[0] >= 0
    assert heights[-1] <= HEIGHT


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2e-7, 4e-6), (17.9, 31.2), (1e8, 3e8), (-5.0, -4.999)])
def test_ticks_lie_in_their_range_and_read_differently(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-9 * abs(low) <= value <= high + 1e-9 * abs(high) for value in found)
    assert len(set(found.values())) == len(found)


def test_figures_are_as_exact_as_they_are_sure() -> None:
    def of(value: float, width: float, source: str = PREDICTION) -> Figure:
        return Figure(quantity="made up", source=source, per="set", values=(made_up.interval(value, width),))

    assert decimals([of(18.0, 0.25)]) == 2
    assert decimals([of(0.0012, 0.0003)]) == 5
    assert decimals([of(250.0, 31.0)]) == 0
    assert decimals([of(0.5, 0.0)]) == 3
    assert decimals([of(1000.0, 300.0, COPY), of(8.0, 1.1), of(900.0, 200.0, "chance")]) == 1
    assert with_interval(Interval(value=5.66, low=made_up.NAN, high=made_up.NAN), 1) == "5.7"
    assert digits(made_up.NAN, 2) == DASH
    assert digits(-0.001, 2) == "0.00"
    assert digits(-1234.5, 1) == f"{MINUS}1,234.5"
    assert digits(float("inf"), 1) == "∞"


def test_protocol_in_one_sentence() -> None:
    protocol = Protocol(
        context=2, frames=14, samples=100, reduce="best", fvd="i3d", temperature=1.0, clips=256, seeds=(0, 1, 2)
    )
    card = replace(made_up.card(), protocol=protocol, data={"clips": 256})
    assert protocol_sentence(card) == (
        "best of 100 per metric, context frames not counted, FVD by i3d over all samples; two context frames, "
        "14 frames imagined, tokens drawn at temperature 1 among the 100 likeliest; 256 clips, three runs"
    )


def test_usage_and_perplexity_of_codes() -> None:
    assert "4 of 8 codes occur (50%) among 40 tokens; perplexity 4.0" in usage((10, 0, 10, 0, 10, 0, 10, 0))
    assert usage((0, 0)) == "None of 2 codes occurs."


@pytest.mark.parametrize("variant", ["one frame", "holes", "no figures", "hostile names"])
def test_picture_shows_clips_as_they_are(variant: str, tmp_path: Path) -> None:
    card, clips = _VARIANTS[variant]
    write_picture(tmp_path / "report.png", card, clips)
    picture = np.asarray(Image.open(tmp_path / "report.png"))
    assert picture.shape[1] == 2752
    for clip in clips:
        for frame in (0, len(clip.truth) - 1):  # the first and the last frame are among those that are shown
            for shown in (clip.truth, clip.prediction):
                assert (picture == shown[frame, :, 0, 0].numpy()).all(axis=2).sum() > 1000


def test_sources_look_the_same_in_every_report_and_differ_beside_each_other() -> None:
    def of(quantity: str, *sources: str) -> list[Figure]:
        values = (made_up.interval(1.0),)
        return [Figure(quantity=quantity, source=source, per="set", values=values) for source in sources]

    found = inks([*of("PSNR", "late actions", SHUFFLED, COPY, PREDICTION), *of("gain", f"over {SHUFFLED}")])
    assert (found[PREDICTION], found[COPY], found[SHUFFLED]) == (0, 1, 2)
    assert found[f"over {SHUFFLED}"] == found[SHUFFLED]  # a comparison looks like what it compares with
    many = [f"source {place}" for place in range(3 * len(INKS))]
    crowded = inks([figure for place in range(3) for figure in of(f"loss {place}", PREDICTION, *many[place::3])])
    for place in range(3):
        assert len({crowded[source] for source in many[place::3][: len(INKS) - 1]}) == len(INKS) - 1
    assert max(crowded.values()) == len(INKS) - 1
