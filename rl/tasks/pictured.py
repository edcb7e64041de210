"""Any Gymnasium environment, made to show frames of one size and to take actions in -1..1."""

import math
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.wrappers import AddRenderObservation, RescaleAction
from jaxtyping import Shaped, UInt8

from ivideo.resizing import resize
from ivideo.simulate.opengl import import_mujoco
from rl.tasks.repeated import Repeated


class Resized(gymnasium.ObservationWrapper[Any, Any, Any]):
    """An environment whose observations, uint8 RGB `[h w 3]` or `[3 h w]`, are cut to a square and made `size` wide."""

    def __init__(self, env: gymnasium.Env[Any, Any], size: int) -> None:
        super().__init__(env)
        self.size = size
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)

    def observation(self, observation: Shaped[np.ndarray, "_ _ _"]) -> UInt8[np.ndarray, "h w 3"]:
        planes = observation if observation.shape[2] != 3 else observation.transpose(2, 0, 1)
        # Copied: some environments draw the next frame into the same array.
        frame = resize(torch.from_numpy(np.array(planes, np.uint8))[None], self.size)[0]
        return frame.permute(1, 2, 0).contiguous().numpy()


class _InTurn(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Gymnasium's MuJoCo environments draw black where another one drew in between, unless told to take hold again."""

    def render(self) -> Any:
        viewer = getattr(getattr(self.unwrapped, "mujoco_renderer", None), "viewer", None)
        if viewer is not None:
            viewer.make_context_current()
        return self.env.render()


def make(
    name: str, *, size: int, repeat: int, horizon: int | None, bonus: float
) -> tuple[gymnasium.Env[Any, Any], int | None]:
    """A registered environment that shows frames and takes numbers in -1..1, and after how many actions it truncates.

    Raises:
        ValueError: when it takes no numbers, or cannot be drawn; it says what is needed.
        ImportError: when a package is missing that the environment needs.
    """
    env = _made(name, None if horizon is None else horizon * repeat)
    try:
        # Drawn outside of the repetition: only what an action ends with is seen.
        seen = Resized(_shown(Repeated(_scaled(env, name), repeat, horizon, bonus), name), size)
    except Exception:
        env.close()
        raise
    steps = None if env.spec is None else env.spec.max_episode_steps
    return seen, horizon if horizon is not None or steps is None else math.ceil(steps / repeat)


def _made(name: str, steps: int | None) -> gymnasium.Env[Any, Any]:
    spec = gymnasium.spec(name.rpartition(":")[2])
    if str(spec.entry_point).startswith("gymnasium.envs.mujoco"):
        import_mujoco()
    drawn: dict[str, Any] = {"render_mode": "rgb_array"} if "rgb_array" in _render_modes(spec) else {}
    try:
        return gymnasium.make(spec, steps, disable_env_checker=True, **drawn)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise ImportError(f"{name} cannot be made: {_line(error)}") from error
    except (gymnasium.error.Error, TypeError) as error:
        raise ValueError(f"{name} cannot be made: {_line(error)}") from error


def _render_modes(spec: Any) -> list[str]:
    """What an environment says that it can draw, known only with its class."""
    creator = spec.entry_point
    if isinstance(creator, str):
        try:
            creator = gymnasium.envs.registration.load_env_creator(creator)
        except ImportError as error:
            raise ImportError(f"{spec.id} cannot be made: {_line(error)}") from error
    metadata = getattr(creator, "metadata", None)
    # A function that makes the environment says nothing; it is taken at its word when it is asked to draw.
    return list(metadata.get("render_modes", [])) if isinstance(metadata, dict) else ["rgb_array"]


def _scaled(env: gymnasium.Env[Any, Any], name: str) -> gymnasium.Env[Any, Any]:
    space = env.action_space
    if not isinstance(space, gymnasium.spaces.Box):
        raise ValueError(
            f"{name} takes actions of {space}; expected Box, numbers within bounds: learners here choose continuous "
            "controls"
        )
    if len(space.shape) != 1 or not np.issubdtype(space.dtype, np.floating):
        raise ValueError(f"{name} takes actions of {space}; expected one row of floats: wrap it to take one")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all() and (space.low < space.high).all()):
        raise ValueError(f"{name} takes actions of {space}; expected finite bounds, the lower below the upper one")
    return RescaleAction(env, np.float32(-1.0), np.float32(1.0))


def _shown(env: gymnasium.Env[Any, Any], name: str) -> gymnasium.Env[Any, Any]:
    """With frames as observations: its own where they are, else drawn."""
    if _is_picture(env.observation_space):
        return env
    if env.render_mode != "rgb_array":
        raise ValueError(
            f"{name} cannot be seen: its observations are {type(env.observation_space).__name__} and no uint8 RGB "
            "pictures, and it has no render mode rgb_array; expected one of both"
        )
    try:
        drawn: gymnasium.Env[Any, Any] = AddRenderObservation(_InTurn(env), render_only=True)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise ImportError(f"{name} cannot be drawn: {_line(error)}") from error
    except (TypeError, gymnasium.error.Error, NotImplementedError) as error:
        raise ValueError(f"{name} cannot be drawn: {_line(error)}") from error
    if not _is_picture(drawn.observation_space):
        raise ValueError(
            f"{name} draws arrays of shape {list(drawn.observation_space.shape or ())}; expected RGB pictures [h w 3]"
        )
    return drawn


def _is_picture(space: gymnasium.Space[Any]) -> bool:
    return (
        isinstance(space, gymnasium.spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) == 3
        and 3 in (space.shape[0], space.shape[2])
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
