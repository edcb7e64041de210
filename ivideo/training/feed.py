"""Batches in order, the next one prepared while the current one is computed."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """Hands out batch i on request and, when `ahead`, prepares batch i + 1 in a thread of its own.

    With several processes, each takes every `world`-th batch, so that together they see what one process would.
    """

    def __init__(self, batches: Callable[[int], T], *, ahead: bool = True, rank: int = 0, world: int = 1) -> None:
        self._batches = batches
        self._rank, self._world = rank, world
        self._ahead = ahead
        self._next: tuple[int, Future[T]] | None = None

    def get(self, index: int) -> T:
        """Return this process's batch number `index`; an error in preparing it is raised here."""
        if not self._ahead:
            return self._batches(self.number(index))
        waiting, self._next = self._next, None
        if waiting is not None and waiting[0] != index:
            waiting[1].exception()  # the source of batches serves one thread at a time
        current = waiting[1] if waiting is not None and waiting[0] == index else self._prepare(index)
        current.exception()
        self._next = (index + 1, self._prepare(index + 1))
        return current.result()

    def number(self, index: int) -> int:
        """Which batch of the whole run this process takes as its batch number `index`."""
        return index * self._world + self._rank

    def _prepare(self, index: int) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(self._batches(self.number(index)))
            except BaseException as error:
                future.set_exception(error)

        # A thread that does not keep the process alive: a run that is asked to stop does not wait for its disks.
        Thread(target=work, name="feed", daemon=True).start()
        return future
