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

SMALLEST = ["--steps", "1", "--episodes", "3", "--clips", "1"]
SHORT = ["--run.tensorboard", "false", "--loop.evaluate_every", "null", "--data.frames", "3"]
DISTINCT = {tuple(stage.command for stage in load(name).tiny.stages): name for name in names()}
"""Rows with the same tiny version run it once."""


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "sync", lambda path: None)


def here(words: Sequence[str]) -> tuple[int, float | None]:
    """Runs `ivideo` in this process, which spares importing it again, on windows of 3 frames."""
    few = ["--data.subset", "1"] if "--data.subset" in words else ["--targets", "1"] if words[1] == "tokenizer" else []
    return main([*words, *SHORT, *few]), 100.0


def trains(words: Sequence[str]) -> tuple[int, float | None]:
    """The same, without evaluations."""
    return (0, None) if words[0] == "evaluate" else here(words)


def evaluates(words: Sequence[str]) -> tuple[int, float | None]:
    """The same, with evaluations of a single frame."""
    return (main([*words, "--frames", "1", "--horizons", "1"]), None) if words[0] == "evaluate" else here(words)


@pytest.mark.parametrize("name", DISTINCT.values())
def test_the_tiny_version_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = load(name)
    out = tmp_path / "out"
    times = ["--rounds", "1" if name == "scaling" else "0"]
    assert command.main([name, "--tiny", "--out", str(out), *SMALLEST, *times], execute=trains) == 0
    printed = capsys.readouterr().out
    for stage in row.tiny.stages:
        assert stage.name == "evaluation" or (out / stage.name / "model").is_dir()
    if row.compares:
        assert (out / "comparison.json").is_file()
        for expected in (*row.compares, NOT_COMPARABLE, "copy-last-frame"):
            assert expected in printed
        assert ("detokenize" in printed) == (name == "scaling")
    else:
        assert "holds no evaluation" in printed


@pytest.mark.skipif("evaluate/pushing_table" not in recipes.names(), reason="no config evaluate/pushing_table yet")
def test_a_tiny_version_ends_with_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["bair64", "--tiny", "--out", str(tmp_path / "out"), *SMALLEST], execute=evaluates) == 0
    told = capsys.readouterr().out.splitlines()
    lines = told[next(n for n, line in enumerate(told) if line.startswith("figure")) :]
    assert NOT_COMPARABLE in lines[0]
    prediction = next(line for line in lines if line.startswith("PSNR, dB") and "prediction" in line)
    assert prediction.endswith("20.4")
    assert any(line.startswith("PSNR, dB") and "copy-last-frame" in line for line in lines)
