"""Batches in order, the next one prepared while the current one is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """Hands out batch i on request and, when `ahead`, prepares batch i + 1 in a thread of its own.

    With several processes, each takes every `world`-th batch, so that together they see what one process would.
    """

    def __init__(self, batches: Callable[[int], T], *, ahead: bool = True, rank: int = 0, world: int = 1) -> None:
        self._batches = batches
        self._rank, self._world = rank, world
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="feed") if ahead else None
        self._next: tuple[int, Future[T]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def get(self, index: int) -> T:
        """Return this process's batch number `index`; an error in preparing it is raised here."""
        if self._pool is None:
            return self._make(index)
        waiting, self._next = self._next, None
        current = waiting[1] if waiting is not None and waiting[0] == index else self._pool.submit(self._make, index)
        try:
            return current.result()
        finally:
            self._next = (index + 1, self._pool.submit(self._make, index + 1))

    def _make(self, index: int) -> T:
        return self._batches(index * self._world + self._rank)
