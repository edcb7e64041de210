"""One dream from its beginning on, as a value: what was seen, done and predicted at every frame."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.simulate.motion import TableState
from ivideo.state import RolloutState

Source: TypeAlias = Literal["dream", "truth"]
"""Where frames are taken from."""
HAND = "hand"
"""Who acts, where no policy does."""
KEPT_EVERY = 16
"""Of older frames, every so many keep the model's state; those between are computed again where one goes on there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a dream begins."""

    name: str
    frames: UInt8[Tensor, "c 3 h w"]
    """What the model is shown; the last is frame 0 of the dream."""
    table: TableState | None = None
    """The true table in the last frame, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One frame of a dream, and how it came about."""

    dream: UInt8[Tensor, "3 h w"]
    truth: UInt8[Tensor, "3 h w"] | None = None
    """The true environment after the same actions; None where there is none."""
    table: TableState | None = None
    """What is drawn in `truth`."""
    action: tuple[float, ...] | None = None
    """What led here; None at the beginning, and of models without actions."""
    by: str = ""
    """Who chose the action: "hand", or a policy's name; empty at the beginning."""
    shown: Source | None = None
    """Which latest frames the model was shown anew before it imagined this one; None: it went on from its own."""
    reward: float | None = None
    """As predicted; None without a reward head."""
    true_reward: float | None = None
    terminal: float | None = None
    """Predicted probability that the episode ends here; None without a termination head."""
    log_likelihood: float | None = None
    """Of the frame's tokens, in nats: how sure the model was; None at the beginning."""
    state: RolloutState | None = None
    """Where the model stands, while that is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Frames 0 to `len - 1` of a dream. Immutable: going on gives a new one, which shares its frames with this."""

    start: Start
    moments: tuple[Moment, ...]
    shows: Source | None = None
    """Which latest frames the model is shown anew before its next frame."""

    def __len__(self) -> int:
        return len(self.moments)

    def upto(self, frame: int) -> "Timeline":
        """The dream as it stood at a frame; ValueError for one that there is not."""
        self.check(frame)
        return self if frame == len(self) - 1 else replace(self, moments=self.moments[: frame + 1], shows=None)

    def followed_by(self, moment: Moment) -> "Timeline":
        """One frame more; states that are no longer recent are let go."""
        moments = (*self.moments, moment)
        old = len(moments) - 1 - KEPT_EVERY
        if old > 0 and old % KEPT_EVERY and moments[old].state is not None:
            moments = (*moments[:old], replace(moments[old], state=None), *moments[old + 1 :])
        return replace(self, moments=moments, shows=None)

    def latest(self, count: int, source: Source) -> UInt8[Tensor, "{count} 3 h w"]:
        """The last frames, as a model is shown them; what it was shown at the start stands before frame 0."""
        of = [each.dream if source == "dream" else each.truth for each in self.moments[1:][-count:]]
        own = [each for each in of if each is not None]
        assert len(own) == len(of), "asked for the truth where there is none"
        before = self.start.frames[len(own) :]
        return torch.cat([before, torch.stack(own)]) if own else before

    def dreamt(self) -> UInt8[Tensor, "t 3 h w"]:
        """All imagined frames, the given frame 0 before them."""
        return torch.stack([each.dream for each in self.moments])

    def true(self) -> UInt8[Tensor, "t 3 h w"] | None:
        """All frames of the true environment; None where there is none."""
        truths = [each.truth for each in self.moments if each.truth is not None]
        return torch.stack(truths) if len(truths) == len(self) else None

    def actions(self) -> Float[Tensor, "n a"] | None:
        """What was done, an action less than there are frames; None of a model without actions."""
        taken = [each.action for each in self.moments[1:] if each.action is not None]
        return torch.tensor(taken) if taken else None

    def rewards(self) -> Float[Tensor, " n"] | None:
        """Predicted rewards; None of a model that predicts none."""
        predicted = [each.reward for each in self.moments[1:] if each.reward is not None]
        return torch.tensor(predicted) if predicted else None

    def check(self, frame: int, least: int = 0) -> None:
        """Raise ValueError for a frame that there is not."""
        if not least <= frame < len(self):
            raise ValueError(f"frame is {frame}; this dream has frames {least} to {len(self) - 1}")
