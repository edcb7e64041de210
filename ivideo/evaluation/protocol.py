"""What was measured and how: everything that has to be equal before two numbers may be compared."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from ivideo.config.limits import check_least
from ivideo.data.sources.source import SourceOptions

QualityName = Literal["mse", "psnr", "ssim", "lpips"]
QUALITIES: tuple[QualityName, ...] = get_args(QualityName)
"""Metrics of single frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol(SourceOptions):
    """How clips are chosen, imagined and scored."""

    title: str = "mean of 1"
    """What people call this protocol; the only field that need not be equal in what is compared."""
    held_out: str = "last"
    """Which episodes: "last" takes the last of every folder, a number n every n-th, "all" takes all."""
    windows: Literal["all", "first", "random"] = "all"
    """Which clips of an episode: all that do not overlap, the one it begins with, or one from anywhere in it (the same
    one whenever it is evaluated)."""
    stride: int = 1
    """A clip has every stride-th recorded frame."""
    clips: int = 128
    """Clips, at most; of the pushing table, which has others under every seed, clips per seed."""
    context: int | None = None
    """Frames the model has to be shown; null takes as many as it needs."""
    frames: int = 10
    """Frames to imagine."""
    resolution: int | None = None
    """Side of the frames in pixels that the model has to have; null takes the model's."""
    samples: int = 1
    """Futures to imagine of every clip."""
    reduce: Literal["mean", "best"] = "mean"
    """What becomes of several futures: the mean of each metric, or its best value, chosen for every metric apart."""
    count_context: bool = False
    """Whether averages over frames, and FVD, include the context frames as the tokenizer reconstructs them."""
    qualities: tuple[QualityName, ...] = ("mse", "psnr", "ssim")
    """Metrics of single frames."""
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
    guidance: float = 0.0
    """How far to exaggerate what actions and instructions change; 0 is the model as it is."""
    seeds: tuple[int, ...] = (0,)
    """Runs: each draws its own tokens, its own exchange of actions and, of the pushing table, its own clips. Where
    nothing is drawn, one run says it all and the others are left out."""
    horizons: tuple[int, ...] = (1, 5, 10)
    """Imagined frames that tables report on, counted from 1."""

    def __post_init__(self) -> None:
        check_least(self, stride=1, context=1, resolution=1, samples=1)
        if self.frames < 1 or self.clips < 1:
            raise ValueError(f"frames is {self.frames} and clips {self.clips}; expected at least 1 of each")
        if not self.seeds or min(self.seeds) < 0:
            raise ValueError(f"seeds is {list(self.seeds)}; expected at least one, such as 0,1,2, and none below 0")
        if not self.horizons or not 1 <= min(self.horizons) <= max(self.horizons) <= self.frames:
            fitting = ",".join(map(str, sorted({1, self.frames})))
            raise ValueError(
                f"horizons is {list(self.horizons)}; expected imagined frames to report on, from 1 to frames, which is "
                f"{self.frames}: pass --horizons {fitting}"
            )
        if not self.qualities:
            raise ValueError(f"qualities is empty; expected some of {', '.join(QUALITIES)}")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"temperature 0 makes all {self.samples} samples the same one; pass --samples 1, or a --temperature "
                "above 0"
            )


def protocol_of(settings: Protocol) -> Protocol:
    """The protocol alone, of settings that hold one."""
    return Protocol(**{field.name: getattr(settings, field.name) for field in fields(Protocol)})
