"""How exploration fades."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """From `first` to `last` along a straight line over `steps` steps of the agent, then constant."""

    first: float = 1.0
    last: float = 0.1
    steps: int = 100_000
    """100,000 for easy tasks, 500,000 for medium and 2,000,000 for hard ones."""

    def __post_init__(self) -> None:
        if self.steps < 1 or min(self.first, self.last) < 0:
            raise ValueError(
                f"the schedule goes from {self.first} to {self.last} in {self.steps} steps; expected values from 0 up "
                "and at least 1 step"
            )

    def at(self, step: int) -> float:
        """The value after so many steps."""
        share = min(max(step / self.steps, 0.0), 1.0)
        return (1.0 - share) * self.first + share * self.last
