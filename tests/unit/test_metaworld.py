"""Meta-World's tasks as environments, where the package and a GL library are installed."""

import importlib.util
import sys

import numpy as np
import pytest

from ivideo.data import record
from ivideo.simulate.metaworld import Demonstrator, MetaWorld

TASK = "button-press-topdown-wall-v3"
needs_metaworld = pytest.mark.skipif(
    importlib.util.find_spec("metaworld") is None, reason="the extra metaworld is not installed"
)
pytestmark = pytest.mark.filterwarnings("ignore")  # Meta-World's and MuJoCo's own


@needs_metaworld
def test_a_recording_repeats_and_shows_the_task() -> None:
    def play(seed: int, steps: int = 4) -> np.ndarray:
        (episode,) = record(f"metaworld/{TASK}", Demonstrator(TASK, 0.3), 1, seed, max_steps=steps)
        assert episode.actions is not None
        assert episode.rewards is not None
        assert episode.actions.shape == (steps, 4)
        assert episode.actions.abs().max() <= 1
        return episode.frames.numpy()

    first = play(0)
    assert (first == play(0)).all()
    assert (first != play(1)).any()
    red, green, blue = first.reshape(-1, 3, 64, 64).mean(axis=(0, 2, 3))
    assert red > max(green, blue)  # Sawyer's arm
    assert first[0, :, :20].std() < first[0, :, 30:].std()  # wall above, table below


@needs_metaworld
def test_an_action_lasts_two_simulated_steps_and_success_is_told() -> None:
    env = MetaWorld(TASK, horizon=100, success_bonus=10.0)
    policy, rng = Demonstrator(TASK), np.random.default_rng(0)
    observation, info = env.reset(seed=3)
    rewards, successes, truncated = [], [], False
    while not truncated:
        observation, reward, terminated, truncated, info = env.step(policy(observation, info, rng))
        assert not terminated
        rewards.append(reward)
        successes.append(info["success"])
    assert len(rewards) == 100
    assert env.task.curr_path_length == 200
    first = successes.index(1.0)
    assert rewards[first] - rewards[first - 1] > 5
    env.close()


@needs_metaworld
def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="no task 'hamer-v3'; did you mean hammer-v3"):
        MetaWorld("hamer-v3")
    with pytest.raises(ValueError, match=r"no camera 'attic'; expected one of .*corner"):
        MetaWorld(TASK, camera="attic")
    with pytest.raises(ValueError, match="noise is -1"):
        Demonstrator(TASK, -1)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(ImportError, match=r"Meta-World is not installed .*pip install 'ivideo\[metaworld\]'"):
        MetaWorld(TASK)
