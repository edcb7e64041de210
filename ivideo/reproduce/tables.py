"""Tiny figures beside the published ones, and models side by side."""

from collections.abc import Mapping
from math import isnan, nan
from statistics import fmean

from ivideo.evaluation.card import Card
from ivideo.evaluation.series import COPY, PREDICTION, SHUFFLED
from ivideo.reproduce.comparison import Comparison, Contestant
from ivideo.reproduce.page import NOT_COMPARABLE, published, warning
from ivideo.reproduce.quality import CHANGED, DECODED, LOSS, WHOLE
from ivideo.reproduce.row import Row
from ivideo.reproduce.speed import AT_ONCE, DETOKENIZE, GENERATE, TOKENIZE, TRAIN_MODEL, TRAIN_TOKENIZER
from ivideo.reproduce.stages import Done
from ivideo.reproduce.terminal import columns, prose

METRICS = {"PSNR, dB": "PSNR", "SSIM x100": "SSIM", "LPIPS x100": "LPIPS", "FVD": "FVD"}
"""How papers call what an evaluation measures."""
SOURCES = (PREDICTION, COPY, SHUFFLED)


def beside(row: Row, card: Card) -> str:
    """The figures of whole clips in a card beside what was published of the row's first system."""
    theirs = row.published[0].figures if row.published else {}
    lines = [("figure", "source", "this tiny run", f"published ({NOT_COMPARABLE})")]
    for each in card.figures:
        if each.per != "frame" and each.quantity in METRICS and each.source in SOURCES:
            told = theirs.get(METRICS[each.quantity], "") if each.source == PREDICTION else ""
            lines.append((each.quantity, each.source, str(each.values[0]), told))
    met = {METRICS[quantity] for quantity, source, *_ in lines[1:] if source == PREDICTION}
    lines += [(metric, PREDICTION, "not measured", told) for metric, told in theirs.items() if metric not in met]
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
        loss, *_ = _values(each, LOSS, PREDICTION)
        imagined = (_at(each, PREDICTION, place) for place in places)
        lines.append((each.name, str(each.tokens), f"{loss:.3f}", _overall(each, DECODED), *imagined))
        if any(one.source == SHUFFLED for one in each.figures):
            lines.append((f"  {SHUFFLED}", "", "", "", *(_at(each, SHUFFLED, place) for place in places)))
    first = comparison.contestants[0]
    lines.append((COPY, "", "", _overall(first, COPY), *(_at(first, COPY, place) for place in places)))
    return columns(lines)


def _values(contestant: Contestant, quantity: str, source: str) -> list[float]:
    found = next(one for one in contestant.figures if (one.quantity, one.source) == (quantity, source))
    return [each.value for each in found.values]


def _at(contestant: Contestant, source: str, place: int) -> str:
    """At one frame, from 1: over whole frames, then over changed pixels."""
    whole, changed = (_values(contestant, quantity, source)[place - 1] for quantity in (WHOLE, CHANGED))
    return f"{whole:.2f} ({changed:.2f})"


def _overall(contestant: Contestant, source: str) -> str:
    """The same as means over frames, without those in which nothing changed in any clip."""
    whole, changed = (_values(contestant, quantity, source) for quantity in (WHOLE, CHANGED))
    present = [value for value in changed if not isnan(value)] or [nan]
    return f"{fmean(whole):.2f} ({fmean(present):.2f})"


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
