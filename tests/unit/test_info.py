"""`ivideo info`: what it says of this installation and of a model, and of a damaged one."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ivideo.info import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for part, name in (("tokenizer", "diffusion_pytorch_model"), ("transformer", "model")):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps({"width": 8, "names": [part]}))
        save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, tmp_path / part / f"{name}.safetensors")
    return tmp_path


def test_a_model_is_told_by_its_parts(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(model)]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["folder"] == str(model)
    assert told["transformer/model.safetensors"].startswith("17 numbers (F32), ")
    assert told["tokenizer.width"] == "8"
    assert told["transformer.names"] == "['transformer']"


def test_a_damaged_model_is_named(model: Path) -> None:
    weights = model / "transformer" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    with pytest.raises(ValueError, match=rf"{weights} is no safetensors file or a damaged one"):
        main([str(model)])


def test_a_damaged_config_is_named(model: Path) -> None:
    config = model / "tokenizer" / "config.json"
    config.write_text("{")
    with pytest.raises(ValueError, match=rf"{config} is no JSON"):
        main([str(model)])


def test_the_installation_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["torch"].startswith(torch.__version__)
    assert {"Python", "GPU", "gymnasium", "metaworld"} <= told.keys()
