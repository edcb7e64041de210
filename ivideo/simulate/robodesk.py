"""RoboDesk as an environment that shows pictures, set up as VP2 sets it up (extra `robodesk`).

The simulator is robodesk 1.0.0 (Kannan et al. 2021) on today's MuJoCo; the set-up is VP2's (Tian et al. 2023, arXiv
2304.13723): an action of five numbers in [-1, 1], the hand's displacement along three axes, the wrist's turn and the
gripper, is repeated 50 times; the camera is RoboDesk's, its cut-out drawn at 120 pixels or more and made `size` wide.
Success is the package's own rule of the present state; whether other objects were moved does not count, as in VP2.

The package asks for the old gym and for a Pillow that has long gone. Neither is needed here: it is given Gymnasium
while it is imported, and never draws itself.
"""

import logging
import sys
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ivideo.simulate.mujoco_rendering import ModelRenderer
from ivideo.simulate.mujoco_state import restore_state, save_state
from ivideo.simulate.opengl import PACKAGES, import_mujoco
from ivideo.simulate.simulator_env import SimulatorEnv

PREFIX = "robodesk/"
TASKS = (
    "push_red",
    "push_green",
    "push_blue",
    "open_slide",
    "open_drawer",
    "upright_block_off_table",
    "flat_block_off_table",
)
"""The seven that VP2 has."""
REPEAT = 50
VP2_NUMBERS = 9 + 9 + 29 + 26 + 3
"""Of a state in VP2's files: the robot's positions and velocities, the objects', and the hand's place."""
_ROBOT, _OBJECTS = 9, 29
_DRAWN = 120
_CUT = (16.75, 25.0, 105.0, 88.75)
"""Left, top, right and bottom of what is kept of 120 pixels: a part that is wider than high."""
_SLIDE, _DRAWER, _FLOOR = 0.55, 0.2, 0.6
"""Metres: how far a slide and a drawer have to be open, and how low a block has to lie."""


class RoboDesk(SimulatorEnv):
    """One of `TASKS`, seen by the camera.

    Reward: 1 for a step that ends in success, else 0. `info` holds `state` (places in metres, for demonstrators),
    `success` and `step`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012  (gymnasium's spelling)
    action_dim = 5

    def __init__(
        self,
        task: str = "push_red",
        size: int = 64,
        horizon: int = 35,
        repeat: int = REPEAT,
        render_mode: str | None = "rgb_array",
    ) -> None:
        """Prepare a desk; ImportError, in a line with what to install, where something is missing.

        Args:
            task: one of `TASKS`.
            size: side of the frames in pixels.
            horizon: actions after which an episode is truncated.
            repeat: times that an action is repeated.
            render_mode: only "rgb_array".
        """
        if task not in TASKS:
            raise ValueError(f"no RoboDesk task {task!r}; expected one of {', '.join(TASKS)}")
        super().__init__(size, horizon, render_mode)
        self.task = task
        self._desk = _installed()(task=task, reward="sparse", action_repeat=repeat, episode_length=0)
        physics = self._desk.physics
        self._model, self._data = physics.model.ptr, physics.data.ptr
        self._renderer = ModelRenderer(self._model, max(_DRAWN, size))
        self._camera = _camera()

    def _begin(self, seed: int | None, options: dict[str, Any]) -> None:
        kept = np.random.get_state()  # noqa: NPY002  (the package draws from it)
        try:
            np.random.seed(int(self.np_random.integers(1 << 31)))  # noqa: NPY002
            self._desk.reset()
        finally:
            np.random.set_state(kept)  # noqa: NPY002

    def save(self) -> Float64[np.ndarray, " s"]:
        """All that there is to know of what will come."""
        return save_state(self._model, self._data)

    def restore(self, state: Float64[np.ndarray, " s"]) -> None:
        """Come back to a state."""
        restore_state(self._model, self._data, state)
        self._settle()

    def restore_vp2(self, numbers: Float64[np.ndarray, "76"]) -> None:
        """Begin in a state of VP2's files, in which nothing is said of the solver: its places and velocities."""
        if numbers.shape != (VP2_NUMBERS,) or not np.isfinite(numbers).all():
            raise ValueError(f"a state of RoboDesk is {list(numbers.shape)}; expected {VP2_NUMBERS} finite numbers")
        physics = self._desk.physics
        physics.reset()
        places, moving, objects, rest = np.split(numbers, np.cumsum([_ROBOT, _ROBOT, _OBJECTS]))
        physics.data.qpos[:] = np.concatenate([places, objects])
        physics.data.qvel[:] = np.concatenate([moving, rest[:-3]])
        physics.forward()
        self._settle()

    def advance(self, action: Float32[np.ndarray, "5"]) -> float:
        """Carry out an action; 1 where it ends in success."""
        # Told of every place that the arm cannot reach, hundreds of times an episode; the arm goes as near as it can.
        told = logging.getLogger("absl")
        level = told.level
        told.setLevel(logging.ERROR)
        try:
            self._desk.step(np.clip(np.asarray(action, np.float64), -1.0, 1.0))
        finally:
            told.setLevel(level)
        return float(self.success())

    def draw(self) -> UInt8[np.ndarray, "h w 3"]:
        from PIL import Image

        whole = Image.fromarray(self._renderer.draw(self._data, self._camera))
        left, top, right, bottom = (each / _DRAWN * whole.width for each in _CUT)
        cut = whole.crop((round(left), round(top), round(right), round(bottom)))
        return np.asarray(cut.resize((self.size, self.size), Image.Resampling.LANCZOS), np.uint8).copy()

    def success(self) -> bool:
        """Whether the task is done, by the package's rule."""
        return bool(np.all(self._desk._get_task_reward(self.task, "success") > 0))

    def remaining(self) -> float:
        """What is left to do, in metres: from the hand to the button, to open, or to fall."""
        named = self._desk.physics.named.data
        if self.success():
            return 0.0
        if self.task.startswith("push_"):
            button = named.xpos[f"{self.task.removeprefix('push_')}_button"]
            return float(np.linalg.norm(named.site_xpos["end_effector"] - button))
        if self.task == "open_slide":
            return max(0.0, _SLIDE - float(named.qpos["slide_joint"][0]))
        if self.task == "open_drawer":
            return max(0.0, float(named.qpos["drawer_joint"][0]) + _DRAWER)
        return max(0.0, float(named.qpos[self.task.removesuffix("_off_table")][2]) - _FLOOR)

    def places(self) -> dict[str, Any]:
        """Where things are, for demonstrators: metres, the wrist in radians."""
        named = self._desk.physics.named.data
        return {
            "hand": named.site_xpos["end_effector"].copy(),
            "wrist": float(self._data.qpos[6]),
            **{f"{colour}_button": named.xpos[f"{colour}_button"].copy() for colour in ("red", "green", "blue")},
            **{block: named.xpos[block].copy() for block in ("upright_block", "flat_block")},
            "slide_handle": named.site_xpos["slide_handle"].copy(),
            "slide": float(named.qpos["slide_joint"][0]),
            "drawer_handle": named.geom_xpos["drawer_handle"].copy(),
            "drawer": float(named.qpos["drawer_joint"][0]),
        }

    def close(self) -> None:
        self._renderer.close()

    def _settle(self) -> None:
        """What the package keeps beside MuJoCo's state: the copy that it works out joints with, and first places."""
        desk = self._desk
        desk.physics_copy.data.qpos[:] = desk.physics.data.qpos[:]
        for block in ("ball", "upright_block", "flat_block"):
            desk.original_pos[block] = desk.physics.named.data.xpos[block].copy()

    def _told(self) -> dict[str, Any]:
        return {"state": self.places(), "success": self.success()}


def _camera() -> Any:
    """RoboDesk's view: from above, aslant."""
    import mujoco

    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.distance, camera.azimuth, camera.elevation = 1.8, 90.0, -60.0
    camera.lookat[:] = (0.0, 0.535, 1.1)
    return camera


def _installed() -> Any:
    """The package's environment without its pictures; ImportError that says what to install."""
    try:
        import_mujoco()
        before = sys.modules.get("gym")
        sys.modules["gym"] = gymnasium
        try:
            from robodesk.robodesk import RoboDesk as Desk
        finally:
            if before is None:
                del sys.modules["gym"]
            else:
                sys.modules["gym"] = before
    except ModuleNotFoundError as error:
        raise ImportError(
            f"RoboDesk is not installed ({error}); pip install 'ivideo[robodesk]', and on bare Debian or Ubuntu "
            f"{PACKAGES}"
        ) from error

    class Unseen(Desk):  # type: ignore[misc]
        """Draws nothing by itself, and takes blocks' first places by value."""

        original_pos: dict[str, Any]

        def _get_obs(self) -> dict[str, Any]:
            return {}

        def reset(self) -> dict[str, Any]:
            super().reset()
            kept: dict[str, Any] = self.original_pos
            kept.update({name: place.copy() for name, place in kept.items()})
            return {}

    return Unseen
