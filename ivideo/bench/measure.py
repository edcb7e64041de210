"""Times two ways of one workload in turn, after making sure that they give the same."""

import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ivideo.bench.roofline import Machine, worked
from ivideo.bench.workloads import Workload

CPU = torch.device("cpu")
TOLERANCE = 1e-4
"""Largest difference of figures that count as equal."""
TIES = 1e-3
"""Share of codes that may differ: of two that are equally near, rounding chooses either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What was measured of one workload."""

    name: str
    shape: str
    reference_s: float
    """Median seconds of processor time of one run in the released way; of wall time on an accelerator.

    Where that way does one of several equal parts, its time is multiplied by their number.
    """
    ours_s: float
    """The same in ours."""
    ratio: float
    """Median over pairs of released time over ours."""
    spread: float
    """Median absolute deviation of that ratio."""
    frames_per_s: float
    """Imagined frames a second of wall time in our way; tokens, or encoded frames, where those are counted."""
    share: float
    """Least possible time on this machine over ours; minimal filtering can pass 1."""
    pairs: int
    apart: dict[str, float]
    """Of every result how far both ways are apart: see `apart`."""


def measure(
    workload: Workload, machine: Machine, *, pairs: int, exact: bool = True, device: torch.device = CPU
) -> Timing:
    """Check that both ways agree, then time `pairs` runs of each, one after the other.

    Where they need not be `exact`, how far they are apart is a result like their times.
    """
    results = workload.reference(), workload.ours()
    if exact:
        agree(workload, *results)
    theirs, ours, wall = [], [], []
    for _ in range(pairs):
        began = worked(device)
        workload.reference()
        between, watch = worked(device), time.perf_counter()
        workload.ours()
        theirs.append(workload.parts * (between - began))
        ours.append(worked(device) - between)
        wall.append(time.perf_counter() - watch)
    ratios = [slow / fast for slow, fast in zip(theirs, ours, strict=True)]
    ratio = statistics.median(ratios)
    return Timing(
        name=workload.name,
        shape=workload.shape,
        reference_s=statistics.median(theirs),
        ours_s=statistics.median(ours),
        ratio=ratio,
        spread=statistics.median(abs(each - ratio) for each in ratios),
        frames_per_s=workload.frames / statistics.median(wall),
        share=machine.seconds(workload.least) / statistics.median(wall),
        pairs=pairs,
        apart=apart(*results),
    )


def apart(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, float]:
    """Share of codes that differ, root mean square of the difference of pixels in levels, and of other figures.

    Rows that the released way left out are not looked at, here and in `agree`.
    """
    far = {}
    for name, value in theirs.items():
        difference = value.double() - ours[name][: len(value)].double()
        distance = (difference != 0).double().mean() if value.dtype == torch.long else difference.square().mean().sqrt()
        far[name] = distance.item()
    return far


def agree(workload: Workload, theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> None:
    """ArithmeticError unless both ways gave the same: a speed is worth nothing for another result."""
    for name, value in theirs.items():
        difference = (value.double() - ours[name][: len(value)].double()).abs()
        allowed = TOLERANCE if value.is_floating_point() else 1 if value.dtype == torch.uint8 else 0
        ties = TIES if value.dtype == torch.long else 0
        if not (difference > allowed).double().mean() <= ties or difference.isnan().any():
            raise ArithmeticError(
                f"{workload.name}, {workload.shape}: {name} differ by up to {difference.max():g} between the released "
                f"way and ours, more than {allowed:g}; this is a defect of ivideo, please report it"
            )
