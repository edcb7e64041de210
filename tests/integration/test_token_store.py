"""Codes on disk are those that the tokenizer makes, in the sampler's order, and only what they were made for trains."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY_TOKENIZER, TINY_TRANSFORMER

from ivideo.bench import data as data_bench
from ivideo.data import npy
from ivideo.data.conversion import Conversion, convert
from ivideo.data.recorder import save_episodes
from ivideo.data.shards import verify
from ivideo.embedding import EmbeddingConfig
from ivideo.episode import Episode
from ivideo.heads import HeadsConfig
from ivideo.training.dataset import DataConfig
from ivideo.training.loop_config import LoopConfig
from ivideo.training.run import RunConfig
from ivideo.training.token_cache import StoredTokens
from ivideo.training.token_store import TokenStore
from ivideo.training.token_writer import Tokenization, main, tokenize
from ivideo.training.weights import find_tokenizer
from ivideo.training.world_model import WorldModelTraining, train_world_model
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import VideoTokenizer
from tokenizer.checkpoint import save_tokenizer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes and a tokenizer."""
    folder = tmp_path_factory.mktemp("tokens")
    generator = torch.Generator().manual_seed(0)
    episodes = [
        Episode(
            frames=torch.randint(0, 256, (5 + number, 3, 32, 32), dtype=torch.uint8, generator=generator),
            actions=torch.randn(4 + number, 2, generator=generator),
            rewards=torch.randn(4 + number, generator=generator),
        )
        for number in range(6)
    ]
    save_episodes(folder / "raw", episodes)
    convert(Conversion(source=str(folder / "raw"), out=str(folder / "data"), size=32, workers=1))
    torch.manual_seed(0)
    save_tokenizer(VideoTokenizer(TINY_TOKENIZER), folder / "tokenizer")
    return folder


def tokenization(place: Path, out: str, **how: object) -> Tokenization:
    data = DataConfig(source=str(place / "data"), frames=4)
    return replace(
        Tokenization(tokenizer=str(place / "tokenizer"), out=str(place / out), data=data, rows_per_shard=7), **how
    )


def training(place: Path, run: Path, store: str) -> WorldModelTraining:
    return WorldModelTraining(
        data=DataConfig(source=str(place / "data"), frames=4),
        tokenizer=str(place / "tokenizer"),
        token_store=str(place / store),
        model=WorldModelConfig(
            transformer=TINY_TRANSFORMER, embedding=EmbeddingConfig(action_dim=2), heads=HeadsConfig(reward=True)
        ),
        loop=LoopConfig(steps=2, batch_size=3, evaluate_every=None, accelerator="cpu"),
        run=RunConfig(folder=run, tensorboard=False),
    )


@pytest.fixture(scope="module")
def store(place: Path) -> TokenStore:
    return tokenize(tokenization(place, "codes"))


def test_rows_are_the_codes_of_the_samples(place: Path, store: TokenStore) -> None:
    tokenizer = find_tokenizer(str(place / "tokenizer")).eval()
    data = DataConfig(source=str(place / "data"), frames=4)
    windows = data.sampler(data.open(32)[0], 0, context=2)
    assert len(store) == windows.windows
    model = WorldModel(
        tokenizer, WorldModelConfig(transformer=TINY_TRANSFORMER, embedding=EmbeddingConfig(action_dim=2))
    )
    places = np.array([20, 3, 3, 8])
    with torch.no_grad():
        expected = model.eval().tokenize(windows.samples(places))
    found = store.rows(places)
    assert torch.equal(found.codes.context, expected.codes.context)
    assert torch.equal(found.codes.dynamics, expected.codes.dynamics)
    for name in ("actions", "rewards", "terminals", "mask"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert mine is not None
        assert torch.equal(mine, theirs), name
    assert store.tokens_per_row == 2 * TINY_TOKENIZER.context_tokens + 2 * TINY_TOKENIZER.dynamics_tokens
    assert store.instructions(places) == ("",) * 4
    assert verify(place / "codes") == []


def test_an_epoch_of_batches_deals_out_every_row_once(place: Path, store: TokenStore) -> None:
    model = WorldModel(find_tokenizer(str(place / "tokenizer")), WorldModelConfig(transformer=TINY_TRANSFORMER)).eval()
    rewards = store.rows(np.arange(len(store))).rewards
    assert rewards is not None
    tokens = StoredTokens(model, store, seed=1)
    size = len(store)
    for epoch in range(2):
        dealt = tokens.batch(epoch, size)
        assert dealt.actions is None, "the model takes none"
        assert dealt.rewards is not None
        assert not torch.equal(dealt.rewards, rewards)
        assert sorted(dealt.rewards.flatten().tolist()) == sorted(rewards.flatten().tolist())
    whole, half = tokens.batch(0, 6), StoredTokens(model, store, seed=1).batch(1, 3)
    assert torch.equal(whole.codes.dynamics[3:], half.codes.dynamics)


def test_an_interrupted_store_goes_on_to_the_same_bytes(
    place: Path, store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, left = npy.GrowingArray.append, 15

    def full(self: npy.GrowingArray, values: np.ndarray) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")
        append(self, values)

    with monkeypatch.context() as patch:
        patch.setattr(npy.GrowingArray, "append", full)
        with pytest.raises(OSError, match="codes2 cannot be written"):
            tokenize(tokenization(place, "codes2"))
    assert (place / "codes2" / "shard-00000").is_dir()
    assert not (place / "codes2" / "manifest.json").exists()
    tokenize(tokenization(place, "codes2"))
    one, other = (
        {str(file.relative_to(place / name)): file.read_bytes() for file in (place / name).rglob("*.*")}
        for name in ("codes", "codes2")
    )
    assert one == other


def test_training_on_stored_codes_is_training_on_codes(place: Path, store: TokenStore, tmp_path: Path) -> None:
    result = train_world_model(training(place, tmp_path / "run", "codes"))
    assert (result.step, result.exit_code) == (2, 0)


def test_codes_of_something_else_are_refused_by_name(place: Path, store: TokenStore, tmp_path: Path) -> None:
    wanted = training(place, tmp_path / "run", "codes")
    torch.manual_seed(1)
    save_tokenizer(VideoTokenizer(TINY_TOKENIZER), place / "another")
    for changed, message in (
        (replace(wanted, data=replace(wanted.data, frames=5)), "made with frames 4, training has 5"),
        (replace(wanted, data=replace(wanted.data, stride=2)), "made with stride 1, training has 2"),
        (replace(wanted, context_frames=1), "made with (tokenizer|context_frames)"),
        (replace(wanted, tokenizer=str(place / "another")), "made with tokenizer"),
        (replace(wanted, token_store=str(place / "data")), "holds 'ivideo episodes'; expected 'ivideo tokens'"),
    ):
        with pytest.raises(ValueError, match=message):
            train_world_model(changed)
    with pytest.raises(ValueError, match="two ways to the same codes"):
        replace(wanted, token_cache=4)
    assert not (tmp_path / "run").exists()


def test_the_verbs_say_what_they_did(place: Path, store: TokenStore, capsys: pytest.CaptureFixture[str]) -> None:
    where = [str(place / name) for name in ("data", "tokenizer", "few")]
    assert main([*where, "--data.frames", "4", "--windows", "5"]) == 0
    assert "5 windows of" in capsys.readouterr().out
    for name, unit in (("codes", "tokens"), ("data", "frames"), ("raw", "frames")):
        assert data_bench.main([str(place / name), "--seconds", "0.1", "--frames", "4", "--size", "32"]) == 0
        assert f"{unit} per second of one core" in capsys.readouterr().out
