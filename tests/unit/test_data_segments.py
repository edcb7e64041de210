"""Windows line up with their episode, every window is dealt out once per epoch, and batches repeat exactly."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ivideo.data import Augmentation, SegmentSampler
from ivideo.data.segments import window_indices
from ivideo.episode import Batch, Episode


def episode(number: int, length: int, *, terminal: bool = False, bare: bool = False) -> Episode:
    """An episode whose frames, actions and rewards say which episode and frame they are of."""
    frames = torch.zeros(length, 3, 4, 4, dtype=torch.uint8)
    frames[:, 0] = number
    frames[:, 1] = torch.arange(length, dtype=torch.uint8)[:, None, None]
    if bare:
        return Episode(frames=frames, name=f"episode {number}")
    steps = torch.arange(length - 1, dtype=torch.float32)
    actions = torch.stack([torch.full((length - 1,), float(number)), steps], dim=1)
    return Episode(frames=frames, actions=actions, rewards=10.0**number + steps, terminal=terminal, name=f"e{number}")


def shown(batch: Batch) -> list[list[int]]:
    """Which frame of its episode each frame of a batch is."""
    return [[int(frame[1, 0, 0]) for frame in clip] for clip in batch.frames]


def test_an_epoch_deals_out_every_window_once_and_epochs_differ() -> None:
    sampler = SegmentSampler([episode(1, 9), episode(2, 6)], frames=4, seed=3)
    assert sampler.windows == 6 + 3
    assert sampler.batches_per_epoch(2) == 5
    assert sampler.batches_per_epoch(3) == 3

    def epoch(number: int) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        for step in range(3 * number, 3 * number + 3):
            seen += [(int(clip[0, 0, 0, 0]), int(clip[0, 1, 0, 0])) for clip in sampler.batch(step, 3).frames]
        return seen

    expected = {(1, start) for start in range(6)} | {(2, start) for start in range(3)}
    assert Counter(epoch(0)) == Counter(expected)
    assert Counter(epoch(1)) == Counter(expected)
    assert epoch(0) != epoch(1)


@given(
    length=st.integers(2, 30),
    frames=st.integers(2, 9),
    stride=st.integers(1, 4),
    terminal=st.booleans(),
    data=st.data(),
)
def test_every_window_is_what_its_episode_says(
    length: int, frames: int, stride: int, terminal: bool, data: st.DataObject
) -> None:
    source = episode(1, length, terminal=terminal)
    sampler = SegmentSampler([episode(0, 2), source], frames=frames, stride=stride)
    window = data.draw(st.integers(sampler.windows - 1 if length == 2 else 1, sampler.windows - 1))
    segment = sampler.segment(window)
    assert segment.episode == 1
    assert source.actions is not None
    assert source.rewards is not None
    assert segment.actions is not None
    assert segment.rewards is not None
    assert segment.terminals is not None
    if length >= (frames - 1) * stride + 1:
        assert segment.stride == stride
        assert segment.mask.all()
    else:
        assert segment.stride == max(1, length // frames)
    for t in range(frames):
        place = segment.start + t * segment.stride
        assert bool(segment.mask[t]) == (place < length)
        last_real = segment.start + (int(segment.mask.sum()) - 1) * segment.stride
        assert int(segment.frames[t, 1, 0, 0]) == (place if place < length else last_real)
    for t in range(frames - 1):
        place = segment.start + t * segment.stride
        if segment.mask[t + 1]:
            assert torch.equal(segment.actions[t], source.actions[place])
            assert segment.rewards[t] == source.rewards[place : place + segment.stride].sum()
            assert bool(segment.terminals[t]) == (terminal and place + segment.stride == length - 1)
        else:
            assert segment.actions[t].abs().sum() == segment.rewards[t] == segment.terminals[t] == 0


def test_batches_are_a_function_of_seed_and_step() -> None:
    episodes = [episode(number, 12) for number in range(4)]
    first, second = (SegmentSampler(episodes, frames=5, seed=7, augmentation=Augmentation()) for _ in range(2))
    second.batch(40, 6)  # another history makes no difference
    second.batch(0, 3)
    for step in (0, 9, 2):
        one, other = first.batch(step, 6), second.batch(step, 6)
        assert torch.equal(one.frames, other.frames)
        assert one.actions is not None
        assert other.actions is not None
        assert torch.equal(one.actions, other.actions)
    plain = SegmentSampler(episodes, frames=5, seed=7).batch(0, 6)
    elsewhere = SegmentSampler(episodes, frames=5, seed=8).batch(0, 6)
    assert not torch.equal(plain.frames, elsewhere.frames)
    assert plain.frames.dtype == torch.uint8


@pytest.mark.parametrize(
    "how",
    [
        {"order": "time"},
        {"order": "goal_first"},
        {"order": "shuffled"},
        {"order": "random_context", "context": 2},
        {"history": "distant", "context": 3},
        {"targets": 2, "context": 2},
    ],
)
def test_two_halves_of_a_batch_are_the_whole(how: dict[str, Any]) -> None:
    """What several processes see together is what one process sees: every sample depends on its own number alone."""
    episodes = [episode(number, 9 + number) for number in range(4)]
    sampler = SegmentSampler(episodes, frames=5, seed=3, augmentation=Augmentation(), **how)
    whole = sampler.batch(2, 8)
    for part in (0, 1):
        half = sampler.batch(4 + part, 4)
        rows = slice(4 * part, 4 * part + 4)
        for name in ("frames", "actions", "rewards", "terminals", "mask"):
            mine, all_of_it = getattr(half, name), getattr(whole, name)
            assert (mine is None) == (all_of_it is None)
            assert mine is None or torch.equal(mine, all_of_it[rows]), name


def test_a_short_episode_repeats_its_last_frame() -> None:
    batch = SegmentSampler([episode(1, 3, terminal=True)], frames=5).batch(0, 1)
    assert shown(batch) == [[0, 1, 2, 2, 2]]
    assert batch.mask is not None
    assert batch.rewards is not None
    assert batch.terminals is not None
    assert batch.mask.tolist() == [[True, True, True, False, False]]
    assert batch.rewards.tolist() == [[10.0, 11.0, 0.0, 0.0]]
    assert batch.terminals.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_targets_keep_the_context_and_a_sorted_subset_of_the_rest() -> None:
    sampler = SegmentSampler([episode(1, 40)], frames=10, context=2, targets=3, seed=1)
    seen: Counter[int] = Counter()
    for step in range(10):
        batch = sampler.batch(step, 8)
        assert batch.frames.shape[:2] == (8, 5)
        assert batch.actions is None
        assert batch.rewards is None
        for row in shown(batch):
            offsets = [place - row[0] for place in row]
            assert offsets[:2] == [0, 1]
            assert offsets[2:] == sorted(set(offsets[2:]))
            assert 2 <= offsets[2] <= offsets[4] <= 9
            seen.update(offsets[2:])
    assert set(seen) == set(range(2, 10))
    assert max(seen.values()) < 3 * min(seen.values())


def test_goal_first_puts_the_last_frame_in_front_with_an_empty_step() -> None:
    plain = SegmentSampler([episode(1, 5, terminal=True)], frames=5).batch(0, 1)
    batch = SegmentSampler([episode(1, 5, terminal=True)], frames=5, order="goal_first").batch(0, 1)
    assert shown(batch) == [[4, 0, 1, 2, 3]]
    assert plain.actions is not None
    assert batch.actions is not None
    assert batch.rewards is not None
    assert batch.terminals is not None
    assert batch.actions[0, 0].tolist() == [0, 0]
    assert torch.equal(batch.actions[0, 1:], plain.actions[0, :3])
    assert batch.rewards.tolist() == [[0, 10, 11, 12]]
    assert batch.terminals.tolist() == [[0, 0, 0, 0]]


def test_shuffled_makes_any_two_frames_the_context() -> None:
    sampler = SegmentSampler([episode(1, 4)], frames=4, order="shuffled")
    orders = {tuple(row) for step in range(60) for row in shown(sampler.batch(step, 4))}
    assert {order[:2] for order in orders} == {(a, b) for a in range(4) for b in range(4) if a != b}
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert sampler.batch(0, 1).actions is None


def test_random_context_is_any_frames_and_the_rest_as_it_happened() -> None:
    sampler = SegmentSampler([episode(1, 6)], frames=6, context=2, order="random_context")
    plain = SegmentSampler([episode(1, 6)], frames=6).batch(0, 1)
    contexts = set()
    for step in range(40):
        batch = sampler.batch(step, 2)
        assert batch.actions is not None
        assert plain.actions is not None
        for row, actions in zip(shown(batch), batch.actions, strict=True):
            assert row[2:] == [2, 3, 4, 5]
            assert torch.equal(actions, plain.actions[0])
            contexts.add(tuple(row[:2]))
    assert contexts == {(a, b) for a in range(6) for b in range(a + 1, 6)}


def test_random_context_is_never_a_repeated_frame_where_there_are_real_ones() -> None:
    sampler = SegmentSampler([episode(1, 3)], frames=8, context=2, order="random_context")
    for step in range(20):
        row = shown(sampler.batch(step, 1))[0]
        assert row[0] < row[1]


def test_distant_history_is_spaced_exponentially() -> None:
    sampler = SegmentSampler([episode(1, 41, terminal=True)], frames=7, stride=2, context=4, history="distant")
    assert sampler.windows == 41 - 2 * 10
    segment = sampler.segment(20)
    places = [20 + 2 * offset for offset in (0, 4, 6, 7, 8, 9, 10)]
    assert [int(frame[1, 0, 0]) for frame in segment.frames] == places
    assert segment.actions is not None
    assert segment.rewards is not None
    assert segment.terminals is not None
    assert segment.actions[:, 1].tolist() == places[:-1]
    assert segment.rewards.tolist() == [sum(10 + p for p in range(a, b)) for a, b in pairwise(places)]
    assert segment.terminals.tolist() == [0, 0, 0, 0, 0, 1]
    assert SegmentSampler([episode(1, 41)], frames=7, context=1, history="distant").windows == 41 - 6


def test_instructions_come_along() -> None:
    told = [replace(episode(number, 6), instruction=f"push {number}") for number in (1, 2)]
    batch = SegmentSampler(told, frames=3).batch(0, 6)
    assert batch.instructions == tuple(f"push {int(clip[0, 0, 0, 0])}" for clip in batch.frames)
    assert SegmentSampler([episode(1, 6)], frames=3).batch(0, 2).instructions is None


def test_video_alone_gives_frames_and_mask_alone() -> None:
    batch = SegmentSampler([episode(1, 6, bare=True)], frames=3).batch(0, 2)
    assert batch.actions is None
    assert batch.rewards is None
    assert batch.terminals is None
    assert batch.mask is not None


def test_mistakes_are_named() -> None:
    episodes = [episode(1, 6)]
    for arguments, message in (
        ({"frames": 1}, "frames is 1"),
        ({"frames": 3, "stride": 0}, "stride is 0"),
        ({"frames": 5, "context": 2, "targets": 4}, "targets is 4; 5 frames, 2 of them context, leave 1 to 3"),
        ({"frames": 5, "context": 5}, "5 frames, 5 of them context, leave none"),
    ):
        with pytest.raises(ValueError, match=message):
            SegmentSampler(episodes, **arguments)
    with pytest.raises(ValueError, match="no episodes"):
        SegmentSampler([], frames=3)
    with pytest.raises(ValueError, match="'episode 2' has action dimension None, but 'e1' has 2"):
        SegmentSampler([episode(1, 6), episode(2, 6, bare=True)], frames=3)
    with pytest.raises(ValueError, match="has 1 frames; expected at least 2"):
        SegmentSampler([episode(2, 1, bare=True)], frames=3)
    with pytest.raises(ValueError, match="step is -1"):
        SegmentSampler(episodes, frames=3).batch(-1, 2)


def test_evaluation_windows_do_not_overlap() -> None:
    assert window_indices(30, 11).tolist() == [0, 11]
    assert window_indices(31, 4, stride=3).tolist() == [0, 10, 20]
    assert window_indices(5, 11).tolist() == [0]
