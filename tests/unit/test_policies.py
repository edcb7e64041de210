"""Scripted policies of the pushing table, and the recordings made with them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from ivideo.evaluation.clips import pushed_clips
from ivideo.simulate.demonstrations import Demonstration, demonstrate, displacement, pushed
from ivideo.simulate.drawing import render
from ivideo.simulate.motion import TableState, advance
from ivideo.simulate.policies import GoalPusher, Mixed, Policy, Prober, Pusher, RandomWalk
from ivideo.simulate.pushing_table import reward

STATE = TableState(pusher=(20.0, 32.0), disc=(40.0, 40.0), square=(32.0, 14.0))


def shifted(*distances: float) -> tuple[TableState, ...]:
    """States whose disc is displaced by each distance."""
    return tuple(replace(STATE, disc=(40.0 + distance, 40.0)) for distance in distances)


@pytest.fixture(scope="module")
def pushes() -> list[Demonstration]:
    return demonstrate(Pusher(), episodes=30, seed=0)


def test_the_pusher_moves_objects_about_as_often_as_intended(pushes: list[Demonstration]) -> None:
    moving = [displacement(*pair) > 0.05 for played in pushes for pair in pairwise(played.states)]
    assert 0.25 <= np.mean(moving) <= 0.38
    assert np.mean([displacement(played.states[0], played.states[-1]) > 2.0 for played in pushes]) >= 0.7


def test_the_pusher_moves_both_objects_and_rarely_hugs_walls(pushes: list[Demonstration]) -> None:
    states = [state for played in pushes for state in played.states]
    for shape in ("disc", "square"):
        path = [
            np.hypot(*np.subtract(getattr(b, shape), getattr(a, shape)))
            for played in pushes
            for a, b in pairwise(played.states)
        ]
        assert np.mean(np.array(path) > 0.05) > 0.08
    at_wall = [min(*state.pusher) < 8.0 or max(*state.pusher) > 56.0 for state in states]
    assert np.mean(at_wall) < 0.25


def test_the_prober_is_at_the_objects_and_tries_things_out() -> None:
    played = demonstrate(Prober(), episodes=20, seed=2)
    moving = [displacement(*pair) > 0.05 for one in played for pair in pairwise(one.states)]
    assert np.mean(moving) > 0.33
    turned = [  # by more than a right angle from one action to the next, which a pusher hardly ever does
        torch.linalg.vecdot(before, after) < 0 for one in played for before, after in pairwise(one.episode.actions)
    ]
    assert np.mean(turned) > 0.1


def test_the_goal_pusher_succeeds() -> None:
    played = demonstrate(GoalPusher(), episodes=20, seed=3)
    assert np.mean([one.episode.terminal for one in played]) >= 0.9
    anywhere = demonstrate(GoalPusher(), episodes=20, seed=3, goal=None)
    assert np.mean([one.episode.terminal for one in anywhere]) >= 0.8


def test_a_random_walk_is_smooth_and_stays_off_the_walls() -> None:
    played = demonstrate(RandomWalk(), episodes=8, seed=1)
    actions = torch.cat([one.episode.actions[1:] for one in played]).numpy()
    before = torch.cat([one.episode.actions[:-1] for one in played]).numpy()
    assert np.corrcoef(actions.ravel(), before.ravel())[0, 1] > 0.5
    assert all(5.0 < place < 59.0 for one in played for state in one.states for place in state.pusher)


def test_a_mixture_plays_one_policy_per_episode() -> None:
    class Constant:
        def __init__(self, value: float) -> None:
            self.value = value

        def __call__(self, observation: np.ndarray, info: dict, rng: np.random.Generator) -> np.ndarray:
            return np.full(2, self.value, np.float32)

    played = demonstrate(Mixed((Constant(0.5), Constant(-0.5), Constant(0.1)), (1.0, 1.0, 0.0)), 12, horizon=4)
    used = [one.episode.actions.unique().tolist() for one in played]
    assert sorted({tuple(values) for values in used}) == [(-0.5,), (0.5,)]
    with pytest.raises(ValueError, match="one weight"):
        Mixed((Constant(0.5),), (1.0, 2.0))


@pytest.mark.parametrize("policy", [RandomWalk(), Pusher(), Prober(), GoalPusher(), Mixed()])
def test_recordings_are_reproducible_and_longer_ones_begin_alike(policy: Policy) -> None:
    short, long = demonstrate(policy, 2, seed=7, horizon=15), demonstrate(policy, 3, seed=7, horizon=15)
    for one, other in zip(short, long, strict=False):
        assert torch.equal(one.episode.frames, other.episode.frames)
        assert torch.equal(one.episode.actions, other.episode.actions)
    other = demonstrate(policy, 1, seed=8, horizon=15)[0]
    assert other.states[0] != short[0].states[0]


def test_a_recording_says_what_happened(pushes: list[Demonstration]) -> None:
    played = pushes[0]
    episode, states = played.episode, played.states
    assert len(states) == len(episode.frames) == len(episode.actions) + 1 == len(episode.rewards) + 1
    for index in (0, 20, len(states) - 1):
        assert np.array_equal(episode.frames[index].permute(1, 2, 0).numpy(), render(states[index]))
    action = episode.actions[20]
    assert advance(states[20], (float(action[0]), float(action[1]))) == states[21]
    assert episode.rewards[20] == pytest.approx(reward(states[21]))
    assert episode.actions.abs().max() <= 1.0


def test_pushed_is_about_the_objects_and_the_window() -> None:
    states = shifted(0.0, 0.0, 0.5, 2.5, 2.5, 2.5, 2.5)
    assert pushed(states, 0, 3)
    assert not pushed(states, 0, 2)
    assert not pushed(states, 3, 3)
    there_and_back = shifted(0.0, 3.0, 0.0)
    assert pushed(there_and_back, 0, 2)
    pusher_only = (STATE, replace(STATE, pusher=(50.0, 50.0)))
    assert not pushed(pusher_only, 0, 1)
    with pytest.raises(ValueError, match="outside"):
        pushed(states, 4, 3)


def test_clips_are_the_windows_in_which_objects_are_pushed(pushes: list[Demonstration]) -> None:
    clips = pushed_clips(pushes, context=2, frames=10, limit=9)
    assert len(clips) == 9
    assert clips.frames.shape == (9, 12, 3, 64, 64)
    for frames, actions, rewards, states in zip(clips.frames, clips.actions, clips.rewards, clips.states, strict=True):
        assert max(displacement(states[1], state) for state in states[2:]) > 2.0
        assert np.array_equal(frames[7].permute(1, 2, 0).numpy(), render(states[7]))
        assert advance(states[4], (float(actions[4][0]), float(actions[4][1]))) == states[5]
        assert rewards[4] == pytest.approx(reward(states[5]))


def test_no_clips_is_an_error_that_says_so() -> None:
    still = Demonstration(episode=demonstrate(RandomWalk(), 1, horizon=20)[0].episode, states=(STATE,) * 21)
    with pytest.raises(ValueError, match="no episode of the pushing table has a window of 12 frames"):
        pushed_clips([still], context=2, frames=10)
