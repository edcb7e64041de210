"""Mean, deviation and range of columns of numbers that are seen a part at a time."""

from typing import Any

import numpy as np
from jaxtyping import Float64


class Moments:
    """What is known of the rows seen so far; parts merged in one order give one result, to the last bit."""

    def __init__(self, columns: int) -> None:
        self.count = 0
        self.mean = np.zeros(columns)
        self.squares = np.zeros(columns)
        self.low = np.full(columns, np.inf)
        self.high = np.full(columns, -np.inf)

    def add(self, rows: Float64[np.ndarray, "n a"]) -> None:
        """See more rows."""
        part = Moments(rows.shape[1])
        part.count = len(rows)
        if len(rows):
            part.mean, part.low, part.high = rows.mean(0), rows.min(0), rows.max(0)
            part.squares = ((rows - part.mean) ** 2).sum(0)
        self.merge(part)

    def merge(self, other: "Moments") -> None:
        """See all that another has seen (Chan, Golub, LeVeque 1979)."""
        count = self.count + other.count
        if not other.count:
            return
        apart = other.mean - self.mean
        self.squares = self.squares + other.squares + apart**2 * (self.count * other.count / count)
        self.mean = self.mean + apart * (other.count / count)
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        self.count = count

    def figures(self) -> dict[str, list[float]] | None:
        """Per column, for people; None where nothing was seen."""
        if not self.count:
            return None
        figures = {"mean": self.mean, "std": np.sqrt(self.squares / self.count), "min": self.low, "max": self.high}
        return {name: values.tolist() for name, values in figures.items()}

    def state(self) -> dict[str, Any] | None:
        """All of it as JSON; None where nothing was seen."""
        if not self.count:
            return None
        parts = {"mean": self.mean, "squares": self.squares, "low": self.low, "high": self.high}
        return {"count": self.count} | {name: values.tolist() for name, values in parts.items()}

    @staticmethod
    def of(state: dict[str, Any] | None, columns: int) -> "Moments":
        """The one that `state` was taken of."""
        moments = Moments(columns)
        if state is not None:
            moments.count = int(state["count"])
            for name in ("mean", "squares", "low", "high"):
                setattr(moments, name, np.array(state[name]))
        return moments
