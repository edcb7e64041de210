"""What was measured and how: everything that has to be equal before two numbers may be compared."""

from dataclasses import dataclass
from typing import Literal

QUALITIES = ("mse", "psnr", "ssim", "lpips")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How clips are chosen, imagined and scored."""

    name: str = "mean of 1"
    """What people call it."""
    context: int | None = None
    """Frames a model is shown; null takes what the model needs."""
    frames: int = 10
    """Frames to imagine."""
    resolution: int | None = None
    """Side of the frames in pixels; null takes the model's."""
    stride: int = 1
    """Every how many recorded frames there is a frame of a clip."""
    windows: Literal["first", "all"] = "all"
    """Which clips of an episode: the one it begins with, or all that do not overlap."""
    clips: int = 128
    """Clips, at most; with seeds of their own clips (the pushing table), of each seed."""
    samples: int = 1
    """Futures imagined of every clip."""
    reduce: Literal["mean", "best"] = "mean"
    """How samples become one value: their mean, or the best of them, for every metric by itself."""
    count_context: bool = False
    """Whether frame averages and FVD include the context frames, as the tokenizer reconstructs them."""
    qualities: tuple[str, ...] = ("mse", "psnr", "ssim")
    """Metrics of single frames: mse, psnr, ssim, lpips."""
    lpips: Literal["vgg", "alex"] = "vgg"
    """The network behind LPIPS."""
    fvd: str | None = None
    """The network whose features FVD compares, such as i3d; null leaves FVD out."""
    fid: str | None = None
    """The network whose features FID compares, such as inception; null leaves FID out."""
    temperature: float = 0.0
    """0 takes the likeliest token; above it, tokens are drawn."""
    top_k: int = 100
    """Draw among this many likeliest tokens."""
    seeds: tuple[int, ...] = (0,)
    """Each is a run: it draws its own tokens, its own exchange of actions and, of the pushing table, its own clips."""
    horizons: tuple[int, ...] = (1, 5, 10)
    """Imagined frames to show in tables, counted from 1."""
