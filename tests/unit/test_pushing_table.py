"""The embedded pushing table: a Gymnasium environment that keeps its promises."""

import time
import warnings
from dataclasses import FrozenInstanceError, replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

import ivideo.simulate  # noqa: F401  (registers the environment)
from ivideo.simulate.drawing import (
    DISC_COLOUR,
    GOAL_COLOUR,
    PUSHER_COLOUR,
    SQUARE_COLOUR,
    TABLE_COLOUR,
    WALL_COLOUR,
    render,
)
from ivideo.simulate.motion import (
    DEFAULT_GOAL,
    DISC_RADIUS,
    MAX_STEP,
    PUSHER_RADIUS,
    SQUARE_HALF,
    TABLE,
    TOLERANCE,
    WALL,
    TableState,
    advance,
    penetration,
)
from ivideo.simulate.pushing_table import GOAL_TOLERANCE, PushingTable, in_goal, random_state, reward

OPEN = TableState(pusher=(20.0, 32.0), disc=(40.0, 40.0), square=(32.0, 14.0), goal=(50.0, 50.0))
RIGHT, STILL = (1.0, 0.0), (0.0, 0.0)

unit = st.floats(-1.0, 1.0, allow_nan=False)
actions = st.lists(st.tuples(unit, unit), min_size=1, max_size=40)
pushy = st.lists(
    st.sampled_from([(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]), max_size=60
)
seeds = st.integers(0, 10_000)


def array(action: tuple[float, float]) -> np.ndarray:
    return np.asarray(action, np.float32)


def drawn(seed: int) -> TableState:
    return random_state(np.random.default_rng(seed), None)


@pytest.mark.parametrize("size", [64, 96])
def test_gymnasium_accepts_the_environment_without_a_warning(size: int) -> None:
    env = gymnasium.make("ivideo/PushingTable-v0", size=size, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    assert env.observation_space.shape == (size, size, 3)
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


def test_a_seed_decides_the_episode() -> None:
    def play(seed: int) -> list[np.ndarray]:
        table = PushingTable(horizon=12, goal=None)
        frames = [table.reset(seed=seed)[0]]
        rng = np.random.default_rng(seed)
        return frames + [table.step(rng.uniform(-1, 1, 2).astype(np.float32))[0] for _ in range(12)]

    assert np.array_equal(play(3), play(3))
    assert not np.array_equal(play(3)[0], play(4)[0])


def test_without_a_new_seed_the_next_episode_is_another_one() -> None:
    table = PushingTable()
    first, _ = table.reset(seed=0)
    assert not np.array_equal(first, table.reset()[0])


def test_a_restored_state_has_the_same_picture_and_future() -> None:
    table = PushingTable(horizon=30, goal=None)
    table.reset(seed=5)
    rng = np.random.default_rng(0)
    moves = rng.uniform(-1, 1, (20, 2)).astype(np.float32)
    for move in moves[:10]:
        table.step(move)
    state = table.state()
    expected = [(table.render(), *table.step(move)[1:4], table.state()) for move in moves[10:]]
    other = PushingTable(horizon=30)
    frame, info = other.reset(options={"state": state})
    assert info["state"] == state
    assert np.array_equal(frame, render(state))
    assert [(other.render(), *other.step(move)[1:4], other.state()) for move in moves[10:]] == expected
    assert other.state().step == 20


def test_a_state_cannot_be_changed_behind_the_tables_back() -> None:
    table = PushingTable()
    table.reset(seed=0)
    with pytest.raises(FrozenInstanceError):
        table.state().pusher = (0.0, 0.0)  # type: ignore[misc]


def test_an_episode_is_truncated_at_the_horizon() -> None:
    table = PushingTable(horizon=3)
    table.reset(options={"state": OPEN})
    assert [table.step(array(STILL))[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]


def test_an_episode_terminates_once_the_disc_lies_inside_the_goal() -> None:
    goal = OPEN.goal
    outside = replace(OPEN, disc=(goal[0] - GOAL_TOLERANCE - 1.0, goal[1]))
    pusher = (outside.disc[0] - DISC_RADIUS - PUSHER_RADIUS, goal[1])
    table = PushingTable()
    _, info = table.reset(options={"state": replace(outside, pusher=pusher)})
    assert not info["success"]
    *_, terminated, truncated, info = table.step(array(RIGHT))
    assert (terminated, truncated, info["success"]) == (True, False, True)
    assert info["distance"] == pytest.approx(GOAL_TOLERANCE + 1.0 - MAX_STEP)


def test_the_reward_is_that_of_the_state_arrived_in() -> None:
    table = PushingTable()
    table.reset(options={"state": OPEN})
    _, earned, *_ = table.step(array(RIGHT))
    assert earned == reward(table.state()) != reward(OPEN)


def test_the_reward_grows_as_disc_and_goal_and_as_pusher_and_disc_come_together() -> None:
    nearer_goal = replace(OPEN, disc=(42.0, 42.0), pusher=(22.0, 34.0))  # pusher and disc as far apart as before
    nearer_disc = replace(OPEN, pusher=(22.0, 33.0))
    assert reward(nearer_goal) > reward(OPEN)
    assert reward(nearer_disc) > reward(OPEN)
    assert reward(nearer_goal) - reward(OPEN) == pytest.approx(0.75 * 2 * 2**0.5 / (58 * 2**0.5))
    touching = replace(OPEN, disc=OPEN.goal, pusher=(OPEN.goal[0] - DISC_RADIUS - PUSHER_RADIUS, OPEN.goal[1]))
    assert reward(touching) == pytest.approx(0.0, abs=1e-12)


def test_touching_can_be_the_aim() -> None:
    table = PushingTable(aim="touch")
    table.reset(options={"state": replace(OPEN, disc=(34.0, 32.0), square=(10.0, 55.0))})
    terminated, earned = False, []
    for _ in range(6):
        _, reward_, terminated, *_ = table.step(array(RIGHT))
        earned.append(reward_)
        if terminated:
            break
    assert terminated
    assert earned == sorted(earned)
    assert earned[0] < earned[-1] == pytest.approx(0.0, abs=0.5 / 82)
    assert not in_goal(table.state())
    with pytest.raises(ValueError, match="aim is 'kick'"):
        PushingTable(aim="kick")


@given(seed=seeds)
def test_episodes_begin_with_everything_free_and_something_to_do(seed: int) -> None:
    state = drawn(seed)
    assert penetration(state) == 0.0
    assert not in_goal(state)
    assert advance(state, STILL) == replace(state, step=1)


@given(seed=seeds, moves=actions | pushy)
def test_shapes_stay_apart_and_inside_the_walls(seed: int, moves: list[tuple[float, float]]) -> None:
    state = drawn(seed)
    for move in moves:
        after = advance(state, move)
        assert penetration(after) <= TOLERANCE
        assert -1.0 <= reward(after) <= 0.0
        for before, now in ((state.pusher, after.pusher), (state.disc, after.disc), (state.square, after.square)):
            assert np.hypot(*np.subtract(now, before)) <= 2.5 * MAX_STEP  # nothing jumps
        state = after


@given(seed=seeds, moves=actions)
def test_objects_move_only_while_they_are_pushed(seed: int, moves: list[tuple[float, float]]) -> None:
    state = drawn(seed)
    for move in moves:
        after = advance(state, move)
        reach = PUSHER_RADIUS + MAX_STEP * 2**0.5
        if np.hypot(*np.subtract(state.pusher, state.disc)) > reach + DISC_RADIUS and after.square == state.square:
            assert after.disc == state.disc
        if (
            np.hypot(*np.subtract(state.pusher, state.square)) > reach + 2**0.5 * SQUARE_HALF
            and after.disc == state.disc
        ):
            assert after.square == state.square
        state = after


def test_a_free_pusher_moves_as_told_and_farther_actions_count_as_the_farthest() -> None:
    assert advance(OPEN, (0.5, -1.0)).pusher == pytest.approx((20.0 + 0.5 * MAX_STEP, 32.0 - MAX_STEP))
    assert advance(OPEN, (7.0, 0.0)) == advance(OPEN, RIGHT)


def test_a_straight_push_carries_an_object_along() -> None:
    disc = replace(OPEN, pusher=(40.0 - DISC_RADIUS - PUSHER_RADIUS, 40.0))
    assert advance(disc, RIGHT).disc == pytest.approx((40.0 + MAX_STEP, 40.0))
    square = replace(OPEN, pusher=(32.0 - SQUARE_HALF - PUSHER_RADIUS, 16.0))
    assert advance(square, RIGHT).square == pytest.approx((32.0 + MAX_STEP, 14.0))


def test_a_pushed_object_pushes_the_other() -> None:
    state = replace(OPEN, pusher=(20.5, 30.0), disc=(30.0, 30.0), square=(30.0 + DISC_RADIUS + SQUARE_HALF, 30.0))
    for _ in range(3):
        state = advance(state, RIGHT)
    assert state.square[0] - state.disc[0] == pytest.approx(DISC_RADIUS + SQUARE_HALF, abs=TOLERANCE)
    assert state.square[0] > 45.0


def test_walls_stop_pusher_and_objects() -> None:
    state = replace(OPEN, pusher=(30.5, 40.0))
    for _ in range(40):
        state = advance(state, RIGHT)
    assert state.disc[0] == TABLE - WALL - DISC_RADIUS
    assert state.pusher[0] == pytest.approx(state.disc[0] - DISC_RADIUS - PUSHER_RADIUS, abs=2 * TOLERANCE)
    for _ in range(40):
        state = advance(state, (-1.0, -1.0))
    assert state.pusher == pytest.approx((WALL + PUSHER_RADIUS, WALL + PUSHER_RADIUS))


@pytest.mark.parametrize("size", [32, 64, 100, 256])
def test_every_shape_is_drawn_in_its_colour_at_its_place(size: int) -> None:
    frame = render(OPEN, size)
    assert (frame.shape, frame.dtype) == ((size, size, 3), np.uint8)
    places = {
        PUSHER_COLOUR: OPEN.pusher,
        DISC_COLOUR: OPEN.disc,
        SQUARE_COLOUR: OPEN.square,
        GOAL_COLOUR: OPEN.goal,
        TABLE_COLOUR: (10.0, 55.0),
        WALL_COLOUR: (1.0, 1.0),
    }
    for colour, (x, y) in places.items():
        assert tuple(frame[int(y * size / TABLE), int(x * size / TABLE)]) == colour


def test_motion_of_a_tenth_of_a_pixel_shows_and_keeps_the_area() -> None:
    here, there = render(OPEN), render(replace(OPEN, disc=(40.1, 40.0), square=(32.1, 14.0)))
    assert np.abs(here.astype(int) - there).max() > 5
    assert here.astype(int).sum() == pytest.approx(there.astype(int).sum(), rel=1e-4)


def test_a_drawn_frame_belongs_to_the_caller() -> None:
    before = render(OPEN)
    render(OPEN)[:] = 0
    assert np.array_equal(render(OPEN), before)


def test_stepping_and_drawing_is_fast() -> None:
    table = PushingTable()
    table.reset(seed=0)
    move = array((0.3, -0.2))
    table.step(move)
    began = time.process_time()  # other programs' share of the machine does not count
    for _ in range(400):
        table.step(move)
    assert 400 / (time.process_time() - began) > 500  # measured: above 8,000 without the checks of the tests


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 16}, "size is 16"),
        ({"horizon": 0}, "horizon is 0"),
        ({"render_mode": "human"}, "'human'"),
        ({"goal": (2.0, 30.0)}, r"goal is \(2.0, 30.0\)"),
    ],
)
def test_impossible_tables_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PushingTable(**arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": replace(OPEN, disc=OPEN.pusher)}, "overlap"),
        ({"state": replace(OPEN, disc=(float("nan"), 30.0))}, "not finite"),
        ({"state": (1, 2)}, "tuple"),
        ({"stat": OPEN}, "stat"),
    ],
)
def test_impossible_states_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PushingTable().reset(options=options)


def test_steps_that_make_no_sense_are_refused() -> None:
    table = PushingTable()
    with pytest.raises(ValueError, match="call reset"):
        table.step(array(RIGHT))
    table.reset(seed=0)
    with pytest.raises(ValueError, match="finite"):
        table.step(array((float("nan"), 0.0)))


def test_the_goal_is_fixed_unless_each_episode_is_to_draw_one() -> None:
    assert {PushingTable().reset(seed=seed)[1]["state"].goal for seed in range(3)} == {DEFAULT_GOAL}
    assert len({PushingTable(goal=None).reset(seed=seed)[1]["state"].goal for seed in range(3)}) == 3
