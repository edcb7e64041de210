"""The table that says how well a model imagines: against the truth, a copied frame, and the wrong actions.

Figures are for single imagined frames (the 1st, 5th and 10th unless told otherwise), averaged over clips, each with a
bootstrap interval over clips. Differences between two ways to predict are taken per clip before they are averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from rich.table import Table
from torch import Tensor

from ivideo.evaluation.metrics import Frames, Interval, Statistic, bootstrap, changed_psnr, mean, median, psnr, r2
from ivideo.evaluation.objects import Tracking, tracking
from ivideo.simulate.pushing_table import TableState

Name = Literal["prediction", "copy-last-frame", "shuffled actions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table: an interval for each of the table's horizons."""

    name: str
    unit: str
    values: tuple[Interval, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutTable:
    """Figures of one evaluation, by imagined frame."""

    clips: int
    horizons: tuple[int, ...]
    """Which imagined frames the values belong to, counted from 1."""
    figures: tuple[Figure, ...]

    def __getitem__(self, name: str) -> Figure:
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(f"no figure {name!r}; there are {', '.join(figure.name for figure in self.figures)}")

    def at(self, name: str, horizon: int) -> Interval:
        """Return one figure at one imagined frame."""
        return self[name].values[self.horizons.index(horizon)]

    def markdown(self) -> str:
        """Return the table as Markdown, ending in a newline."""
        head = ["", *(f"frame {horizon}" for horizon in self.horizons)]
        rows = [head, ["---"] * len(head), *([_label(f), *(v.format() for v in f.values)] for f in self.figures)]
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def rich(self, title: str | None = None) -> Table:
        """Return the table for a terminal."""
        table = Table(title=title, caption=f"{self.clips} clips, 95% intervals")
        table.add_column("")
        for horizon in self.horizons:
            table.add_column(f"frame {horizon}", justify="right")
        for figure in self.figures:
            table.add_row(_label(figure), *(value.format() for value in figure.values))
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
    resamples: int = 2000,
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
    draw = _Draw(torch.tensor(horizons) - 1, resamples, seed)
    last, future = truth[:, context - 1 : context], truth[:, context:]
    videos: dict[Name, Frames] = {"prediction": predicted[:, context:], "copy-last-frame": last.expand_as(future)}
    if shuffled is not None:
        videos["shuffled actions"] = shuffled[:, context:]
    figures = _pixels(future, last, videos, threshold, draw)
    if states is not None:
        clips = [clip[context - 1 :] for clip in states]
        figures += _objects({name: tracking(clips, video) for name, video in videos.items() if name != _COPY}, draw)
    if rewards is not None and predicted_rewards is not None:
        figures.append(_rewards(rewards[:, context - 1 :], predicted_rewards[:, context - 1 :], draw))
    return RolloutTable(clips=len(truth), horizons=horizons, figures=tuple(figures))


_COPY: Name = "copy-last-frame"


@dataclass(frozen=True, slots=True)
class _Draw:
    """Turns figures of every clip and frame into intervals for the frames asked for."""

    frames: Tensor
    resamples: int
    seed: int

    def __call__(self, name: str, unit: str, values: Tensor, statistic: Statistic = mean) -> Figure:
        intervals = tuple(
            bootstrap(values[:, frame], statistic, resamples=self.resamples, seed=self.seed) for frame in self.frames
        )
        return Figure(name=name, unit=unit, values=intervals)


def _pixels(future: Tensor, last: Tensor, videos: dict[Name, Frames], threshold: float, draw: _Draw) -> list[Figure]:
    clear = {name: psnr(future, video) for name, video in videos.items()}
    figures = [draw(f"PSNR, {name}", "dB", values) for name, values in clear.items()]
    figures += [
        draw(f"PSNR, prediction above {name}", "dB", clear["prediction"] - values)
        for name, values in clear.items()
        if name != "prediction"
    ]
    return figures + [
        draw(f"PSNR on changed pixels, {name}", "dB", changed_psnr(future, video, last, threshold=threshold))
        for name, video in videos.items()
    ]


def _objects(tracks: dict[Name, Tracking], draw: _Draw) -> list[Figure]:
    figures = []
    for name, track in tracks.items():
        pusher, objects = track.errors[..., 0], track.errors[..., 1:]
        figures += [
            draw(f"pusher error, median, {name}", "px", pusher, median),
            draw(f"object error, median, {name}", "px", objects, median),
            draw(f"objects lost, {name}", "%", 100.0 * track.lost[..., 1:].double()),
        ]
    track = tracks["prediction"]
    still = ~track.moved[..., 1:]
    believed = track.believed_errors()[..., 1:].masked_fill(still, torch.nan)
    copied = track.copy_errors[..., 1:].masked_fill(still, torch.nan)
    return [
        *figures,
        draw(
            "moved object error, median, prediction", "px", track.errors[..., 1:].masked_fill(still, torch.nan), median
        ),
        draw("moved object error, mean, prediction", "px", believed),
        draw(f"moved object error, mean, {_COPY}", "px", copied),
        draw("moved object error, prediction to copy", "ratio", torch.cat([believed, copied], dim=-1), _ratio),
        draw(
            "moved objects lost, prediction", "%", (100.0 * track.lost[..., 1:].double()).masked_fill(still, torch.nan)
        ),
    ]


def _rewards(rewards: Tensor, predicted: Tensor, draw: _Draw) -> Figure:
    def statistic(samples: Float[np.ndarray, "r n 2"]) -> Float[np.ndarray, "r"]:
        values = torch.from_numpy(samples)
        return np.array([r2(sample[:, 0], sample[:, 1]) for sample in values])

    return draw("reward R2", "", torch.stack([rewards, predicted], dim=-1), statistic)


def _ratio(samples: Float[np.ndarray, "r n k"]) -> Float[np.ndarray, "r"]:
    """Return the mean of the first half of the last axis over that of the second half."""
    first, second = np.split(samples, 2, axis=2)
    below = mean(second)
    return np.divide(mean(first), below, out=np.full(len(samples), np.nan), where=below > 0)


def _label(figure: Figure) -> str:
    return f"{figure.name} ({figure.unit})" if figure.unit else figure.name


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
