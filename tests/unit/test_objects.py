"""Finding the pushing table's shapes in frames, and what tracking them says about imagined ones."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from ivideo.evaluation.measures.objects import detect, tracking, true_positions
from ivideo.simulate.demonstrations import demonstrate
from ivideo.simulate.drawing import TABLE_COLOUR, render
from ivideo.simulate.motion import DEFAULT_GOAL, TableState
from ivideo.simulate.policies import Pusher
from ivideo.simulate.pushing_table import random_state

STATE = TableState(pusher=(20.0, 32.0), disc=(40.0, 40.0), square=(32.0, 14.0))


def drawn(*states: TableState, size: int = 64) -> torch.Tensor:
    return torch.stack([torch.from_numpy(render(state, size)).permute(2, 0, 1) for state in states])


def played(size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    recordings = demonstrate(Pusher(), 3, seed=2, size=size, horizon=40)
    frames = torch.cat([one.episode.frames for one in recordings])
    return frames, torch.cat([true_positions(one.states) for one in recordings])


def blurred(frames: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(functional.pad(frames, (1, 1, 1, 1), mode="replicate"), 3, 1)


def noisy(frames: torch.Tensor) -> torch.Tensor:
    return frames + 0.05 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("spoil", "tolerance"),
    [(lambda f: f, 0.3), (noisy, 0.4), (blurred, 0.9), (lambda f: f + 0.04, 0.3), (lambda f: 0.93 * f, 0.4)],
    ids=["clean", "noisy", "blurred", "lighter", "darker"],
)
def test_shapes_are_found_where_they_are(spoil, tolerance: float) -> None:  # type: ignore[no-untyped-def]
    frames, true = played()
    found = detect(spoil(frames.float() / 255.0), DEFAULT_GOAL)
    errors = (found.positions - true).norm(dim=-1)
    assert errors.max() < tolerance
    assert errors.mean() < 0.15
    assert found.areas.min() > 0.9
    assert found.areas.max() < 1.1


@pytest.mark.parametrize("size", [48, 128])
def test_positions_are_in_table_units_at_every_size(size: int) -> None:
    frames, true = played(size)
    found = detect(frames[::4], DEFAULT_GOAL)
    assert (found.positions - true[::4]).norm(dim=-1).max() < 0.5
    assert found.areas.sub(1.0).abs().max() < 0.1


def test_bytes_and_floats_are_the_same_picture_and_any_batch_shape_does() -> None:
    frames = drawn(STATE, replace(STATE, disc=(20.0, 50.0))).reshape(1, 2, 3, 64, 64)
    one, other = detect(frames, STATE.goal), detect(frames.float() / 255.0, STATE.goal)
    assert one.positions.shape == (1, 2, 3, 2)
    assert torch.allclose(one.positions, other.positions, atol=1e-4)
    alone = detect(frames[0, 0], STATE.goal)
    assert alone.areas.shape == (3,)
    assert torch.allclose(alone.positions, one.positions[0, 0], atol=1e-4)


def test_the_goal_is_not_mistaken_for_a_shape() -> None:
    for seed in range(5):
        state = random_state(np.random.default_rng(seed), None)
        found = detect(drawn(state), state.goal)
        assert (found.positions - true_positions([state])).norm(dim=-1).max() < 0.3


def test_an_empty_picture_holds_nothing() -> None:
    found = detect(torch.ones(2, 3, 64, 64), STATE.goal)
    assert (found.areas == 0.0).all()
    assert found.positions.isnan().all()


def test_a_vanished_shape_is_gone_and_the_others_keep_their_places() -> None:
    frames = drawn(STATE)
    frames[:, :, 32:48, 32:48] = torch.tensor(TABLE_COLOUR, dtype=torch.uint8).reshape(3, 1, 1)
    found = detect(frames, STATE.goal)
    assert found.areas[0, 1] < 0.01
    assert (found.positions - true_positions([STATE]))[0, [0, 2]].norm(dim=-1).max() < 0.3


def test_a_fading_shape_loses_area_in_proportion() -> None:
    empty = drawn(STATE)
    empty[:, :, 32:48, 32:48] = torch.tensor(TABLE_COLOUR, dtype=torch.uint8).reshape(3, 1, 1)
    full = drawn(STATE).float() / 255.0
    areas = [
        detect(share * full + (1 - share) * empty.float() / 255.0, STATE.goal).areas[0, 1].item()
        for share in (0.1, 0.3, 0.5, 0.8, 1.0)
    ]
    assert areas[0] < 0.01
    assert areas == sorted(areas)
    assert areas[2] == pytest.approx(0.5, abs=0.05)


def test_a_far_speck_of_the_same_colour_moves_nothing() -> None:
    frames = drawn(STATE)
    frames[:, :, 54:57, 8:11] = torch.tensor([213, 94, 0], dtype=torch.uint8).reshape(3, 1, 1)
    found = detect(frames, STATE.goal)
    assert (found.positions[0, 1] - torch.tensor(STATE.disc)).norm() < 0.1


def test_pictures_that_are_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="square RGB"):
        detect(torch.zeros(1, 3, 64, 32, dtype=torch.uint8), DEFAULT_GOAL)


def test_tracking_measures_errors_and_what_truly_moved() -> None:
    moved = replace(STATE, pusher=(23.0, 36.0), disc=(44.0, 43.0), square=(33.0, 14.0))
    imagined = replace(STATE, pusher=(23.0, 36.0), disc=(44.0, 40.0), square=(32.0, 14.0))
    found = tracking([(STATE, moved)], drawn(imagined).unsqueeze(0))
    assert found.errors[0, 0].tolist() == pytest.approx([0.0, 3.0, 1.0], abs=0.2)
    assert found.copy_errors[0, 0].tolist() == pytest.approx([5.0, 5.0, 1.0])
    assert found.moved[0, 0].tolist() == [True, True, False]
    assert not found.lost.any()
    assert torch.equal(found.believed_errors(), found.errors)


def test_a_lost_shape_is_infinitely_wrong_and_believed_where_it_was_last_seen() -> None:
    moved = replace(STATE, disc=(44.0, 43.0))
    frames = drawn(moved)
    frames[:, :, 34:52, 34:52] = torch.tensor(TABLE_COLOUR, dtype=torch.uint8).reshape(3, 1, 1)
    found = tracking([(STATE, moved)], frames.unsqueeze(0))
    assert found.lost[0, 0].tolist() == [False, True, False]
    assert found.errors[0, 0, 1] == math.inf
    assert found.believed_errors()[0, 0, 1] == pytest.approx(5.0)


def test_clips_with_different_goals_can_be_tracked_together() -> None:
    states = [random_state(np.random.default_rng(seed), None) for seed in range(4)]
    found = tracking([(state, state) for state in states], drawn(*states).unsqueeze(1))
    assert found.errors.max() < 0.3
    assert found.copy_errors.max() == 0.0


def test_states_that_do_not_fit_the_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="one for each frame"):
        tracking([(STATE, STATE, STATE)], drawn(STATE).unsqueeze(0))
