"""Futures as long as you like: segment after segment, each begun from frames of what was imagined before.

::

    clip  . . . . o . o o | imagined, told "push the disc" | imagined, told "now left" | ...
          history chosen    . . . . . . . . . o . . . o . o o
                                      and again from what was imagined

Between segments the past is but a few frames (`frames_back`: with `history="distant"` 1, 2, 4, 8, ... before the first
new one, UniSim, section 4.1), so that memory does not grow with the number of segments.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.act import Acts, Goal, is_several
from ivideo.data.draws import hashed
from ivideo.data.segments import History, frames_back
from ivideo.state import RolloutState
from ivideo.world_model import WorldModel
from transformer import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Where futures stand between two segments. Immutable: going on gives a new chain and leaves this one valid."""

    model: WorldModel
    past: UInt8[Tensor, "n p 3 h w"]
    """As many of the latest frames as the history reaches back; on the CPU. A single row until samples part."""
    history: History
    samples: int
    seed: int
    domain: str | int | None
    guidance: float
    sampling: Sampling | None
    goal: UInt8[Tensor, "3 h w"] | None = None
    """What is to be reached, in a goal-conditioned model."""
    text: Float[Tensor, "n e"] | None = None
    """The instruction that holds."""
    segments: int = 0
    """How many have been imagined."""

    @classmethod
    def begin(
        cls,
        model: WorldModel,
        clip: UInt8[Tensor, "t 3 h w"],
        *,
        history: History | None = None,
        samples: int = 1,
        goal: UInt8[Tensor, "3 h w"] | None = None,
        domain: str | int | None = None,
        guidance: float = 0.0,
        seed: int = 0,
        sampling: Sampling | None = None,
    ) -> "Chain":
        """A chain that goes on from the end of a clip, as `samples` futures.

        `history` None is the one that the model was trained with. The clip must be as long as it reaches back.
        """
        if samples < 1:
            raise ValueError(f"samples is {samples}; expected at least 1 future")
        history = usual(model) if history is None else history
        span = reach(model, history)
        if len(clip) < span:
            frames = "1 frame" if span == 1 else f"{span} frames"
            raise ValueError(
                f'history "{history}" reaches {frames} back and the clip has {len(clip)}; give a longer clip'
                + (', or history="recent"' if history == "distant" else "")
            )
        return cls(
            model=model,
            past=clip[None, -span:].cpu().clone(),
            history=history,
            samples=samples,
            seed=seed,
            domain=domain,
            guidance=guidance,
            sampling=sampling,
            goal=goal,
        )

    def go(
        self, act: Acts | Sequence[Acts] = None, frames: int | None = None
    ) -> "tuple[Chain, UInt8[Tensor, 'n f 3 h w']]":
        """One segment more: the chain after it, and its frames, on the CPU.

        `act` is one act, which leads to every frame, or a list of one for each frame; actions `[f a]`, or `[n f a]`
        with other ones in each future, are such a list. `frames` says how many, where `act` does not. The first segment
        is that of `model.predict` with the same seed; every further one draws from seeds of its own.
        """
        goal = act.frame if isinstance(act, Goal) else self.goal
        state = self._started(goal)
        each = self._each(state, None if isinstance(act, Goal) else act, frames)
        for one in each:
            state, _ = self.model.step(
                state, one, guidance=self.guidance, decode=False, sampling=self.sampling, reward=False
            )
        made = self.model.frames(state).cpu()
        # A copy, lest a view keep all frames of the segment alive.
        past = torch.cat([self.past.expand(self.samples, -1, -1, -1, -1), made], dim=1)[
            :, -self.past.shape[1] :
        ].clone()
        return replace(self, past=past, text=state.text, goal=goal, segments=self.segments + 1), made

    def _started(self, goal: UInt8[Tensor, "3 h w"] | None) -> RolloutState:
        back = frames_back(self.model.context_frames - self.model.config.goal_conditioned, self.history)
        context = self.past[:, (self.past.shape[1] - back).tolist()]
        if goal is not None and goal.ndim != 3:
            raise ValueError(f"the goal is {list(goal.shape)}; a chain has one for all its futures: expected [3, h, w]")
        goals = None if goal is None else goal.expand(len(context), -1, -1, -1)
        # The first segment draws as a single prediction would.
        seed = self.seed if not self.segments else int(hashed(self.seed, self.segments)[0] >> 3)
        state = self.model.start(context, goal=goals, domain=self.domain, seed=seed)
        state = state if len(context) == self.samples else state.fork(self.samples)
        return replace(state, text=self.text)

    def _each(self, state: RolloutState, act: Acts | Sequence[Acts], frames: int | None) -> Sequence[Acts]:
        """The act of every frame."""
        several: list[Acts] | None = None
        if isinstance(act, np.ndarray):
            act = torch.from_numpy(act)
        if isinstance(act, Tensor) and act.is_floating_point() and act.ndim in (2, 3):
            several = list(act.unbind(dim=-2))
        elif is_several(self.model, state, act):
            several = cast(list[Acts], list(cast(Sequence[Acts], act)))
        if several is None and frames is None:
            raise ValueError("say how many frames to imagine, frames=14; one act is given, which leads to every frame")
        if several is not None and frames not in (None, len(several)):
            raise ValueError(
                f"{len(several)} acts are given for {frames} frames; expected one for each, or one for all"
            )
        if frames is not None and frames < 1:
            raise ValueError(f"frames is {frames}; expected at least 1")
        return several if several is not None else [cast(Acts, act)] * (frames or 0)


def chained(
    model: WorldModel,
    clip: UInt8[Tensor, "t 3 h w"],
    acts: Iterable[Acts | Sequence[Acts]],
    *,
    frames: int | None = None,
    history: History | None = None,
    samples: int = 1,
    goal: UInt8[Tensor, "3 h w"] | None = None,
    domain: str | int | None = None,
    guidance: float = 0.0,
    seed: int = 0,
    sampling: Sampling | None = None,
) -> Iterator[UInt8[Tensor, "n f 3 h w"]]:
    """The frames of one segment for each of the acts, as each is imagined; see `Chain`."""
    chain = Chain.begin(
        model,
        clip,
        history=history,
        samples=samples,
        goal=goal,
        domain=domain,
        guidance=guidance,
        seed=seed,
        sampling=sampling,
    )
    for act in acts:
        chain, made = chain.go(act, frames)
        yield made


def usual(model: WorldModel) -> History:
    """The history that a model was trained with; "recent" where its checkpoint does not say."""
    return model.config.history or "recent"


def reach(model: WorldModel, history: History) -> int:
    """How many frames back a history of this model lies."""
    return int(frames_back(model.context_frames - model.config.goal_conditioned, history)[0])
