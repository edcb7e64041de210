"""What all seats of a server share: the model, which is loaded once, and the one thread that it computes in."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ivideo.web.door import LOCAL_HOSTS

if TYPE_CHECKING:
    from ivideo.play.dreamer import Dreamer
    from ivideo.play.session import Session
    from ivideo.play.starts import Starts

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Who may play, and how."""

    seats: int = 8
    """Sessions at the same time."""
    idle: float = 900.0
    """Seconds without a message after which a session ends."""
    fps: float = 10.0
    """Frames a second while time goes on."""
    token: str | None = None
    """Whoever comes must know this; None asks nobody."""
    hosts: tuple[str, ...] = LOCAL_HOSTS
    """Under which names the server may be addressed, when it asks for no token: other sites' names for this machine
    are no way in."""
    name: str = ""
    """Of the model, as it is shown."""


class Room:
    """The model, loading from now on, and whoever plays in it. Sessions are touched in the room's thread alone."""

    def __init__(self, load: Callable[[], "tuple[Dreamer, Starts]"], rules: Rules) -> None:
        """Begin to load."""
        self.rules, self.taken = rules, 0
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ivideo-play")
        self.loaded: Future[tuple[Dreamer, Starts]] = self.thread.submit(load)

    async def think(self, work: Callable[[], T]) -> T:
        """Have the thread do something, while everyone else is served."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work)

    async def session(self, scene: int = 0) -> "Session":
        """A session of one's own, as soon as the model is there."""
        dreamer, starts = await asyncio.wrap_future(self.loaded)

        def made() -> "Session":
            from ivideo.play.session import Session

            return Session(dreamer, starts, scene)

        return await self.think(made)

    def close(self) -> None:
        """Compute no more."""
        self.thread.shutdown(wait=False, cancel_futures=True)
