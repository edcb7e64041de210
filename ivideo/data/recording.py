"""Episodes recorded from a Gymnasium environment."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from jaxtyping import Float32, UInt8

from ivideo.episode import Episode
from ivideo.video import resize


@runtime_checkable
class Policy(Protocol):
    """Anything that answers an observation with an action; `rng` is its only source of randomness."""

    def __call__(self, observation: Any, info: dict[str, Any], rng: np.random.Generator) -> Any: ...


def record(
    env: gymnasium.Env[Any, Any] | str,
    policy: Policy | None,
    episodes: int,
    seed: int = 0,
    *,
    size: int | None = None,
    max_steps: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Episode]:
    """Return what happened in `episodes` episodes: equal seeds, environments and policies give equal episodes.

    Episode i depends on `seed` and i alone: a longer recording begins with a shorter one, and recordings with different
    seeds have nothing in common.

    Frames are the environment's observations where those are images (`[h w 3]` or `[3 h w]` uint8, or such an image
    under "image" or "pixels" in a dictionary), else what `render()` returns. An episode that terminates is marked
    terminal; one that is truncated, or cut after `max_steps`, is not. A discrete action becomes a one-hot vector.

    Args:
        env: an environment, a Gymnasium id to make one with `render_mode="rgb_array"`, or a task of Meta-World,
            RoboDesk or robosuite such as "metaworld/hammer-v3", "robodesk/push_red" or "robosuite/push".
        policy: what acts; None draws actions at random.
        episodes: how many to record.
        seed: decides the environment's seeds and the policy's generators.
        size: side to which frames are resized; None keeps them.
        max_steps: longest episode, in steps; needed for environments that never end by themselves.
        progress: called with the number of episodes recorded so far.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; expected at least 1")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected 0 or more")
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}; expected at least 1, or None to let episodes end by themselves")
    made = isinstance(env, str)
    environment = _make(env) if isinstance(env, str) else env
    try:
        recorded = []
        for number in range(episodes):
            recorded.append(_episode(environment, policy, (seed, number), size, max_steps))
            if progress is not None:
                progress(number + 1)
        return recorded
    except gymnasium.error.Error as error:
        raise ValueError(
            f"{_name(environment)} cannot be played ({error}); expected one that can be reset, stepped and rendered"
        ) from error
    finally:
        if made:
            environment.close()


def _episode(
    env: gymnasium.Env[Any, Any],
    policy: Policy | None,
    seed: tuple[int, int],
    size: int | None,
    max_steps: int | None,
) -> Episode:
    # Two children, so that what the policy draws does not repeat what the environment drew.
    world, hand = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(hand)
    observation, info = env.reset(seed=int(world.generate_state(1)[0]))
    if policy is None:
        env.action_space.seed(int(hand.generate_state(1)[0]))
    frames = [_frame(env, observation)]
    actions: list[Float32[np.ndarray, " a"]] = []
    rewards: list[float] = []
    terminated = truncated = False
    while not (terminated or truncated) and (max_steps is None or len(actions) < max_steps):
        action = env.action_space.sample() if policy is None else policy(observation, info, rng)
        observation, reward, terminated, truncated, info = env.step(action)
        actions.append(_vector(env.action_space, action))
        rewards.append(float(reward))
        frames.append(_frame(env, observation))
    video = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
    return Episode(
        frames=video if size is None else resize(video, size),
        actions=torch.from_numpy(np.stack(actions)),
        rewards=torch.tensor(rewards),
        terminal=terminated,
        name=f"{_name(env)}/{seed[0]}-{seed[1]:05d}",
        fps=env.metadata.get("render_fps"),
    )


def _make(name: str) -> gymnasium.Env[Any, Any]:
    import ivideo.simulate  # noqa: F401  (registers the pushing table)
    from ivideo.simulate import metaworld, robodesk, robosuite_push

    if name.startswith(metaworld.PREFIX):
        return metaworld.MetaWorld(name.removeprefix(metaworld.PREFIX))
    if name.startswith(robodesk.PREFIX):
        return robodesk.RoboDesk(name.removeprefix(robodesk.PREFIX))
    if name == f"{robosuite_push.PREFIX}push":
        return robosuite_push.RobosuitePush()
    try:
        return gymnasium.make(name, render_mode="rgb_array")
    except gymnasium.error.Error as error:
        raise ValueError(f"no environment {name!r} ({error}); expected the id of an installed one") from error


def _frame(env: gymnasium.Env[Any, Any], observation: Any) -> UInt8[np.ndarray, "h w 3"]:
    for image in (observation, *_members(observation)):
        if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3:
            if image.shape[2] == 3:
                return image.copy()  # some environments draw the next frame into the same array
            if image.shape[0] == 3:
                return image.transpose(1, 2, 0).copy()
    rendered = env.render()
    if isinstance(rendered, np.ndarray) and rendered.ndim == 3 and rendered.shape[2] == 3:
        return rendered.astype(np.uint8)
    raise ValueError(
        f"{_name(env)} shows no pictures: its observation is no uint8 RGB image and render() returned "
        f'{type(rendered).__name__}; expected [h w 3] uint8: make it with render_mode="rgb_array"'
    )


def _members(observation: Any) -> list[Any]:
    if not isinstance(observation, dict):
        return []
    return [observation[key] for key in ("image", "pixels", "rgb") if key in observation]


def _vector(space: gymnasium.Space[Any], action: Any) -> Float32[np.ndarray, " a"]:
    if isinstance(space, gymnasium.spaces.Discrete):
        one_hot: Float32[np.ndarray, " a"] = np.zeros(int(space.n), np.float32)
        one_hot[int(action) - int(space.start)] = 1.0
        return one_hot
    if isinstance(space, gymnasium.spaces.Box):
        return np.array(action, np.float32).reshape(-1)
    raise ValueError(f"the action space is {space}; expected Box or Discrete: wrap the environment to get one of them")


def _name(env: gymnasium.Env[Any, Any]) -> str:
    spec = env.unwrapped.spec
    return type(env.unwrapped).__name__ if spec is None else spec.id
