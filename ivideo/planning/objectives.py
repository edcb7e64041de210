"""What a plan is for: a score for every imagined future, higher being better.

An objective says what it looks at (`needs`), so that nothing else is computed, and is prepared once for a decision,
which is when a goal that does not fit the model is refused. Scores are sums over a future's frames, as VP2's are: MPPI
weighs candidates by differences of scores, so their scale matters (Tian et al. 2023, arXiv 2304.13723).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.planning.dynamics import Dynamics, Futures, Need, S

Score: TypeAlias = Callable[[Futures], Float[Tensor, " n"]]
Which: TypeAlias = Literal["all", "last"]
"""Whether all frames of a future count, or its last one alone."""


@runtime_checkable
class Objective(Protocol):
    """What is wanted of a future."""

    @property
    def needs(self) -> frozenset[Need]:
        """What has to be imagined for it."""
        ...

    def prepare(self, dynamics: Dynamics[S], state: S) -> Score:
        """The score of futures of this state; ValueError where the goal or the model does not fit."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class GoalImage:
    """Minus the squared error of pixels in [0, 1] to the goal, summed over frames, pixels and colours (VP2)."""

    goal: UInt8[Tensor, "3 h w"]
    which: Which = field(default="all", kw_only=True)

    @property
    def needs(self) -> frozenset[Need]:
        return _pictures(self.which)

    def prepare(self, dynamics: Dynamics[S], state: S) -> Score:
        goal = checked_goal(self.goal, dynamics).float() / 255

        def score(futures: Futures) -> Tensor:
            frames = _frames(futures, self.which)
            wanted = goal.to(frames.device)
            # Frame by frame: as floats, all of them together would take four times the memory of the frames.
            errors = [(each.float() / 255 - wanted).square().sum(dim=(1, 2, 3)) for each in frames.unbind(dim=1)]
            return -torch.stack(errors, dim=1).sum(dim=1)

        return score


@dataclass(frozen=True, slots=True, eq=False)
class GoalFeatures:
    """Minus the squared distance of the frames' code vectors from the goal's, summed over frames and tokens.

    No pixels are decoded. The goal is encoded as an imagined frame is, given the present context.
    """

    goal: UInt8[Tensor, "3 h w"]
    which: Which = field(default="all", kw_only=True)

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"features"})

    def prepare(self, dynamics: Dynamics[S], state: S) -> Score:
        _offered(dynamics, "features", "token features")
        goal = dynamics.features(state, checked_goal(self.goal, dynamics)[None])[0]

        def score(futures: Futures) -> Tensor:
            assert futures.features is not None
            features = futures.features if self.which == "all" else futures.features[:, -1:]
            return -(features - goal).square().sum(dim=(1, 2, 3))

        return score


@dataclass(frozen=True, slots=True, eq=False)
class GoalLPIPS:
    """Minus the perceptual distance of frames from the goal, summed over frames."""

    goal: UInt8[Tensor, "3 h w"]
    network: Any
    """What `ivideo.evaluation.metrics.perceptual.load_perceptual` gives."""
    which: Which = field(default="all", kw_only=True)

    @property
    def needs(self) -> frozenset[Need]:
        return _pictures(self.which)

    def prepare(self, dynamics: Dynamics[S], state: S) -> Score:
        from ivideo.evaluation.metrics.perceptual import lpips

        goal = checked_goal(self.goal, dynamics)

        def score(futures: Futures) -> Tensor:
            frames = _frames(futures, self.which)
            return -lpips(goal.to(frames.device).expand_as(frames), frames, self.network).sum(dim=1).float()

        return score


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSum:
    """The rewards that arrive with the frames, added up."""

    discount: float = 1.0
    """What a reward is worth a step later."""

    def __post_init__(self) -> None:
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount is {self.discount}; expected above 0 and at most 1, which is none")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"rewards"})

    def prepare(self, dynamics: Dynamics[S], state: S) -> Score:
        _offered(dynamics, "rewards", "reward head")

        def score(futures: Futures) -> Tensor:
            assert futures.rewards is not None
            steps = torch.arange(futures.rewards.shape[1], device=futures.rewards.device)
            return (futures.rewards * self.discount**steps).sum(dim=1)

        return score


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """What a function makes of frames, such as the logit of success, summed over frames (VP2's RoboDesk costs)."""

    classifier: Callable[[UInt8[Tensor, "k 3 h w"]], Float[Tensor, " k"]]
    which: Which = field(default="all", kw_only=True)

    @property
    def needs(self) -> frozenset[Need]:
        return _pictures(self.which)

    def prepare(self, dynamics: Dynamics[S], state: S) -> Score:
        def score(futures: Futures) -> Tensor:
            frames = _frames(futures, self.which)
            count = frames.shape[0] * frames.shape[1]
            found = self.classifier(frames.flatten(0, 1))
            if tuple(found.shape) != (count,):
                raise ValueError(
                    f"the classifier made {list(found.shape)} of {count} frames; expected a number for each, [{count}]"
                )
            return found.float().view(frames.shape[:2]).sum(dim=1)

        return score


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlikely:
    """A penalty that keeps plans where the model is sure: what its frames' likelihood falls short of a bar, summed.

    A frame whose tokens have on average a log-probability of `bar` nats or more costs nothing.
    """

    bar: float = -1.0

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"likelihood"})

    def prepare(self, dynamics: Dynamics[S], state: S) -> Score:
        _offered(dynamics, "likelihood", "likelihood")

        def score(futures: Futures) -> Tensor:
            assert futures.log_likelihood is not None
            return -(self.bar - futures.log_likelihood).clamp(min=0).sum(dim=1)

        return score


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedSum:
    """Several objectives at once, each times its weight."""

    parts: tuple[tuple[float, Objective], ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("the objective has no parts; give at least one weight that is not 0")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset[Need]().union(*(objective.needs for _, objective in self.parts))

    def prepare(self, dynamics: Dynamics[S], state: S) -> Score:
        scores = [(weight, objective.prepare(dynamics, state)) for weight, objective in self.parts]

        def score(futures: Futures) -> Tensor:
            return torch.stack([weight * each(futures) for weight, each in scores]).sum(dim=0)

        return score


def checked_goal(goal: Tensor, dynamics: Dynamics[S]) -> UInt8[Tensor, "3 h w"]:
    """The goal itself; ValueError unless it is a frame as the model sees them."""
    size = dynamics.resolution
    if goal.dtype != torch.uint8 or goal.ndim != 3 or goal.shape[0] != 3:
        raise ValueError(
            f"the goal is {goal.dtype} {list(goal.shape)}; expected one RGB frame, uint8 [3 {size} {size}]"
        )
    if goal.shape[1:] != (size, size):
        raise ValueError(
            f"the goal is {goal.shape[2]}x{goal.shape[1]} pixels and the model sees {size}x{size}: resize it, for "
            f"instance with read_video(path, size={size})"
        )
    return goal


def _offered(dynamics: Dynamics[S], need: Need, name: str) -> None:
    if need not in dynamics.offers:
        raise ValueError(
            f"the objective asks for {need}, but this model has no {name}; take another objective or model"
        )


def _pictures(which: Which) -> frozenset[Need]:
    return frozenset({"frames"}) if which == "all" else frozenset({"last_frame"})


def _frames(futures: Futures, which: Which) -> UInt8[Tensor, "n f 3 h w"]:
    assert futures.frames is not None
    return futures.frames if which == "all" else futures.frames[:, -1:]
