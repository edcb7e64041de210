"""Figures that compare imagined frames with true ones, pixel by pixel.

Protocol, for every figure reported in decibels: one figure per clip and frame, then the mean over clips. Averaging
squared errors over clips before taking the logarithm gives lower and incomparable numbers; where such a number is
wanted, it is called pooled.

Frames are RGB `[... 3 h w]`, uint8 or float in [0, 1]; floats outside that range are clamped, as a screen would.
"""

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

MAX_PSNR = 100.0

Frames = UInt8[Tensor, "*batch 3 h w"] | Float[Tensor, "*batch 3 h w"]


def mse(truth: Frames, predicted: Frames) -> Float[Tensor, "*batch"]:
    """Return the mean squared error of every frame, on the scale on which white is 1."""
    error: Tensor = _squared_error(truth, predicted).mean(dim=(-3, -2, -1))
    return error


def psnr(truth: Frames, predicted: Frames) -> Float[Tensor, "*batch"]:
    """Return the peak signal-to-noise ratio of every frame in dB, at most 100 (which equal frames get)."""
    return _decibels(mse(truth, predicted))


def changed_psnr(
    truth: Frames, predicted: Frames, last_context: Frames, *, threshold: float = 0.1
) -> Float[Tensor, "*batch"]:
    """Return the PSNR of every frame in dB over the pixels that truly changed since the last context frame.

    A copy of the context cannot score well here, however little of the picture moves. NaN where nothing changed.

    Args:
        truth: true frames.
        predicted: imagined frames of the same shape.
        last_context: the last frame that the model was shown, repeated for every frame.
        threshold: a pixel has changed when its true value differs by more than this in some channel, on the scale
            from 0 to 1. The default, 25 of 255 levels, is above the noise of compressed video.
    """
    changed = changed_pixels(truth, last_context, threshold=threshold)
    error = _squared_error(truth, predicted).mean(dim=-3)
    count = changed.sum(dim=(-2, -1))
    return _decibels((error * changed).sum(dim=(-2, -1)) / count)  # 0 / 0 is the NaN promised above


def pooled_errors(
    truth: Frames, predicted: Frames, last_context: Frames | None = None, *, threshold: float = 0.1
) -> Float[Tensor, "*batch 2"]:
    """Return every frame's squared error and the number of pixels it is summed over, for `pooled_decibels`.

    With `last_context`, only over the pixels that truly changed since then; see `changed_psnr`.
    """
    error = _squared_error(truth, predicted).mean(dim=-3)
    if last_context is None:
        counted = torch.ones_like(error)
    else:
        counted = changed_pixels(truth, last_context, threshold=threshold).to(error)
    return torch.stack([(error * counted).sum(dim=(-2, -1)), counted.sum(dim=(-2, -1))], dim=-1)


def changed_pixels(truth: Frames, last_context: Frames, *, threshold: float = 0.1) -> Bool[Tensor, "*batch h w"]:
    """Say which pixels differ from the last context frame by more than `threshold` (of 1) in some channel."""
    if not 0.0 <= threshold < 1.0:
        raise ValueError(f"threshold is {threshold}; expected one in [0, 1), the scale on which pixels are compared")
    return ((in_unit(truth) - in_unit(last_context)).abs() > threshold).any(dim=-3)


def in_unit(frames: Frames) -> Float[Tensor, "*batch 3 h w"]:
    """Return frames as float64 in [0, 1], where the error of equal pixels is exactly 0; NaN stays NaN."""
    if frames.dtype == torch.uint8:
        return frames.double() / 255.0
    return frames.double().clamp(0.0, 1.0)


def check_equal_shapes(truth: Tensor, predicted: Tensor) -> None:
    """Raise ValueError unless the frames can be compared one by one."""
    if truth.shape != predicted.shape:
        raise ValueError(
            f"truth is {list(truth.shape)} and predicted {list(predicted.shape)}; expected frames of equal shape"
        )


def _squared_error(truth: Tensor, predicted: Tensor) -> Tensor:
    check_equal_shapes(truth, predicted)
    return (in_unit(truth) - in_unit(predicted)).square()


def _decibels(error: Tensor) -> Tensor:
    return -10.0 * torch.log10(error.clamp_min(10.0 ** (-MAX_PSNR / 10.0)))
