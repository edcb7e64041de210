"""What a report says in words and digits: the protocol in one sentence, figures as exact as they are sure."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from ivideo.evaluation.card import Card
from ivideo.evaluation.measures.codebook import CodeCounts
from ivideo.evaluation.series import PREDICTION, Figure
from ivideo.evaluation.statistics import Interval

DASH, MINUS = "\u2013", "\u2212"
"""The first stands where there was nothing to average, the other before figures below zero."""
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def protocol_sentence(card: Card) -> str:
    """The protocol as a paper would state it beside a figure: "best of 100 per metric, ...; 256 clips, three runs"."""
    protocol, clips, runs = card.protocol, card.data.get("clips", card.protocol.clips), len(card.protocol.seeds)
    several = protocol.samples > 1
    scored = [
        f"{protocol.reduce} of {protocol.samples}{' per metric' if protocol.reduce == 'best' else ' futures'}"
        if several
        else "one future of each clip",
        "context frames counted as reconstructed" if protocol.count_context else "context frames not counted",
    ]
    if "lpips" in protocol.qualities:
        scored.append(f"LPIPS by {protocol.lpips}")
    for name, network in (("FVD", protocol.fvd), ("FID", protocol.fid)):
        if network is not None:
            scored.append(f"{name} by {network}{' over all samples' if several else ''}")
    drawn = (
        "likeliest tokens"
        if protocol.temperature == 0
        else f"tokens drawn at temperature {protocol.temperature:g} among the {protocol.top_k} likeliest"
    )
    shown = "" if protocol.context is None else f"{counted(protocol.context, 'context frame')}, "
    size = "" if protocol.resolution is None else f" at {protocol.resolution} px"
    imagined = f"{shown}{counted(protocol.frames, 'frame')} imagined{size}"
    return f"{', '.join(scored)}; {imagined}, {drawn}; {counted(clips, 'clip')}, {counted(runs, 'run')}"


def counted(count: int, noun: str) -> str:
    """Return for example "one run", "128 clips"."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def number(count: int) -> str:
    """A count in words up to twelve, beyond that in digits."""
    return _COUNTS[count] if 0 <= count < len(_COUNTS) else f"{count:,}"


def decimals(figures: Sequence[Figure]) -> int:
    """How many decimals show two digits of the distance from most values to the ends of their intervals.

    The model's own figures decide where there are any: a baseline is often larger, and less sure, by far.
    """
    own = [figure for figure in figures if figure.source == PREDICTION]
    intervals = [interval for figure in own or figures for interval in figure.values]
    wide = [(each.high - each.low) / 2 for each in intervals]
    sure = [width for width in wide if math.isfinite(width) and width > 0]
    if sure:
        return min(max(1 - math.floor(math.log10(float(np.quantile(sure, 0.25)))), 0), 9)
    sizes = [abs(each.value) for each in intervals if math.isfinite(each.value) and each.value]
    return min(max(2 - math.floor(math.log10(min(sizes))), 0), 9) if sizes else 0


def digits(value: float, places: int) -> str:
    """A figure with so many decimals; a dash where there is none."""
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:,.{places}f}"
    return f"{0.0:.{places}f}" if float(text.replace(",", "")) == 0 else text.replace("-", MINUS)


def with_interval(interval: Interval, places: int) -> str:
    """Return for example "18.06 [17.81, 18.30]", or a dash."""
    if math.isnan(interval.value):
        return DASH
    return f"{digits(interval.value, places)} {ends(interval, places)}".rstrip()


def ends(interval: Interval, places: int) -> str:
    """Return for example "[17.81, 18.30]", or nothing where there is no interval."""
    if any(math.isnan(value) for value in (interval.value, interval.low, interval.high)):
        return ""
    return f"[{digits(interval.low, places)}, {digits(interval.high, places)}]"


def usage(counts: Sequence[int]) -> str:
    """How many codes occur, and how many equally frequent ones would be as hard to guess."""
    codes, used = CodeCounts(counts=torch.tensor(counts)), sum(count > 0 for count in counts)
    if not used:
        return f"None of {len(counts):,} codes occurs."
    return (
        f"{used:,} of {len(counts):,} codes occur ({codes.usage:.0%}) among {codes.total:,} tokens; perplexity "
        f"{codes.perplexity:,.1f}, as hard to guess as so many equally frequent codes."
    )
