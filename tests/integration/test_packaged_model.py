"""The packaged checkpoint: small, and better than a copied frame or another clip's actions by a margin."""

import pytest

from ivideo import hub
from ivideo.evaluation.clips import table_case
from ivideo.evaluation.measurement import quick_table
from ivideo.world_model import WorldModel

SEED = 7  # none of the recorded results' seeds


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return WorldModel.from_pretrained("pushing_table")


def test_it_takes_at_most_four_megabytes() -> None:
    files = [path for path in (hub.ASSETS / "pushing_table").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "model.safetensors",
        "world_model.json",
    }
    assert sum(path.stat().st_size for path in files) <= 4_000_000


def test_it_imagines_ten_frames_well(model: WorldModel) -> None:
    case = table_case(SEED, context=model.context_frames, frames=10, clips=32)
    table = quick_table(model, case, seed=SEED)
    assert table.at("PSNR", "prediction", 10).value > 21.5
    assert table.at("Gain in PSNR", "over copy-last-frame", 10).value > 3.0
    assert table.at("Gain in PSNR", "over shuffled actions", 10).value > 3.0
    assert table.at("Pusher error", "prediction", 10).value < 3.0
    assert table.at("Reward", "prediction", 10).value > 0.5
