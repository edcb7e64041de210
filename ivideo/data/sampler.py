"""What every sampler answers: samples by their numbers."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from ivideo.episode import Batch


@runtime_checkable
class Sampler(Protocol):
    """Numbered samples: what training draws from, whatever it is drawn from."""

    @property
    def windows(self) -> int:
        """How many different windows there are: an epoch's length in samples."""

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return the samples from `step * batch_size` on: a pure function of the seed and these numbers."""

    def samples(self, samples: Int64[np.ndarray, "b"]) -> Batch:
        """Return the samples of any numbers; each is the same whatever stands beside it."""

    def names(self, samples: Int64[np.ndarray, "b"]) -> list[str]:
        """Return where each of these samples is from, in words."""


def numbered(step: int, batch_size: int) -> Int64[np.ndarray, "b"]:
    """Return the numbers of the samples in batch `step`."""
    if step < 0 or batch_size < 1:
        raise ValueError(f"step is {step} and batch_size {batch_size}; expected step >= 0 and batch_size >= 1")
    return np.arange(step * batch_size, (step + 1) * batch_size)
