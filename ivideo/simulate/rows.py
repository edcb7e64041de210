"""What a step of many environments gives, while it is put together."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True, kw_only=True)
class Rows:
    """One row for each environment, in the form that Gymnasium asks for."""

    observations: NDArray[Any]
    rewards: NDArray[Any]
    terminated: NDArray[Any]
    truncated: NDArray[Any]
    likelihood: NDArray[Any]
    terminal: NDArray[Any]

    @classmethod
    def empty(cls, observations: gymnasium.Space[Any]) -> "Rows":
        """Zeros everywhere, for observations of this batched space."""
        shape = observations.shape or ()
        return cls(
            observations=np.zeros(shape, observations.dtype),
            rewards=np.zeros(shape[0], np.float64),
            terminated=np.zeros(shape[0], bool),
            truncated=np.zeros(shape[0], bool),
            likelihood=np.zeros(shape[0], np.float64),
            terminal=np.zeros(shape[0], np.float64),
        )

    def infos(self) -> dict[str, Any]:
        """What is known beside observations and rewards, all of it of every environment."""
        everywhere = np.ones(len(self.rewards), bool)
        return {
            "log_likelihood": self.likelihood,
            "_log_likelihood": everywhere,
            "terminal": self.terminal,
            "_terminal": everywhere,
        }
