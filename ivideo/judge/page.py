"""The report: report.md to read, results.json for a program, and pictures."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ivideo.files import replace_file
from ivideo.judge.plots import Chart, horizon_chart, reliability_charts, sheet, value_charts, write_charts
from ivideo.judge.results import AgreementRow, LostRow, PolicyRow, ReliabilityRow
from ivideo.judge.tables import (
    DEFINITION,
    agreement_markdown,
    edits_markdown,
    horizon_markdown,
    lost_markdown,
    policies_markdown,
)
from ivideo.video import write_video

FILES = ("report.md", "results.json")
_MOST_SHOWN = 8
"""Moments in the sheet of frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All results, and what they are of."""

    policies: list[PolicyRow]
    agreements: list[AgreementRow]
    lost: list[LostRow]
    reliability: list[ReliabilityRow]
    counterparts: dict[str, str]
    """The true value that a judge estimates in its own unit, by judge; empty text for none."""
    about: dict[str, Any]


def write_report(place: Path, report: Report, pictures: Sequence[tuple[str, np.ndarray, np.ndarray | None]]) -> None:
    """Write everything; pictures are of one scene, a policy's dream and the truth beside it."""
    charts = _charts(report)
    for name, own in charts.items():
        write_charts(place / name, own)
    longest = max(row.steps for row in report.policies)
    steps = sorted({round(part * longest / (_MOST_SHOWN - 1)) for part in range(_MOST_SHOWN)})
    pixels = sheet(pictures, steps).pixels()
    write_video(place / "frames.png", torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous())
    document = report.about | {
        "definition": DEFINITION,
        "policies": [asdict(row) for row in report.policies],
        "agreements": [asdict(row) for row in report.agreements],
        "lost": [asdict(row) for row in report.lost],
        "reliability": [asdict(row) for row in report.reliability],
    }
    text = json.dumps(_plain(document), indent=1) + "\n"
    replace_file(place / "results.json", lambda path: path.write_text(text, encoding="utf-8"))
    told = page(report, list(charts))
    replace_file(place / "report.md", lambda path: path.write_text(told, encoding="utf-8"))


def page(report: Report, charts: Sequence[str]) -> str:
    """The report in Markdown; `charts` are the pictures beside it."""
    about = report.about
    longest = max(row.steps for row in report.policies)
    edits = list(dict.fromkeys(row.edit for row in report.policies))
    parts = [
        "# Judged\n",
        f"```sh\n{about['command']}\n```\n",
        f"Model {about['model']['sha256'][:12]}, {about['model']['parameters']:,} numbers; {about['scenes']} scenes at "
        f"most; {about['machine']}; {about['date']}, {about['seconds']:,.0f} s.\n",
        f"{DEFINITION}\n",
    ]
    for edit in edits:
        said = "" if edit == "none" else f", edit {edit}"
        own = [row for row in report.policies if row.edit == edit and row.steps == longest]
        parts += [f"## Values after {longest} steps{said}\n", policies_markdown(own)]
    first = [row for row in report.agreements if row.edit == edits[0]]
    if first:
        parts += [f"## Agreement after {longest} steps\n", agreement_markdown([r for r in first if r.steps == longest])]
        parts += ["## Spearman by horizon\n", horizon_markdown(first)]
    if len(edits) > 1 and report.agreements:
        parts += ["## Edits\n", edits_markdown(report.policies, report.agreements)]
    if report.lost:
        parts += ["## Vanished things\n", lost_markdown(report.lost)]
    links = [*charts, "frames.png"]
    parts += ["## Pictures\n", "".join(f"![{name.partition('.')[0]}]({name})\n\n" for name in links).rstrip("\n")]
    return "\n".join(parts) + "\n"


def _charts(report: Report) -> dict[str, list[Chart]]:
    """Pictures by file name; none where there is no truth."""
    if not report.agreements:
        return {}
    edit, longest = report.policies[0].edit, max(row.steps for row in report.policies)
    own = [row for row in report.policies if row.edit == edit and row.steps == longest]
    pairs = [(judge, truth) for judge, truth in report.counterparts.items() if truth]
    calibrated = [row for row in report.reliability if row.bins]
    plain = [row for row in report.agreements if row.edit == edit and row.variant == "all dreams"]
    found = {
        "values.png": value_charts(own, pairs),
        "reliability.png": reliability_charts(calibrated, [judge for judge, _ in pairs]),
    }
    if len({row.steps for row in plain}) > 1:
        charts = [horizon_chart([row for row in plain if row.truth == truth], truth) for truth in ("success", "return")]
        found["horizons.png"] = [chart for chart in charts if chart.groups]
    return {name: charts for name, charts in found.items() if charts}


def _plain(value: Any) -> Any:
    """What JSON can hold: what is not known is null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
