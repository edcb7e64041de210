"""One person's play: branches of a dream, which of them is looked at and where, and who acts.

A session is deterministic: the same calls after the same seed give the same frames, actions of policies included.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo.play.dreamer import Dreamer
from ivideo.play.pilots import AtTheWheel, Pilot, named
from ivideo.play.starts import Starts
from ivideo.play.timeline import HAND, Moment, Source, Start, Timeline

MOST_BRANCHES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One course of events, and where it left another."""

    timeline: Timeline
    parent: int | None
    since: int
    """The first frame that is its own."""


class Session:
    """A dream that is played. Frames and branches that exist are never changed, only added to or dropped."""

    def __init__(self, dreamer: Dreamer, starts: Starts, scene: int = 0) -> None:
        """Begin at a scene."""
        self.dreamer, self.starts = dreamer, starts
        self.branches: dict[int, Branch] = {}
        self.current = self.frame = self._made = 0
        self.driver: AtTheWheel | None = None
        self.begin(scene)

    # --------------------------------------------------------------------------------------------------- beginning

    def begin(self, scene: int) -> None:
        """Leave everything and begin at a scene."""
        self._begin(self.starts[scene])

    def begin_with(self, picture: UInt8[Tensor, "3 h w"], name: str = "picture") -> None:
        """Leave everything and begin with somebody's picture, which has no truth beside it."""
        side = self.dreamer.side
        if tuple(picture.shape) != (3, side, side):
            raise ValueError(f"the picture is {list(picture.shape)}; expected [3, {side}, {side}]")
        self._begin(Start(name=name, frames=self.starts.repeated(picture)))

    # ----------------------------------------------------------------------------------------------------- looking

    @property
    def timeline(self) -> Timeline:
        """The branch that is looked at."""
        return self.branches[self.current].timeline

    @property
    def moment(self) -> Moment:
        """The frame that is looked at."""
        return self.timeline.moments[self.frame]

    def look(self, frame: int, branch: int | None = None) -> Moment:
        """Go to a frame of this branch or another; nothing is lost, and acting there makes a branch of its own."""
        where = self.current if branch is None else branch
        self._check(where)
        self.branches[where].timeline.check(frame)
        if where != self.current or frame != len(self.branches[where].timeline) - 1:
            self.driver = None
        self.current, self.frame = where, frame
        return self.moment

    def beside(self) -> dict[int, Moment]:
        """Every other branch at this frame, or at its last where it is shorter."""
        others = {number: each.timeline for number, each in self.branches.items() if number != self.current}
        return {number: each.moments[min(self.frame, len(each) - 1)] for number, each in others.items()}

    # ------------------------------------------------------------------------------------------------------ acting

    def act(self, action: tuple[float, ...] | None = None) -> Moment:
        """One frame more, by hand; the policy, if one is acting, gives way. None is to do nothing: all zeros."""
        self.driver = None
        return self._step(action, HAND)

    def drive(self) -> Moment:
        """One frame more, by the policy that was handed over to."""
        if self.driver is None:
            raise ValueError("no policy is acting; hand over to one first")
        return self._step(self.driver.action(self.timeline.upto(self.frame)), self.driver.name)

    def hand_over(self, pilot: str | Pilot) -> None:
        """Let a policy act from here on: a name of `SCRIPTED`, or any callable."""
        if not self.dreamer.size:
            raise ValueError("this model takes no actions, so there is nothing for a policy to do")
        rng = np.random.default_rng([self.dreamer.seed % 2**63, self.current, self.frame])
        self.driver = named(pilot, self.timeline.upto(self.frame), rng)

    def take_over(self) -> None:
        """Act by hand again."""
        self.driver = None

    def show(self, source: Source) -> None:
        """Reset the horizon: the model is shown this frame anew, its own or the true one, before it goes on."""
        shown = self.dreamer.show(self.timeline.upto(self.frame), source)
        if self.frame < len(self.timeline) - 1:
            self._add(shown, since=self.frame + 1)
        else:
            self._replace(shown)

    # ---------------------------------------------------------------------------------------------------- branches

    def fork(self) -> int:
        """Make a branch that goes on from this frame, and go there; its number."""
        return self._add(self.timeline.upto(self.frame), since=self.frame + 1)

    def redo(self, frame: int, action: tuple[float, ...]) -> int:
        """Make a branch in which another action led to a frame, and all later actions are as they were; its number."""
        for _ in self.redoing(frame, action):
            pass
        return self.current

    def redoing(self, frame: int, action: tuple[float, ...]) -> Iterator[None]:
        """The same a frame at a time, for those who have others to see to in between; the branch is made at the end."""
        timeline, parent = self.timeline, self.current
        self._check_room()
        for changed in self.dreamer.redoing(timeline, frame, action):
            done = changed
            yield
        self.current = parent
        self._add(done, since=frame, frame=frame)

    def drop(self, branch: int) -> None:
        """Forget a branch; the last one stays."""
        self._check(branch)
        if len(self.branches) == 1:
            raise ValueError("this is the only branch; start anew instead")
        parent = self.branches.pop(branch).parent
        if branch == self.current:
            number = parent if parent in self.branches else min(self.branches)
            assert number is not None
            self.current, self.driver = number, None
            self.frame = min(self.frame, len(self.timeline) - 1)

    # ------------------------------------------------------------------------------------------------------ within

    def _begin(self, start: Start) -> None:
        timeline = self.dreamer.begin(start)  # may raise, and then all is as it was
        self.branches = {0: Branch(timeline=timeline, parent=None, since=0)}
        self.current = self.frame = self._made = 0
        self.driver = None

    def _step(self, action: tuple[float, ...] | None, by: str) -> Moment:
        at_end = self.frame == len(self.timeline) - 1
        if not at_end:
            self._check_room()
        longer = self.dreamer.step(self.timeline.upto(self.frame), action, by)
        if at_end:
            self._replace(longer)
        else:
            self._add(longer, since=self.frame + 1)
        self.frame = len(longer) - 1
        return self.moment

    def _replace(self, timeline: Timeline) -> None:
        old = self.branches[self.current]
        self.branches[self.current] = Branch(timeline=timeline, parent=old.parent, since=old.since)

    def _add(self, timeline: Timeline, *, since: int, frame: int | None = None) -> int:
        self._check_room()
        self._made += 1
        self.branches[self._made] = Branch(timeline=timeline, parent=self.current, since=since)
        self.current = self._made
        self.frame = len(timeline) - 1 if frame is None else frame
        return self._made

    def _check(self, branch: int) -> None:
        if branch not in self.branches:
            raise ValueError(f"there is no branch {branch}; expected one of {', '.join(map(str, self.branches))}")

    def _check_room(self) -> None:
        if len(self.branches) >= MOST_BRANCHES:
            raise ValueError(f"there are {MOST_BRANCHES} branches, the most that are kept; drop one first")


def picture_of(pixels: bytes, side: int) -> UInt8[Tensor, "3 h w"]:
    """A picture from its raw RGB, row by row; ValueError for another number of bytes."""
    if len(pixels) != side * side * 3:
        raise ValueError(f"the picture has {len(pixels)} bytes; expected {side * side * 3}: RGB of {side}x{side}")
    array = np.frombuffer(pixels, np.uint8).reshape(side, side, 3)
    return torch.from_numpy(array.copy()).permute(2, 0, 1).contiguous()
