"""How long a run lasts and how often it stops to look."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How long to train, in what precision, and how often to look and to save."""

    steps: int | None = 100_000
    """Updates of the weights in the whole run; null leaves the end to `max_minutes`."""
    max_minutes: float | None = None
    """Minutes of the whole run, all its legs together; schedules then follow the clock where it is further."""
    batch_size: int = 16
    """Clips per batch and process."""
    accumulate: int = 1
    """Batches whose gradients make one update."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Number format of the computation; weights and optimizer stay in 32 bits."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """What to compute on."""
    devices: int = 1
    """Processes, each on its own device; gradients are averaged over them."""
    seed: int = 0
    """Decides initial weights, dropout and the order of the data."""
    prefetch: bool = True
    """On an accelerator, prepare the next batch in a thread while the current one is computed."""
    log_every: int = 20
    """Steps averaged into one line of metrics."""
    evaluate_every: int | None = 5000
    """Steps between evaluations, of which there is one at the end in any case; null leaves them all out."""
    checkpoint_every: int = 5000
    """Steps between checkpoints, of which there is one at the end and at a stop in any case."""

    def __post_init__(self) -> None:
        if self.steps is None and self.max_minutes is None:
            raise ValueError("neither steps nor max_minutes is set; set one, or both to stop at whichever comes first")
        for name in (
            "steps", "max_minutes", "batch_size", "accumulate", "devices", "log_every", "evaluate_every",
            "checkpoint_every",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; expected more than 0")
