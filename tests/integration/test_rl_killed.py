"""kill -9 at any moment of a run of reinforcement learning, and it ends as if nothing had happened.

`tests/benchmarks/kill_rl.py` kills at many random moments; here are some that were chosen.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from killed_rl import give_demonstrations, outcome
from tiny_rollouts import OPTIONS, build

SCRIPT = Path(__file__).parents[1] / "killed_rl.py"
RUNS: dict[str, list[tuple[str, int]]] = {
    "never": [],
    "before the first checkpoint, then while an episode is written": [("DrQv2.act", 12), ("Replay.add", 8)],
    "in the first updates of the model": [("ModelLearner.update_tokenizer", 2), ("ModelLearner.update", 2)],
    "in the agent's updates": [("DrQv2.update", 20), ("DrQv2.update", 9)],
    "in a rollout": [("Imagination.rollouts", 3), ("Imagination.rollouts", 1)],
    "around a checkpoint": [("RunFolder.save", 2), ("Replay.settle", 1), ("RunFolder.save", 1)],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted, and one for each way of being killed."""
    folder = tmp_path_factory.mktemp("runs")
    build(OPTIONS[3], heads=True, full=False).save_pretrained(folder / "small")
    give_demonstrations(folder / "demonstrations")
    legs = json.dumps({str(folder / name): run for name, run in RUNS.items()})
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder / "small"), legs],
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])},
        timeout=1200,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("moment", [name for name in RUNS if name != "never"])
def test_a_run_that_is_killed_ends_like_one_that_is_not(runs: Path, moment: str) -> None:
    wanted, found = outcome(runs / "never"), outcome(runs / moment)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []


def test_all_that_can_happen_has_happened(runs: Path) -> None:
    found = outcome(runs / "never")
    named = {name for line in found["metrics"] for name in line}  # type: ignore[attr-defined]
    assert {"train/return", "eval/success", "agent/critic_loss", "model/loss", "tokenizer/loss"} <= named
    assert {"imagined/length", "imagined/return_correlation"} <= named
    written = sorted(path.name for path in (runs / "never" / "imagined").iterdir())
    assert "episode-000000.npz" not in written  # the oldest had to go
    assert len(list((runs / "never" / "episodes").iterdir())) == 9
