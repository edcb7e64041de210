"""What is measured of one batch of clips, as series: pixels, the pushing table's objects, rewards.

Every video starts with the context frames; series begin with the first imagined frame. Differences between two ways to
predict are taken per clip before they are averaged.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.evaluation.measures.objects import tracking
from ivideo.evaluation.metrics.pixels import changed_psnr, pooled_errors, psnr
from ivideo.evaluation.series import COPY, PREDICTION, Series
from ivideo.evaluation.statistics import StatisticName
from ivideo.simulate.motion import TableState

THRESHOLD = 0.1
"""What counts as a changed pixel, see `metrics.changed_psnr`."""


def copied(truth: UInt8[Tensor, "n t 3 h w"], context: int) -> UInt8[Tensor, "n t 3 h w"]:
    """The clips with the last context frame in place of every later one."""
    last = truth[:, context - 1 : context]
    return torch.cat([truth[:, :context], last.expand(-1, truth.shape[1] - context, -1, -1, -1)], dim=1)


def gains(truth: UInt8[Tensor, "n t 3 h w"], videos: Mapping[str, Tensor], context: int) -> list[Series]:
    """How many decibels the prediction is above every baseline, frame by frame."""
    quality = {name: psnr(truth[:, context:], video[:, context:]) for name, video in videos.items()}
    return [
        _series("Gain in PSNR, dB", f"over {name}", quality[PREDICTION] - values)
        for name, values in quality.items()
        if name != PREDICTION
    ]


def changes(truth: UInt8[Tensor, "n t 3 h w"], videos: Mapping[str, Tensor], context: int) -> list[Series]:
    """Decibels over the pixels that truly changed since the last context frame, and decibels of errors that are
    averaged over clips before the logarithm is taken."""
    future, last = truth[:, context:], copied(truth, context)[:, context:]
    futures = {name: video[:, context:] for name, video in videos.items()}
    return [
        *(
            _series("PSNR on changed pixels, dB", name, changed_psnr(future, video, last, threshold=THRESHOLD))
            for name, video in futures.items()
        ),
        *(
            _series("Pooled PSNR, dB", name, pooled_errors(future, video), "pooled_decibels")
            for name, video in futures.items()
        ),
        *(
            _series(
                "Pooled PSNR on changed pixels, dB",
                name,
                pooled_errors(future, video, last, threshold=THRESHOLD),
                "pooled_decibels",
            )
            for name, video in futures.items()
        ),
    ]


def objects(states: Sequence[Sequence[TableState]], videos: Mapping[str, Tensor], context: int) -> list[Series]:
    """Where the pushing table's pusher and objects are, against where they truly are."""
    seen = [clip[context - 1 :] for clip in states]
    tracks = {name: tracking(seen, video[:, context:]) for name, video in videos.items() if name != COPY}
    track = tracks[PREDICTION]
    errors = {name: other.errors for name, other in tracks.items()} | {COPY: track.copy_errors}
    still = ~track.moved[..., 1:]
    found, believed, left = (
        values[..., 1:].masked_fill(still, torch.nan)
        for values in (track.errors, track.believed_errors(), track.copy_errors)
    )
    lost = {name: 100.0 * other.lost[..., 1:].float() for name, other in tracks.items()}
    moved = "Error of objects that moved, mean px"
    return [
        *(_series("Pusher error, median px", name, values[..., 0], "median") for name, values in errors.items()),
        *(_series("Object error, median px", name, values[..., 1:], "median") for name, values in errors.items()),
        *(_series("Objects lost, %", name, values) for name, values in lost.items()),
        _series("Lost of objects that moved, %", PREDICTION, lost[PREDICTION].masked_fill(still, torch.nan)),
        _series("Error of objects that moved, median px", PREDICTION, found, "median"),
        _series("Error of objects that moved, median px", COPY, left, "median"),
        _series(moved, PREDICTION, believed),
        _series(moved, COPY, left),
        _series(moved, "prediction / copy", torch.cat([believed, left], dim=-1), "ratio"),
    ]


def rewards(truth: Float[Tensor, "n s"], predicted: Float[Tensor, "n s"], context: int) -> Series:
    """How much of the rewards' variation is imagined rightly; those that arrive with context frames do not count."""
    pairs = torch.stack([truth[:, context - 1 :], predicted[:, context - 1 :].to(truth)], dim=-1)
    return _series("Reward, R2", PREDICTION, pairs, "determination")


def _series(quantity: str, source: str, values: Tensor, statistic: StatisticName = "mean") -> Series:
    values = values if values.ndim == 3 else values.unsqueeze(-1)
    return Series(quantity=quantity, source=source, values=values.cpu(), statistic=statistic)
