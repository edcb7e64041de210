"""Recording keeps what the environment showed, in the project's conventions, and repeats under its seed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from ivideo.data import open_episodes, record
from ivideo.data.recorder import save_episodes

PUSHING_TABLE = "ivideo/PushingTable-v0"


class Counter(gymnasium.Env[Any, Any]):
    """Shows how many steps it has made and the last action; reward is the number of steps; never ends by itself."""

    def __init__(
        self, kind: str = "image", actions: gymnasium.Space[Any] | None = None, ends: int | None = None
    ) -> None:
        self.kind = kind
        self.ends = ends
        self.action_space = actions or gymnasium.spaces.Box(-1, 1, (2, 2), np.float32)
        self.observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
        self._picture = np.zeros((8, 8, 3), np.uint8)  # always the same array, as some environments do

    def _observation(self) -> Any:
        self._picture[..., 0] = self.steps
        return {
            "image": self._picture,
            "first": self._picture.transpose(2, 0, 1),
            "dictionary": {"state": np.zeros(3), "pixels": self._picture},
            "state": np.zeros(3),
        }[self.kind]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self._observation(), float(self.steps), self.steps == self.ends, False, {}

    def render(self) -> Any:
        return self._picture if self.kind == "state" else None


def count(observation: Any, info: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    return np.full((2, 2), rng.random(), np.float32)


@pytest.mark.parametrize("kind", ["image", "first", "dictionary", "state"])
def test_frames_actions_and_rewards_line_up(kind: str) -> None:
    first, second = record(Counter(kind, ends=4), count, episodes=2, seed=3)
    assert first.frames[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert first.frames.shape == (5, 3, 8, 8)
    assert first.actions is not None
    assert first.rewards is not None
    assert first.actions.shape == (4, 4), "an action of any shape becomes a vector"
    assert first.rewards.tolist() == [1, 2, 3, 4]
    assert first.terminal
    assert first.name != second.name
    assert second.actions is not None
    assert not torch.equal(first.actions, second.actions)


def test_max_steps_cuts_without_an_end() -> None:
    (episode,) = record(Counter(), count, episodes=1, max_steps=3)
    assert len(episode) == 4
    assert not episode.terminal


def test_discrete_actions_become_one_hot() -> None:
    env = Counter(actions=gymnasium.spaces.Discrete(3, start=5))
    (episode,) = record(env, lambda observation, info, rng: 6, episodes=1, max_steps=2)
    assert episode.actions is not None
    assert episode.actions.tolist() == [[0, 1, 0], [0, 1, 0]]


def test_equal_seeds_repeat_and_different_ones_share_nothing() -> None:
    def wander(observation: Any, info: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-1, 1, 2).astype(np.float32)

    for policy in (wander, None):
        one = record(PUSHING_TABLE, policy, episodes=3, seed=0, max_steps=5)
        again = record(PUSHING_TABLE, policy, episodes=2, seed=0, max_steps=5)
        other = record(PUSHING_TABLE, policy, episodes=3, seed=1, max_steps=5)
        assert all(torch.equal(a.frames, b.frames) for a, b in zip(one, again, strict=False))
        starts = [episode.frames[0] for episode in one + other]
        assert not any(torch.equal(starts[i], starts[j]) for i in range(6) for j in range(i))


def test_size_and_progress() -> None:
    told: list[int] = []
    episodes = record(PUSHING_TABLE, None, episodes=2, size=16, max_steps=2, progress=told.append)
    assert episodes[0].frames.shape == (3, 3, 16, 16)
    assert told == [1, 2]


def test_an_environment_without_pictures_is_refused() -> None:
    env = Counter("state")
    env.render = lambda: None  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r'Counter shows no pictures.*render_mode="rgb_array"'):
        record(env, None, episodes=1)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="episodes is 0"):
        record(Counter(), None, episodes=0)
    with pytest.raises(ValueError, match="seed is -1"):
        record(Counter(), None, episodes=1, seed=-1)
    with pytest.raises(ValueError, match="no environment 'ivideo/PushingTabel-v0'"):
        record("ivideo/PushingTabel-v0", None, episodes=1)
    with pytest.raises(ValueError, match="expected Box or Discrete"):
        record(Counter(actions=gymnasium.spaces.MultiBinary(2)), None, episodes=1, max_steps=1)


def test_files_give_back_what_was_recorded(tmp_path: Path) -> None:
    (episode,) = record(PUSHING_TABLE, None, episodes=1, max_steps=3)
    assert episode.fps == 10
    save_episodes(tmp_path / "all", [replace(episode, instruction="push the disc")])
    (again,) = open_episodes(tmp_path / "all", size=None)
    assert (again.fps, again.instruction, again.terminal) == (10, "push the disc", False)
    assert torch.equal(again.frames, episode.frames)
    assert again.actions is not None
    assert episode.actions is not None
    assert torch.equal(again.actions, episode.actions)
