"""A protocol card and clips with made-up figures and hostile names."""

import math
from dataclasses import replace

import torch

from ivideo.evaluation.card import Card
from ivideo.evaluation.protocol import Protocol
from ivideo.evaluation.report import ShownClip
from ivideo.evaluation.series import COPY, PREDICTION, SHUFFLED, Figure
from ivideo.evaluation.statistics import Interval

HOSTILE = "</script><script>alert('1')</script><img src=//evil.test/x onerror=\"alert(2)\">"
NAN = float("nan")


def interval(value: float, width: float = 0.5) -> Interval:
    return Interval(value=value, low=value - width, high=value + width)


def card(*, frames: int = 10, sources: tuple[str, ...] = (PREDICTION, COPY, SHUFFLED), name: str = "made-up") -> Card:
    """PSNR falls by 0.3 dB a frame from 30 dB, by 4 dB from one source to the next; one FVD is missing."""
    figures = [
        Figure(
            quantity="PSNR, dB",
            source=source,
            per="frame",
            values=tuple(interval(30 - 4 * place - 0.3 * frame) for frame in range(frames)),
        )
        for place, source in enumerate(sources)
    ]
    figures += [Figure(quantity="PSNR over clips, dB", source=PREDICTION, per="clip", values=(interval(27.3),))]
    figures += [Figure(quantity="FVD", source=PREDICTION, per="set", values=(interval(NAN),))]
    return Card(
        model={"name": name, "sha256": "ab" * 32, "parameters": 1_234_567},
        data={"source": f"data/{name}", "sha256": "cd" * 32, "clips": 24},
        protocol=Protocol(context=2, frames=frames, resolution=16, horizons=tuple(sorted({1, frames}))),
        figures=tuple(figures),
        left_out=((name, "too short"),),
        histograms={"dynamics codes": (0, 5, 100, 1, 0, 2), "imagined codes": (0, 0)},
        networks={"lpips": {"name": "vgg", "sha256": "ef" * 32}},
        versions={"ivideo": "0.1.0"},
        machine="a machine that does not exist",
        command=f"ivideo evaluate '{name}'",
        date="2026-11-21",
        seconds=75.0,
    )


def bare(whole: Card) -> Card:
    """The same, with nothing but figures."""
    return replace(whole, left_out=(), histograms={}, networks={}, versions={}, machine="", command="", date="")


def clip(*, frames: int = 12, label: str = "best", name: str = "made-up/0", size: int = 8) -> ShownClip:
    """Frame i of the truth is grey of level 3 i, and every prediction 10 levels brighter."""
    levels = torch.arange(frames, dtype=torch.uint8)[:, None, None, None] * 3
    truth = levels.expand(-1, 3, size, size).contiguous()
    return ShownClip(
        label=label,
        name=name,
        score="PSNR 28.1 dB (copy-last-frame 20.0)",
        context=min(2, frames),
        truth=truth,
        prediction=truth + 10,
    )


def holes(whole: Card) -> Card:
    """The same, every second value of a source missing, one endless, and a source with none at all."""
    first, second, third, *rest = whole.figures
    spotted = tuple(interval(NAN if place % 2 else 20.0) for place in range(len(second.values)))
    endless = (Interval(value=1.0, low=-math.inf, high=math.inf), *first.values[1:])
    silent = tuple(interval(NAN) for _ in third.values)
    changed = (replace(first, values=endless), replace(second, values=spotted), replace(third, values=silent))
    return replace(whole, figures=(*changed, *rest))
