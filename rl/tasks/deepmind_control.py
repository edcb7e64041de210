"""The tasks of dm_control's suite as environments that show pictures (dm_control 1.0.28 goes with MuJoCo 3.3.0).

The set-up is that of DrQ-v2 (Yarats et al., arXiv 2107.09645, appendix on hyper-parameters): every action lasts two
simulator steps, whose rewards are summed, an episode 1,000 of them; actions are rescaled to -1..1; time is no end.
"""

from difflib import get_close_matches
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float32, UInt8

from ivideo.simulate.mujoco_rendering import ModelRenderer
from ivideo.simulate.opengl import PACKAGES, import_mujoco

PREFIX = "dm_control/"
"""What names of these tasks begin with: `dm_control/cartpole-balance`."""
STEPS = 1000
"""Simulator steps of an episode: every task's own time limit, less the two of lqr that have none."""
_CAMERAS = {"quadruped": 2}  # its camera 0 is far away; DrQ-v2 takes the nearer one


class DeepMindControl(gymnasium.Env[UInt8[np.ndarray, "h w 3"], Float32[np.ndarray, " a"]]):
    """One task of the suite seen by a camera.

    Observation: the frame, uint8 RGB `[size size 3]`. Action: numbers in [-1, 1], rescaled to the task's own bounds and
    clipped. Reward: the task's, in [0, 1] a simulator step, summed over `repeat` of them. Truncated after `horizon`
    actions; terminated where the task says that nothing can follow, which only lqr does.

    The suite defines no success: `info["success"]` is 0.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012  (gymnasium's spelling)

    def __init__(
        self,
        task: str,
        size: int = 64,
        camera: str | None = None,
        repeat: int = 2,
        horizon: int = STEPS // 2,
        shadows: bool = False,
        render_mode: str | None = "rgb_array",
    ) -> None:
        """Prepare a task.

        Args:
            task: DOMAIN-TASK, such as cartpole-balance.
            size: side of the frames in pixels.
            camera: number or name; None is 2 for quadruped and 0 for all others, as in DrQ-v2.
            repeat: simulator steps an action lasts.
            horizon: actions after which an episode is truncated.
            shadows: draw shadows, reflections and smooth edges.
            render_mode: only "rgb_array".
        """
        suite = _installed()
        domain, _, aim = task.partition("-")
        if (domain, aim) not in suite.ALL_TASKS:
            known = tasks()
            near = get_close_matches(task, known, n=3, cutoff=0.3) or known[:3]
            raise ValueError(f"dm_control has no task {task!r}; did you mean {', '.join(near)}?")
        action_scale = import_module("dm_control.suite.wrappers.action_scale")
        loaded = suite.load(domain, aim, task_kwargs={"random": 0, "time_limit": float("inf")})
        self._env = action_scale.Wrapper(loaded, minimum=-1.0, maximum=1.0)
        # What the suite would observe is not looked at, and numpy 2.4 lacks what some of it is computed with.
        loaded.task.get_observation = lambda physics: {}
        self._physics, self._random = loaded.physics, loaded.task.random
        self.size, self.repeat, self.horizon = size, repeat, horizon
        self.camera = _camera(self._physics.model, domain if camera is None else None, camera)
        self._renderer = ModelRenderer(self._physics.model.ptr, size, shadows)
        self.render_mode = render_mode
        self.action_dim = int(self._env.action_spec().shape[0])
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self.action_dim,), np.float32)
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self._actions = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8[np.ndarray, "h w 3"], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._random.seed(seed % 2**32)
        self._env.reset()
        self._actions = 0
        return self.render(), {"success": 0.0}

    def step(
        self, action: Float32[np.ndarray, " a"]
    ) -> tuple[UInt8[np.ndarray, "h w 3"], float, bool, bool, dict[str, Any]]:
        if np.shape(action) != (self.action_dim,) or not np.isfinite(action).all():
            raise ValueError(f"action is {action}; expected {self.action_dim} finite numbers in -1..1")
        earned = 0.0
        for _ in range(self.repeat):
            seen = self._env.step(np.clip(action, -1.0, 1.0).astype(np.float64))
            earned += float(seen.reward or 0.0)
            if seen.last():
                break
        self._actions += 1
        ended = bool(seen.last() and seen.discount == 0.0)
        return self.render(), earned, ended, not ended and self._actions >= self.horizon, {"success": 0.0}

    def render(self) -> UInt8[np.ndarray, "h w 3"]:
        """The frame."""
        return self._renderer.draw(self._physics.data.ptr, self.camera)

    def close(self) -> None:
        self._renderer.close()
        self._env.close()


def tasks() -> list[str]:
    """The names of all tasks, without the prefix."""
    return ["-".join(pair) for pair in _installed().ALL_TASKS]


def _camera(model: Any, domain: str | None, wanted: str | None) -> int | str:
    """The number or name of a camera; ValueError if there is none such."""
    names = [model.id2name(number, "camera") for number in range(model.ncam)]
    if wanted is None:
        return _CAMERAS.get(domain or "", 0)
    if wanted in names:
        return wanted
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    known = ", ".join([*map(str, range(len(names))), *filter(None, names)])
    raise ValueError(f"this task has no camera {wanted!r}; expected one of {known}")


def _installed() -> Any:
    """dm_control's suite; ImportError that says what to install."""
    try:
        import_mujoco()
        return import_module("dm_control.suite")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"dm_control is not installed ({error}); pip install 'ivideo[dm-control]', and on bare Debian or Ubuntu "
            f"{PACKAGES}"
        ) from error
