"""Who can act in a dream besides a person: the scripted policies of the pushing table, or any callable."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ivideo.play.timeline import Timeline
from ivideo.simulate.policies import GoalPusher, Mixed, Pusher, RandomWalk

Pilot: TypeAlias = Callable[[np.ndarray, dict[str, Any], np.random.Generator], Any]
"""Answers the latest imagined frame, uint8 RGB `[h w 3]`, with an action; `info["state"]` is the true table's state,
where there is one."""
SCRIPTED: dict[str, Callable[[], Pilot]] = {
    "pusher": Pusher,
    "goal_pusher": GoalPusher,
    "random_walk": RandomWalk,
    "mixed": Mixed,
}
"""Policies that look at the true table, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtTheWheel:
    """A policy while it acts."""

    name: str
    pilot: Pilot
    rng: np.random.Generator

    def action(self, timeline: Timeline) -> tuple[float, ...]:
        """What it does next."""
        last = timeline.moments[-1]
        frame = last.dream.permute(1, 2, 0).contiguous().numpy()
        info: dict[str, Any] = {} if last.table is None else {"state": last.table}
        given = np.asarray(self.pilot(frame, info, self.rng), dtype=np.float32).ravel()
        return tuple(float(each) for each in given)


def named(pilot: str | Pilot, timeline: Timeline, rng: np.random.Generator) -> AtTheWheel:
    """A policy that begins to act now; ValueError for a name that is unknown, or that needs a table to look at."""
    if not isinstance(pilot, str):
        return AtTheWheel(name=getattr(pilot, "__name__", type(pilot).__name__), pilot=pilot, rng=rng)
    if pilot not in SCRIPTED:
        raise ValueError(f"policy is {pilot!r}; expected one of {', '.join(SCRIPTED)}")
    if timeline.moments[-1].table is None:
        raise ValueError(f"policy {pilot} looks at the true table, and there is none beside this dream")
    return AtTheWheel(name=pilot, pilot=SCRIPTED[pilot](), rng=rng)
