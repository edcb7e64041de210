"""What a planner needs of a model: futures of one state under many sequences of actions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from jaxtyping import Float, UInt8
from torch import Tensor

Need: TypeAlias = Literal["frames", "last_frame", "features", "rewards", "likelihood"]
"""What an objective looks at. Pixels cost most: `last_frame` asks for those of the last frame alone."""

S = TypeVar("S")
"""Where a model stands; an argument and never changed."""
State = TypeVar("State", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Futures:
    """What was imagined of some candidates, a row for each; None where nobody asked."""

    frames: UInt8[Tensor, "n f 3 h w"] | None = None
    """Pixels of all frames, or of the last alone."""
    features: Float[Tensor, "n f m v"] | None = None
    """Code vectors of the frames' tokens: what frames mean to the model, without their pixels."""
    rewards: Float[Tensor, "n f"] | None = None
    """Reward that arrives with each frame, in the environment's scale."""
    log_likelihood: Float[Tensor, "n f"] | None = None
    """Mean over each frame's tokens of their log-probability, in nats: how sure the model was; 0 is certain."""


@runtime_checkable
class Dynamics(Protocol[State]):
    """A model to plan with: a world model (`ModelDynamics`) or the simulator itself."""

    @property
    def resolution(self) -> int:
        """Side of its frames in pixels."""
        ...

    @property
    def offers(self) -> frozenset[Need]:
        """What objectives can ask of it."""
        ...

    def action_size(self, state: State) -> int:
        """How many numbers an action has."""
        ...

    def imagine(
        self, state: State, actions: Float[Tensor, "n f a"], needs: frozenset[Need], *, seed: int = 0
    ) -> Iterator[Futures]:
        """The futures of a state under each row of actions, in their order, as many at a time as fit in memory.

        Row i draws what it draws from `seed + i`, however rows are cut. Nothing is computed that `needs` leaves out.
        """
        ...

    def features(self, state: State, frames: UInt8[Tensor, "k 3 h w"]) -> Float[Tensor, "k m v"]:
        """Code vectors of true frames, as the futures of this state have them."""
        ...


def cut(count: int, most: int) -> Iterator[slice]:
    """Slices of `count` rows, at most `most` in each and about equally many."""
    parts = -(-count // max(1, most))
    for part in range(parts):
        yield slice(count * part // parts, count * (part + 1) // parts)
