"""The tiny version of every published figure, with fewer steps still: it runs, and ends with a table."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ivideo import recipes
from ivideo.cli import main
from ivideo.reproduce import command
from ivideo.reproduce.page import NOT_COMPARABLE
from ivideo.reproduce.row import load, names
from ivideo.training import checkpoints

SMALLEST = ["--steps", "1", "--episodes", "3", "--clips", "2", "--rounds", "1"]
SHORT = ["--run.tensorboard", "false", "--loop.evaluate_every", "null", "--data.frames", "3"]
DISTINCT = {tuple(stage.command for stage in load(name).tiny.stages): name for name in names()}
"""Rows with the same tiny version run it once."""
EVALUATES = "evaluate/pushing_table" in recipes.names()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "sync", lambda path: None)


def here(words: Sequence[str]) -> tuple[int, float | None]:
    """Runs `ivideo` in this process, which spares importing it again, on windows of 3 frames."""
    if words[0] == "evaluate":
        return (main([*words, "--frames", "1", "--horizons", "1"]) if EVALUATES else 0), None
    few = ["--data.subset", "1"] if "--data.subset" in words else ["--targets", "1"] if words[1] == "tokenizer" else []
    return main([*words, *SHORT, *few]), 100.0


@pytest.mark.parametrize("name", DISTINCT.values())
def test_the_tiny_version_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = load(name)
    assert command.main([name, "--tiny", "--out", str(tmp_path / "out"), *SMALLEST], execute=here) == 0
    printed = capsys.readouterr().out
    for stage in row.tiny.stages:
        if not stage.name.startswith("evaluation"):
            assert (tmp_path / "out" / stage.name / "model").is_dir()
    if not row.compares and not EVALUATES:
        pytest.skip("no config evaluate/pushing_table yet: only the trainings ran")
    assert NOT_COMPARABLE in printed
    for expected in row.compares or ("PSNR, dB", "copy-last-frame", "prediction"):
        assert expected in printed
    if row.compares:
        assert (tmp_path / "out" / "comparison.json").is_file()
        assert "x1." in printed or "x0." in printed  # of the first one's times
