"""What a model can be told to do, in whatever form it comes, and what becomes of it.

::

    model.step(state, [0.3, -1.0])            numbers: an action of the row's domain
    model.step(state, "turn left")            the name of a choice, where the domain has one of that name; else words
    model.step(state, 3)                      the number of a choice
    model.step(state, Goal(frame))            a picture to reach, for a goal-conditioned model
    model.step(state, None)                   nothing new
    model.step(state, ["push", [1, 0], None]) one for each row

Words are an instruction: they hold until others are given, "" ends them. Numbers and choices lead to one frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ivideo.data.draws import hashed
from ivideo.embodiments import Domain, Embodiments
from ivideo.inputs import check_goal, row_actions
from ivideo.state import RolloutState

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel
    from ivideo.world_model_config import WorldModelConfig


@dataclass(frozen=True, slots=True)
class Goal:
    """A picture to reach: one for all rows, or a batch with one for each."""

    frame: UInt8[Tensor, "*b 3 h w"]


Act: TypeAlias = str | int | Sequence[float | int] | Tensor | NDArray[Any] | Goal | None
Acts: TypeAlias = Act | Sequence[Act]
"""One act for all rows, or one for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """Which acts a model takes."""

    embodiments: Embodiments
    """Numbers and choices, by domain."""
    encoder: str | None
    """What reads instructions; None in a model that takes no words."""
    goal: bool
    """Whether it starts from a picture to reach."""

    @classmethod
    def of(cls, config: "WorldModelConfig") -> "Interface":
        embedding = config.embedding
        return cls(
            embodiments=Embodiments(action_dim=embedding.action_dim, domains=embedding.domains),
            encoder=None if embedding.text is None else embedding.text.encoder,
            goal=config.goal_conditioned,
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those of "numbers", "choices", "words" and "goal" that it takes."""
        domains = self.embodiments.domains
        numbers = (
            any(each.action_dim and not each.count for each in domains) if domains else self.embodiments.action_dim
        )
        there = {
            "numbers": bool(numbers),
            "choices": any(each.count for each in domains),
            "words": self.encoder is not None,
            "goal": self.goal,
        }
        return tuple(kind for kind, is_taken in there.items() if is_taken)

    def __str__(self) -> str:
        """What it takes, for people, such as "2 numbers, words"."""
        domains = [each for each in self.embodiments.domains if each.action_dim]
        size = self.embodiments.action_dim
        said = [f"{size} numbers"] if size and not domains else []
        said += [
            f"one of {each.name}'s choices: {each.listed()}"
            if each.count
            else f"{each.action_dim} numbers of {each.name}"
            for each in domains
        ]
        said += ["words"] * (self.encoder is not None) + ["a goal"] * self.goal
        return "; ".join(said) or "no acts"


def told(model: "WorldModel", state: RolloutState, act: Acts) -> tuple[RolloutState, Float[Tensor, "b 1 a"] | None]:
    """The state with the words or the goal it was told, and the action of every row; NaN in rows that take none.

    ValueError, in one line, for an act that the model does not take.
    """
    if act is None:
        return state, None
    if isinstance(act, np.ndarray):
        act = torch.from_numpy(act)
    if isinstance(act, Tensor) and act.is_floating_point():
        return state, row_actions(model, state, act)
    each = _each(model, state, act)
    if isinstance(act, Goal) or any(isinstance(one, Goal) for one in each):
        return _towards(model, state, act, each), None
    domains = [None] * state.batch if state.domains is None else state.domains.tolist()
    read = [
        _read(model.interface, None if number is None else model.embodiments.domains[number], one)
        for number, one in zip(domains, each, strict=True)
    ]
    words = {row: one for row, one in enumerate(read) if isinstance(one, str)}
    if words:
        state = _instructed(model, state, words)
    acting = {row: one for row, one in enumerate(read) if isinstance(one, Tensor)}
    if not acting:
        return state, None
    whole = torch.full((state.batch, model.action_dim), torch.nan)
    for row, one in acting.items():
        model.embodiments.check(one[None], None if state.domains is None else state.domains[row : row + 1])
        whole[row] = model.embodiments.pad(one)
    return state, whole.to(model.transformer.norm.weight)[:, None]


def _each(model: "WorldModel", state: RolloutState, act: Acts) -> list[Act]:
    """The act of every row."""
    if isinstance(act, Tensor):  # whole numbers: those of choices
        act = act.tolist() if act.ndim < 2 else [row.float() for row in act]
    elif isinstance(act, Goal) and act.frame.ndim == 4:
        act = [Goal(frame) for frame in act.frame]
    if not is_several(model, state, act):
        return [cast(Act, act)] * state.batch
    assert isinstance(act, Sequence)
    if len(act) != state.batch:
        raise ValueError(f"{len(act)} acts are given for {state.batch} rows; expected one for all, or one for each")
    return cast(list[Act], list(act))


def is_several(model: "WorldModel", state: RolloutState, act: object) -> bool:
    """Whether these are several acts and not one; whole numbers are several where every row's domain has choices."""
    if not isinstance(act, list | tuple):
        return False
    if not all(isinstance(one, int | float) for one in act):
        return True
    ids = [] if state.domains is None else state.domains.unique().tolist()
    return bool(ids) and all(model.embodiments.domains[number].count for number in ids)


def _read(interface: Interface, domain: Domain | None, act: Act) -> str | Tensor | None:
    """Words, the numbers of an action, or nothing."""
    choices = domain is not None and domain.count > 0
    if act is None:
        return None
    if isinstance(act, str):
        if choices and domain is not None and (act in domain.names or interface.encoder is None):
            return torch.tensor([float(domain.number(act))])
        if interface.encoder is not None:
            return act
        raise ValueError(f"the act {act!r} is words; this model takes {interface}")
    if isinstance(act, Tensor):
        return act.float()
    if isinstance(act, int):
        if choices and domain is not None:
            return torch.tensor([float(domain.number(act))])
        raise ValueError(f"the act {act} is the number of a choice; this model takes {interface}")
    if not isinstance(act, Sequence) or not all(isinstance(one, int | float) for one in act):
        raise ValueError(f"the act {act!r} is of no kind that is known; this model takes {interface}")
    if not interface.embodiments.action_dim:
        raise ValueError(f"the act {list(act)} is numbers; this model takes {interface}")
    return torch.tensor([float(one) for one in act])


def _instructed(model: "WorldModel", state: RolloutState, words: dict[int, str]) -> RolloutState:
    """The state whose rows `words` have other instructions."""
    read = model.text_of(list(words.values()))
    assert read is not None
    text = read.new_zeros(state.batch, read.shape[1]) if state.text is None else state.text.clone()
    text[list(words)] = read
    return replace(state, text=text)


def _towards(model: "WorldModel", state: RolloutState, act: Acts, each: list[Act]) -> RolloutState:
    """A state that begins at the latest frames, with another goal in front of them."""
    if not model.interface.goal:
        raise ValueError(f"the act is a goal; this model takes {model.interface}")
    if state.ages is not None:
        raise ValueError("these rows have imagined different numbers of frames; give them goals apart from each other")
    goals = [one.frame for one in each if isinstance(one, Goal)]
    if len(goals) < state.batch:
        raise ValueError(f"{len(goals)} of {state.batch} rows are given a goal; expected one for all, or one for each")
    for goal in goals:
        check_goal(model, goal)
    present = latest_frames(model, state, model.context_frames - 1)
    fresh = model.start(present, goal=torch.stack(goals).to(present.device))
    seeds = [int(hashed(seed, state.frames)[0] >> 3) for seed in state.seeds.tolist()]  # other draws than before
    return replace(fresh, seeds=torch.tensor(seeds), domains=state.domains, text=state.text)


@torch.inference_mode()
def latest_frames(model: "WorldModel", state: RolloutState, count: int) -> UInt8[Tensor, "b {count} 3 h w"]:
    """The last frames of what was imagined, as the model sees them; context frames where there are fewer."""
    imagined = min(count, state.frames)
    context = model.tokenizer.decode_context(state.context)[:, model.context_frames - (count - imagined) :]
    shown = (context.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return shown if not imagined else torch.cat([shown, model.frames(state, slice(-imagined, None))], dim=1)
