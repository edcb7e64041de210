"""Every layout becomes episodes whose actions lead from a frame to the next; layouts are told apart by their files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ivideo.data import EpisodeStore, open_episodes
from ivideo.data.sources.droid import motion
from ivideo.video import write_video


def numbered(frames: int, side: int = 16) -> np.ndarray:
    """Frames `[t side side 3]` of flat colour, frame t of red level 10 * t."""
    video = np.zeros((frames, side, side, 3), np.uint8)
    video[..., 0] = (10 * np.arange(frames, dtype=np.uint8))[:, None, None]
    return video


def levels(store: EpisodeStore) -> list[int]:
    return [round(int(frame[0, 8, 8]) / 10) for frame in store[0].frames]


def save_video(path: Path, frames: int) -> None:
    write_video(path, torch.from_numpy(numbered(frames, 64)).permute(0, 3, 1, 2).contiguous())


def test_bair(tmp_path: Path) -> None:
    action = np.arange(20.0).reshape(5, 4)
    main = numbered(5).astype(np.int64)
    np.savez(tmp_path / "one.npz", image=main, aux1_image=main[::-1], action=action)
    store = open_episodes(tmp_path, size=16)
    assert "BAIR" in store.source
    assert levels(store) == [4, 3, 2, 1, 0]
    assert store[0].actions is not None
    assert store[0].actions.tolist() == action[:-1].tolist()
    assert levels(open_episodes(tmp_path, size=16, camera="main")) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="camera is '3'; BAIR episodes have 'aux1', 'main'"):
        open_episodes(tmp_path, camera=3)


def test_metaworld(tmp_path: Path) -> None:
    frames = numbered(6).transpose(0, 3, 1, 2)
    older = np.concatenate([frames[:1], frames[:-1]])
    arrays = {
        "observation": np.concatenate([older, older, frames], axis=1),
        "action": np.array([[9, 9], [0.1, 0.2], [0.3, -7], [0, 0], [0, 0], [24, 1]], np.float32),
        "reward": np.arange(6, dtype=np.float32)[:, None],
        "discount": np.ones((6, 1), np.float32),
    }
    for task in ("hammer", "sweep"):
        for number in (2, 10):
            (tmp_path / task).mkdir(exist_ok=True)
            np.savez(tmp_path / task / f"demo{number}.npz", **arrays)
    store = open_episodes(tmp_path, size=16)
    assert store.names == ["hammer/demo2", "hammer/demo10", "sweep/demo2", "sweep/demo10"]
    assert levels(store) == [0, 1, 2, 3, 4, 5]
    first = store[0]
    assert first.actions is not None
    assert first.rewards is not None
    assert torch.allclose(first.actions, torch.tensor([[0.1, 0.2], [0.3, -1], [0, 0], [0, 0], [1, 1]]))
    assert first.rewards.tolist() == [1, 2, 3, 4, 5]
    assert not first.terminal
    train, held = store.split("last")
    assert held.names == ["hammer/demo10", "sweep/demo10"]
    assert train.names == ["hammer/demo2", "sweep/demo2"]
    arrays["discount"][-1] = 0
    np.savez(tmp_path / "ended.npz", **arrays)
    assert open_episodes(tmp_path / "ended.npz")[0].terminal


@pytest.mark.parametrize(("key", "last"), [("image", False), ("frames", True), ("video", True)])
def test_any_npz(tmp_path: Path, key: str, last: bool) -> None:
    frames = numbered(4) if key != "video" else numbered(4).transpose(0, 3, 1, 2)
    steps = 4 if last else 3
    actions, rewards = np.arange(2.0 * steps).reshape(steps, 2), np.arange(float(steps))
    np.savez_compressed(tmp_path / "one.npz", **{key: frames}, actions=actions, reward=rewards, terminal=True)
    store = open_episodes(tmp_path / "one.npz", size=None)
    assert levels(store) == [0, 1, 2, 3]
    assert store[0].frames.shape == (4, 3, 16, 16)
    assert store[0].actions is not None
    assert store[0].rewards is not None
    assert store[0].actions.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert store[0].rewards.tolist() == [0, 1, 2]
    assert store[0].terminal


def test_npz_of_pictures_alone_that_are_not_square(tmp_path: Path) -> None:
    frames = np.zeros((3, 32, 40, 3), np.uint8)
    frames[:, :, 4:36] = 200
    np.savez(tmp_path / "one.npz", image=frames, left=frames[:, :, :32])
    store = open_episodes(tmp_path, size=16)
    assert store.action_dim is None
    assert (store[0].frames == 200).all(), "the centre square"
    assert open_episodes(tmp_path, size=16, crop=False)[0].frames.min() == 0
    assert open_episodes(tmp_path, size=16, key="left")[0].frames[0, 0, 0, 0] == 0
    with pytest.raises(ValueError, match="no array 'right'; it holds 'image', 'left'"):
        open_episodes(tmp_path, key="right")


def test_mp4_with_npz_actions(tmp_path: Path) -> None:
    save_video(tmp_path / "0.mp4", 5)
    rows = np.zeros((5, 10), np.float32)
    rows[:, :7] = np.arange(35).reshape(5, 7)
    np.savez(tmp_path / "0.npz", rows)
    for place in (tmp_path, tmp_path / "0.mp4"):
        store = open_episodes(place, size=16)
        assert store.names == ["0"]
        assert levels(store) == [0, 1, 2, 3, 4]
        assert store[0].actions is not None
        assert store[0].actions.tolist() == rows[:4, :7].tolist()


def droid(root: Path, frames: int, states: list[list[float]]) -> None:
    for camera in range(2):
        save_video(root / f"videos/0007/{camera}.mp4", frames + camera - camera)
    (root / "annotation").mkdir()
    (root / "annotation/0007.json").write_text(json.dumps({"texts": ["pick"], "states": states}))


def test_droid(tmp_path: Path) -> None:
    states = [[0.1 * t, 0, 0, 3.1 if t < 2 else -3.1, 0, 0, 0.25 * t] for t in range(4)]
    droid(tmp_path, 5, states)  # one frame more than states, as it happens
    store = open_episodes(tmp_path, size=16, camera=1)
    assert store.names == ["0007"]
    assert levels(store) == [0, 1, 2, 3]
    turn = 2 * (np.pi - 3.1)  # the short way round
    expected = [[0.1, 0, 0, 0, 0, 0, 0.25], [0.1, 0, 0, turn, 0, 0, 0.5], [0.1, 0, 0, 0, 0, 0, 0.75]]
    assert store[0].actions is not None
    assert np.allclose(store[0].actions, expected, atol=1e-6)
    for place in ("videos", "videos/0007", "videos/0007/1.mp4", "annotation/0007.json"):
        again = open_episodes(tmp_path / place, size=16)
        assert again.names == ["0007"]
        assert torch.equal(again[0].frames, store[0].frames)
    with pytest.raises(ValueError, match=r"camera is '2'; .*0007 has '0', '1'"):
        open_episodes(tmp_path, camera=2)


def test_a_view_opened_by_its_file_is_that_view(tmp_path: Path) -> None:
    droid(tmp_path, 4, [[0.0] * 7] * 4)
    write_video(tmp_path / "videos/0007/1.mp4", torch.full((4, 3, 64, 64), 99, dtype=torch.uint8))
    assert open_episodes(tmp_path / "videos/0007/1.mp4")[0].frames.float().mean() == pytest.approx(99, abs=2)
    assert open_episodes(tmp_path / "videos/0007/0.mp4")[0].frames.float().mean() < 20


def test_motion_inverts_to_the_states() -> None:
    rng = np.random.default_rng(0)
    states = np.cumsum(rng.normal(0, 0.1, (50, 7)), axis=0)
    actions = motion(states)
    assert actions.shape == (49, 7)
    assert np.allclose(states[0, :6] + actions[:, :6].sum(0), states[-1, :6])
    assert np.array_equal(actions[:, 6], states[1:, 6])


def test_mp4_with_json_actions(tmp_path: Path) -> None:
    save_video(tmp_path / "example.mp4", 4)
    (tmp_path / "example.json").write_text(json.dumps({"actions": [[0.5, 1], [2, 3], [4, 5]], "episode_id": "7"}))
    store = open_episodes(tmp_path, size=16)
    assert store[0].actions is not None
    assert store[0].actions.tolist() == [[0.5, 1], [2, 3], [4, 5]]
    (tmp_path / "example.json").write_text(json.dumps({"text": "push the red block"}))
    assert open_episodes(tmp_path)[0].actions is None


def test_folders_of_videos(tmp_path: Path) -> None:
    for number, suffix in ((10, "gif"), (2, "webm"), (1, "mp4")):
        save_video(tmp_path / f"a/{number}.{suffix}", 4)
    save_video(tmp_path / ".cache/hidden.mp4", 4)
    store = open_episodes(tmp_path, size=32)
    assert store.names == ["a/1", "a/2", "a/10"]
    assert store.frame_size == (32, 32)
    assert store.total_frames == 12
    assert store.action_dim is None
    assert "video" in repr(store)
    assert open_episodes(tmp_path, limit=2).names == ["a/1", "a/2"]


def test_several_layouts_in_one_folder_are_named(tmp_path: Path) -> None:
    save_video(tmp_path / "clips/a.mp4", 3)
    (tmp_path / "arrays").mkdir()
    np.savez(tmp_path / "arrays/b.npz", image=numbered(3))
    with pytest.raises(ValueError, match=r"several layouts in one folder \(1 x npz, 1 x video\).*: arrays, clips"):
        open_episodes(tmp_path)


def test_the_pushing_table_by_name() -> None:
    store = open_episodes("pushing_table", limit=3, seed=4)
    assert len(store) == 3
    assert store.action_dim == 2
    assert store.has_rewards
    assert store.frame_size == (64, 64)
    again = open_episodes("pushing_table", limit=2, seed=4)
    assert torch.equal(again[1].frames, store[1].frames)
    assert open_episodes("pushing_table", limit=1, size=32).frame_size == (32, 32)


def test_split_is_the_same_every_time_and_covers_all(tmp_path: Path) -> None:
    store = open_episodes("pushing_table", limit=7)
    train, held = store.split(3)
    assert [store.names.index(name) for name in held.names] == [0, 3, 6]
    assert sorted(train.names + held.names) == sorted(store.names)
    assert store[1:3].names == store.names[1:3]
    for wrong in (1, 0, "first"):
        with pytest.raises(ValueError, match="held_out is"):
            store.split(wrong)
    with pytest.raises(ValueError, match="takes them all"):
        store[:1].split(10)
