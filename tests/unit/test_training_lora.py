"""Adapters add nothing at first, leave the base alone, and merge into a model as any other."""

from pathlib import Path

import pytest
import torch
from tiny import TINY_TOKENIZER, TINY_TRANSFORMER, clips

from ivideo.embedding import EmbeddingConfig
from ivideo.training import LoopConfig, OptimizerConfig, RunConfig, RunFolder, checkpoints, fit
from ivideo.training.lora import LoRAConfig, adapt, merged
from ivideo.training.world_model import WorldModelTraining
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import VideoTokenizer


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "sync", lambda path: None)


def build(lora: LoRAConfig | None) -> WorldModel:
    torch.manual_seed(0)
    config = WorldModelConfig(transformer=TINY_TRANSFORMER, embedding=EmbeddingConfig(action_dim=2))
    model = WorldModel(VideoTokenizer(TINY_TOKENIZER).requires_grad_(False), config).eval()
    if lora is not None:
        adapt(model, lora)
    return model


def train(steps: int, folder: Path, *, resume: bool = False) -> WorldModel:
    model = build(LoRAConfig(rank=2, dropout=0.1)).train()
    model.tokenizer.eval()
    loop = LoopConfig(steps=steps, log_every=1, evaluate_every=None, checkpoint_every=100, accelerator="cpu")
    with RunFolder(RunConfig(folder=folder, tensorboard=False), resume=resume) as run:
        fit(
            model,
            model.loss,
            clips,
            loop=loop,
            optimizer=OptimizerConfig(lr=0.01),
            run=run,
            export=lambda path: merged(model).save_pretrained(path),
        )
    return model.eval()


def test_adapters_add_nothing_before_the_first_update() -> None:
    plain, adapted, batch = build(None), build(LoRAConfig()), clips(0)
    with torch.no_grad():
        tokens = plain.tokenize(batch)
        assert torch.equal(plain(tokens.codes, tokens.actions), adapted(tokens.codes, tokens.actions))
        assert torch.equal(plain.loss(batch)[0], adapted.loss(batch)[0])
    first, second = (
        model.predict(batch.frames[0, :2], batch.actions[0, 1:], seed=1)  # type: ignore[index]
        for model in (plain, adapted)
    )
    assert torch.equal(first, second)


def test_only_adapters_and_what_is_not_the_transformer_learn(tmp_path: Path) -> None:
    before, after = build(LoRAConfig(rank=2)).state_dict(), train(4, tmp_path / "run").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in changed if name.startswith("transformer.")} == {name for name in before if "lora_" in name}
    assert any(name.startswith("embedding.") for name in changed)  # the action projection


def test_what_is_exported_is_a_plain_model_that_computes_the_same(tmp_path: Path) -> None:
    model = train(4, tmp_path / "run")
    plain = WorldModel.from_pretrained(tmp_path / "run" / "model").eval()
    assert plain.state_dict().keys() == build(None).state_dict().keys()
    assert any("lora_" in name for name in model.state_dict())  # merging was done on a copy
    with torch.no_grad():
        tokens = model.tokenize(clips(9))
        mine, theirs = (each(tokens.codes, tokens.actions) for each in (model, plain))
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_a_run_with_adapters_resumes_to_the_last_bit(tmp_path: Path) -> None:
    whole = train(6, tmp_path / "whole").state_dict()
    train(3, tmp_path / "parts")
    parts = train(6, tmp_path / "parts", resume=True).state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_adapters_on_a_transformer_that_knows_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="init names none"):
        WorldModelTraining(lora=LoRAConfig())


@pytest.mark.parametrize("options", [{"rank": 0}, {"alpha": 0.0}, {"dropout": 1.0}])
def test_adapters_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        LoRAConfig(**options)  # type: ignore[arg-type]
