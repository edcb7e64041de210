"""A plan, how to go on from it, and one decision while it is made."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ivideo.planning.dynamics import Dynamics
from ivideo.planning.objectives import Objective

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel

PerAction: TypeAlias = float | tuple[float, ...]
"""One number for all components of an action, or one for each."""
_SEEDS = 2**62


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What to do from here on, and what is known of it."""

    actions: Float[Tensor, "f a"]
    """The first is next."""
    score: float
    """Of the best candidate that was imagined in the last iteration."""
    scores: Float[Tensor, " n"]
    """Of all its candidates."""
    imagined: int
    """Frames that were imagined for it, in all iterations."""
    elites: Float[Tensor, "k f a"] | None = None
    """Good candidates that the next decision tries again (iCEM)."""

    def rest(self, steps: int = 1) -> "Plan":
        """What is left after `steps` actions were carried out; its last action once more where nothing is."""
        if steps < 0:
            raise ValueError(f"steps is {steps}; expected how many actions were carried out, 0 or more")
        left = min(steps, len(self.actions) - 1)
        elites = None if self.elites is None else self.elites[:, left:]
        return replace(self, actions=self.actions[left:], elites=elites)


@runtime_checkable
class Planner(Protocol):
    """Finds actions whose imagined future scores high."""

    @property
    def horizon(self) -> int:
        """Steps that it looks ahead."""
        ...

    def plan(
        self,
        model: "Dynamics[Any] | WorldModel",
        state: Any,
        objective: Objective,
        *,
        warm: Plan | None = None,
        seed: int = 0,
    ) -> Plan:
        """A plan from this state on; it depends on nothing but what is given here."""
        ...


def padded(actions: Float[Tensor, "*n f a"], horizon: int) -> Float[Tensor, "*n h a"]:
    """Exactly `horizon` actions: cut, or the last one repeated."""
    last = actions[..., -1:, :].expand(*actions.shape[:-2], max(0, horizon - actions.shape[-2]), actions.shape[-1])
    return torch.cat([actions[..., :horizon, :], last], dim=-2)


class Search:
    """One decision while it is made: draws, bounds and scores candidates."""

    def __init__(
        self,
        model: "Dynamics[Any] | WorldModel",
        state: Any,
        objective: Objective,
        *,
        horizon: int,
        low: PerAction,
        high: PerAction,
        warm: Plan | None,
        seed: int,
    ) -> None:
        dynamics = as_dynamics(model)
        size = dynamics.action_size(state)
        self.shape = (horizon, size)
        self.low, self.high = per_action("low", low, size), per_action("high", high, size)
        if not bool((self.low <= self.high).all()):
            raise ValueError(f"low is {low} and high {high}; expected no low above its high")
        self.generator = torch.Generator().manual_seed(seed % _SEEDS)
        self.seed, self.imagined = seed % _SEEDS, 0
        if warm is not None and warm.actions.shape[1] != size:
            raise ValueError(
                f"the plan to begin with has actions of {warm.actions.shape[1]} values and the model takes {size}; "
                "begin with a plan for this model"
            )
        self.warm = warm is not None
        self.mean = torch.zeros(self.shape) if warm is None else padded(warm.actions, horizon)
        self.elites = None if warm is None or warm.elites is None else padded(warm.elites, horizon)
        score, needs = objective.prepare(dynamics, state), objective.needs

        def scored(candidates: Tensor) -> Tensor:
            chunks = dynamics.imagine(state, candidates, needs, seed=self.seed)
            return torch.cat([score(futures).float().cpu() for futures in chunks])

        self._scored = scored

    def bounded(self, candidates: Float[Tensor, "*n f a"]) -> Float[Tensor, "*n f a"]:
        """Candidates with every action moved inside its bounds."""
        return candidates.clamp(self.low, self.high)

    def score(self, candidates: Float[Tensor, "n f a"]) -> Float[Tensor, " n"]:
        """A score for each, minus infinity where it is no number; ValueError where none is one."""
        scores = self._scored(candidates)
        self.imagined += candidates.shape[0] * candidates.shape[1]
        if not bool(scores.isfinite().any()):
            raise ValueError(
                f"none of {len(scores)} candidates has a finite score; look at the model and the goal: something in "
                "them is not finite"
            )
        return torch.where(scores.isfinite(), scores, -torch.inf)

    def std(self, std: PerAction) -> Float[Tensor, "f a"]:
        """The same spread at every step."""
        spread = per_action("std", std, self.shape[1])
        if bool((spread < 0).any()) or not bool((spread > 0).any()):
            raise ValueError(f"std is {std}; expected numbers of 0 or more, and at least one above it")
        return spread.expand(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlanner(Planner):
    """Tries actions that are drawn between bounds; how they are drawn, and what is made of them, `_found` says."""

    low: PerAction = -1.0
    """Least action, one number for all components or one for each."""
    high: PerAction = 1.0
    """Greatest action; a component whose least is its greatest never changes."""

    def __call__(
        self, model: "Dynamics[Any] | WorldModel", state: Any, objective: Objective, *, seed: int = 0
    ) -> Float[Tensor, " a"]:
        """The action to take next."""
        return self.plan(model, state, objective, seed=seed).actions[0]

    def plan(
        self,
        model: "Dynamics[Any] | WorldModel",
        state: Any,
        objective: Objective,
        *,
        warm: Plan | None = None,
        seed: int = 0,
    ) -> Plan:
        """See `Planner.plan`."""
        return self._found(
            Search(model, state, objective, horizon=self.horizon, low=self.low, high=self.high, warm=warm, seed=seed)
        )

    @abstractmethod
    def _found(self, search: Search) -> Plan:
        """What a decision comes to."""


def per_action(name: str, value: PerAction, size: int) -> Float[Tensor, " {size}"]:
    """A number for each component of an action; ValueError where there are too many or too few."""
    given: Sequence[float] = [value] if isinstance(value, int | float) else list(value)
    if len(given) not in (1, size):
        raise ValueError(f"{name} has {len(given)} values and an action {size}; expected one for all, or one for each")
    return torch.tensor(given, dtype=torch.float32).expand(size)


def as_dynamics(model: "Dynamics[Any] | WorldModel") -> Dynamics[Any]:
    """What planners work with: a world model is given the protocol's form, everything else is taken as it is."""
    from ivideo.planning.model_dynamics import ModelDynamics
    from ivideo.world_model import WorldModel

    if isinstance(model, WorldModel):
        return ModelDynamics(model=model)
    return model
