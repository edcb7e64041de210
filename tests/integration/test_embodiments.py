"""One model of several bodies: it trains on their mixture, is measured on each, and grows out of simpler models."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY_TOKENIZER
from tiny_mixture import Mixture
from tiny_rollouts import build, clip
from tiny_text import SIZE, save_text_encoder

from ivideo.cli import main
from ivideo.controls import Controls
from ivideo.embedding import EmbeddingConfig
from ivideo.embodiments import Domain
from ivideo.episode import Episode
from ivideo.heads import HeadsConfig
from ivideo.training import LoopConfig, OptimizerConfig, fit
from ivideo.training.held_out import dream
from ivideo.training.weights import start_from
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import VideoTokenizer
from tokenizer.checkpoint import save_tokenizer

DOMAINS = (Domain(name="arm", action_dim=3), Domain(name="table", action_dim=2), Domain(name="pictures"))


def episodes(count: int, frames: int, action_dim: int | None, words: str = "", seed: int = 0) -> list[Episode]:
    generator = torch.Generator().manual_seed(seed)
    return [
        Episode(
            frames=clip(frames, 1, seed=seed + number)[0],
            actions=None if action_dim is None else torch.randn(frames - 1, action_dim, generator=generator),
            instruction=words,
        )
        for number in range(count)
    ]


def picture(caption: str, context: int, seed: int) -> Episode:
    """A single image as a clip: white frames in place of what came before, then the image (UniSim, section 3.1)."""
    white = torch.full((context, 3, 32, 32), 255, dtype=torch.uint8)
    return Episode(frames=torch.cat([white, clip(1, 1, seed=seed)[0]]), instruction=caption)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_text_encoder(tmp_path_factory.mktemp("t5"))


def mixture() -> Mixture:
    pictures = [picture(caption, 2, seed) for seed, caption in enumerate(["red can", "blue block"])]
    return Mixture([episodes(3, 7, 3), episodes(2, 6, 2, "push left", seed=9), pictures], frames=5)


def test_a_mixture_with_single_images_trains(encoder: str) -> None:
    from ivideo.instructions import TextConfig

    embedding = EmbeddingConfig(
        domains=DOMAINS,
        scale_actions=True,
        text=TextConfig(encoder=encoder, size=SIZE),
        action_dropout=0.2,
        action_on="frame",
        guide=8,
    )
    model = build(embedding, full=False, loss_weights="harmonious")
    model.state_ranges({"arm": torch.randn(9, 3), "table": torch.randn(9, 2)})
    batches, seen = mixture(), []
    batch = batches.batch(0, 6)
    assert batch.mask is not None
    assert batch.mask[2].tolist() == [True, True, True, False, False]

    def loss(step_batch):  # type: ignore[no-untyped-def]
        total, parts = model.loss(step_batch)
        seen.append(float(parts["cross_entropy"]))
        return total, parts

    model.train().tokenizer.eval().requires_grad_(False)
    loop = LoopConfig(steps=25, batch_size=6, evaluate_every=None, accelerator="cpu")
    fit(model, loss, lambda index: batches.batch(index % 3, 6), loop=loop, optimizer=OptimizerConfig(lr=3e-3))
    assert sum(seen[-3:]) < 0.9 * sum(seen[:3])
    found = dream(model.eval(), batches.batch(0, 6), pictures=1, names=model.embodiments.names)
    for name in ("arm", "table", "pictures"):
        assert f"held_out/{name}/cross_entropy" in found.figures
        assert f"dream-{name}" in found.videos
    mean = sum(found.figures[f"held_out/{name}/psnr_1"] for name in ("arm", "table", "pictures")) / 3
    assert found.figures["held_out/psnr_1"] == pytest.approx(mean)


@pytest.fixture(scope="module")
def robots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of two data sets on disk, a tokenizer, and a config that trains a model of both."""
    root = tmp_path_factory.mktemp("robots")
    for name, action_dim in (("arm", 3), ("table", 2)):
        (root / name).mkdir()
        for number, episode in enumerate(episodes(3, 8, action_dim, seed=action_dim)):
            assert episode.actions is not None
            arrays = {"frames": episode.frames.numpy(), "actions": episode.actions.numpy()}
            np.savez(root / name / f"{number}.npz", **arrays)
    torch.manual_seed(0)
    save_tokenizer(VideoTokenizer(TINY_TOKENIZER), root / "tokenizer")
    (root / "mixture.yaml").write_text(
        "sets: [{name: arm, source: arm, weight: 1}, {name: table, source: table, weight: 1}]\n"
    )
    (root / "world_model.yaml").write_text(f"""
data: {{mixture: {root}/mixture.yaml, root: {root}, held_out: last, frames: 5}}
tokenizer: {root}/tokenizer
model:
  transformer: {{width: 16, layers: 1, heads: 2, ffn_width: 24, max_positions: 128}}
  embedding: {{domains: [{{name: arm, action_dim: 3}}, {{name: table, action_dim: 2}}], scale_actions: true}}
loop: {{steps: 3, batch_size: 4, evaluate_every: 3, accelerator: cpu}}
evaluation: {{clips: 4, pictures: 1}}
run: {{folder: {root}/run, tensorboard: false}}
""")
    return root


def train(robots: Path, run: Path, *options: str) -> int:
    return main(
        ["train", "world-model", "--config", str(robots / "world_model.yaml"), "--run.folder", str(run), *options]
    )


def test_a_mixture_on_disk_becomes_a_model_that_serves_each_of_its_bodies(
    robots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(robots, run, "--token_cache", "8") == 0
    figures = (run / "metrics.jsonl").read_text()
    assert all(
        f"held_out/{name}/{figure}" in figures for name in ("arm", "table") for figure in ("psnr_1", "shuffled_1")
    )
    model = WorldModel.from_pretrained(run / "model")
    assert model.embodiments.names == ["arm", "table"]
    assert all(domain.low is not None for domain in model.embodiments.domains)
    capsys.readouterr()
    assert main(["info", str(run)]) == 0
    assert "arm (3 values), table (2 values)" in capsys.readouterr().out
    asked = ["--source", str(robots / "arm"), "--frames", "2", "--horizons", "1,2", "--held_out", "all"]
    assert main(["evaluate", str(run), *asked, "--domain", "arm", "--guidance", "0.5"]) == 0
    assert main(["evaluate", str(run), *asked, "--domain", "table"]) == 2
    assert "domain table takes 2" in capsys.readouterr().err
    film = ["--frames", "2", "--samples", "1", "--domain", "arm", "--out", str(tmp_path / "futures.mp4")]
    assert main(["predict", str(run), str(robots / "arm"), *film]) == 0


DOMAINS_OPTION = "--model.embedding.domains"


def test_a_model_without_domains_is_measured_on_each_set_too(robots: Path, tmp_path: Path) -> None:
    options = [DOMAINS_OPTION, "[]", "--model.embedding.action_dim", "3", "--model.embedding.scale_actions", "false"]
    assert train(robots, tmp_path / "run", *options) == 0
    figures = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "held_out/arm/cross_entropy" in figures
    assert "held_out/table/cross_entropy" in figures


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model.embedding.domains", "[{name: table, action_dim: 2}, {name: arm, action_dim: 3}]"],
            "mixes arm, table",
        ),
        (["--model.embedding.domains", "[{name: arm, action_dim: 3}, {name: table, action_dim: 1}]"], "action_dim: 2"),
        (
            ["--data.mixture", "null", "--data.source", "pushing_table", "--data.limit", "4"],
            "does not say of which its episodes are",
        ),
    ],
)
def test_domains_that_are_not_those_of_the_data_are_refused(
    robots: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(robots, tmp_path / "run", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_padding_of_an_image_carries_no_loss() -> None:
    model = build(EmbeddingConfig(domains=DOMAINS))
    batch = mixture().batch(0, 3)
    changed = batch.frames.clone()
    changed[2, 3:] = 0  # what follows the image
    assert torch.equal(model.loss(replace(batch, frames=changed))[0], model.loss(batch)[0])
    changed[2, 2] = 0  # the image itself
    assert not torch.equal(model.loss(replace(batch, frames=changed))[0], model.loss(batch)[0])


FREE, GUIDED, ACTING = EmbeddingConfig(), EmbeddingConfig(code_vectors=True, guide=8), EmbeddingConfig(action_dim=3)
KINDS = ["action", "domains", "bins", "text", "reward"]


@pytest.mark.parametrize(
    ("base", "kind"), [*product((FREE, GUIDED), KINDS), *product((ACTING,), ["domains", "bins", "text", "reward"])]
)
def test_what_a_model_grows_changes_no_logit_before_the_first_update(
    base: EmbeddingConfig, kind: str, encoder: str, tmp_path: Path
) -> None:
    """Action-free pre-training first, actions and rewards stacked on top (as in APV), or any other addition."""
    from ivideo.instructions import TextConfig

    old = build(base)
    old.save_pretrained(tmp_path / "old")
    domains = tuple(replace(each, low=(-1.0,) * each.action_dim, high=(1.0,) * each.action_dim) for each in DOMAINS)
    grown = {
        "action": {"action_dim": 4},
        "domains": {"action_dim": 3, "domains": domains},
        "bins": {"action_dim": 3, "domains": domains, "bins": 16},
        "text": {"text": TextConfig(encoder=encoder, size=SIZE)},
        "reward": {},
    }
    torch.manual_seed(1)
    heads = HeadsConfig(reward=kind == "reward", termination=kind == "reward")
    config = replace(old.config, embedding=replace(base, **grown[kind]), heads=heads)  # type: ignore[arg-type]
    model = WorldModel(old.tokenizer, config).eval()
    start_from(model, str(tmp_path / "old"))
    told = {
        "action": Controls(actions=torch.randn(2, 2, 4)),
        "domains": Controls(actions=torch.randn(2, 2, 3), domains=torch.tensor([0, 1])),
        "bins": Controls(actions=torch.randn(2, 2, 3), domains=torch.tensor([0, 1])),
        "text": Controls(text=torch.randn(2, SIZE)),
        "reward": Controls(),
    }[kind]
    codes = old.tokenizer.encode(clip(4))
    assert torch.equal(model.logits(model(codes, told)), old.logits(old(codes)))


def test_what_is_added_learns_from_the_first_update_on(tmp_path: Path) -> None:
    """Zero must be a place to leave: every new tensor that reads actions has a gradient."""
    old = build(GUIDED)
    old.save_pretrained(tmp_path / "old")
    embedding = replace(GUIDED, domains=DOMAINS)
    model = WorldModel(old.tokenizer, WorldModelConfig(transformer=old.config.transformer, embedding=embedding))
    start_from(model, str(tmp_path / "old"))
    model.loss(mixture().batch(0, 6))[0].backward()
    new = {name: value for name, value in model.named_parameters() if name not in dict(old.named_parameters())}
    assert {"embedding.guide.action.arm.weight", "embedding.action.table.bias", "embedding.domain.table"} <= new.keys()
    assert all(value.grad.abs().sum() > 0 for name, value in new.items())


def test_a_model_of_several_bodies_is_taken_up_by_a_model_of_one(tmp_path: Path) -> None:
    old = build(EmbeddingConfig(domains=DOMAINS))
    old.save_pretrained(tmp_path / "old")
    config = replace(old.config, embedding=EmbeddingConfig(domains=DOMAINS[1:2]))
    model = WorldModel(old.tokenizer, config).eval()
    start_from(model, str(tmp_path / "old"))
    codes, actions = old.tokenizer.encode(clip(4)), torch.randn(2, 2, 2)
    padded = Controls(actions=torch.nn.functional.pad(actions, (0, 1)), domains=torch.tensor([1, 1]))
    torch.testing.assert_close(model(codes, actions), old(codes, padded))
