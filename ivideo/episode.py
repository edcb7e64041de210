"""Videos with their actions and rewards: one episode, a window of it, a stack of windows.

Conventions, said once for the whole project::

    frames[0] --actions[0]--> frames[1] --actions[1]--> frames[2]
                              rewards[0]                rewards[1]

Frames are RGB uint8 `[t 3 h w]` until the tokenizer scales them. `actions[t]` leads from frame t to frame t+1 and
`rewards[t]` arrives with frame t+1, so both have one entry less than there are frames. A terminal episode ends in a
state without a future; one that merely ran out of time does not.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One video with what was done and earned in it."""

    frames: UInt8[Tensor, "t 3 h w"]
    actions: Float[Tensor, "t-1 a"] | None = None
    rewards: Float[Tensor, "t-1"] | None = None
    terminal: bool = False
    name: str = ""
    instruction: str = ""
    """What was asked for, in words; empty where nothing is written down."""
    fps: float | None = None
    """Frames per second as recorded; None where the files do not say."""

    def __post_init__(self) -> None:
        where = f"episode {self.name!r}: " if self.name else "episode: "
        if self.frames.ndim != 4 or self.frames.shape[1] != 3 or self.frames.dtype != torch.uint8:
            raise ValueError(
                f"{where}frames are {self.frames.dtype} {list(self.frames.shape)}; expected uint8 [t 3 h w] RGB"
            )
        for kind, values in (("actions", self.actions), ("rewards", self.rewards)):
            if values is None:
                continue
            if len(values) != len(self.frames) - 1:
                raise ValueError(
                    f"{where}{len(values)} {kind} beside {len(self.frames)} frames; expected one less than frames"
                )
            if not torch.isfinite(values).all():
                raise ValueError(f"{where}{kind} hold NaN or infinite values; drop or repair the episode")

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A window of one episode: `frames` of them, `stride` apart, from `start`.

    A window that reaches past the end repeats the last frame; `mask` is False there. With a stride above 1 the
    actions of the skipped frames are dropped and the rewards summed.
    """

    episode: int
    start: int
    stride: int
    frames: UInt8[Tensor, "t 3 h w"]
    actions: Float[Tensor, "t-1 a"] | None
    rewards: Float[Tensor, "t-1"] | None
    terminals: Float[Tensor, "t-1"] | None
    mask: Bool[Tensor, "t"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Stacked windows: what `WorldModel.loss` trains on."""

    frames: UInt8[Tensor, "b t 3 h w"]
    actions: Float[Tensor, "b t-1 a"] | None = None
    rewards: Float[Tensor, "b t-1"] | None = None
    terminals: Float[Tensor, "b t-1"] | None = None
    """1 where the transition leads into a terminal state."""
    mask: Bool[Tensor, "b t"] | None = None
    """False on repeated padding frames; None means that every frame is real."""
    domains: Int64[Tensor, "b"] | None = None
    """Which data set of a mixture each row is from; actions of a row are padded with zeros to the widest domain's."""
    instructions: tuple[str, ...] | None = None
    """What was asked for in each row, in words."""

    def to(self, device: torch.device | str) -> "Batch":
        def move(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(device)

        return Batch(
            frames=self.frames.to(device),
            actions=move(self.actions),
            rewards=move(self.rewards),
            terminals=move(self.terminals),
            mask=move(self.mask),
            domains=move(self.domains),
            instructions=self.instructions,
        )
