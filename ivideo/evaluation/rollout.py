"""The table that says how well a model imagines: against the truth, a copied frame, and the wrong actions.

Figures are for single imagined frames (the 1st, 5th and 10th unless told otherwise), averaged over clips, each with a
bootstrap interval over clips. Differences between two ways to predict are taken per clip before they are averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Float, UInt8
from rich.table import Table
from torch import Tensor

from ivideo.evaluation.metrics import changed_psnr, pooled_errors, psnr
from ivideo.evaluation.objects import tracking
from ivideo.evaluation.statistics import (
    Interval,
    Statistic,
    bootstrap,
    determination,
    mean,
    median,
    pooled_decibels,
    ratio,
)
from ivideo.simulate.motion import TableState

PREDICTION = "prediction"
COPY = "copy-last-frame"
SHUFFLED = "shuffled actions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table: an interval for each of the table's horizons."""

    quantity: str
    """What is measured, with its unit: "PSNR, dB"."""
    source: str
    """Whose it is: "prediction", "copy-last-frame" or "shuffled actions", or a comparison of two."""
    values: tuple[Interval, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutTable:
    """Figures of one evaluation, by imagined frame."""

    clips: int
    horizons: tuple[int, ...]
    """Which imagined frames the values belong to, counted from 1."""
    figures: tuple[Figure, ...]

    def at(self, quantity: str, source: str, horizon: int) -> Interval:
        """Return one figure at one imagined frame; the quantity may be given without its unit."""
        for figure in self.figures:
            if quantity in (figure.quantity, figure.quantity.rpartition(", ")[0]) and figure.source == source:
                return figure.values[self.horizons.index(horizon)]
        known = "; ".join(f"{figure.quantity}: {figure.source}" for figure in self.figures)
        raise KeyError(f"no figure {quantity!r} of {source!r}; there are {known}")

    def markdown(self) -> str:
        """Return the table as Markdown, ending in a newline."""
        head = ["", "", *(f"frame {horizon}" for horizon in self.horizons)]
        rows = [[figure.quantity, figure.source, *map(str, figure.values)] for figure in self.figures]
        return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])

    def rich(self, title: str | None = None) -> Table:
        """Return the table for a terminal of 80 columns, with symmetric intervals for want of room."""
        table = Table(title=title, caption=f"{self.clips} clips; 95% intervals")
        table.add_column("")
        for horizon in self.horizons:
            table.add_column(f"frame {horizon}", justify="right", no_wrap=True)
        for quantity, figures in groupby(self.figures, key=lambda figure: figure.quantity):
            table.add_section()
            table.add_row(f"[bold]{quantity}")
            for figure in figures:
                table.add_row(f"  {figure.source}", *(value.short() for value in figure.values))
        return table


def evaluate_rollouts(
    truth: UInt8[Tensor, "n t 3 h w"],
    predicted: UInt8[Tensor, "n t 3 h w"],
    *,
    context: int,
    shuffled: UInt8[Tensor, "n t 3 h w"] | None = None,
    states: Sequence[Sequence[TableState]] | None = None,
    rewards: Float[Tensor, "n t-1"] | None = None,
    predicted_rewards: Float[Tensor, "n t-1"] | None = None,
    horizons: tuple[int, ...] = (1, 5, 10),
    threshold: float = 0.1,
    resamples: int = 1000,
    seed: int = 0,
) -> RolloutTable:
    """Return how good imagined clips are.

    Args:
        truth: true clips, the context included.
        predicted: what was imagined under the true actions; the first `context` frames are not looked at.
        context: how many frames the model was shown.
        shuffled: what was imagined under other clips' actions.
        states: the true states of the pushing table in every frame, for the figures on objects.
        rewards: true rewards, for their R2.
        predicted_rewards: imagined rewards; those that arrive with context frames are not looked at.
        horizons: imagined frames to report on, counted from 1.
        threshold: what counts as a changed pixel, see `metrics.changed_psnr`.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    _check(truth, predicted, shuffled, context, horizons)
    shown = [context - 1 + horizon for horizon in horizons]  # places of the reported frames in a clip
    future, last = truth[:, shown], truth[:, context - 1 : context].expand(-1, len(shown), -1, -1, -1)
    videos = {PREDICTION: predicted[:, shown], COPY: last}
    if shuffled is not None:
        videos[SHUFFLED] = shuffled[:, shown]
    draw = _Draw(resamples, seed)
    figures = _pixels(future, last, videos, threshold, draw)
    if states is not None:
        seen = [[clip[context - 1], *(clip[place] for place in shown)] for clip in states]
        figures += _objects(seen, {name: video for name, video in videos.items() if name != COPY}, draw)
    if rewards is not None and predicted_rewards is not None:
        arrived = [place - 1 for place in shown]
        pairs = torch.stack([rewards[:, arrived], predicted_rewards[:, arrived].to(rewards)], dim=-1)
        figures.append(draw("Reward, R2", PREDICTION, pairs, determination))
    return RolloutTable(clips=len(truth), horizons=horizons, figures=tuple(figures))


@dataclass(frozen=True, slots=True)
class _Draw:
    """Turns values per clip and reported frame into intervals."""

    resamples: int
    seed: int

    def __call__(self, quantity: str, source: str, values: Tensor, statistic: Statistic = mean) -> Figure:
        intervals = tuple(
            bootstrap(column, statistic, resamples=self.resamples, seed=self.seed)
            for column in values.cpu().unbind(dim=1)
        )
        return Figure(quantity=quantity, source=source, values=intervals)


def _pixels(future: Tensor, last: Tensor, videos: dict[str, Tensor], threshold: float, draw: _Draw) -> list[Figure]:
    quality = {name: psnr(future, video) for name, video in videos.items()}
    gains = {name: quality[PREDICTION] - values for name, values in quality.items() if name != PREDICTION}
    changed = {name: changed_psnr(future, video, last, threshold=threshold) for name, video in videos.items()}
    return [
        *(draw("PSNR, dB", name, values) for name, values in quality.items()),
        *(draw("Gain in PSNR, dB", f"over {name}", values) for name, values in gains.items()),
        *(draw("PSNR on changed pixels, dB", name, values) for name, values in changed.items()),
        *(
            draw("Pooled PSNR, dB", name, pooled_errors(future, video), pooled_decibels)
            for name, video in videos.items()
        ),
        *(
            draw(
                "Pooled PSNR on changed pixels, dB",
                name,
                pooled_errors(future, video, last, threshold=threshold),
                pooled_decibels,
            )
            for name, video in videos.items()
        ),
    ]


def _objects(states: Sequence[Sequence[TableState]], videos: dict[str, Tensor], draw: _Draw) -> list[Figure]:
    tracks = {name: tracking(states, video) for name, video in videos.items()}
    track = tracks[PREDICTION]
    errors = {name: other.errors for name, other in tracks.items()} | {COPY: track.copy_errors}
    still = ~track.moved[..., 1:]
    found, believed, copied = (
        values[..., 1:].masked_fill(still, torch.nan)
        for values in (track.errors, track.believed_errors(), track.copy_errors)
    )
    lost = {name: 100.0 * other.lost[..., 1:].float() for name, other in tracks.items()}
    return [
        *(draw("Pusher error, median px", name, values[..., 0], median) for name, values in errors.items()),
        *(draw("Object error, median px", name, values[..., 1:], median) for name, values in errors.items()),
        *(draw("Objects lost, %", name, values) for name, values in lost.items()),
        draw("Lost of objects that moved, %", PREDICTION, lost[PREDICTION].masked_fill(still, torch.nan)),
        draw("Error of objects that moved, median px", PREDICTION, found, median),
        draw("Error of objects that moved, median px", COPY, copied, median),
        draw("Error of objects that moved, mean px", PREDICTION, believed),
        draw("Error of objects that moved, mean px", COPY, copied),
        draw("Error of objects that moved, mean px", "prediction / copy", torch.cat([believed, copied], dim=-1), ratio),
    ]


def _check(truth: Tensor, predicted: Tensor, shuffled: Tensor | None, context: int, horizons: tuple[int, ...]) -> None:
    for name, video in (("predicted", predicted), ("shuffled", shuffled)):
        if video is not None and video.shape != truth.shape:
            raise ValueError(
                f"{name} is {list(video.shape)} and truth {list(truth.shape)}; expected equal shapes, context included"
            )
    if not 1 <= context < truth.shape[1]:
        raise ValueError(f"context is {context}; clips of {truth.shape[1]} frames allow 1 to {truth.shape[1] - 1}")
    if not horizons or min(horizons) < 1 or max(horizons) > truth.shape[1] - context:
        raise ValueError(
            f"horizons are {horizons}; the clips hold {truth.shape[1] - context} imagined frames, counted from 1"
        )
