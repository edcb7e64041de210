"""The published ways to adapt a pre-trained model: the tokenizer alone, or with actions, rewards, goals."""

import json
from pathlib import Path

import pytest
import torch
from broken_files import CODES, WEIGHTS, episode

from ivideo import WorldModel
from ivideo.cli import main
from ivideo.config import parse
from ivideo.hub import find_tokenizer
from ivideo.training.world_model import WorldModelTraining, build

WORLD = ["--config", "tiny_world.yaml", "--tokenizer", "null"]
CLIP = episode(frames=5).frames[None]


def settings(*options: str) -> WorldModelTraining:
    return parse(WorldModelTraining, [*WORLD, *options], prog="test")


def run(command: str) -> None:
    assert main(command.split()) == 0


@torch.no_grad()
def logits(model: WorldModel, actions: torch.Tensor | None = None) -> torch.Tensor:
    return model.eval().logits(model.forward(model.tokenizer.encode(CLIP), actions), "full")


@pytest.mark.usefixtures("among_files")
def test_a_tokenizer_is_adapted_alone_and_joins_the_transformer_that_knows_its_codes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    adapted, joined = tmp_path / "tokenizer", tmp_path / "joined"
    options = "--optimizer.lr 0.01 --optimizer.ema_decay 0.5 --optimizer.weight_decay 0.1 --evaluation.clips 1"
    run(
        f"train tokenizer --config tiny.yaml --init model --freeze_codebooks --loop.steps 3 --loop.batch_size 2 "
        f"--run.folder {adapted} {options}"
    )
    assert "tensors kept as they are" in capfd.readouterr().err
    before, after = find_tokenizer("model"), find_tokenizer(str(adapted))
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name]) == ("quantize." in name or not value.is_floating_point()), (
            name
        )
    run(f"convert model {joined} --tokenizer {adapted}")
    assert f"tokenizer -> {adapted}\n    bit for bit: codebooks" in capfd.readouterr().out
    assert (joined / WEIGHTS).read_bytes() == (Path("model") / WEIGHTS).read_bytes()
    assert (joined / CODES).read_bytes() == (adapted / "model/diffusion_pytorch_model.safetensors").read_bytes()
    fates = {line["fate"] for line in json.loads((joined / "migration.json").read_text())["lines"]}
    assert fates == {"kept", "replaced"}
    assert WorldModel.from_pretrained(joined).predict(CLIP[0, :2], frames=2).shape == (1, 4, 3, 32, 32)


@pytest.mark.usefixtures("among_files")
def test_a_tokenizer_trained_with_its_codebooks_does_not_join(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(f"train tokenizer --config tiny.yaml --init model --evaluation.clips 1 --run.folder {tmp_path / 'tokenizer'}")
    assert main(["convert", "model", str(tmp_path / "joined"), "--tokenizer", str(tmp_path / "tokenizer")]) == 2
    assert (
        "its codes mean something else to the transformer; train it with --freeze_codebooks" in capfd.readouterr().err
    )
    assert not (tmp_path / "joined").exists()


@pytest.mark.usefixtures("among_files")
def test_an_action_free_model_is_its_action_conditioned_self_before_the_first_update(
    capfd: pytest.CaptureFixture[str],
) -> None:
    model, report = build(settings("--init", "free", "--model.embedding.action_dim", "3"))
    assert report is not None
    assert report.promises[0].change == "action_dim 0 -> 3"
    assert "action_dim 0 -> 3\n    bit for bit: the model as it was" in capfd.readouterr().err
    assert torch.equal(logits(model, torch.randn(1, 3, 3)), logits(WorldModel.from_pretrained("free")))


@pytest.mark.usefixtures("among_files")
@pytest.mark.parametrize(
    ("options", "change"),
    [
        (["--model.heads.termination", "--model.heads.reward"], "termination added"),
        ([], "reward removed"),
        (["--model.goal_conditioned"], "goal_conditioned False -> True"),
        (["--model.heads.reward", "--model.transformer.max_positions", "512"], "max_positions 128 -> 512"),
        (["--model.heads.reward", "--model.embedding.guide", "4"], "embedding.guide or embedding.code_vectors"),
    ],
)
def test_heads_goals_and_options_leave_the_logits_before_the_first_update(options: list[str], change: str) -> None:
    model, report = build(settings("--init", "model", "--model.embedding.action_dim", "2", *options))
    assert report is not None
    assert change in [promise.change for promise in report.promises]
    actions = torch.randn(1, 3, 2)
    assert torch.equal(logits(model, actions), logits(WorldModel.from_pretrained("model"), actions))


@pytest.mark.usefixtures("among_files")
def test_a_setting_that_no_shape_shows_is_told_of() -> None:
    options = ["--init", "model", "--model.embedding.action_dim", "2", "--model.embedding.action_on", "frame"]
    _, report = build(settings(*options, "--model.transformer.heads", "4", "--model.heads.reward"))
    assert report is not None
    assert [(promise.change, promise.strength) for promise in report.promises] == [
        ("embedding.action_on marker -> frame", "nothing"),
        ("transformer.heads 2 -> 4", "nothing"),
        ("max_positions 128 -> 1024", "bit for bit"),
    ]


@pytest.mark.usefixtures("among_files")
def test_a_fine_tuned_model_keeps_the_report_of_its_start(tmp_path: Path) -> None:
    options = "--model.embedding.action_dim 2 --loop.batch_size 2 --evaluation.clips 1"
    run(f"train world-model {' '.join(WORLD)} --init free {options} --run.folder {tmp_path / 'run'}")
    stored = json.loads((tmp_path / "run/model/migration.json").read_text())
    assert stored["source"] == "free"
    assert stored["promises"][0]["change"] == "action_dim 0 -> 2"
    assert WorldModel.from_pretrained(tmp_path / "run/model").action_dim == 2
