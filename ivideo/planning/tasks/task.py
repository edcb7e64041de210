"""What a task has to be for `ivideo plan`: instances, each of which can be carried out and judged, and a true model.

::

    PlanningTask --instances(count, seed)--> Instance --scene(size)--> Scene: act, look, how far it is
         |
         '--dynamics()------> the simulator behind the planner's protocol: the upper bound
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.planning.dynamics import Dynamics

State = TypeVar("State", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How things stand."""

    distance: float
    """From where they have to be, in the task's unit; 0 is there."""
    solved: bool


@runtime_checkable
class Scene(Protocol[State]):
    """An instance while it is carried out."""

    @property
    def goal(self) -> UInt8[Tensor, "3 h w"]:
        """What the camera is to see in the end."""
        ...

    def state(self) -> State:
        """Where the simulator stands; an argument to its dynamics."""
        ...

    def frame(self) -> UInt8[Tensor, "3 h w"]:
        """What the camera sees."""
        ...

    def act(self, action: Float[Tensor, " a"]) -> None:
        """Carry out an action."""
        ...

    def outcome(self) -> Outcome:
        """How far it is, by the simulator's own state."""
        ...


@runtime_checkable
class Instance(Protocol):
    """One thing to do."""

    @property
    def number(self) -> int: ...

    def scene(self, size: int) -> Scene[Any]:
        """Begin, seen in frames of this size."""
        ...


@runtime_checkable
class PlanningTask(Protocol):
    """A kind of thing to do."""

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str:
        """Of distances."""
        ...

    @property
    def action_dim(self) -> int: ...

    def instances(self, count: int, seed: int) -> Sequence[Instance]:
        """So many instances; a longer list begins with a shorter one. ValueError where there are not as many."""
        ...

    def dynamics(self) -> Dynamics[Any]:
        """The simulator as the model, whose states are those of scenes."""
        ...

    def close(self) -> None:
        """Give back what the simulator holds."""
        ...
