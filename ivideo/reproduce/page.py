"""What is shown of a row: the list of all, everything about one, and tiny figures beside the published ones."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill, indent
from typing import Any

from ivideo.evaluation.series import COPY, PREDICTION, SHUFFLED
from ivideo.reproduce.comparison import Comparison
from ivideo.reproduce.cost import RATE, costs
from ivideo.reproduce.quality import DECODED, LOSS
from ivideo.reproduce.row import Row, Stage
from ivideo.reproduce.speed import AT_ONCE, DETOKENIZE, GENERATE, TOKENIZE, TRAIN_MODEL, TRAIN_TOKENIZER
from ivideo.reproduce.stages import Done

NOT_COMPARABLE = "NOT comparable"
WIDTH = 118


def overview(rows: Sequence[Row]) -> str:
    """One line for each row."""
    cells = [("row", "what", "published", "its cost", "tiny, two cores")]
    cells += [
        (row.name, row.title, row.reports, row.gpu_days, f"{row.tiny.minutes:g} min")
        for row in rows
    ]
    return "\n".join([_columns(cells), "", "`ivideo reproduce ROW` prints the commands and what they need."])


def page(row: Row, full: Sequence[Stage], tiny: Sequence[Stage]) -> str:
    """Everything about a row, with commands that can be copied."""
    parts = [f"{row.name}: {row.title}", "", f"published  {row.reports}", f"source     {row.source}"]
    parts += [_prose(f"protocol   {row.protocol}")]
    if row.missing:
        parts += ["", _prose(f"STATUS     {row.missing}")]
    if row.published:
        parts += ["", published(row)]
    parts += ["", "needs", *(_prose(f"- {need}", 2) for need in row.needs)]
    parts += ["", "cost at full size", indent(_cost(row), "  ")]
    parts += [_prose(f"- {note}", 2) for note in row.notes]
    parts += ["", f"full size: --run executes these, {_gpus(row)}", _commands(full)]
    parts += ["", f"tiny: --tiny executes these, about {row.tiny.minutes:g} minutes on two cores", _commands(tiny)]
    parts += ["", _prose(f"Its figures are {NOT_COMPARABLE} with those published: {row.tiny.differs}")]
    return "\n".join(parts)


def published(row: Row) -> str:
    """The published figures as columns, a line for each system."""
    metrics = list(dict.fromkeys(metric for each in row.published for metric in each.figures))
    lines = [("", *metrics)]
    lines += [(each.name, *(each.figures.get(metric, "-") for metric in metrics)) for each in row.published]
    return indent(_columns(lines), "  ")


def beside(row: Row, card: Mapping[str, Any]) -> str:
    """The figures of a card, at the last imagined frame, beside what was published."""
    ours = row.published[0].figures if row.published else {}
    lines = [("figure", "source", "this tiny run", f"published ({NOT_COMPARABLE})")]
    met = set()
    for each in card["figures"]:
        last, metric = each["values"][-1], each["quantity"].split(",")[0]
        told = ours.get(metric, "") if each["source"] == PREDICTION else ""
        met |= {metric} if told else set()
        place = f", frame {len(each['values'])}" if each["per"] == "frame" else ""
        value = "-" if last["value"] is None else f"{last['value']:.2f} [{last['low']:.2f}, {last['high']:.2f}]"
        lines.append((each["quantity"] + place, each["source"], value, told))
    lines += [(metric, PREDICTION, "not measured", told) for metric, told in ours.items() if metric not in met]
    return "\n".join([_columns(lines), "", _warning(row)])


def compared(row: Row, comparison: Comparison, done: Mapping[str, Done]) -> str:
    """Models side by side, then what was published of such."""
    tables = [_quality(comparison), _expense(comparison, done)]
    if row.published:
        tables.append(f"published ({NOT_COMPARABLE} with the above):\n\n{published(row)}")
    about = (
        f"{comparison.clips} held-out clips, {comparison.frames} frames imagined of each, likeliest tokens; PSNR in dB, "
        "first over whole frames, then (in parentheses) over the pixels that changed since the context; the loss, in nats a token, says nothing between tokenizers"
    )
    return "\n\n".join([_prose(about), *tables, _warning(row)])


def _quality(comparison: Comparison) -> str:
    places = sorted({place for place in (1, 5, 10, comparison.frames) if place <= comparison.frames})
    lines = [("PSNR", "tokens a frame", "loss", "decoded, all frames", *(f"imagined, frame {place}" for place in places))]
    for each in comparison.contestants:
        values = {(one.quantity, one.source): [value.value for value in one.values] for one in each.figures}

        def told(source: str, place: int | None, values: Mapping[tuple[str, str], list[float]] = values) -> str:
            whole, changed = (values[quantity, source] for quantity in ("PSNR, dB", "PSNR where pixels changed, dB"))
            if place is not None:
                return f"{whole[place - 1]:.2f} ({changed[place - 1]:.2f})"
            present = [value for value in changed if value == value]  # of a frame in which nothing changed there is none
            mean = sum(present) / len(present) if present else float("nan")
            return f"{sum(whole) / len(whole):.2f} ({mean:.2f})"

        tokens = str(each.tokens)
        loss, decoded = f"{values[LOSS, PREDICTION][0]:.3f}", told(DECODED, None)
        lines.append((each.name, tokens, loss, decoded, *(told(PREDICTION, place) for place in places)))
        if ("PSNR, dB", SHUFFLED) in values:
            lines.append((f"  {SHUFFLED}", "", "", "", *(told(SHUFFLED, place) for place in places)))
    lines.append((COPY, "", "", told(COPY, None), *(told(COPY, p) for p in places)))
    return _columns(lines)


def _expense(comparison: Comparison, done: Mapping[str, Done]) -> str:
    """Times as ratios to the first, its own in milliseconds."""
    names = (TOKENIZE, GENERATE, AT_ONCE, DETOKENIZE, TRAIN_TOKENIZER, TRAIN_MODEL)
    first = comparison.contestants[0]
    lines = [("cost", "sequence", "tokenizer", "world model", "peak MB, training", *(names if first.seconds else ()))]
    for each in comparison.contestants:
        peaks = (done.get(f"{each.name}/{part}") for part in ("tokenizer", "world_model"))
        peak = " / ".join("-" if one is None or one.peak_mb is None else f"{one.peak_mb:,.0f}" for one in peaks)
        sizes = (f"{each.parameters[part]:,}" for part in ("tokenizer", "world model"))
        times = (_time(each.seconds[name], first.seconds[name], each is first) for name in names if first.seconds)
        lines.append((each.name, str(each.sequence), *sizes, peak, *times))
    told = f"times on {comparison.threads} thread(s): of the first in ms, of the others as multiples of it"
    return f"{_columns(lines)}\n{told}" if first.seconds else _columns(lines)


def _time(seconds: float, reference: float, is_reference: bool) -> str:
    return f"{1000 * seconds:.1f} ms" if is_reference else f"x{seconds / reference:.2f}"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}"


def _gpus(row: Row) -> str:
    return f"on {row.gpus} GPU{'s' if row.gpus > 1 else ''} with {row.memory}"


def _cost(row: Row) -> str:
    found = costs(row.full)
    lines = [("training", "GPU-hours, computed", "samples", "GFLOP a sample, counted")]
    lines += [(each.stage, _hours(each.gpu_hours), f"{each.samples:,}", f"{each.gflop:,.0f}") for each in found]
    total = sum(each.gpu_hours for each in found)
    return "\n".join(
        [
            f"published  {row.gpu_days}, {_gpus(row)}; not run by us",
            f"computed   {_hours(total)} GPU-hours = samples x GFLOP / {RATE / 1e12:g} TFLOP/s, which published GPUs reached "
            "in pre-training (docs/scaling.md)",
            _prose(f"disk       {row.disk}"),
            "",
            _columns(lines),
        ]
    )


def _warning(row: Row) -> str:
    return _prose(f"These figures are {NOT_COMPARABLE} with those published: {row.tiny.differs}")


def _commands(stages: Sequence[Stage]) -> str:
    return "\n".join(f"  {_wrapped(stage.command)}" for stage in stages)


def _wrapped(command: str, room: int = WIDTH - 8) -> str:
    """A command on several lines that a shell reads as one; an option stays with its value."""
    lines = [""]
    for part in re.split(r" (?=--)", command):
        if len(lines[-1]) + len(part) + 1 > room:
            lines.append("")
        lines[-1] = f"{lines[-1]} {part}".lstrip()
    return " \\\n      ".join(lines)


def _prose(text: str, margin: int = 0) -> str:
    first, space = " " * margin, " " * (margin + (2 if margin else 11 if "   " in text[:12] else 0))
    return fill(text, WIDTH, initial_indent=first, subsequent_indent=space, drop_whitespace=True)


def _columns(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(rows)


def read_card(folder: Path) -> Mapping[str, Any] | None:
    """What `ivideo evaluate` left in a folder; None where there is no card."""
    path = folder / "card.json"
    if not path.is_file():
        return None
    card: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return card
