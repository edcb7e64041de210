"""Where the time of a run goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds by what they were spent on. Inside another block a block stops the other's time."""

    def __init__(self, spent: dict[str, float] | None = None) -> None:
        self.spent = dict(spent or {})
        self._doing: list[str] = []
        self._since = time.monotonic()

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """The time of the block goes to `what`."""
        self._pass()
        self._doing.append(what)
        try:
            yield
        finally:
            self._pass()
            self._doing.pop()

    @property
    def total(self) -> float:
        """All seconds spent on anything."""
        self._pass()
        return sum(self.spent.values())

    def figures(self) -> dict[str, float]:
        """Seconds so far, as `time/...`."""
        self._pass()
        return {f"time/{what}": seconds for what, seconds in self.spent.items()}

    def _pass(self) -> None:
        now = time.monotonic()
        if self._doing:
            self.spent[self._doing[-1]] = self.spent.get(self._doing[-1], 0.0) + now - self._since
        self._since = now
