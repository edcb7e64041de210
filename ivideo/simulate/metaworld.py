"""Meta-World's tasks as environments that show pictures, and their scripted demonstrators (extra `metaworld`).

The set-up is that of iVideoGPT's reinforcement learning (paper, appendix on Meta-World): 64 px from camera "corner",
every action carried out twice with its rewards summed, 100 such steps, new positions of objects and goal in every
episode. Shadows, reflections and multisampling are off unless asked for: without a GPU they make drawing several times
as slow (docs/tasks.md).
"""

from difflib import get_close_matches
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from ivideo.simulate.mujoco_rendering import ModelRenderer
from ivideo.simulate.opengl import PACKAGES, import_mujoco
from ivideo.simulate.simulator_env import SimulatorEnv

PREFIX = "metaworld/"
"""What names of these environments begin with: `metaworld/hammer-v3`."""
HORIZON = 100


class MetaWorld(SimulatorEnv):
    """One Meta-World task seen by a camera.

    Observation: the frame, uint8 RGB `[size size 3]`. Action: the hand's displacement along three axes and the
    gripper's effort, each in [-1, 1]. Reward: the task's own, at most 10 a simulated step, summed over `repeat` steps,
    plus `success_bonus` for a step in which the aim is reached. Truncated after `horizon` steps, never terminated.

    `info` holds `state`, the simulator's 39 numbers, which a learner must not read, `success`, 0 or 1, and `step`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 40}  # noqa: RUF012  (gymnasium's spelling)
    action_dim = 4

    def __init__(
        self,
        task: str,
        size: int = 64,
        camera: str = "corner",
        repeat: int = 2,
        horizon: int = HORIZON,
        success_bonus: float = 0.0,
        shadows: bool = False,
        render_mode: str | None = "rgb_array",
    ) -> None:
        """Prepare a task.

        Args:
            task: a name of Meta-World's third version, such as hammer-v3.
            size: side of the frames in pixels.
            camera: corner, corner2, corner3, topview, behindGripper or gripperPOV.
            repeat: simulated steps an action lasts.
            horizon: steps after which an episode is truncated.
            success_bonus: added to the reward of steps in which the aim is reached.
            shadows: draw shadows, reflections and smooth edges.
            render_mode: only "rgb_array".
        """
        environments = _installed()
        if task not in environments:
            near = get_close_matches(task, environments, n=3) or sorted(environments)[:3]
            raise ValueError(f"Meta-World has no task {task!r}; did you mean {', '.join(near)}?")
        super().__init__(size, horizon, render_mode)
        self.camera, self.repeat, self.success_bonus = camera, repeat, success_bonus
        self.task = environments[task]()
        self.task._freeze_rand_vec = False
        self.task._set_task_called = True
        self.task._partially_observable = False
        self.task.seeded_rand_vec = True
        cameras = [self.task.model.camera(number).name for number in range(self.task.model.ncam)]
        if camera not in cameras:
            raise ValueError(f"Meta-World has no camera {camera!r}; expected one of {', '.join(cameras)}")
        self._renderer = ModelRenderer(self.task.model, size, shadows)

    def _begin(self, seed: int | None, options: dict[str, Any]) -> None:
        if seed is not None:
            self.task.seed(seed)
        self._state, _ = self.task.reset()
        self._success = 0.0

    def advance(self, action: Float32[np.ndarray, "4"]) -> float:
        """Carry out an action; its rewards, summed."""
        earned, self._success = 0.0, 0.0
        for _ in range(self.repeat):
            self._state, reward, _, _, info = self.task.step(np.clip(action, -1.0, 1.0))
            earned, self._success = earned + float(reward), max(self._success, float(info["success"]))
        return earned + self.success_bonus * self._success

    def draw(self) -> UInt8[np.ndarray, "h w 3"]:
        """The frame, the right way up: Meta-World's corner cameras hang upside down."""
        frame = self._renderer.draw(self.task.data, self.camera)
        return np.ascontiguousarray(frame[::-1] if self.camera.startswith("corner") else frame)

    def close(self) -> None:
        self._renderer.close()

    def _told(self) -> dict[str, Any]:
        return {"state": self._state, "success": self._success}


class Demonstrator:
    """Meta-World's scripted solution of a task, disturbed by Gaussian noise of another strength in every episode."""

    def __init__(self, task: str, noise: float = 0.0) -> None:
        """`noise` is the largest standard deviation; an episode's is drawn evenly between 0 and that."""
        if noise < 0:
            raise ValueError(f"noise is {noise}; expected 0 (none) or a standard deviation")
        _installed()
        from metaworld.policies import ENV_POLICY_MAP

        self._solve = ENV_POLICY_MAP[task]().get_action
        self._largest, self._noise = noise, 0.0

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "4"]:
        if info["step"] == 0:
            self._noise = float(rng.uniform(0.0, self._largest)) if self._largest else 0.0
        wanted = np.asarray(self._solve(info["state"]), np.float32)
        disturbed = wanted + self._noise * rng.standard_normal(4).astype(np.float32)
        return np.clip(disturbed, -1.0, 1.0).astype(np.float32)


def tasks() -> list[str]:
    """The names of all tasks, without the prefix."""
    return sorted(_installed())


def _installed() -> dict[str, Any]:
    """Return the tasks by name; ImportError that says what to install."""
    try:
        import_mujoco()
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    except ModuleNotFoundError as error:
        raise ImportError(
            f"Meta-World is not installed ({error}); pip install 'ivideo[metaworld]', and on bare Debian or Ubuntu "
            f"{PACKAGES}"
        ) from error
    return dict(ALL_V3_ENVIRONMENTS)
