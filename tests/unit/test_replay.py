"""Replay: n-step transitions as published, and episodes that nothing but age takes away."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ivideo import Episode
from rl.replay import Replay


def episode(length: int, *, seed: int = 0, terminal: bool = False, actions: int = 2) -> Episode:
    """Frame t is all t; reward t, which arrives with frame t + 1, is t + 1."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.arange(length, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
    return Episode(
        frames=frames,
        actions=torch.rand(length - 1, actions, generator=generator),
        rewards=torch.arange(1, length).float(),
        terminal=terminal,
        name=f"played-{seed}",
    )


def draw(replay: Replay, count: int = 400):
    return replay.sample(count, np.random.default_rng(0))


def test_transitions_sum_n_discounted_rewards_and_go_on_behind_a_time_limit() -> None:
    replay = Replay(nstep=3, gamma=0.5)
    played = episode(10)
    replay.add(played)
    drawn = draw(replay)
    starts = drawn.observations[:, -1, 0, 0].long()
    assert starts.unique().tolist() == list(range(7))  # 9 transitions, the last three of which end one of three steps
    assert torch.equal(drawn.next_observations[:, -1, 0, 0].long(), starts + 3)
    torch.testing.assert_close(drawn.rewards, starts + 1 + 0.5 * (starts + 2) + 0.25 * (starts + 3))
    assert drawn.discounts.unique().tolist() == [0.125]
    assert torch.equal(drawn.actions, played.actions[starts])


def test_frames_are_stacked_oldest_first_and_the_first_is_repeated() -> None:
    replay = Replay(stack=3, nstep=1)
    replay.add(episode(5))
    drawn = draw(replay)
    assert drawn.observations.shape == (400, 9, 4, 4)
    stacks = {tuple(each[::3, 0, 0].tolist()) for each in drawn.observations}
    assert stacks == {(0, 0, 0), (0, 0, 1), (0, 1, 2), (1, 2, 3)}


def test_nothing_counts_behind_a_terminal_state() -> None:
    replay = Replay(nstep=2, gamma=0.9)
    replay.add(episode(5, terminal=True))
    drawn = draw(replay)
    ends = drawn.next_observations[:, -1, 0, 0] == 4
    assert drawn.discounts[ends].unique().tolist() == [0.0]
    assert drawn.discounts[~ends].unique().tolist() == pytest.approx([0.81])


def test_short_episodes_sum_what_they_have() -> None:
    replay = Replay(nstep=3, gamma=1.0)
    replay.add(episode(3))
    assert draw(replay).rewards.unique().tolist() == [3.0]  # one and two


def test_episodes_are_drawn_alike_whatever_their_length() -> None:
    replay = Replay(nstep=1)
    replay.add(episode(3, actions=2))
    replay.add(episode(60, seed=1))
    drawn = draw(replay, 2000)
    long = drawn.observations[:, -1, 0, 0] > 1
    assert 0.44 < float(long.float().mean()) < 0.52  # half of them, less the first two places of the long one


def test_nothing_is_learned_of_frames_that_were_given(tmp_path: Path) -> None:
    replay = Replay(tmp_path, nstep=1)
    replay.add(episode(6), lead=2)
    for each in (replay, Replay(tmp_path, nstep=1)):
        assert len(each) == 3
        drawn = draw(each)
        assert drawn.observations[:, -1, 0, 0].unique().tolist() == [2, 3, 4]
        first = drawn.observations[drawn.observations[:, -1, 0, 0] == 2][0]
        assert first[::3, 0, 0].tolist() == [0, 1, 2]  # but they are seen


def test_the_agent_may_see_less_sharply(tmp_path: Path) -> None:
    frames = torch.randint(256, (6, 3, 9, 9), dtype=torch.uint8)
    replay = Replay(tmp_path, nstep=1, stack=1, shrink=2)
    replay.add(replace(episode(6), frames=frames))
    wanted = frames[:, :, :8, :8].float().reshape(6, 3, 4, 2, 4, 2).mean((3, 5)).round()
    for each in (replay, Replay(tmp_path, nstep=1, stack=1, shrink=2)):
        shown = {tuple(row.flatten().tolist()) for row in draw(each).observations.float()}
        assert shown == {tuple(row.flatten().tolist()) for row in wanted[:-1]}
        assert torch.equal(each.episodes[0].frames, frames)


def test_a_buffer_that_is_opened_up_to_an_episode_writes_the_next_one_anew(tmp_path: Path) -> None:
    unbroken = Replay(tmp_path, upto=0)
    for seed in range(4):
        unbroken.add(episode(6, seed=seed))
    assert unbroken.written == 4
    again = Replay(tmp_path, upto=2)
    assert [len(again.episodes), again.written] == [2, 2]
    again.add(episode(6, seed=9))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"episode-00000{n}.npz" for n in range(4)]
    assert torch.equal(Replay(tmp_path, upto=3).episodes[2].actions, episode(6, seed=9).actions)


def test_files_that_a_checkpoint_may_need_stay_until_it_is_settled(tmp_path: Path) -> None:
    replay = Replay(tmp_path, upto=0, capacity=10)
    for seed in range(4):
        replay.add(episode(6, seed=seed))
    assert [len(replay.episodes), len(list(tmp_path.iterdir()))] == [2, 4]
    assert [each.name for each in Replay(tmp_path, upto=2, capacity=10).episodes] == [
        "episode-000000",
        "episode-000001",
    ]
    replay.settle()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episode-000002.npz", "episode-000003.npz"]


def test_a_buffer_is_opened_again_as_it_was(tmp_path: Path) -> None:
    replay = Replay(tmp_path)
    for seed in range(3):
        replay.add(episode(6, seed=seed))
    again = Replay(tmp_path)
    assert len(again) == len(replay) == 15
    for name in ("observations", "actions", "rewards", "discounts", "next_observations"):
        assert torch.equal(getattr(draw(again), name), getattr(draw(replay), name)), name
    again.add(episode(6, seed=9))
    assert sorted(path.name for path in tmp_path.iterdir())[-1] == "episode-000003.npz"


def test_the_oldest_own_episodes_go_and_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "notes.npz").write_bytes(b"mine")
    replay = Replay(tmp_path, capacity=12)
    replay.preload([episode(9, seed=50), episode(9, seed=51)])
    for seed in range(5):
        replay.add(episode(6, seed=seed))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "episode-000003.npz",
        "episode-000004.npz",
        "notes.npz",
    ]
    assert [each.name for each in replay.episodes] == ["played-50", "played-51", "played-3", "played-4"]
    assert (tmp_path / "notes.npz").read_bytes() == b"mine"


@pytest.mark.parametrize("victim", [0, 4, 9])
def test_one_damaged_file_costs_one_episode(tmp_path: Path, victim: int) -> None:
    replay = Replay(tmp_path)
    for seed in range(10):
        replay.add(episode(6, seed=seed))
    file = tmp_path / f"episode-{victim:06}.npz"
    whole = file.read_bytes()
    for kept in range(0, len(whole), 97):
        file.write_bytes(whole[:kept])
        opened = Replay(tmp_path)
        assert len(opened.episodes) == 9
        assert [name for name, _ in opened.damaged] == [file.name]
        assert file.exists()
    opened.add(episode(6, seed=99))
    assert (tmp_path / "episode-000010.npz").is_file()
    assert file.read_bytes() == whole[:kept]  # not written over


def test_a_file_that_is_half_written_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = Replay(tmp_path)
    replay.add(episode(6))

    def killed(file, **_: object) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        replay.add(episode(6, seed=1))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["episode-000000.npz"]
    assert len(Replay(tmp_path)) == len(replay) == 5


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left, others = tmp_path / ".episode-000001.npz.9585.57087de1.part", [".notes.npz.9585.57087de1.part", ".my.part"]
    for name in (left.name, *others):
        (tmp_path / name).touch()
    Replay(tmp_path, upto=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rewards": torch.tensor([1.0, torch.nan, 1.0])}, "NaN or infinite"),
        ({"actions": torch.full((3, 2), torch.inf)}, "NaN or infinite"),
        ({"rewards": None}, "has no rewards"),
        ({"actions": None}, "has no actions"),
        ({"actions": torch.zeros(3, 5)}, "5 controls, and the others"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(change: dict, words: str) -> None:
    replay = Replay()
    replay.add(episode(4))
    with pytest.raises(ValueError, match=words):
        replay.add(replace(episode(4, seed=1), **change))
    assert len(replay) == 3


def test_impossible_buffers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to draw from"):
        draw(Replay())
    with pytest.raises(ValueError, match="lead is 3 in 4 frames"):
        Replay().add(episode(4), lead=3)
    with pytest.raises(ValueError, match="nstep 0"):
        Replay(nstep=0)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="expected a folder"):
        Replay(tmp_path / "file")
