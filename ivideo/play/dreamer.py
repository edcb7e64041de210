"""A model that dreams: begins timelines, lets them go on, and does a past step otherwise."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ivideo.play.timeline import HAND, Moment, Source, Start, Timeline
from ivideo.simulate.motion import TableState, advance
from ivideo.simulate.pushing_table import render, reward
from ivideo.simulate.spaces import controls
from ivideo.state import RolloutState
from ivideo.world_model import WorldModel
from transformer import Sampling

LONGEST = 2000
"""Frames of a dream, at most: all of them are kept, to be gone back to."""
_MOST_BYTES = 256 << 20
"""Of a dream's frames and the true ones beside them; at 256 pixels, that is less than `LONGEST`."""
_SEEDS_APART = 7_919
"""Between the seeds of two beginnings, at different frames, of one dream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dreamer:
    """A model and how it is asked. The same start, seed and actions give the same dream."""

    model: WorldModel
    seed: int = 0
    sampling: Sampling | None = None
    """How tokens are drawn; None is the model's own way."""
    domain: str | None = None
    """Whose actions they are, for a model of several domains."""
    instruction: str | None = None
    """What is to be done, for a model that reads instructions."""

    def __post_init__(self) -> None:
        if self.model.config.goal_conditioned:
            raise ValueError("this model starts from a goal, which a game has not; take one that needs none")
        if self.size and self.model.embodiments.names:
            self.model.embodiments.ids(self.domain, 1)

    @property
    def size(self) -> int:
        """How many numbers an action has; 0 for a model that takes none."""
        return controls(self.model, self.domain) if self.model.action_dim else 0

    @property
    def side(self) -> int:
        """Of its frames, in pixels."""
        return self.model.tokenizer.config.resolution

    @property
    def longest(self) -> int:
        """Frames of a dream, at most."""
        return min(LONGEST, _MOST_BYTES // (2 * 3 * self.side**2))

    def begin(self, start: Start) -> Timeline:
        """A dream of one frame, the last of those it is shown; beside it the true table, where the start knows it."""
        wanted = self.model.context_frames, 3, self.side, self.side
        if tuple(start.frames.shape) != wanted:
            raise ValueError(f"frames to begin with are {list(start.frames.shape)}; expected {list(wanted)}")
        if start.table is not None and self.size != 2:
            raise ValueError(f"an action of this model has {self.size} numbers and one of the pushing table 2")
        state = self._shown(start.frames, 0)
        truth = None if start.table is None else _drawn(start.table, self.side)
        first = Moment(dream=start.frames[-1], truth=truth, table=start.table, state=state)
        return Timeline(start=start, moments=(first,))

    def step(self, timeline: Timeline, action: tuple[float, ...] | None, by: str = HAND) -> Timeline:
        """One frame more. Actions beyond [-1, 1] count as the nearest end where a table is beside the dream."""
        if len(timeline) >= self.longest:
            raise ValueError(f"a dream has at most {self.longest} frames; save it, then start anew or go back")
        action = self._fitting(action, timeline)
        last, shows = timeline.moments[-1], timeline.shows
        state = self._shown_again(timeline) if shows else self._state(timeline)
        state, seen = self.model.step(state, _tensor(action), sampling=self.sampling)
        assert seen.frame is not None
        table = truth = true_reward = None
        if last.table is not None and action is not None:
            table = advance(last.table, (action[0], action[1]))
            truth, true_reward = _drawn(table, self.side), reward(table)
        return timeline.followed_by(
            Moment(
                dream=seen.frame[0].cpu(),
                truth=truth,
                table=table,
                action=action,
                by=by,
                shown=shows,
                reward=_number(seen.reward),
                true_reward=true_reward,
                terminal=_number(seen.terminal),
                log_likelihood=_number(seen.log_likelihood),
                state=state,
            )
        )

    def show(self, timeline: Timeline, source: Source) -> Timeline:
        """Let the model see its latest frames as if they were given, or the true ones: errors do not add up further.

        What it remembered of earlier frames is forgotten; the next frame is the first of a new horizon.
        """
        if source == "truth" and timeline.moments[-1].truth is None:
            raise ValueError('there is no true environment beside this dream; expected "dream"')
        return replace(timeline, shows=source)

    def redo(self, timeline: Timeline, frame: int, action: tuple[float, ...] | None) -> Timeline:
        """The dream in which another action led to a frame, and then everything was done as it was."""
        *_, changed = self.redoing(timeline, frame, action)
        return changed

    def redoing(self, timeline: Timeline, frame: int, action: tuple[float, ...] | None) -> Iterator[Timeline]:
        """The same frame by frame: the dream as far as it is done again; the last is the whole."""
        timeline.check(frame, least=1)
        changed = timeline.upto(frame - 1)
        for index, moment in enumerate(timeline.moments[frame:]):
            changed = replace(changed, shows=moment.shown)
            taken, by = (action, HAND) if index == 0 else (moment.action, moment.by)
            changed = self.step(changed, taken, by)
            yield changed

    # ----------------------------------------------------------------------------------------------------- within

    def _shown(self, frames: Tensor, frame: int) -> RolloutState:
        seed = self.seed + frame * _SEEDS_APART
        return self.model.start(frames, domain=self.domain, instruction=self.instruction, seed=seed)

    def _shown_again(self, timeline: Timeline) -> RolloutState:
        assert timeline.shows is not None
        frames = timeline.latest(self.model.context_frames, timeline.shows)
        return self._shown(frames, len(timeline) - 1)

    def _state(self, timeline: Timeline) -> RolloutState:
        """Where the model stands at the end, computed again from the nearest frame at which that was kept."""
        at = len(timeline) - 1
        while timeline.moments[at].state is None:
            at -= 1
        state = timeline.moments[at].state
        assert state is not None
        for index in range(at + 1, len(timeline)):
            moment = timeline.moments[index]
            if moment.shown:
                state = self._shown_again(replace(timeline.upto(index - 1), shows=moment.shown))
            state, _ = self.model.step(state, _tensor(moment.action), decode=False, sampling=self.sampling)
        return state

    def _fitting(self, action: tuple[float, ...] | None, timeline: Timeline) -> tuple[float, ...] | None:
        if not self.size:
            return None
        given = (0.0,) * self.size if action is None else action
        tensor = torch.tensor(given)
        self.model.check_actions(tensor, domain=self.domain)
        if timeline.start.table is not None:
            tensor = tensor.clamp(-1.0, 1.0)
        return tuple(tensor.tolist())


def _tensor(action: tuple[float, ...] | None) -> Tensor | None:
    return None if action is None else torch.tensor(action)


def _number(value: Tensor | None) -> float | None:
    return None if value is None else float(value[0])


def _drawn(table: TableState, side: int) -> Tensor:
    return torch.from_numpy(render(table, side)).permute(2, 0, 1).contiguous()
