"""Stopping a run from outside: the first signal asks, the second one ends the process at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self


class StopRequestedError(Exception):
    """Raised out of work that can be abandoned, when a signal asks the run to stop."""


class StopSignals:
    """While entered, Ctrl-C, SIGTERM and SIGUSR1 set `received` instead of ending the process.

    SIGUSR1 is how Slurm, asked with `--signal=USR1@90`, says that the time of a job is nearly over.

    Inside `abandonable` they also break off what is going on, so that a long evaluation does not delay the save that
    follows. A second signal has its usual effect. Outside the main thread nothing is caught.
    """

    CAUGHT = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))

    def __init__(self) -> None:
        self.received: int | None = None
        self._abandonable = False
        self._before: dict[int, signal.Handlers] = {}

    @property
    def exit_code(self) -> int:
        """What a shell reports for a process that this signal ended: 130, 143 or 138; 0 when there was none."""
        return 0 if self.received is None else 128 + self.received

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self.CAUGHT:
                self._before[number] = signal.signal(number, self._receive)  # type: ignore[assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def abandonable(self) -> Iterator[None]:
        """A signal inside the block, or before it, raises `StopRequestedError`; undo what the block did around it."""
        if self.received is not None:
            raise StopRequestedError
        self._abandonable = True
        try:
            yield
        finally:
            self._abandonable = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for caught in self.CAUGHT:
            signal.signal(caught, signal.SIG_DFL)
        if self._abandonable:
            raise StopRequestedError
