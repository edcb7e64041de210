"""Tiny figures beside the published ones, and models side by side."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ivideo.evaluation.series import COPY, PREDICTION, SHUFFLED
from ivideo.reproduce.comparison import Comparison
from ivideo.reproduce.page import NOT_COMPARABLE, published, warning
from ivideo.reproduce.quality import DECODED, LOSS
from ivideo.reproduce.row import Row
from ivideo.reproduce.speed import AT_ONCE, DETOKENIZE, GENERATE, TOKENIZE, TRAIN_MODEL, TRAIN_TOKENIZER
from ivideo.reproduce.stages import Done
from ivideo.reproduce.terminal import columns, prose


def read_card(folder: Path) -> Mapping[str, Any] | None:
    """What `ivideo evaluate` left in a folder; None where there is no card."""
    path = folder / "card.json"
    if not path.is_file():
        return None
    card: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return card


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
    return "\n".join([columns(lines), "", warning(row)])


def compared(row: Row, comparison: Comparison, done: Mapping[str, Done]) -> str:
    """Models side by side, then what was published of such."""
    tables = [_quality(comparison), _expense(comparison, done)]
    if row.published:
        tables.append(f"published ({NOT_COMPARABLE} with the above):\n\n{published(row)}")
    about = (
        f"{comparison.clips} held-out clips, {comparison.frames} frames imagined of each, likeliest tokens. PSNR is in "
        "dB, first over whole frames, then (in parentheses) over the pixels that changed since the context. The loss, "
        "in nats a token, says nothing between tokenizers"
    )
    return "\n\n".join([prose(about), *tables, warning(row)])


def _quality(comparison: Comparison) -> str:
    places = sorted({place for place in (1, 5, 10, comparison.frames) if place <= comparison.frames})
    lines = [
        ("PSNR", "tokens a frame", "loss", "decoded, all frames", *(f"imagined, frame {place}" for place in places))
    ]
    for each in comparison.contestants:
        values = {(one.quantity, one.source): [value.value for value in one.values] for one in each.figures}

        def told(source: str, place: int | None, values: Mapping[tuple[str, str], list[float]] = values) -> str:
            whole, changed = (values[quantity, source] for quantity in ("PSNR, dB", "PSNR where pixels changed, dB"))
            if place is not None:
                return f"{whole[place - 1]:.2f} ({changed[place - 1]:.2f})"
            present = [
                value for value in changed if value == value
            ]  # of a frame in which nothing changed there is none
            mean = sum(present) / len(present) if present else float("nan")
            return f"{sum(whole) / len(whole):.2f} ({mean:.2f})"

        tokens = str(each.tokens)
        loss, decoded = f"{values[LOSS, PREDICTION][0]:.3f}", told(DECODED, None)
        lines.append((each.name, tokens, loss, decoded, *(told(PREDICTION, place) for place in places)))
        if ("PSNR, dB", SHUFFLED) in values:
            lines.append((f"  {SHUFFLED}", "", "", "", *(told(SHUFFLED, place) for place in places)))
    lines.append((COPY, "", "", told(COPY, None), *(told(COPY, p) for p in places)))
    return columns(lines)


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
    return f"{columns(lines)}\n{told}" if first.seconds else columns(lines)


def _time(seconds: float, reference: float, is_reference: bool) -> str:
    return f"{1000 * seconds:.1f} ms" if is_reference else f"x{seconds / reference:.2f}"
