"""What all connections of a server share: the model's worlds, the thread that computes, and the rules."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from ivideo.serve.passes import SharedWorlds
from ivideo.serve.pictures import PICTURES
from ivideo.serve.session import Session
from ivideo.serve.wire import DTYPES
from ivideo.serve.worker import Worker
from ivideo.simulate.spaces import Observations
from ivideo.simulate.turns import Turn
from ivideo.simulate.worlds import Worlds
from ivideo.web.door import LOCAL_HOSTS
from ivideo.web.message import MOST_BYTES

T = TypeVar("T")
PROTOCOL = 1
"""Raised when a client of before would misunderstand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Who may come, and how much of everything they may have."""

    sessions: int = 64
    """Environments at the same time, of all clients together; and connections."""
    saves: int = 256
    """Environments of which a connection may have the state saved."""
    horizon: int = 15
    """Steps after which an episode is truncated, where a client does not say."""
    idle: float = 900.0
    """Seconds without a message after which a connection is closed."""
    gather: float = 0.02
    """Seconds for which a pass waits at most for those who were answered by the last."""
    token: str | None = None
    """Whoever comes must know this; None asks nobody."""
    hosts: tuple[str, ...] = LOCAL_HOSTS
    """Under which names the server may be addressed, when it asks for no token."""
    name: str = ""
    """Of the model, as clients are told."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """What is open, and what has been, since the server began."""

    connections: int = 0
    sessions: int = 0
    malformed: int = 0
    """Messages that were answered with an error since they were not as described."""
    dropped: int = 0
    """Connections that were closed because they took nothing, or were quiet for too long."""


class Host:
    """A model that is served. `Session`s are touched in the worker's thread alone; the rest in that of the server."""

    def __init__(self, load: Callable[[], Worlds], rules: Rules) -> None:
        """Load the worlds in the thread that will compute; raises what loading raises."""
        self.rules, self.counts = rules, Counts()
        self.worker = Worker(gather=rules.gather, most=max(rules.sessions, 1))
        try:
            worlds = self.worker.call(lambda: SharedWorlds.of(load())).result()
            self.worker.worlds = self.worlds = worlds
            self._spaces = self.worker.call(lambda: self._made(1, horizon=1, observations="pixels")).result()
        except BaseException:
            self.worker.close()
            raise

    async def call(self, call: Callable[[], T]) -> T:
        """Have the computing thread do something."""
        return await asyncio.wrap_future(self.worker.call(call))

    async def turn(self, session: Session, turn: Turn[T]) -> T:
        """Have a turn be taken, together with all others that wait."""
        taken: Future[T] = self.worker.turn(session, turn)
        return await asyncio.wrap_future(taken)

    def reserve(self, count: int) -> None:
        """Count environments that are about to be opened; ValueError where there is no room for them."""
        free = self.rules.sessions - self.counts.sessions
        if count > free:
            raise ValueError(
                f"{count} environments are asked for, and {free} of the server's {self.rules.sessions} are free; close "
                "some, or come back later"
            )
        self.counts.sessions += count

    def release(self, session: Session) -> None:
        """Count environments no more."""
        self.counts.sessions -= session.num_envs
        self.worker.forget(session)

    async def open(self, count: int, *, horizon: int, observations: Observations, threshold: float) -> Session:
        """New environments, for which there must be room."""
        self.reserve(count)
        try:
            return await self.call(
                lambda: self._made(count, horizon=horizon, observations=observations, threshold=threshold)
            )
        except BaseException:
            self.counts.sessions -= count
            raise

    def hello(self) -> dict[str, Any]:
        """What a client is told first."""
        action, picture = self._spaces.single_action_space, self._spaces.single_observation_space
        layout = self.worlds.model.layout
        return {
            "kind": "hello",
            "protocol": PROTOCOL,
            "model": self.rules.name,
            "action": {"shape": list(action.shape or ()), "low": -1.0, "high": 1.0, "dtype": "<f4"},
            "pixels": {"shape": list(picture.shape or ()), "low": 0, "high": 255, "dtype": "|u1"},
            "tokens": {
                "shape": [layout.dynamics_tokens],
                "low": 0,
                "high": layout.dynamics_codes - 1,
                "dtype": "<i8",
            },
            "rewarded": self.worlds.rewarded,
            "horizon": self.rules.horizon,
            "context_frames": self.worlds.model.context_frames,
            "pictures": list(PICTURES),
            "dtypes": list(DTYPES),
            "limits": {
                "bytes": MOST_BYTES,
                "sessions": self.rules.sessions,
                "saves": self.rules.saves,
                "idle": self.rules.idle,
            },
        }

    def status(self) -> dict[str, Any]:
        """What is going on."""
        counts, passes = self.counts, self.worker.counts
        return {
            "model": self.rules.name,
            "process": os.getpid(),
            "connections": counts.connections,
            "sessions": counts.sessions,
            "malformed": counts.malformed,
            "dropped": counts.dropped,
            "passes": passes.passes,
            "steps": passes.steps,
            "seconds": round(passes.seconds, 3),
        }

    def close(self) -> None:
        """Compute no more."""
        self.worker.close()

    def _made(self, count: int, **how: Any) -> Session:
        return Session(self.worlds, num_envs=count, **how)
