"""Captioned clips: what is imagined, what is written, and what two readers find there."""

from pathlib import Path

import jaxtyping
import pytest
import torch
from tiny_rollouts import build

from ivideo.data.captions import CaptionedClip, captioned_episodes, commanded_clips, write_captioned
from ivideo.embedding import EmbeddingConfig
from ivideo.episode import Episode
from ivideo.fingerprint import fingerprint
from ivideo.world_model import WorldModel

COMMANDS = {"go left": (-1.0, 0.0), "go right": (1.0, 0.0)}


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return build(EmbeddingConfig(action_dim=2, action_on="frame", guide=8), heads=True, full=False)


@pytest.fixture(scope="module")
def starts() -> list[Episode]:
    generator = torch.Generator().manual_seed(0)
    return [
        Episode(
            frames=torch.randint(256, (length, 3, 32, 32), dtype=torch.uint8, generator=generator), name=f"e{length}"
        )
        for length in (5, 4)
    ]


def clip(number: int) -> CaptionedClip:
    generator = torch.Generator().manual_seed(number)
    return CaptionedClip(
        frames=torch.randint(256, (3, 3, 8, 10), dtype=torch.uint8, generator=generator),
        caption=f"clip {number}",
        actions=torch.randn(2, 2, generator=generator) if number % 2 else None,
        seed=number,
        model="m",
        start="s",
    )


def test_a_longer_list_of_clips_begins_with_a_shorter_one(model: WorldModel, starts: list[Episode]) -> None:
    short = list(commanded_clips(model, starts, COMMANDS, count=3, frames=2, seed=1))
    longer = list(commanded_clips(model, starts, COMMANDS, count=18, frames=2, seed=1))
    assert [each.caption for each in longer[:3]] == [each.caption for each in short]
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(short, longer, strict=False))
    assert {each.caption for each in longer} == set(COMMANDS)
    assert {each.model for each in longer} == {fingerprint(model)}
    for each in longer:
        assert each.frames.shape == (3, 3, 32, 32)
        assert each.actions is not None
        assert torch.equal(each.actions, torch.tensor([COMMANDS[each.caption]] * 2))
        assert each.start in ("e5", "e4")


def test_both_readers_find_what_was_written(tmp_path: Path) -> None:
    import datasets

    written = [clip(number) for number in range(5)]
    folder = tmp_path / "clips"
    assert write_captioned(iter(written), folder, shard=2) == 5
    assert sorted(path.name for path in (folder / "data").iterdir()) == [
        f"train-0000{number}-of-00003.parquet" for number in range(3)
    ]
    episodes = list(captioned_episodes(folder))
    found = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(found) == len(episodes) == 5
    for row, episode, true in zip(found, episodes, written, strict=True):
        assert torch.equal(episode.frames, true.frames)
        assert episode.instruction == row["caption"] == true.caption
        assert row["seed"] == true.seed
        assert row["frames"][0].size == (10, 8)
        assert row["frames"][0].getpixel((9, 2)) == tuple(true.frames[0, :, 2, 9].tolist())
        if true.actions is None:
            assert row["actions"] is None
            assert episode.actions is None
        else:
            assert episode.actions is not None
            assert torch.equal(episode.actions, true.actions)
            assert torch.equal(torch.tensor(row["actions"]), true.actions)


def test_bad_input_is_refused_in_one_line(
    tmp_path: Path, model: WorldModel, starts: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    with pytest.raises(ValueError, match="no caption"):
        CaptionedClip(frames=clip(0).frames, caption="  ")
    with pytest.raises(ValueError, match="2 frames; expected one less"):
        CaptionedClip(frames=clip(0).frames[:2], caption="x", actions=torch.zeros(2, 2))
    with pytest.raises(ValueError, match="no clips"):
        write_captioned([], tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="'up' has 1 numbers"):
        next(commanded_clips(model, starts, {"up": (1.0,)}, count=1, frames=1))
    with pytest.raises(ValueError, match="none of the 0 episodes"):
        next(commanded_clips(model, [], COMMANDS, count=1, frames=1))
    with pytest.raises(FileNotFoundError, match="holds no data"):
        next(captioned_episodes(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-0.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(ValueError, match=r"train-0\.parquet holds no captioned clips"):
        next(captioned_episodes(tmp_path))
