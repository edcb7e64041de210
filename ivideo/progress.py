"""What a person sees of a run: one living line in a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO, Protocol, cast, runtime_checkable

from rich.console import Console
from rich.live import Live
from rich.text import Text

LIVE_EVERY = 0.25
PLAIN_EVERY = 10.0


@runtime_checkable
class Stream(Protocol):
    """Where lines go: standard error, a file, a buffer."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> None: ...


class Progress:
    """Shows step, figures, speed and time left; cheap enough to be told of every step."""

    def __init__(
        self,
        *,
        start: int = 0,
        steps: int | None = None,
        minutes: float | None = None,
        headline: Sequence[str] = ("loss",),
        stream: Stream | None = None,
        silent: bool = False,
        unit: str = "step",
    ) -> None:
        """Prepare to show a run.

        Args:
            start: steps that are done already.
            steps: steps of the whole run, if it is counted in steps.
            minutes: minutes of the whole run, if it is counted in time.
            headline: names of the figures to show, in order; those never reported are left out.
            stream: where to; standard error if not given.
            silent: show nothing, as all but one of several processes should.
            unit: what is counted.
        """
        self.stream: Stream = stream or sys.stderr
        self._console = Console(file=cast(IO[str], self.stream), highlight=False)
        self._live: Live | None = None
        self._silent, self._unit = silent, unit
        self._every = LIVE_EVERY if self._console.is_terminal else PLAIN_EVERY
        self._steps, self._minutes, self._headline = steps, minutes, tuple(headline)
        self._figures: dict[str, float] = {}
        self._shown = time.monotonic()
        self._marks = [(time.monotonic(), start)]

    def __enter__(self) -> "Progress":
        if self._console.is_terminal and not self._silent:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def note(self, figures: Mapping[str, float]) -> None:
        """Take up figures to show from now on."""
        self._figures.update(figures)

    def update(self, step: int, seconds: float, *, last: bool = False) -> None:
        """Say that `step` steps are done after `seconds` of the run; shown now and then."""
        now = time.monotonic()
        if self._silent or (now - self._shown < self._every and not last):
            return
        self._shown = now
        self._marks = [*self._marks[-9:], (now, step)]
        line = self.line(step, seconds, last=last)
        if self._live is not None:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
        else:
            self._print(line)

    def line(self, step: int, seconds: float, *, last: bool = False) -> str:
        """Return the line to show; the last one says how long the run took, the others how long it will take."""
        (first_time, first_step), (last_time, last_step) = self._marks[0], self._marks[-1]
        speed = (last_step - first_step) / (last_time - first_time) if last_time > first_time else 0.0
        count = f"{self._unit} {step:,}" + (f"/{self._steps:,}" if self._steps is not None else "")
        parts = [count]
        parts += [f"{name} {_short(self._figures[name])}" for name in self._headline if name in self._figures]
        if speed > 0:
            parts.append(f"{speed:.1f} {self._unit}s/s" if speed >= 1 else f"{1 / speed:.1f} s/{self._unit}")
        left = _left(step, seconds, speed, self._steps, self._minutes)
        parts.append(f"took {_clock(seconds)}" if last else f"ETA {_clock(left)}")
        return "  ".join(parts)

    def say(self, message: str) -> None:
        """Show a message of its own."""
        if self._silent:
            return
        if self._live is not None:
            self._console.print(message, markup=False)
        else:
            self._print(message)

    def _print(self, line: str) -> None:
        self.stream.write(line + "\n")
        self.stream.flush()


def _left(step: int, seconds: float, speed: float, steps: int | None, minutes: float | None) -> float | None:
    candidates = []
    if steps is not None and speed > 0:
        candidates.append((steps - step) / speed)
    if minutes is not None:
        candidates.append(minutes * 60 - seconds)
    return max(0.0, min(candidates)) if candidates else None


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(value: float) -> str:
    if value != 0 and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.2e}"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"
