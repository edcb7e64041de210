"""Models that earlier releases wrote load for ever, and compute what they computed."""

from pathlib import Path

import pytest
import torch
from golden_models import outputs
from safetensors.torch import load_file

from ivideo import WorldModel

GOLDEN = Path(__file__).parents[1] / "golden"
MODELS = sorted(path.parent for path in GOLDEN.glob("*/*/tokenizer"))


def test_there_are_models_of_every_release() -> None:
    assert {path.parent.name for path in MODELS} == {path.name for path in GOLDEN.iterdir()} >= {"0.1.0"}
    assert {path.name for path in MODELS} >= {"released", "released_action", "extended"}


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_model_of_an_earlier_release_computes_what_it_did(folder: Path) -> None:
    recorded = load_file(folder.with_name(f"{folder.name}.safetensors"))
    made = outputs(WorldModel.from_pretrained(folder))
    assert made.keys() == recorded.keys()
    for name in ("context", "dynamics", "future"):
        assert torch.equal(made.pop(name), recorded[name]), name
    for name, value in made.items():
        torch.testing.assert_close(value, recorded[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_model_of_an_earlier_release_is_written_as_it_was(folder: Path, tmp_path: Path) -> None:
    """Within a format: a release that writes another one says so here."""
    WorldModel.from_pretrained(folder).save_pretrained(tmp_path / "again")
    for path in folder.rglob("*.safetensors"):
        assert (tmp_path / "again" / path.relative_to(folder)).read_bytes() == path.read_bytes()
