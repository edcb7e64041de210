"""`ivideo data show` and `ivideo data record` say and write what is there."""

from pathlib import Path

import av
import pytest
import torch

from ivideo import read_video
from ivideo.data import open_episodes, record, recorder, show
from ivideo.data.curves import strip_with_curves, video_with_curves
from ivideo.data.recorder import save_episodes
from ivideo.episode import Episode

PUSHING_TABLE = "ivideo/PushingTable-v0"


def test_saved_episodes_come_back_as_they_were(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    episodes = [
        Episode(
            frames=torch.randint(0, 256, (length, 3, 6, 8), dtype=torch.uint8, generator=generator),
            actions=torch.randn(length - 1, 2, generator=generator),
            rewards=torch.randn(length - 1, generator=generator),
            terminal=length == 3,
        )
        for length in (3, 5)
    ]
    save_episodes(tmp_path, episodes)
    for saved, read in zip(episodes, open_episodes(tmp_path, size=None), strict=True):
        assert torch.equal(saved.frames, read.frames)
        assert saved.actions is not None
        assert read.actions is not None
        assert saved.rewards is not None
        assert read.rewards is not None
        assert torch.equal(saved.actions, read.actions)
        assert torch.equal(saved.rewards, read.rewards)
        assert saved.terminal == read.terminal


def test_record_then_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "episodes"
    assert recorder.main([PUSHING_TABLE, str(out), "--episodes", "3", "--max_steps", "4", "--policy", "scripted"]) == 0
    assert "3 episodes, 15 frames of 64x64" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episodes"]
    with pytest.raises(FileExistsError, match="episodes exists already"):
        recorder.main([PUSHING_TABLE, str(out)])
    assert show.main([str(out), "--out", str(tmp_path / "look.png"), "--rows", "2"]) == 0
    said = capsys.readouterr().out
    assert "(npz): 3 episodes" in said
    assert "actions: 2 numbers" in said
    assert "rewards: -" in said
    with av.open(str(tmp_path / "look.png")) as container:
        picture = next(container.decode(video=0))
    assert (picture.width, picture.height) == (640, 130)
    with pytest.raises(FileExistsError, match=r"look\.png exists already"):
        show.main([str(out), "--out", str(tmp_path / "look.png")])


def test_one_episode_is_shown_with_its_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    episodes = [
        Episode(
            frames=torch.randint(0, 256, (9, 3, 20, 24), dtype=torch.uint8),
            actions=torch.randn(8, 3),
            rewards=torch.arange(8.0),
            terminal=True,
        )
        for _ in range(3)
    ]
    save_episodes(tmp_path / "set", episodes)
    place = str(tmp_path / "set")
    for asked in ("1", "000001"):
        assert show.main([place, "--episode", asked, "--size", "20"]) == 0
        said = capsys.readouterr().out
        assert said.startswith("000001: 9 frames of 20x20\n")
        assert "rewards: 0.000 to 7.000, together 28.000\nterminal: yes" in said
    sizes = {}
    for kind in ("png", "mp4", "gif"):
        out = tmp_path / f"one.{kind}"
        assert show.main([place, "--episode", "2", "--size", "20", "--out", str(out)]) == 0
        if kind == "png":
            with av.open(str(out)) as container:
                sizes[kind] = next(container.decode(video=0)).height
        else:
            frames = read_video(out)
            assert len(frames) == 9
            sizes[kind] = frames.shape[2]
    assert sizes["png"] > 120 + 4 * 36, "frames six times as large, and a lane for every action and the rewards"
    assert sizes["mp4"] == pytest.approx(sizes["gif"], abs=1)
    for wrong, said in (("3", "among 3"), ("00000x", "did you mean '0000"), ("first", "the first is called '000000'")):
        with pytest.raises(ValueError, match=f"no episode '{wrong}'") as error:
            show.main([place, "--episode", wrong])
        assert said in str(error.value)


def test_the_pushing_table_has_episodes_by_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main(["pushing_table", "--episode", "1"]) == 0
    assert capsys.readouterr().out.startswith("pushing-table-0-1: ")


def test_curves_follow_their_numbers() -> None:
    """A lane's line is high where its number is high; without actions and rewards there are frames alone."""
    frames = torch.zeros(11, 3, 16, 16, dtype=torch.uint8)
    ramp = torch.linspace(0, 1, 10)[:, None]
    drawn = strip_with_curves(Episode(frames=frames, actions=ramp), columns=11, height=16)
    lane = drawn[:, 16 + 6 :].float()
    dark = (lane.sum(0) < 600).float()
    rows = torch.arange(len(dark), dtype=torch.float32)[:, None]
    inside = slice(20 + 18, 20 + 11 * 18 - 18)
    heights = (dark * rows).sum(0)[inside] / dark.sum(0)[inside]
    assert heights.isfinite().all(), "the line has no gaps"
    assert (heights.diff() <= 0.01).all(), "it rises all the way"
    assert heights[0] - heights[-1] > 15
    bare = strip_with_curves(Episode(frames=frames), columns=4, height=16)
    assert bare.shape == (3, 16, 4 * 18 + 20 + 58)
    ones = torch.ones(10, 1)
    for odd in (0 * ones, 1e9 * ones, 1e-9 * ones, torch.randn(10, 40)):
        video = video_with_curves(Episode(frames=frames, actions=odd, rewards=odd[:, 0]), height=32)
        assert video.shape[0] == 11
    strip_with_curves(Episode(frames=frames[:2], actions=torch.ones(1, 1)))
    strip_with_curves(Episode(frames=frames[:1], actions=torch.ones(0, 1)))


def test_a_recording_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no environment"):
        recorder.main(["nowhere-v0", str(tmp_path / "episodes")])
    assert not list(tmp_path.iterdir())


def test_importing_the_verbs_leaves_the_function_in_place() -> None:
    assert callable(record)
    from ivideo import data

    assert data.record is record
