"""What a run has measured so far, read from its metrics.jsonl."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ivideo.files import nearby


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Figures by environment step, in the order of the steps."""

    lines: tuple[tuple[int, dict[str, float]], ...]
    """The finite figures of every line, as long as it says its step."""
    unread: int = 0
    """Lines without a step, such as one that a crash cut short; they are passed over."""
    evaluate_every: int | None = None
    """Steps between evaluations, where that is known."""
    steps: int | None = None
    """Steps that the run is to take in all, where that is known."""

    @staticmethod
    def read(path: Path, *, evaluate_every: int | None = None, steps: int | None = None) -> "Metrics":
        """The figures in a metrics.jsonl, with what is known of the run.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: {nearby(path)}")
        written = [line for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if line.strip()]
        read = [found for line in written if (found := _read(line)) is not None]
        return Metrics(
            lines=tuple(sorted(read, key=lambda found: found[0])),
            unread=len(written) - len(read),
            evaluate_every=evaluate_every,
            steps=steps,
        )

    @property
    def come_to(self) -> int:
        """The latest step of which there is anything."""
        return self.lines[-1][0] if self.lines else 0

    def has(self, name: str) -> bool:
        """Whether a figure was measured at any time."""
        return any(name in figures for _, figures in self.lines)

    def series(self, name: str) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """The steps at which a figure was measured, and what it came to."""
        found = [(step, figures[name]) for step, figures in self.lines if name in figures]
        steps, values = np.array(found, dtype=np.float64).reshape(-1, 2).T
        return steps, values

    def evaluations(self, what: str) -> dict[int, float]:
        """What evaluations of success or return came to, by the step at which each was due.

        An evaluation is played when the episode is over in which it falls due, and so a little later. One that was
        played without being due, as a run that is stopped does, counts at the very step.
        """
        found: dict[int, float] = {}
        for step, figures in self.lines:
            if f"eval/{what}" in figures:
                due = self._due(step)
                found[step if due in found else due] = figures[f"eval/{what}"]
        return dict(sorted(found.items()))

    def minutes(self, step: int) -> float | None:
        """How long the run took to a step; None where it has not come that far, or does not say."""
        found = [figures["minutes"] for when, figures in self.lines if when >= step and "minutes" in figures]
        return found[0] if found else None

    def _due(self, step: int) -> int:
        if self.steps is not None and step >= self.steps:
            return self.steps
        if self.evaluate_every is None or step < self.evaluate_every:
            return step
        return step - step % self.evaluate_every


def _read(line: str) -> tuple[int, dict[str, float]] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not _is_step(found.get("step")):
        return None
    return int(found["step"]), {
        name: float(value) for name, value in found.items() if name != "step" and _is_figure(value)
    }


def _is_step(value: Any) -> bool:
    return _is_figure(value) and value >= 0 and value == int(value)


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
