"""The world model learns from played episodes: what moves, what stays, and that it can be saved half-way."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_rollouts import build

from ivideo import Episode, WorldModel
from ivideo.embedding import EmbeddingConfig
from ivideo.training import OptimizerConfig, ScheduleConfig
from rl.imagination import Imagination, ImaginationConfig, ModelLearner, ModelLearnerConfig
from rl.imagination.windows import clips, windows
from rl.replay import Replay
from tokenizer.losses import TokenizerLossConfig

SMALL = ModelLearnerConfig(batch_size=3, frames=5, targets=2)


def episode(length: int, seed: int = 0, *, terminal: bool = False) -> Episode:
    """Frame t is flat and of value `10 * seed + t`, and reward t (which arrives with frame t+1) is t+1."""
    values = torch.arange(10 * seed, 10 * seed + length, dtype=torch.uint8)
    return Episode(
        frames=values[:, None, None, None].expand(length, 3, 32, 32).contiguous(),
        actions=torch.arange(length - 1.0)[:, None].expand(-1, 2) / 10,
        rewards=torch.arange(1.0, length),
        terminal=terminal,
        name=f"played-{seed}",
    )


def filled(*episodes: Episode) -> Replay:
    replay = Replay()
    replay.preload(episodes or (episode(8), episode(12, 2)))
    return replay


@pytest.fixture
def make() -> Callable[..., WorldModel]:
    def made(**options: object) -> WorldModel:
        how = {"heads": True, "full": False, **options}
        return build(EmbeddingConfig(action_dim=2, action_on="frame", guide=8, code_vectors=True), **how)

    return made


def snapshot(model: WorldModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def moved(before: dict[str, torch.Tensor], model: WorldModel) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def is_codebook(name: str) -> bool:
    return name.startswith(("tokenizer.quantize.", "tokenizer.dynamics_quantize."))


@pytest.mark.parametrize("precision", ["float32", "bf16-mixed"])
def test_each_update_moves_its_own_part_and_never_a_codebook(make, precision: str) -> None:
    model, replay = make(), filled()
    learner = ModelLearner(model, replace(SMALL, precision=precision), seed=0)
    before = snapshot(model)
    figures = learner.update(replay)
    assert {"model/loss", "model/cross_entropy", "model/reward", "model/gradient_norm"} <= figures.keys()
    assert figures["model/skipped"] == 0
    changed = moved(before, model)
    assert changed
    assert not any(name.startswith("tokenizer.") for name in changed)
    assert any(name.startswith("heads.reward") for name in changed)
    before = snapshot(model)
    figures = learner.update_tokenizer(replay)
    assert {"tokenizer/loss", "tokenizer/psnr"} <= figures.keys()
    changed = moved(before, model)
    assert changed
    assert all(name.startswith("tokenizer.") and not is_codebook(name) for name in changed)


def test_codebooks_that_follow_a_moving_average_stay_as_well() -> None:
    model = WorldModel.from_pretrained("pushing_table")
    books = {name: value.clone() for name, value in model.state_dict().items() if is_codebook(name)}
    assert any("embed" in name for name in books)
    replay = Replay()
    frames = torch.randint(256, (6, 3, 64, 64), dtype=torch.uint8)
    replay.preload([Episode(frames=frames, actions=torch.zeros(5, 2), rewards=torch.zeros(5))])
    learner = ModelLearner(model, ModelLearnerConfig(batch_size=2, frames=4, targets=2), seed=0)
    learner.update_tokenizer(replay)
    assert learner.update(replay)["model/skipped"] == 0
    assert all(torch.equal(value, books[name]) for name, value in model.state_dict().items() if is_codebook(name))
    assert not model.training


def test_what_is_learned_is_learned(make) -> None:
    model, replay = make(), filled(episode(6))
    config = replace(SMALL, optimizer=OptimizerConfig(lr=3e-3))
    learner = ModelLearner(model, config, seed=0)
    figures = [learner.update(replay) for _ in range(40)]
    for name in ("model/cross_entropy", "model/reward"):
        first, last = (np.mean([each[name] for each in part]) for part in (figures[:5], figures[-5:]))
        assert last < 0.7 * first, name
    tokenizer = [learner.update_tokenizer(replay)["tokenizer/loss"] for _ in range(20)]
    assert np.mean(tokenizer[-3:]) < np.mean(tokenizer[:3])


def test_harmonious_weights_are_learned_with_the_rest(make) -> None:
    model, replay = make(loss_weights="harmonious"), filled()
    learner = ModelLearner(model, SMALL, seed=0)
    before = snapshot(model)
    figures = learner.update(replay)
    assert figures["model/sigma/reward"] == pytest.approx(float(before["harmony.s.reward"].exp()))
    assert {"harmony.s.cross_entropy", "harmony.s.reward"} <= moved(before, model)


@pytest.mark.parametrize("settle", [True, False])
def test_harmonious_scales_begin_where_they_settle(make, settle: bool) -> None:
    model, replay = make(loss_weights="harmonious"), filled()
    with torch.no_grad():
        for scale in model.harmony.s.values():
            scale.zero_()  # as in a new model
    figures = ModelLearner(model, replace(SMALL, settle_scales=settle), seed=0).update(replay)
    loss = figures["model/reward"]
    best = (loss + (loss**2 + 4 * loss) ** 0.5) / 2
    assert figures["model/sigma/reward"] == pytest.approx(best if settle else 1.0, rel=1e-5)
    # There, no small change makes the weighted loss smaller.
    weighed = [loss / sigma + np.log1p(sigma) for sigma in (best, 0.99 * best, 1.01 * best)]
    assert weighed[0] == min(weighed)
    learned = model.harmony.s["reward"].item()
    again = ModelLearner(model, replace(SMALL, settle_scales=settle), seed=1).update(replay)
    assert again["model/sigma/reward"] == pytest.approx(np.exp(learned))  # what was learned is not begun anew


def test_an_update_that_is_not_finite_is_counted_and_not_made(make) -> None:
    model, replay = make(), filled()
    learner = ModelLearner(model, SMALL, seed=0)
    learner.update(replay)
    before, memory = (
        snapshot(model),
        {name: value.clone() for name, value in learner.tensors()["model_optimizer"].items()},
    )
    handle = model.transformer.norm.weight.register_hook(lambda gradient: gradient * torch.nan)
    assert learner.update(replay) == {"model/skipped": 1.0}
    handle.remove()
    assert moved(before, model) == set()
    assert all(torch.equal(value, memory[name]) for name, value in learner.tensors()["model_optimizer"].items())
    assert all(weight.grad is None for weight in model.parameters())
    with torch.no_grad():
        kept = model.tokenizer.quant_linear.bias.clone()
        model.tokenizer.quant_linear.bias.fill_(torch.nan)
    assert learner.update_tokenizer(replay) == {"model/skipped": 2.0}
    with torch.no_grad():
        model.tokenizer.quant_linear.bias.copy_(kept)
    figures = learner.update(replay)
    assert figures["model/skipped"] == 2.0
    assert np.isfinite(list(figures.values())).all()


def test_a_learner_that_is_saved_goes_on_alike(make) -> None:
    replay, config = filled(), replace(SMALL, batch_size=2)
    options = {"loss_weights": "harmonious"}
    first = ModelLearner(make(**options), config, seed=3)
    first.update(replay)
    first.update_tokenizer(replay)
    tensors = {name: {k: v.clone() for k, v in part.items()} for name, part in first.tensors().items()}
    document = json.loads(json.dumps(first.document()))
    second = ModelLearner(make(**options), config, seed=99)
    second.load(tensors, document)
    for _ in range(2):
        assert first.update(replay) == second.update(replay)
        assert first.update_tokenizer(replay) == second.update_tokenizer(replay)
    assert moved(snapshot(first.model), second.model) == set()
    assert document == json.loads(json.dumps(document))
    with pytest.raises(ValueError, match="does not fit this world model"):
        ModelLearner(make(heads=False), config, seed=0).load(tensors, document)


def test_rollouts_use_the_weights_of_the_latest_update(make) -> None:
    model, replay = make(), filled()
    fast = OptimizerConfig(lr=0.05)
    learner = ModelLearner(model, replace(SMALL, optimizer=fast, tokenizer_optimizer=fast), seed=0)

    def imagined() -> tuple[torch.Tensor, torch.Tensor]:
        imagination = Imagination(model, ImaginationConfig(), stack=3, seed=0)
        made = imagination.rollouts(replay, lambda seen: torch.zeros(len(seen), 2), 4)
        return torch.cat([each.log_likelihood for each in made]), torch.stack([each.episode.frames for each in made])

    with torch.no_grad():
        model.heads.termination.bias.fill_(-100.0)
    (likelihood, _), (again, _) = imagined(), imagined()
    assert torch.equal(likelihood, again)
    learner.update(replay)
    with torch.no_grad():
        model.heads.termination.bias.fill_(-100.0)
    updated, frames = imagined()
    assert not torch.allclose(likelihood, updated)
    learner.update_tokenizer(replay)
    assert not torch.equal(imagined()[1], frames)


def test_windows_hold_what_happened_and_mask_what_did_not() -> None:
    replay = filled(episode(3), episode(9, 2, terminal=True))
    batch = windows(replay, np.random.default_rng(0), count=60, frames=5)
    short = batch.frames[:, 0, 0, 0, 0] < 10
    assert 0.3 < float(short.float().mean()) < 0.7  # episodes are drawn alike, whatever their length
    assert batch.mask[short].tolist() == [[True, True, True, False, False]] * int(short.sum())
    assert batch.rewards[short].tolist() == [[1.0, 2.0, 0.0, 0.0]] * int(short.sum())
    assert bool(batch.mask[~short].all())
    begins = batch.frames[~short, 0, 0, 0, 0].float() - 20
    assert set(begins.tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert torch.equal(batch.rewards[~short], begins[:, None] + torch.arange(1.0, 5.0))
    assert torch.equal(batch.terminals[~short, -1], (begins == 4).float())


def test_a_delay_gives_every_frame_a_later_reward() -> None:
    replay = filled(episode(6))
    batch = windows(replay, np.random.default_rng(0), count=40, frames=5, delay=1)
    assert batch.frames.shape[1] == 5
    assert batch.actions.shape[1] == batch.rewards.shape[1] == 4
    begins = batch.frames[:, 0, 0, 0, 0].float()
    assert begins.unique().tolist() == [0.0]  # a later window has no reward for its last frame
    # Reward r arrives with the frame of value r; one frame of delay gives that frame reward r+1.
    assert batch.rewards[0].tolist() == [2.0, 3.0, 4.0, 5.0]
    short = windows(filled(episode(5)), np.random.default_rng(0), count=1, frames=5, delay=1)
    assert short.mask.tolist() == [[True, True, True, True, False]]


def test_clips_keep_the_context_and_some_later_frames_in_order() -> None:
    shown = clips(filled(episode(12)), np.random.default_rng(0), count=50, frames=8, context=2, targets=3)
    values = shown[:, :, 0, 0, 0].int()
    assert values.shape == (50, 5)
    assert bool((values[:, 1] == values[:, 0] + 1).all())
    later = values[:, 2:] - values[:, :1]
    assert bool((later.diff(dim=1) > 0).all())
    assert later.min() == 2
    assert later.max() == 7
    assert len(later.unique(dim=0)) > 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": 2}, "all of it context"),
        ({"targets": 4}, "leave 3"),
        ({"frames": 60}, "over the transformer's 128 positions"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"optimizer": OptimizerConfig(ema_decay=0.9)}, "ema_decay 0.9"),
        ({"optimizer": OptimizerConfig(schedule=ScheduleConfig(shape="cosine"))}, "cosine schedule"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ModelLearner(make(), replace(SMALL, **change), seed=0)


def test_models_and_data_that_do_not_fit_are_refused(make) -> None:
    with pytest.raises(ValueError, match="takes no actions"):
        ModelLearner(build(EmbeddingConfig()), SMALL, seed=0)
    with pytest.raises(ValueError, match="weights were reduced"):
        ModelLearner(make().reduce("bfloat16"), SMALL, seed=0)
    learner = ModelLearner(make(), SMALL, seed=0)
    with pytest.raises(ValueError, match="nothing to learn from"):
        learner.update(Replay())
    wrong = Replay()
    wrong.preload([replace(episode(8), actions=torch.zeros(7, 5))])
    with pytest.raises(ValueError, match="an action has 5 values"):
        learner.update(wrong)


def test_the_published_settings_are_the_defaults() -> None:
    config = ModelLearnerConfig()
    assert (config.first_updates, config.every, config.tokenizer_every) == (1000, 10, 40)
    assert (config.batch_size, config.frames, config.targets) == (16, 12, 5)
    for each in (config.optimizer, config.tokenizer_optimizer):
        assert (each.lr, each.weight_decay, each.clip) == (1e-4, 0.0, 1.0)
    assert config.tokenizer_loss == TokenizerLossConfig()
    assert config.reward_delay == 0
