"""The one thread that computes: whatever waits when it becomes free is done in one pass."""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ivideo.serve.passes import SharedWorlds, answers
from ivideo.serve.session import Session
from ivideo.simulate.turns import Ask, Turn, finish

T = TypeVar("T")


@dataclass(slots=True, kw_only=True, eq=False)
class _Job:
    """Something to do: a call, or a turn of a session's environments."""

    call: Callable[[], Any] | None = None
    turn: Turn[Any] | None = None
    session: Session | None = None
    done: "Future[Any]" = field(default_factory=Future)

    @property
    def rows(self) -> int:
        return 0 if self.session is None else self.session.num_envs


@dataclass(slots=True, kw_only=True)
class Passes:
    """How the time went."""

    passes: int = 0
    steps: int = 0
    """Environments that were advanced or begun, in all passes together."""
    seconds: float = 0.0
    """In passes."""


class Worker:
    """A thread that answers turns in one pass. Clients that act in lock-step are waited for, for a moment.

    After a pass it is known who was answered, and who of them has not asked again. The next pass waits for these, at
    most `gather` seconds from when they were answered and never over a quarter of the time that the pass took; whoever
    is alone never waits.
    """

    def __init__(self, *, gather: float = 0.02, most: int = 256) -> None:
        """Begin to wait for work; `most` is how many environments one pass may hold."""
        self.gather, self.most, self.counts = gather, most, Passes()
        self.worlds: SharedWorlds | None = None
        """What turns are of; to be set before the first of them."""
        self._jobs: list[_Job] = []
        self._expected: set[Hashable] = set()
        self._until = 0.0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="ivideo-serve", daemon=True)
        self._thread.start()

    def call(self, call: Callable[[], T]) -> "Future[T]":
        """Have the thread do something, before its next pass."""
        return self._take(_Job(call=call))

    def turn(self, session: Session, turn: Turn[T]) -> "Future[T]":
        """Have a turn of this session be answered in the next pass."""
        return self._take(_Job(turn=turn, session=session))

    def forget(self, session: Session) -> None:
        """Wait for this session no more."""
        with self._changed:
            self._expected.discard(session)
            self._changed.notify()

    def close(self) -> None:
        """Compute no more."""
        with self._changed:
            self._closed = True
            waiting, self._jobs = self._jobs, []
            self._changed.notify()
        for job in waiting:
            job.done.cancel()

    def _take(self, job: _Job) -> "Future[Any]":
        with self._changed:
            if self._closed:
                raise RuntimeError("the server is closing")
            self._jobs.append(job)
            self._expected.discard(job.session)
            self._changed.notify()
        return job.done

    # ------------------------------------------------------------------------------------------------- in the thread

    def _work(self) -> None:
        while (jobs := self._gathered()) is not None:
            begun = [job for job in jobs if job.done.set_running_or_notify_cancel()]
            for job in begun:
                if job.call is not None:
                    _settle(job, job.call)
            self._pass([job for job in begun if job.turn is not None])

    def _gathered(self) -> list[_Job] | None:
        """Everything that waits, or as much as a pass may hold; None when there is to be no more."""
        with self._changed:
            while not self._closed:
                if any(job.call is not None for job in self._jobs):
                    break
                if self._jobs and (not self._expected or (left := self._until - time.monotonic()) <= 0):
                    break
                self._changed.wait(left if self._jobs else None)
            if self._closed:
                return None
            if any(job.call is not None for job in self._jobs):  # at once, without ending the wait for the others
                taken = [job for job in self._jobs if job.call is not None]
            else:
                taken, rows = [], 0
                for job in self._jobs:
                    rows += job.rows
                    if taken and rows > self.most:
                        break
                    taken.append(job)
            self._jobs = [job for job in self._jobs if job not in taken]
            return taken

    def _pass(self, jobs: list[_Job]) -> None:
        assert self.worlds is not None or not jobs
        began, asked, asks = time.monotonic(), [], list[tuple[Ask, bool]]()
        for job in jobs:
            assert job.turn is not None
            assert job.session is not None
            try:
                asks.append((next(job.turn), job.session.observations == "pixels"))
            except Exception as error:  # of whoever asked, and of nobody else
                job.done.set_exception(error)
            else:
                asked.append(job)
        if not asked:
            return
        try:
            assert self.worlds is not None
            given = answers(self.worlds, asks)
        except Exception as error:
            for job in asked:
                job.done.set_exception(error)
            return
        now = time.monotonic()
        with self._changed:
            self._expected = {job.session for job in asked}
            self._until = now + min(self.gather, (now - began) / 4)
        self.counts.passes += 1
        self.counts.steps += sum(job.rows for job in asked)
        self.counts.seconds += now - began
        for job, answer in zip(asked, given, strict=True):
            turn = job.turn
            assert turn is not None
            _settle(job, lambda turn=turn, answer=answer: finish(turn, answer))  # type: ignore[misc]


def _settle(job: _Job, call: Callable[[], Any]) -> None:
    try:
        job.done.set_result(call())
    except Exception as error:
        job.done.set_exception(error)
