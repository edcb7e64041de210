"""What a run of reinforcement learning writes down while it goes, and the films of what was imagined."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_rollouts import build

from ivideo import Episode, read_video
from ivideo.embedding import EmbeddingConfig
from ivideo.training.run import RunConfig, RunFolder
from ivideo.world_model import WorldModel
from rl.report.films import cut, dream, film, film_strip
from rl.report.records import RunRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    rate: float = 0.1


def opened(path: Path, *, resume: bool = False, tensorboard: bool = True) -> RunFolder:
    return RunFolder(RunConfig(folder=path, tensorboard=tensorboard), Settings(), resume=resume)


def lines(path: Path) -> list[dict[str, float | None]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def episode(frames: int = 6, *, size: int = 32, level: int = 60, reward: float | None = 1.0) -> Episode:
    pictures = torch.full((frames, 3, size, size), level, dtype=torch.uint8)
    rewards = None if reward is None else torch.full((frames - 1,), reward)
    return Episode(frames=pictures, actions=torch.zeros(frames - 1, 2), rewards=rewards, name="one")


# ------------------------------------------------------------------------------------------------------- records


def test_figures_go_to_the_folder_and_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path / "run") as run:
        run.begin(0)
        with RunRecords(run, steps=100, seconds=30.0) as records:
            records.figures(40, {"train/return": 3.0, "agent/critic_loss": math.nan})
            records.progress(40, 120.0)
            records.figures(50, {"eval/success": 0.5, "minutes": 9.0})
            records.say("as it should be")
            records.curves()
    first, second = lines(tmp_path / "run")
    assert first["step"] == 40
    assert first["minutes"] == pytest.approx(0.5, abs=0.05)
    assert first["agent/critic_loss"] is None
    assert second["minutes"] == 9.0
    said = capsys.readouterr().err
    assert "as it should be" in said
    assert "step 50/100" in said
    assert "train/return 3.0" in said
    assert "eval/success 0.5" in said
    assert "took 2:0" in said
    assert (tmp_path / "run" / "curves.png").is_file()


def test_tensorboard_forgets_what_lies_after_the_step_that_is_resumed(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run"
    with opened(folder) as run:
        run.begin(0)
        run.save(20, {"model": {"a": torch.ones(1)}}, {"step": 20})
        with RunRecords(run, steps=50, silent=True) as records:
            for step in (10, 20, 30, 40):
                records.figures(step, {"train/return": float(step)})
    with opened(folder, resume=True) as run:
        run.begin(20)
        with RunRecords(run, steps=50, start=20, silent=True) as records:
            records.figures(30, {"train/return": -30.0})
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [(each.step, each.value) for each in events.Scalars("train/return")] == [(10, 10), (20, 20), (30, -30)]
    assert [line["train/return"] for line in lines(folder)] == [10, 20, -30]


def test_no_events_where_none_are_wanted(tmp_path: Path) -> None:
    with opened(tmp_path / "run", tensorboard=False) as run:
        run.begin(0)
        with RunRecords(run, steps=5, silent=True) as records:
            records.curves()  # of nothing
            records.figures(1, {"train/return": 1.0})
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert not (tmp_path / "run" / "curves.png").exists()


def test_a_film_of_an_episode_and_its_strip(tmp_path: Path) -> None:
    with opened(tmp_path / "run", tensorboard=False) as run:
        run.begin(0)
        with RunRecords(run, steps=5, silent=True) as records:
            path = records.film(5000, "episode-0", episode(), episode(level=200))
    assert path == tmp_path / "run" / "media" / "00005000-episode-0.mp4"
    assert len(read_video(path)) == 6
    with Image.open(path.with_suffix(".png")) as strip:
        assert strip.width > 800


def test_a_disk_that_does_not_take_it_is_told_with_the_remedy(tmp_path: Path) -> None:
    with opened(tmp_path / "run", tensorboard=False) as run:
        run.begin(0)
        (tmp_path / "run" / "media").write_text("in the way")
        records = RunRecords(run, steps=5, silent=True)
        with records, pytest.raises(OSError, match=r"cannot write to .*run \(.*make room, then resume") as caught:
            records.film(1, "episode-0", episode())
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------------------- films


def test_both_episodes_are_seen_side_by_side() -> None:
    pictures = film(episode(level=60, reward=1.0), episode(level=200, reward=3.0))
    assert len(pictures) == 6
    middle = pictures[0, 0, 150]
    assert (middle == 60).sum() == (middle == 200).sum() >= 256
    assert int((middle == 60).nonzero().max()) < int((middle == 200).nonzero().min())
    # Nothing but the line that says when it is changes where frames do not.
    changed = (pictures[1:] != pictures[:-1]).flatten(1, 2).any(1)
    assert ((changed.sum(1) >= 2) & (changed.sum(1) <= 4)).all()


def test_the_upright_line_walks_from_the_first_to_the_last_step() -> None:
    pictures = film(episode(9), episode(9))
    places = []
    for picture in pictures:
        dark = ((picture == 40).all(0).sum(0) > 50).nonzero()
        places.append(float(dark.float().mean()))
    steps = np.diff(places)
    assert (steps > 0).all()
    assert steps.max() - steps.min() <= 1


def test_an_episode_alone_without_rewards_is_its_frames_alone() -> None:
    alone = film(episode(reward=None))
    assert alone.shape[2] < film(episode()).shape[2]
    assert (alone == 60).all(1).sum() >= 6 * 288 * 288


def test_the_shorter_one_decides_and_sizes_must_agree() -> None:
    assert len(film(episode(6), episode(4))) == 4
    with pytest.raises(ValueError, match=r"real frames are \[3, 32, 32\] and imagined ones \[3, 16, 16\]"):
        film(episode(), episode(size=16))


def test_a_strip_has_a_row_for_each() -> None:
    both, alone = film_strip(episode(20), episode(20, level=200)), film_strip(episode(20), columns=5)
    column = both[0, :, 60]
    assert (column == 60).sum() > 80
    assert (column == 200).sum() > 80
    assert not (alone == 200).all(0).any()
    assert film_strip(episode(2)).shape[-1] == both.shape[-1]


# --------------------------------------------------------------------------------------------------------- dream


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return build(EmbeddingConfig(action_dim=2), heads=True, full=False)


@pytest.fixture
def real() -> Episode:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (7, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Episode(
        frames=frames, actions=torch.randn(6, 2, generator=generator), rewards=torch.arange(6.0), terminal=True
    )


def test_a_dream_is_what_the_model_predicts_from_there(model: WorldModel, real: Episode) -> None:
    assert real.actions is not None
    assert real.rewards is not None
    found = dream(model, real, start=2, length=3)
    wanted = model.predict(real.frames[3 - model.context_frames : 3], real.actions[None, 2:5])[
        0, model.context_frames :
    ]
    assert torch.equal(found.frames[0], real.frames[2])
    assert (found.frames[1:].int() - wanted.int()).abs().max() <= 1  # decoded one by one, not together
    assert found.rewards is not None
    assert found.rewards.shape == (3,)
    beside = cut(real, 2, 3)
    assert torch.equal(beside.frames, real.frames[2:6])
    assert beside.rewards is not None
    assert beside.rewards.tolist() == [2.0, 3.0, 4.0]
    assert not beside.terminal
    assert cut(real, 2).terminal


def test_a_dream_from_the_first_frame_on_leaves_the_models_modes_alone(model: WorldModel, real: Episode) -> None:
    model.train()
    model.tokenizer.eval()
    found = dream(model, real)
    assert len(found) == len(real)
    assert model.training
    assert not model.tokenizer.training
    model.eval()
    assert torch.equal(found.frames, dream(model, real).frames)
    assert not torch.equal(found.frames[1:], real.frames[1:])


@pytest.mark.parametrize("asked", [{"start": 6}, {"start": -1}, {"start": 3, "length": 4}, {"length": 0}])
def test_a_dream_stays_within_the_episode(model: WorldModel, real: Episode, asked: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected at least 1 step of the 6 of episode"):
        dream(model, real, **asked)


def test_an_episode_without_actions_is_not_dreamt(model: WorldModel, real: Episode) -> None:
    with pytest.raises(ValueError, match="has no actions"):
        dream(model, Episode(frames=real.frames))
