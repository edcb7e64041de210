"""`ivideo data show` and `ivideo data record` say and write what is there."""

from pathlib import Path

import av
import pytest
import torch

from ivideo.data import open_episodes, record, recorder, show
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


def test_a_recording_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no environment"):
        recorder.main(["nowhere-v0", str(tmp_path / "episodes")])
    assert not list(tmp_path.iterdir())


def test_importing_the_verbs_leaves_the_function_in_place() -> None:
    assert callable(record)
    from ivideo import data

    assert data.record is record
