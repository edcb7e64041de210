"""Clips for an evaluation: in order, few at a time, and damaged ones named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ivideo.data.store import Damaged
from ivideo.episode import Episode
from ivideo.evaluation.clips import Window, as_case, batches, table_case, windows
from ivideo.evaluation.protocol import Protocol

PROTOCOL = Protocol(held_out="all", frames=3, horizons=(1, 3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, length in enumerate((12, 4, 9)):
        save(tmp_path / f"{number}.npz", length, number)
    return tmp_path


def save(path: Path, length: int, seed: int, actions: int = 2) -> None:
    rng = np.random.default_rng(seed)
    np.savez(
        path,
        image=rng.integers(256, size=(length, 16, 16, 3), dtype=np.uint8),
        actions=np.arange(length * actions, dtype=np.float32).reshape(length, actions),
        rewards=np.arange(length, dtype=np.float32),
    )


def found(source: Path, protocol: Protocol, damaged: list[Damaged] | None = None) -> list[Window]:
    return list(windows(str(source), protocol, context=2, size=16, seed=0, damaged=[] if damaged is None else damaged))


def test_windows_do_not_overlap_and_short_episodes_have_none(folder: Path) -> None:
    assert [clip.name for clip in found(folder, PROTOCOL)] == ["0 from frame 0", "0 from frame 5", "2 from frame 0"]


def test_of_every_episode_the_first_window_or_one_from_anywhere(folder: Path) -> None:
    first = found(folder, replace(PROTOCOL, windows="first"))
    assert [clip.name for clip in first] == ["0 from frame 0", "2 from frame 0"]
    anywhere = found(folder, replace(PROTOCOL, windows="random"))
    again = found(folder, replace(PROTOCOL, windows="random"))
    assert [clip.name for clip in anywhere] == [clip.name for clip in again]
    assert [clip.episode.name for clip in anywhere] == ["0", "2"]
    assert all(0 <= clip.start <= len(clip.episode) - 5 for clip in anywhere)


def test_a_stride_takes_every_second_frame_with_the_action_that_leaves_it(folder: Path) -> None:
    clips = found(folder, replace(PROTOCOL, stride=2))
    case = as_case(clips)
    episode = clips[0].episode
    assert case.actions is not None
    assert torch.equal(case.frames[0], episode.frames[0:9:2])
    assert torch.equal(case.actions[0], episode.actions[0:8:2])


def test_clips_are_limited_and_the_limit_takes_the_first(folder: Path) -> None:
    assert [clip.name for clip in found(folder, replace(PROTOCOL, clips=2))] == ["0 from frame 0", "0 from frame 5"]


def test_a_damaged_episode_and_one_of_another_kind_are_named_and_left_out(folder: Path) -> None:
    (folder / "1.npz").write_bytes(b"PK\x03\x04 no archive")
    save(folder / "3.npz", 9, 3, actions=5)
    damaged: list[Damaged] = []
    assert [clip.episode.name for clip in found(folder, PROTOCOL, damaged)] == ["0", "0", "2"]
    assert [each.name for each in damaged] == ["1", "3"]
    assert "action dimension 5" in damaged[1].reason


def test_too_short_episodes_say_what_would_fit(folder: Path) -> None:
    with pytest.raises(ValueError, match="the longest has 12: pass --frames 10"):
        found(folder, replace(PROTOCOL, frames=20))
    with pytest.raises(ValueError, match=r"has 5 frames, 4 steps apart.*the longest has 3: pass --frames 1"):
        found(folder, replace(PROTOCOL, stride=4))


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (4, [4]), (5, [5]), (6, [4, 2]), (9, [4, 5])])
def test_no_clip_is_left_alone_in_the_last_batch(count: int, sizes: list[int]) -> None:
    episode = Episode(frames=torch.zeros(12, 3, 8, 8, dtype=torch.uint8))
    clips = [Window(episode=episode, start=start, stride=1, frames=2) for start in range(count)]
    made = list(batches(iter(clips), 4))
    assert [len(each) for each in made] == sizes
    assert [clip.start for each in made for clip in each] == list(range(count))


def test_the_end_of_an_episode_is_terminal_only_for_the_clip_that_reaches_it() -> None:
    case = table_case(3, context=1, frames=10, clips=20)
    assert case.terminals is not None
    assert case.terminals[:, :-1].sum() == 0
    assert len(set(case.names)) == len(case)
    assert case.states is not None
    assert all(len(clip) == case.frames.shape[1] for clip in case.states)
