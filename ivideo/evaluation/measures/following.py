"""Whether a prediction follows its actions: what becomes of it under others, frame by frame and clip by clip."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ivideo.evaluation.measures.truth import TRUTH
from ivideo.evaluation.series import COPY, PREDICTION, Series


def effects(
    truth: UInt8[Tensor, "n t 3 h w"], videos: Mapping[str, UInt8[Tensor, "n t 3 h w"]], context: int
) -> list[Series]:
    """How far the frames imagined under other actions are from the prediction: the root of the mean squared difference
    in levels of 255.

    `videos` holds the prediction and, by name, what was imagined from the same random numbers under other actions. The
    measure to hold it against is how far the truth has moved from the last context frame by then. 0 is a model that
    does not listen.
    """
    future, last = truth[:, context:], truth[:, context - 1 : context]
    found = {
        f"{PREDICTION} against {name}": _distance(videos[PREDICTION][:, context:], video[:, context:])
        for name, video in videos.items()
        if name not in (PREDICTION, COPY)
    }
    found[f"{TRUTH} against {COPY}"] = _distance(future, last.expand_as(future))
    return [Series(quantity="Distance, RMS levels", source=name, values=each) for name, each in found.items()]


def differing(codes: Mapping[str, Int[Tensor, "n f m"]]) -> list[Series]:
    """Which share of the predicted tokens is another under other actions, in percent; named as in `effects`."""
    return [
        Series(
            quantity="Tokens that differ, %",
            source=f"{PREDICTION} against {name}",
            values=100.0 * (each != codes[PREDICTION]).double().mean(dim=2, keepdim=True),
        )
        for name, each in codes.items()
        if name != PREDICTION
    ]


def _distance(one: UInt8[Tensor, "n f 3 h w"], other: UInt8[Tensor, "n f 3 h w"]) -> Float[Tensor, "n f 1"]:
    # Clip by clip, since in double precision a large batch would be eight times as large.
    squares = [(a.double() - b.double()).square().mean(dim=(1, 2, 3)) for a, b in zip(one, other, strict=True)]
    return torch.stack(squares).sqrt()[..., None]
