"""The network that recovers actions from frames: what it learns, how it is kept, what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ivideo import cli, recipes
from ivideo.config import load_config
from ivideo.data import EpisodeStore
from ivideo.episode import Batch, Episode
from ivideo.planning import InverseDynamics, InverseDynamicsConfig
from ivideo.training.inverse_dynamics import (
    InverseDynamicsTraining,
    explained,
    pair_loss,
    steps_between,
    train_inverse_dynamics,
)
from ivideo.training.loop_config import LoopConfig
from ivideo.training.optim import OptimizerConfig
from ivideo.training.run import RunConfig

TINY = InverseDynamicsConfig(resolution=32, width=8, blocks=1, stride=4, hidden=16)


def network(**changes: Any) -> InverseDynamics:
    torch.manual_seed(0)
    return InverseDynamics(InverseDynamicsConfig(resolution=32, width=8, blocks=1, stride=4, hidden=16, **changes), 2)


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, (*shape, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_the_verb_trains_measures_beside_baselines_and_resumes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = (
        f"train inverse-dynamics --config inverse_dynamics/pushing_table --data.limit 8 --data.held_out 4 "
        f"--network.resolution 32 --network.width 8 --network.blocks 1 --loop.batch_size 4 --pairs 150 "
        f"--run.folder {tmp_path / 'run'} --loop.steps "
    ).split()
    assert cli.main([*command, "2"]) == 0
    assert cli.main([*command, "3", "--resume"]) == 0
    assert "resumed at step 2" in capfd.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "held_out/r2" in line][-1]
    assert measured["step"] == 3
    assert measured["held_out/r2_ridge"] > 0.5 > measured["held_out/r2_nearest"] > measured["held_out/r2_mean"]
    assert {"held_out/r2", "held_out/r2_0", "held_out/r2_1"} <= measured.keys()
    found = InverseDynamics.from_pretrained(tmp_path / "run")
    assert found.recover(noise(3, 4)).shape == (3, 3, 2)
    assert not found.training


def test_what_is_saved_is_loaded_and_saving_it_again_changes_no_byte(tmp_path: Path) -> None:
    first = network(span=2)
    first.mean.copy_(torch.tensor([1.0, -2.0]))
    first.save_pretrained(tmp_path / "a")
    second = InverseDynamics.from_pretrained(tmp_path / "a")
    video = noise(2, 3)
    assert torch.equal(first.recover(video), second.recover(video))
    second.save_pretrained(tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_a_video_is_read_pair_by_pair_in_the_units_of_the_actions() -> None:
    reader = network(span=3)
    reader.scale.copy_(torch.tensor([10.0, 0.1]))
    reader.mean.copy_(torch.tensor([5.0, 0.0]))
    video = noise(4)
    whole = reader.recover(video)
    assert whole.shape == (9, 2)
    assert torch.allclose(whole[3:6], reader.recover(video[1:3]), atol=1e-5)
    said = reader(video[1:2], video[2:3])[0]
    assert torch.allclose(whole[3:6], said * reader.scale + reader.mean, atol=1e-5)
    assert torch.allclose(reader.normalised(whole[3:6]), said, atol=1e-5)


def test_pooling_says_where_only_when_asked_to() -> None:
    """A bright dot, before and after, in one place or the mirrored one: the mean over the picture is the same."""
    one = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    other = one.clone()
    one[..., 16:20, 16:20], other[..., 40:44, 40:44] = 255, 255
    for pooling, same in (("mean", True), ("where", False)):
        config = InverseDynamicsConfig(width=8, blocks=0, stride=4, hidden=16, pooling=pooling)  # type: ignore[arg-type]
        torch.manual_seed(0)
        reader = InverseDynamics(config, 2)
        assert torch.allclose(reader(one, one), reader(other, other), atol=1e-6) is same


def test_a_displacement_is_learnt() -> None:
    """A bright square that is moved by up to 3 pixels, on pairs that were not trained on."""
    generator = torch.Generator().manual_seed(0)

    def drawn(count: int) -> Batch:
        actions = torch.rand(count, 1, 2, generator=generator) * 2 - 1
        places = 8 + 16 * torch.rand(count, 1, 2, generator=generator)
        ends = torch.cat([places, places + 3 * actions], dim=1)
        axis = torch.arange(32.0)
        across, down = ((3.5 - (axis - ends[..., i, None]).abs()).clamp(0, 1) for i in (0, 1))
        dot = (255 * down[..., :, None] * across[..., None, :]).to(torch.uint8)
        return Batch(frames=dot[:, :, None].expand(-1, -1, 3, -1, -1), actions=actions)

    torch.manual_seed(0)
    reader = InverseDynamics(TINY, 2)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss, _ = pair_loss(reader, drawn(64))
        loss.backward()
        optimizer.step()
    held = drawn(200)
    assert held.actions is not None
    assert explained(held.actions, reader.recover(held.frames)) > 0.8


def test_what_lies_after_an_episodes_end_teaches_nothing() -> None:
    reader, frames = network(), noise(2, 2)
    actions = torch.tensor([[[0.5, 0.5]], [[9.0, 9.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    masked, _ = pair_loss(reader, Batch(frames=frames, actions=actions, mask=mask))
    alone, _ = pair_loss(reader, Batch(frames=frames[:1], actions=actions[:1]))
    assert torch.allclose(masked, alone)


def test_components_are_explained_in_their_own_units() -> None:
    truth = torch.randn(100, 1, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 100.0]) + 7
    assert explained(truth, truth) == 1.0
    half = truth.clone()
    half[..., 1] = truth[..., 1].mean()
    assert explained(truth, half) == pytest.approx(0.5, abs=1e-3)


def test_steps_between_frames_are_drawn_from_the_seed_among_those_that_are_real() -> None:
    frames = torch.arange(6, dtype=torch.uint8)[None, :, None, None, None].expand(200, 6, 3, 4, 4)
    mask = torch.ones(200, 6, dtype=torch.bool)
    mask[100:, 3:] = False
    found = steps_between(Batch(frames=frames, mask=mask), 0, 7)
    assert found.actions is not None
    steps = found.actions[:, 0, 0].long()
    assert torch.equal(found.frames[:, 0], frames[:, 0])
    assert torch.equal(found.frames[:, 1, 0, 0, 0].long(), steps)
    assert set(steps[:100].tolist()) == set(range(6))
    assert set(steps[100:].tolist()) == set(range(3))
    again, other = (steps_between(Batch(frames=frames, mask=mask), 0, index).actions for index in (7, 8))
    assert again is not None
    assert torch.equal(again[:, 0, 0].long(), steps)
    assert other is not None
    assert not torch.equal(other, again)


def test_steps_need_no_actions(tmp_path: Path) -> None:
    settings = InverseDynamicsTraining(
        target="steps", reach=4, network=TINY, loop=LoopConfig(steps=1), run=RunConfig(folder=tmp_path / "run")
    )
    episodes = EpisodeStore([Episode(frames=noise(9), name="a")])
    train_inverse_dynamics(settings, (episodes, episodes))
    assert InverseDynamics.from_pretrained(tmp_path / "run").recover(noise(2)).shape == (1, 1)


def test_the_packaged_config_is_whole() -> None:
    for name in (name for name in recipes.names() if name.startswith("inverse_dynamics/")):
        settings = load_config(InverseDynamicsTraining, recipes.find(name))
        assert settings.run.folder == Path("runs") / name
        head = recipes.find(name).read_text()
        assert f"ivideo train inverse-dynamics --config {name}" in head


def trained_on(episodes: list[Episode], folder: Path) -> None:
    settings = InverseDynamicsTraining(
        network=TINY, loop=LoopConfig(steps=1), optimizer=OptimizerConfig(), run=RunConfig(folder=folder)
    )
    train_inverse_dynamics(settings, (EpisodeStore(episodes), EpisodeStore(episodes)))


def test_mistakes_are_one_line_each(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no actions"):
        trained_on([Episode(frames=noise(4), name="a")], tmp_path / "run")
    with pytest.raises(ValueError, match=r"set network\.span for frames further apart"):
        InverseDynamicsTraining(data=load_config(InverseDynamicsTraining, _yaml(tmp_path, "data: {stride: 2}")).data)
    with pytest.raises(ValueError, match="a span of 1 where steps are learnt"):
        InverseDynamicsTraining(target="steps", network=InverseDynamicsConfig(span=2))
    with pytest.raises(ValueError, match="pairs is 1; expected at least 2"):
        InverseDynamicsTraining(pairs=1)
    with pytest.raises(ValueError, match="span is 0; expected at least 1"):
        InverseDynamicsConfig(span=0)
    with pytest.raises(ValueError, match=r"video is \[1, 3, 32, 32\]; expected at least two RGB frames of 32x32"):
        network().recover(noise(1))
    with pytest.raises(ValueError, match="expected at least two RGB frames of 32x32"):
        network().recover(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such file or folder"):
        InverseDynamics.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds no inverse_dynamics\.json"):
        InverseDynamics.from_pretrained(tmp_path)
    network().save_pretrained(tmp_path / "net")
    file = tmp_path / "net" / "inverse_dynamics.json"
    text = file.read_text()
    for broken, message in (
        (text[:20], "no valid JSON"),
        (text.replace('"width"', '"wdth"'), "describes no inverse dynamics"),
        (text.replace('"width": 8', '"width": 4'), r"stem.weight is \[8, 6, 9, 9\] where \[4, 6, 9, 9\]"),
        (text.replace('"blocks": 1', '"blocks": 0'), "is not part of this network"),
    ):
        file.write_text(broken)
        with pytest.raises(ValueError, match=message) as caught:
            InverseDynamics.from_pretrained(tmp_path / "net")
        assert "\n" not in str(caught.value)
        assert str(tmp_path / "net") in str(caught.value)


def _yaml(folder: Path, text: str) -> Path:
    (folder / "settings.yaml").write_text(text)
    return folder / "settings.yaml"
