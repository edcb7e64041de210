"""kill -9 at any moment costs at most one checkpoint interval, and the run ends as if nothing had happened.

`tests/benchmarks/kill_and_resume.py` kills at many random moments; here are some that were chosen.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from killed_run import outcome

SCRIPT = Path(__file__).parents[1] / "killed_run.py"
RUNS: dict[str, tuple[str, list[tuple[str, int]]]] = {
    "tokenizer": ("tokenizer", []),
    "world model": ("world model", []),
    "linear": ("linear", []),
    "while a file is put on the disk": ("linear", [("sync", 9), ("sync", 3)]),
    "while hashing": ("linear", [("digest", 5), ("digest", 2)]),
    "before the second checkpoint": ("linear", [("publish", 2), ("publish", 3)]),
    "while an old checkpoint is deleted": ("linear", [("_discard", 1), ("_discard", 2)]),
    "while tensors are written": ("linear", [("save_file", 4), ("save_file", 1)]),
    "a tokenizer": ("tokenizer", [("digest", 6), ("save_file", 4)]),
    "a world model": ("world model", [("publish", 3), ("sync", 8)]),
}
KILLED = [name for name, (_, legs) in RUNS.items() if legs]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that were never interrupted, and one for each way of being killed twice."""
    folder = tmp_path_factory.mktemp("runs")
    subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps({str(folder / name): run for name, run in RUNS.items()})],
        check=True,
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])},
        timeout=1200,
        capture_output=True,
    )
    return folder


@pytest.mark.parametrize("moment", KILLED)
def test_a_run_killed_twice_ends_like_one_never_killed(runs: Path, moment: str) -> None:
    assert outcome(runs / moment) == outcome(runs / RUNS[moment][0])
    names = sorted(path.name for path in (runs / moment / "checkpoints").iterdir())
    assert names == ["step-00000025", "step-00000030"]
