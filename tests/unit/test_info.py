"""`ivideo info`: what it says of this installation and of a model, and of a damaged one."""

import shutil
from pathlib import Path

import pytest
import torch

from ivideo import hub
from ivideo.info import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(hub.ASSETS / "pushing_table", folder)
    return folder


def test_a_model_is_told_by_its_parts(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(model)]) == 0
    printed = capsys.readouterr().out
    for expected in (str(model), "action-conditioned", "64x64 pixels", "16 tokens of 768 codes", "2 values", "reward"):
        assert expected in printed


def test_a_damaged_model_is_named(model: Path) -> None:
    weights = model / "transformer" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    with pytest.raises(ValueError, match=rf"{weights} is no complete safetensors file"):
        main([str(model)])


def test_a_damaged_config_is_named(model: Path) -> None:
    config = model / "tokenizer" / "config.json"
    config.write_text("{")
    with pytest.raises(ValueError, match=rf"{config} is not valid JSON"):
        main([str(model)])


def test_the_installation_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["torch"].startswith(torch.__version__)
    assert {"Python", "GPU", "gymnasium", "metaworld"} <= told.keys()
