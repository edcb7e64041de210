"""What an imagined frame costs as batch, horizon and number of branches grow, and a picture of that."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, ScalarFormatter

from ivideo.bench.roofline import settle
from ivideo.bench.workloads import GREEDY, random_actions, random_clip
from ivideo.files import replace_file
from ivideo.world_model import WorldModel

BATCHES = (1, 2, 4, 8, 16)
HORIZONS = (1, 2, 4, 8, 16)
BRANCHES = (1, 4, 16, 64)
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Seconds of wall time for each imagined frame against one thing that grows."""

    panel: str
    grows: str
    name: str
    sizes: list[int]
    seconds: list[float]


def sweep(model: WorldModel) -> Iterator[Curve]:
    """All curves; with the small model it takes a minute or two."""
    horizons = tuple(size for size in HORIZONS if size <= model.max_frames)
    for name, decode in (("with pixels", True), ("tokens only", False)):
        seconds = [_seconds(model, batch=size, horizon=1, decode=decode, whole=False) for size in BATCHES]
        yield _curve("A step of many environments", "environments, each with its own context", name, BATCHES, seconds)
        seconds = [_seconds(model, horizon=size, decode=decode) for size in horizons]
        yield _curve("A rollout from its context frames", "frames imagined", name, horizons, seconds)
        seconds = [_seconds(model, branches=size, horizon=4, decode=decode) for size in BRANCHES]
        yield _curve("A plan of 4 frames", "branches that share one context", name, BRANCHES, seconds)


def draw(curves: list[Curve], title: str, path: Path) -> None:
    """A png or svg with a panel for each thing that grows."""
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        shown = [curve for curve in curves if curve.panel == panel]
        for curve, (colour, marker) in zip(shown, (("#0072B2", "o"), ("#D55E00", "s")), strict=False):
            milliseconds = [1e3 * each for each in curve.seconds]
            axes.plot(curve.sizes, milliseconds, color=colour, marker=marker, label=curve.name)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(shown[0].sizes, [str(size) for size in shown[0].sizes])
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            axis(ScalarFormatter())
        axes.set_title(panel, fontsize=10)
        axes.set_xlabel(shown[0].grows)
        axes.set_ylabel("milliseconds for each imagined frame")
        axes.grid(True, which="both", linewidth=0.3)
        axes.legend(frameon=False)
    figure.suptitle(title, fontsize=11)
    replace_file(path, lambda stage: figure.savefig(stage, format=path.suffix[1:], dpi=150))


def _curve(panel: str, grows: str, name: str, sizes: tuple[int, ...], seconds: list[float]) -> Curve:
    return Curve(panel=panel, grows=grows, name=name, sizes=list(sizes), seconds=seconds)


def _seconds(
    model: WorldModel, *, batch: int = 1, branches: int = 1, horizon: int, decode: bool, whole: bool = True
) -> float:
    """Seconds for each frame of every row, the context's share included where the `whole` rollout counts."""
    clip, actions = random_clip(model, batch), random_actions(model, batch * branches, horizon + 1)
    times = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        state = model.start(clip, room=0 if branches > 1 else horizon + 1).fork(branches, frames=horizon + 1)
        if not whole:
            state, _ = model.step(state, actions[:, 0], decode=False, sampling=GREEDY, guess=False)
            settle(model.device)
            began = time.perf_counter()
        for index in range(horizon):
            state, _ = model.step(state, actions[:, index + 1], decode=False, sampling=GREEDY, guess=False)
        if decode:
            model.frames(state, slice(-horizon, None))
        settle(model.device)
        times.append(time.perf_counter() - began)
    return statistics.median(times) / (batch * branches * horizon)
