"""The verbs that show something: what they print and write, on a model too small to know anything."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import TINY_TOKENIZER, TINY_TRANSFORMER

from ivideo import read_video
from ivideo.cli import main
from ivideo.embedding import EmbeddingConfig
from ivideo.heads import HeadsConfig
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import VideoTokenizer
from transformer import Sampling


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(
        replace(TINY_TOKENIZER, resolution=64, stem_stride=8, context_frames=1, mask_blend="decoded")
    )
    config = WorldModelConfig(
        transformer=replace(TINY_TRANSFORMER, max_positions=256),
        embedding=EmbeddingConfig(action_dim=2, action_on="frame", code_vectors=True, guide=8),
        heads=HeadsConfig(reward=True),
        vocabulary="dynamics",
        sampling=Sampling(temperature=0.0),
    )
    folder = tmp_path_factory.mktemp("model") / "tiny"
    WorldModel(tokenizer, config).save_pretrained(folder)
    return folder


def test_demo_shows_a_table_and_writes_three_files(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    arguments = ["demo", "--model", str(model), "--out", str(out), "--clips", "4", "--frames", "3"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for expected in ("PSNR, dB", "copy-last-frame", "shuffled actions", "Objects lost", "Next:"):
        assert expected in printed
    assert sorted(path.name for path in out.iterdir()) == ["futures.gif", "futures.mp4", "futures.png"]
    video = read_video(out / "futures.gif")
    assert len(video) == 4
    assert main(arguments) == 2
    assert "pass --overwrite" in capsys.readouterr().err


def test_predict_continues_a_recorded_episode(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "futures.mp4"
    arguments = ["predict", str(model), "pushing_table", "--frames", "4", "--samples", "3", "--out", str(out)]
    assert main([*arguments, "--temperature", "1.0"]) == 0
    printed = capsys.readouterr().out
    assert "3 futures of 4 frames, under the recorded actions" in printed
    assert "copy-last-frame" in printed
    assert len(read_video(out)) == 5
    assert out.with_suffix(".png").is_file()


def test_convert_halves_a_model(model: Path, tmp_path: Path) -> None:
    assert main(["convert", str(model), str(tmp_path / "half"), "--dtype", "float16"]) == 0

    def size(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))

    assert size(tmp_path / "half") < 0.65 * size(model)
    half, whole = WorldModel.from_pretrained(tmp_path / "half"), WorldModel.from_pretrained(model)
    torch.testing.assert_close(half.transformer.head.weight, whole.transformer.head.weight, rtol=1e-3, atol=1e-4)
