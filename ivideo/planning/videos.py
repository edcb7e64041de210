"""Plans as videos: what should be seen from now on, and who imagines it.

::

    frames seen so far, what is wanted --maker--> videos from the present on --inverse dynamics--> actions

A maker is anything that answers with videos. Three are here: a goal-conditioned world model, which is UniPi's (arXiv
2302.00111); an action-conditioned one that follows commands by name, which stands for a video model that reads text;
and the best that a planner imagined, whose actions are known, so that reading them off its frames says how far a
model's frames do what was commanded. `ivideo.planning.tree` builds longer videos out of any maker's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.config.limits import check_least
from ivideo.planning.inverse_dynamics import InverseDynamics
from ivideo.planning.model_dynamics import ModelDynamics
from ivideo.planning.objectives import GoalImage, checked_goal
from ivideo.planning.plan import Plan, Planner
from ivideo.world_model import WorldModel

Wish: TypeAlias = Tensor | str
"""What a video is to lead to: a goal image, uint8 `[3 h w]`, or words."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Videos:
    """Some ways in which things may go on, a row for each."""

    frames: UInt8[Tensor, "n t 3 h w"]
    """The first is the present as it was seen; the others were imagined."""
    actions: Float[Tensor, "n s a"] | None = None
    """What the frames were imagined under, where that is known."""
    imagined: int = 0
    """Frames that were imagined for them, those of discarded videos included."""


@runtime_checkable
class VideoMaker(Protocol):
    """Imagines how things may go on towards something."""

    def __call__(self, seen: UInt8[Tensor, "k 3 h w"], wishes: Sequence[Wish], *, count: int, seed: int) -> Videos:
        """So many videos towards each wish, from the last frame that was seen: a function of what is given here alone.

        Rows are in the order of the wishes, those of one side by side.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalVideos:
    """A goal-conditioned world model: it imagines the way to a goal image, and knows of no actions (UniPi)."""

    model: WorldModel
    frames: int
    """Frames to imagine after the present."""

    def __post_init__(self) -> None:
        check_least(self, frames=1)
        if not self.model.config.goal_conditioned or self.model.action_dim:
            raise ValueError(
                "this model does not imagine the way to a goal by itself; expected a goal-conditioned one without "
                "actions (ivideo train world-model --config world_model/oxe64_goal), or plan with ImaginedVideos"
            )

    def __call__(self, seen: UInt8[Tensor, "k 3 h w"], wishes: Sequence[Wish], *, count: int, seed: int) -> Videos:
        clip = latest(seen, self.model.context_frames - 1)
        made = torch.cat(
            [
                self.model.predict(clip, frames=self.frames, samples=count, goal=_goal(wish), seed=seed + number).cpu()
                for number, wish in enumerate(wishes)
            ]
        )
        return Videos(frames=made[:, -self.frames - 1 :], imagined=len(made) * self.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandedVideos:
    """An action-conditioned world model that does what words name: the same action at every frame, more or less."""

    dynamics: ModelDynamics
    commands: Mapping[str, tuple[float, ...]]
    """The action that each command stands for."""
    frames: int = 4
    """Frames to imagine after the present."""
    noise: float = 0.0
    """Standard deviation of what is added to every component of every action, so that videos of a command differ."""
    low: float = -1.0
    """Least action."""
    high: float = 1.0
    """Greatest action."""

    def __post_init__(self) -> None:
        check_least(self, frames=1)
        for name, action in self.commands.items():
            if len(action) != self.dynamics.model.action_dim:
                raise ValueError(
                    f"the command {name!r} has {len(action)} numbers and an action of this model "
                    f"{self.dynamics.model.action_dim}; give one for each"
                )

    def __call__(self, seen: UInt8[Tensor, "k 3 h w"], wishes: Sequence[Wish], *, count: int, seed: int) -> Videos:
        named = torch.tensor([self._action(wish) for wish in wishes], dtype=torch.float32)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(len(named) * count, self.frames, named.shape[1], generator=generator)
        actions = (named.repeat_interleave(count, dim=0)[:, None] + self.noise * drawn).clamp(self.low, self.high)
        frames = imagined(self.dynamics, seen, actions, seed=seed)
        return Videos(frames=frames, actions=actions, imagined=len(actions) * self.frames)

    def _action(self, wish: Wish) -> tuple[float, ...]:
        if not isinstance(wish, str) or wish not in self.commands:
            said = repr(wish) if isinstance(wish, str) else "an image"
            raise ValueError(f"{said} is no command; expected one of {', '.join(sorted(self.commands))}")
        return self.commands[wish]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginedVideos:
    """The best that a planner found in an action-conditioned world model, as a video."""

    dynamics: ModelDynamics
    planner: Planner

    def __call__(self, seen: UInt8[Tensor, "k 3 h w"], wishes: Sequence[Wish], *, count: int, seed: int) -> Videos:
        state = self.dynamics.model.start(latest(seen, self.dynamics.model.context_frames))
        wanted = [GoalImage(_goal(wish)) for wish in wishes for _ in range(count)]
        plans = [
            self.planner.plan(self.dynamics, state, each, seed=seed + number) for number, each in enumerate(wanted)
        ]
        actions = torch.stack([plan.actions for plan in plans])
        frames = imagined(self.dynamics, seen, actions, seed=seed)
        cost = sum(plan.imagined for plan in plans) + actions.shape[0] * actions.shape[1]
        return Videos(frames=frames, actions=actions, imagined=cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPlanner:
    """A planner that imagines a video first and then asks what has to be done for it to come true (UniPi).

    Its states are frames that were seen (`FrameDynamics`, `FrameSight`), and its objective a `GoalImage`. Actions are
    carried out open loop, or as far as the next decision. It begins anew at every decision: `warm` is left alone.
    """

    maker: VideoMaker
    inverse: InverseDynamics
    horizon: int
    """Actions of a plan, at most; for `every` to be checked against."""
    known: bool = False
    """Carry out the actions that the maker imagined under, where it knows them, in place of those that are read off."""
    low: float = -1.0
    """Least action."""
    high: float = 1.0
    """Greatest action."""

    def plan(self, model: Any, state: Tensor, objective: Any, *, warm: Plan | None = None, seed: int = 0) -> Plan:
        """See `Planner.plan`."""
        if not isinstance(objective, GoalImage):
            raise ValueError(
                f"a video plan leads to a goal image and the objective is {type(objective).__name__}; give a GoalImage"
            )
        goal = checked_goal(objective.goal, model)
        videos = self.maker(state, [goal], count=1, seed=seed)
        if self.known and videos.actions is None:
            raise ValueError("this maker's videos come without actions; read them off the frames: known=False")
        actions = videos.actions[0] if self.known and videos.actions is not None else self.read(videos)
        error = (videos.frames[0, -1].float() - goal.float()).div(255).square().sum()
        score = -float(error)
        return Plan(
            actions=actions[: self.horizon], score=score, scores=torch.tensor([score]), imagined=videos.imagined
        )

    def read(self, videos: Videos) -> Float[Tensor, "s a"]:
        """The actions that lead through the first of some videos, inside their bounds; to stay where there is none."""
        if videos.frames.shape[1] < 2:
            return torch.zeros(1, self.inverse.action_dim)
        return self.inverse.recover(videos.frames[0]).clamp(self.low, self.high)


def imagined(
    dynamics: ModelDynamics, seen: UInt8[Tensor, "k 3 h w"], actions: Float[Tensor, "n f a"], *, seed: int = 0
) -> UInt8[Tensor, "n t 3 h w"]:
    """The present and what follows it under every row of actions."""
    state = dynamics.model.start(latest(seen, dynamics.model.context_frames))
    parts = [part.frames for part in dynamics.imagine(state, actions, frozenset({"frames"}), seed=seed)]
    future = torch.cat([part.cpu() for part in parts if part is not None])
    return torch.cat([seen[-1:].expand(len(actions), 1, *seen.shape[1:]), future], dim=1)


def latest(seen: UInt8[Tensor, "k 3 h w"], count: int) -> UInt8[Tensor, "c 3 h w"]:
    """The last frames that were seen, the first of all repeated where there are too few."""
    if not len(seen):
        raise ValueError("no frame was seen; expected at least the present one")
    return torch.cat([seen[:1]] * max(0, count - len(seen)) + [seen[max(0, len(seen) - count) :]])


def _goal(wish: Wish) -> UInt8[Tensor, "3 h w"]:
    if isinstance(wish, str):
        raise ValueError(f"this maker goes towards images and {wish!r} is words; give a goal image, uint8 [3 h w]")
    return wish
