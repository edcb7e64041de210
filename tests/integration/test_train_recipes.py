"""`ivideo train tokenizer` and `ivideo train world-model`, from episodes to a model that imagines."""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ivideo.cli import main
from ivideo.config import load_config
from ivideo.data import EpisodeStore, SegmentSampler
from ivideo.episode import Batch, Episode
from ivideo.hub import find_tokenizer
from ivideo.training import checkpoints
from ivideo.training.held_out import dream, reconstruct
from ivideo.training.token_cache import TokenCache
from ivideo.training.tokenizer import TokenizerObjective, TokenizerTraining, train_tokenizer
from ivideo.training.world_model import WorldModelTraining, train_world_model
from ivideo.world_model import WorldModel
from tokenizer import VideoTokenizer, losses

TOKENIZER = """
data: {frames: 6}
targets: 2
tokenizer: {resolution: 16, channels: [8, 16], blocks_per_level: 1, mid_blocks: 0, stem_stride: 2, latent_channels: 8,
  code_dim: 4, context_codes: 16, dynamics_codes: 16, patch_size: 2, context_frames: 2, max_attention_resolution: 4,
  norm_groups: 4, dropout: 0.1, quantizer: {kind: EMAVQ, warmup_steps: 3}}
loss: {l1: 0.0, mse: 10.0}
optimizer: {lr: 2.0e-3}
loop: {steps: 8, batch_size: 4, log_every: 2, evaluate_every: 4, checkpoint_every: 4, accelerator: cpu}
evaluation: {clips: 4, pictures: 2}
run: {tensorboard: false}
"""
WORLD_MODEL = """
data: {frames: 6}
model:
  transformer: {width: 16, layers: 2, heads: 2, ffn_width: 32, max_positions: 64}
  embedding: {action_dim: 2}
  heads: {reward: true}
optimizer: {lr: 2.0e-3, muon_lr: 0.01, ema_decay: 0.9}
loop: {steps: 8, batch_size: 4, log_every: 2, evaluate_every: 4, checkpoint_every: 4, accelerator: cpu}
evaluation: {clips: 4, pictures: 2}
run: {tensorboard: false}
"""


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "sync", lambda path: None)


def store(seed: int, episodes: int) -> EpisodeStore:
    """A bright square that moves as the action says."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(episodes):
        actions = torch.rand(7, 2, generator=generator) * 2 - 1
        places = torch.cat([torch.tensor([[6.0, 6.0]]), 6 + 3 * actions.cumsum(0)]).clamp(0, 12).round().long()
        frames = torch.full((8, 3, 16, 16), 30, dtype=torch.uint8)
        for frame, (row, column) in zip(frames, places.tolist(), strict=True):
            frame[:, row : row + 4, column : column + 4] = 220
        made.append(Episode(frames=frames, actions=actions, rewards=actions[:, 0].clone(), name=f"{seed}/{number}"))
    return EpisodeStore(made, source="squares")


EPISODES = (store(0, 6), store(1, 2))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[TokenizerTraining, WorldModelTraining]:
    """Settings of both recipes, the second on the first one's result, which is trained."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "tokenizer.yaml").write_text(TOKENIZER)
    (folder / "world_model.yaml").write_text(WORLD_MODEL)
    first = load_config(TokenizerTraining, folder / "tokenizer.yaml")
    first = replace(first, run=replace(first.run, folder=folder / "tokenizer"))
    second = load_config(WorldModelTraining, folder / "world_model.yaml")
    second = replace(
        second, run=replace(second.run, folder=folder / "world_model"), tokenizer=str(folder / "tokenizer")
    )
    result = train_tokenizer(first, EPISODES)
    assert (result.step, result.exit_code) == (8, 0)
    return first, second


def in_folder(settings: WorldModelTraining, folder: Path) -> WorldModelTraining:
    return replace(settings, run=replace(settings.run, folder=folder))


def figures(folder: Path) -> dict[str, float]:
    merged: dict[str, float] = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        merged |= json.loads(line)
    return merged


def test_a_tokenizer_run_leaves_a_tokenizer_and_figures(settings: tuple[TokenizerTraining, WorldModelTraining]) -> None:
    folder = settings[0].run.folder
    tokenizer = find_tokenizer(str(folder))
    assert tokenizer.config == settings[0].tokenizer
    names = {"held_out/psnr", "held_out/copy_last", "held_out/changed_psnr", "held_out/changed_copy_last"}
    assert names | {"loss", "dynamics/psnr", "dynamics/perplexity"} <= figures(folder).keys()
    assert (folder / "media" / "00000008-reconstruction.png").is_file()
    assert load_config(TokenizerTraining, folder / "config.yaml") == settings[0]


@pytest.mark.parametrize("cache", [None, 12])
def test_a_world_model_run_leaves_a_model_that_imagines(
    settings: tuple[TokenizerTraining, WorldModelTraining], tmp_path: Path, cache: int | None
) -> None:
    result = train_world_model(replace(in_folder(settings[1], tmp_path / "run"), token_cache=cache), EPISODES)
    assert (result.step, result.exit_code) == (8, 0)
    names = {f"held_out/{name}_{place}" for name in ("psnr", "copy_last", "shuffled") for place in (1, 4)}
    assert names | {"held_out/cross_entropy", "held_out/reward", "cross_entropy", "reward"} <= result.figures.keys()
    model = WorldModel.from_pretrained(tmp_path / "run" / "model")
    episode = EPISODES[1][0]
    assert episode.actions is not None
    assert model.predict(episode.frames[:2], episode.actions[1:5]).shape == (1, 6, 3, 16, 16)


def test_training_leaves_the_tokenizer_as_it_was(
    settings: tuple[TokenizerTraining, WorldModelTraining], tmp_path: Path
) -> None:
    train_world_model(in_folder(settings[1], tmp_path / "run"), EPISODES)
    before = find_tokenizer(str(settings[0].run.folder)).state_dict()
    after = find_tokenizer(str(tmp_path / "run")).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("which", ["tokenizer", "world model"])
def test_a_recipe_resumed_twice_is_the_recipe_never_stopped(
    settings: tuple[TokenizerTraining, WorldModelTraining],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    which: str,
) -> None:
    def leg(folder: str, *, resume: bool, stop: int | None) -> int:
        draw = SegmentSampler.batch

        def batch(self: SegmentSampler, step: int, batch_size: int) -> Batch:
            if step == stop:
                os.kill(os.getpid(), signal.SIGINT)
            return draw(self, step, batch_size)

        with monkeypatch.context() as patch:
            patch.setattr(SegmentSampler, "batch", batch)
            config = settings[0] if which == "tokenizer" else settings[1]
            config = replace(
                config,
                run=replace(config.run, folder=tmp_path / folder),
                loop=replace(config.loop, prefetch=False, evaluate_every=None),
                resume=resume,
            )
            train = train_tokenizer if isinstance(config, TokenizerTraining) else train_world_model
            return train(config, EPISODES).exit_code  # type: ignore[arg-type]

    assert leg("whole", resume=False, stop=None) == 0
    assert [leg("parts", resume=bool(n), stop=stop) for n, stop in enumerate([2, 6, None])] == [130, 130, 0]
    for name in ("model", "optimizer"):
        whole, parts = (
            (tmp_path / folder / "checkpoints" / "step-00000008" / f"{name}.safetensors").read_bytes()
            for folder in ("whole", "parts")
        )
        assert whole == parts


def test_the_cache_gives_the_codes_of_its_windows(settings: tuple[TokenizerTraining, WorldModelTraining]) -> None:
    model = WorldModel(find_tokenizer(str(settings[0].run.folder)), settings[1].model).eval()
    windows = settings[1].data.sampler(EPISODES[0], seed=0)

    def codes(cache: TokenCache, index: int) -> list[list[int]]:
        return cache.batch(index, 6).codes.dynamics.flatten(1).tolist()

    cache = TokenCache(model, windows, size=6, seed=0, refresh=2)
    first = [codes(cache, index) for index in range(4)]
    truth = [model.tokenize(windows.batch(part, 16)).codes.dynamics.flatten(1).tolist()[:6] for part in (0, 1)]
    assert [sorted(batch) for batch in first] == [sorted(truth[0])] * 2 + [sorted(truth[1])] * 2
    again = TokenCache(model, windows, size=6, seed=0, refresh=2)
    assert [codes(again, index) for index in (3, 0)] == [first[3], first[0]]


def test_fine_tuning_starts_from_the_weights_and_may_freeze_the_codebooks(
    settings: tuple[TokenizerTraining, WorldModelTraining], tmp_path: Path
) -> None:
    config = replace(
        settings[0],
        tokenizer=replace(settings[0].tokenizer, context_frames=1, dropout=0.0),
        init=str(settings[0].run.folder),
        freeze_codebooks=True,
        run=replace(settings[0].run, folder=tmp_path / "tuned"),
    )
    train_tokenizer(config, EPISODES)
    before, after = find_tokenizer(str(settings[0].run.folder)), find_tokenizer(str(tmp_path / "tuned"))
    assert after.config.context_frames == 1
    assert torch.equal(before.context_codebook, after.context_codebook)
    assert torch.equal(before.dynamics_codebook, after.dynamics_codebook)
    assert not torch.equal(before.quant_linear.weight, after.quant_linear.weight)


class Mean(nn.Module):
    """Stands in for LPIPS."""

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        return (made - real).square().mean()


class Discriminator(nn.Conv2d):
    """Stands in for the patch discriminator."""

    def __init__(self, input_nc: int, ndf: int, n_layers: int) -> None:
        super().__init__(input_nc, 1, n_layers + 1)


def test_the_discriminator_learns_from_its_own_loss_alone(
    settings: tuple[TokenizerTraining, WorldModelTraining], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = ModuleType("taming.modules.discriminator.model")
    library.NLayerDiscriminator, library.weights_init = Discriminator, lambda module: None  # type: ignore[attr-defined]
    for name in ("taming", "taming.modules", "taming.modules.discriminator"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, library.__name__, library)
    monkeypatch.setattr(losses, "load_lpips", lambda backbone, heads: Mean())
    adversarial = losses.AdversarialConfig(start_step=2)
    config = replace(settings[0], loss=losses.TokenizerLossConfig(lpips=1.0, adversarial=adversarial))
    tokenizer = VideoTokenizer(replace(config.tokenizer, dropout=0.0))
    training = TokenizerObjective(config, tokenizer, EPISODES[0])
    tokenizer.eval()  # so that a second pass gives the same frames
    discriminator = training.criterion.discriminator
    assert discriminator is not None
    early, late = training.batch(1), training.batch(2)
    training.loss(early)[0].backward()
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    loss, logs = training.loss(late)
    loss.backward()
    assert {"adversarial", "discriminator/loss"} <= logs.keys()
    alone, _ = training.criterion.discriminator_loss(late.frames, tokenizer(late.frames), step=2)
    wanted = torch.autograd.grad(alone, list(discriminator.parameters()))
    for parameter, gradient in zip(discriminator.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert set(dict(training.module.named_parameters())) > {"discriminator.weight", "tokenizer.quant_linear.weight"}


def test_a_world_model_learns_actions_on_top_of_one_without(
    settings: tuple[TokenizerTraining, WorldModelTraining], tmp_path: Path
) -> None:
    free = replace(settings[1].model, embedding=replace(settings[1].model.embedding, action_dim=0))
    train_world_model(in_folder(replace(settings[1], model=free), tmp_path / "free"), EPISODES)
    config = replace(
        in_folder(settings[1], tmp_path / "acting"),
        tokenizer=None,
        init=str(tmp_path / "free" / "model"),
        loop=replace(settings[1].loop, steps=1, evaluate_every=None),
        optimizer=replace(settings[1].optimizer, lr=1e-12, muon_lr=1e-12, ema_decay=0.0),
    )
    train_world_model(config, EPISODES)
    before = WorldModel.from_pretrained(tmp_path / "free" / "model")
    after = WorldModel.from_pretrained(tmp_path / "acting" / "model")
    torch.testing.assert_close(before.transformer.state_dict(), after.transformer.state_dict())
    assert after.action_dim == 2


def test_a_goal_conditioned_model_is_shown_the_goal_first(
    settings: tuple[TokenizerTraining, WorldModelTraining], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    encode = VideoTokenizer.encode

    def watched(self: VideoTokenizer, frames: Tensor) -> Any:
        seen.append(frames)
        return encode(self, frames)

    monkeypatch.setattr(VideoTokenizer, "encode", watched)
    config = in_folder(replace(settings[1], model=replace(settings[1].model, goal_conditioned=True)), tmp_path / "run")
    train_world_model(replace(config, loop=replace(config.loop, steps=1, evaluate_every=None)), EPISODES)
    expected = SegmentSampler(
        EPISODES[0], config.data.frames, config.data.stride, config.loop.seed, order="goal_first", context=2
    )
    assert torch.equal(seen[0].cpu(), expected.batch(0, config.loop.batch_size).frames)


def test_evaluations_measure_what_they_say(settings: tuple[TokenizerTraining, WorldModelTraining]) -> None:
    clips = settings[0].data.clips(EPISODES[1], 4)
    tokenizer = find_tokenizer(str(settings[0].run.folder))
    still = Batch(frames=clips.frames[:, :1].expand_as(clips.frames), actions=clips.actions, rewards=clips.rewards)
    assert reconstruct(tokenizer, still, 0).figures["held_out/copy_last"] == 100.0
    found = reconstruct(tokenizer, clips, 1)
    assert found.figures["held_out/copy_last"] < 30
    assert found.videos["reconstruction"].shape == (1, 2, 6, 3, 16, 16)
    assert torch.equal(found.videos["reconstruction"][0, 0], clips.frames[0])
    model = WorldModel(tokenizer, settings[1].model).eval()
    dreamt = dream(model, clips, 2)
    assert dream(model, still, 0).figures["held_out/copy_last_4"] == 100.0
    assert dreamt.figures["held_out/copy_last_4"] < 30
    assert dreamt.videos["dream"].shape == (2, 3, 6, 3, 16, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "world-model"], "no tokenizer is given"),
        (["train", "world-model", "--tokenizer", "runs/none"], "runs/none"),
        (["train", "tokenizer", "--data.source", "nowhere"], "nowhere"),
        (["train", "tokenizer", "--loop.step", "3"], "did you mean --loop.steps"),
        (["train", "tokenizer", "--data.frames", "2", "--data.limit", "2"], "all of it context"),
        (["train", "tokenizer", "--config", "oxe46"], "tokenizer/oxe64"),
    ],
)
def test_mistakes_are_one_line_on_the_command_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--tokenizer.channels", "[32]", "--tokenizer.max_attention_resolution", "64"]
    assert main([*arguments, *(small if "--data.frames" in arguments else [])]) == 2
    shown = capsys.readouterr().err.strip()
    assert message in shown
    assert len(shown.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert main(["train", "tokenizer", "--loop.accelerator", "cuda", "--run.folder", str(folder)]) == 2
    assert "sees no such device" in capsys.readouterr().err
    assert not folder.exists()


def test_a_file_in_the_place_of_the_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "run"
    place.write_text("mine")
    assert main(["train", "tokenizer", "--run.folder", str(place)]) == 2
    assert "it is a file, not a folder" in capsys.readouterr().err
    assert place.read_text() == "mine"
