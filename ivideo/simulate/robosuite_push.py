"""robosuite's two cubes on a table, to be pushed, as an environment that shows pictures (extra `robosuite`).

VP2 (Tian et al. 2023, arXiv 2304.13723) pushes objects with a Panda in a fork of robosuite, drawn by another renderer;
neither is published as a package. This is the nearest that today's robosuite has: its `Stack`, the arm moved by four
numbers (the hand's displacement along three axes and the gripper), seen by MuJoCo from robosuite's own camera
"agentview". Models trained on VP2's robosuite data do not know this scene.
"""

import logging
import math
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ivideo.simulate.mujoco_rendering import ModelRenderer
from ivideo.simulate.mujoco_state import restore_state, save_state
from ivideo.simulate.opengl import PACKAGES, import_mujoco
from ivideo.simulate.simulator_env import SimulatorEnv

PREFIX = "robosuite/"
CUBES = ("cubeA", "cubeB")
HERTZ = 5
"""Actions a second; each moves the hand by up to 5 cm along an axis."""
CAMERA = "agentview"
_TABLE = 0.8
"""Metres over the floor."""
_LOW = _TABLE + 0.02
_OWN = 2
"""Numbers in front of MuJoCo's: what the gripper was last told, finger by finger."""


class RobosuitePush(SimulatorEnv):
    """Two cubes to push about; nothing is rewarded, and nothing ends an episode but its `horizon`.

    `info` holds `state` (places in metres, for demonstrators), `success`, which is never, and `step`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": HERTZ}  # noqa: RUF012  (gymnasium's)
    action_dim = 4

    def __init__(self, size: int = 64, horizon: int = 35, render_mode: str | None = "rgb_array") -> None:
        """Prepare the table; ImportError, in a line with what to install, where something is missing."""
        super().__init__(size, horizon, render_mode)
        self._suite = _made()
        self._suite.visualize(dict.fromkeys(self._suite._visualizations, False))
        self._model, self._data = self._suite.sim.model._model, self._suite.sim.data._data
        hidden = self._model.geom_group == 0
        self._model.geom_rgba[hidden, 3] = 0.0  # what things collide with, which would cover what they look like
        self._renderer = ModelRenderer(self._model, size)
        self._gripper = self._suite.robots[0].gripper["right"]
        self._first = self.save()

    def _begin(self, seed: int | None, options: dict[str, Any]) -> None:
        """The arm where it always begins, the cubes anywhere before it, apart."""
        self.restore(self._first)
        places = self._apart()
        for name, (x, y) in zip(CUBES, places, strict=True):
            turn = float(self.np_random.uniform(0.0, math.pi / 2))
            joint = self._suite.sim.data.get_joint_qpos(f"{name}_joint0").copy()
            joint[:2], joint[3:] = (x, y), (math.cos(turn / 2), 0.0, 0.0, math.sin(turn / 2))
            self._suite.sim.data.set_joint_qpos(f"{name}_joint0", joint)
        self._suite.sim.forward()

    def save(self) -> Float64[np.ndarray, " s"]:
        """All that there is to know of what will come."""
        told = np.resize(np.asarray(self._gripper.current_action, np.float64), _OWN)
        return np.concatenate([told, save_state(self._model, self._data)])

    def restore(self, state: Float64[np.ndarray, " s"]) -> None:
        """Come back to a state."""
        self._gripper.current_action = state[:_OWN].copy()
        restore_state(self._model, self._data, state[_OWN:])
        self._suite.robots[0].composite_controller.update_state()
        self._suite.timestep, self._suite.done = 0, False

    def advance(self, action: Float32[np.ndarray, "4"]) -> float:
        """Carry out an action; nothing is rewarded."""
        self._suite.step(np.clip(np.asarray(action, np.float64), -1.0, 1.0))
        return 0.0

    def draw(self) -> UInt8[np.ndarray, "h w 3"]:
        return self._renderer.draw(self._data, CAMERA)

    def cubes(self) -> Float64[np.ndarray, "2 3"]:
        """Where the cubes' middles are, in metres."""
        return np.stack([self._data.body(f"{name}_main").xpos.copy() for name in CUBES])

    def hand(self) -> Float64[np.ndarray, "3"]:
        """Where the middle of the gripper is, in metres."""
        return np.asarray(self._data.site("gripper0_right_grip_site").xpos.copy(), np.float64)

    def close(self) -> None:
        self._renderer.close()

    def _told(self) -> dict[str, Any]:
        return {"state": {"hand": self.hand(), "cubes": self.cubes()}, "success": False}

    def _apart(self) -> Float64[np.ndarray, "2 2"]:
        while True:
            places = self.np_random.uniform(-0.12, 0.12, (2, 2))
            if np.linalg.norm(places[0] - places[1]) > 0.09:
                return np.asarray(places)


class Pusher:
    """Goes behind a cube, closed and low, and pushes it towards a place drawn on the table; then does so again."""

    def __init__(self, noise: float = 0.1) -> None:
        """`noise`: standard deviation of what is added to the hand's displacement."""
        if noise < 0:
            raise ValueError(f"noise is {noise}; expected 0 (none) or a standard deviation")
        self.noise = noise
        self._left, self._cube, self._low, self._place = 0, 0, False, np.zeros(2)

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "4"]:
        hand, cubes = info["state"]["hand"], info["state"]["cubes"]
        if info["step"] == 0 or self._left == 0:
            self._left, self._cube, self._low = 18, int(rng.integers(2)), False
            self._place = rng.uniform(-0.15, 0.15, 2)
        self._left -= 1
        cube = cubes[self._cube][:2]
        way = self._place - cube
        way = way / max(1e-6, float(np.hypot(*way)))
        behind = cube - 0.075 * way
        aside = float(np.linalg.norm(behind - hand[:2]))
        if not self._low and aside > 0.02:
            wanted = np.array([*behind, _LOW + 0.10 if aside < 0.06 or hand[2] > _LOW + 0.07 else hand[2] + 0.1])
        elif hand[2] > _LOW + 0.015 and not self._low:
            wanted = np.array([*behind, _LOW])
        else:
            self._low = True
            wanted = np.array([*(hand[:2] + 0.05 * way), _LOW])
            if np.linalg.norm(self._place - cube) < 0.03 or float((hand[:2] - cube) @ way) > 0.02:
                self._left = 0
        moved = (wanted - hand) / 0.05 + self.noise * rng.standard_normal(3)
        return np.asarray([*np.clip(moved, -1.0, 1.0), 1.0], np.float32)


def _made() -> Any:
    """robosuite's `Stack` under control of the hand's place; ImportError that says what to install."""
    logging.disable(logging.WARNING)  # of files and robots that are not needed here
    try:
        import_mujoco()
        import robosuite
        from robosuite.controllers import load_composite_controller_config, load_part_controller_config
    except ModuleNotFoundError as error:
        raise ImportError(
            f"robosuite is not installed ({error}); pip install 'ivideo[robosuite]', and on bare Debian or Ubuntu "
            f"{PACKAGES}"
        ) from error
    finally:
        logging.disable(logging.NOTSET)
    logging.getLogger("robosuite_logs").setLevel(logging.ERROR)
    controller = load_composite_controller_config(controller="BASIC", robot="Panda")
    arm = controller["body_parts"]["right"]
    controller["body_parts"]["right"] = {
        **load_part_controller_config(default_controller="OSC_POSITION"),
        **{key: arm[key] for key in ("gripper",) if key in arm},
    }
    return robosuite.make(
        "Stack",
        robots="Panda",
        controller_configs=controller,
        has_renderer=False,
        has_offscreen_renderer=False,
        use_camera_obs=False,
        initialization_noise=None,
        control_freq=HERTZ,
        ignore_done=True,
        seed=0,
    )
