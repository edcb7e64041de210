"""What rollouts of the true pushing table came to, from its states: nothing here looks at frames."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from ivideo.judge.judges import MOVED
from ivideo.judge.rollouts import Rollouts
from ivideo.simulate.pushing_table import in_goal

Values: TypeAlias = Float[np.ndarray, " b"]
UNITS: Mapping[str, str] = MappingProxyType(
    {"success": "share", "return": "sum of rewards", "distance": "minus table units", "touched": "share"}
)
"""The true values, and what they are counted in."""


def true_values(rollouts: Rollouts) -> dict[str, Values]:
    """Each true value of every rollout: success at any time, the return, minus the disc's last distance, touched."""
    assert rollouts.true
    assert rollouts.rewards is not None
    return {
        "success": np.array([any(map(in_goal, states)) for states in rollouts.states], dtype=np.float64),
        "return": rollouts.rewards.sum(dim=1).double().numpy(),
        "distance": np.array([-math.dist(states[-1].disc, states[-1].goal) for states in rollouts.states]),
        "touched": np.array(
            [any(math.dist(state.disc, states[0].disc) > MOVED for state in states) for states in rollouts.states],
            dtype=np.float64,
        ),
    }
