"""What comes out of evaluations and runs."""

from dataclasses import dataclass, field

from jaxtyping import UInt8
from torch import Tensor


class DivergenceError(ValueError):
    """The loss or a gradient is not finite; the update was not applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluation found: figures to log and videos to look at."""

    figures: dict[str, float] = field(default_factory=dict)
    videos: dict[str, UInt8[Tensor, "n k t 3 h w"]] = field(default_factory=dict)
    """By name: n clips, each with k videos to be shown beside each other, such as the truth and a prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """How a run, or a leg of it, ended."""

    step: int
    """Updates done, those of earlier legs included."""
    minutes: float
    """Wall-clock minutes, those of earlier legs included."""
    figures: dict[str, float]
    """The latest value of everything that was logged."""
    exit_code: int
    """0 when the run is complete, 130 after Ctrl-C, 143 after SIGTERM, 138 after SIGUSR1; of several processes, the
    first one says so for all, and the others return 0."""
