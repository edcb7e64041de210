"""Everything that a MuJoCo simulation goes on from, as numbers: one that comes back has exactly the future it had."""

from typing import Any

import numpy as np
from jaxtyping import Float64


def save_state(model: Any, data: Any) -> Float64[np.ndarray, " s"]:
    """Positions, velocities, controls, forces applied, moved bodies, and what the solver begins with."""
    import mujoco

    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    numbers = np.empty(mujoco.mj_stateSize(model, kind), np.float64)
    mujoco.mj_getState(model, data, numbers, kind)
    return numbers


def restore_state(model: Any, data: Any, numbers: Float64[np.ndarray, " s"]) -> None:
    """Come back to what `save_state` gave of the same model; ValueError for numbers of another."""
    import mujoco

    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    wanted = mujoco.mj_stateSize(model, kind)
    if numbers.shape != (wanted,):
        raise ValueError(f"the state is {list(numbers.shape)} and the simulator's [{wanted}]: it is of another one")
    mujoco.mj_setState(model, data, np.ascontiguousarray(numbers), kind)
    mujoco.mj_forward(model, data)  # what is drawn and measured follows from the state ...
    mujoco.mj_setState(model, data, np.ascontiguousarray(numbers), kind)  # ... and is computed without a trace in it
