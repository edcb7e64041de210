"""What a model is asked to imagine, and the truth to compare it with."""

from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.simulate.motion import TableState


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Clips of equal length, with all that is known of them; what is None is known of none."""

    names: tuple[str, ...]
    """Of every clip, such as "hammer/0 from frame 12"; no two alike."""
    frames: UInt8[Tensor, "n t 3 h w"]
    """The context frames, then the truth of those to imagine."""
    actions: Float[Tensor, "n t-1 a"] | None = None
    rewards: Float[Tensor, "n t-1"] | None = None
    terminals: Float[Tensor, "n t-1"] | None = None
    """1 where the frame that is arrived at ends its episode, else 0."""
    states: tuple[tuple[TableState, ...], ...] | None = None
    """Of the pushing table: the true state in every frame of every clip."""
    instructions: tuple[str, ...] | None = None
    domain: str | None = None
    """Whose clips these are, for a model of several domains."""

    def __len__(self) -> int:
        return len(self.frames)
