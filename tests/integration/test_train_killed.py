"""kill -9 at any moment costs at most one checkpoint interval, and the run ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_run.py")
LEGS = {
    "while a file is put on the disk": [("_sync", 9), ("_sync", 3)],
    "while hashing": [("_digest", 5), ("_digest", 2)],
    "before the second checkpoint": [("publish", 2), ("publish", 3)],
    "while an old checkpoint is deleted": [("_discard", 1), ("_discard", 2)],
    "while tensors are written": [("save_file", 4), ("save_file", 1)],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted, and one for each way of being killed twice."""
    folder, root = tmp_path_factory.mktemp("runs"), SCRIPT.parents[2]
    legs = {str(folder / name): parts for name, parts in {"never": [], **LEGS}.items()}
    subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(legs)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        timeout=300,
        capture_output=True,
    )
    return folder


def outcome(folder: Path) -> dict[str, object]:
    checkpoint = folder / "checkpoints" / "step-00000030"
    state = json.loads((checkpoint / "state.json").read_text())
    state.pop("seconds")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics = [{name: value for name, value in line.items() if name != "minutes"} for line in lines]
    tensors = {file.name: file.read_bytes() for file in checkpoint.glob("*.safetensors")}
    return {**tensors, "state": state, "metrics": metrics}


@pytest.mark.parametrize("moment", LEGS)
def test_a_run_killed_twice_ends_like_one_never_killed(runs: Path, moment: str) -> None:
    assert outcome(runs / moment) == outcome(runs / "never")
    names = sorted(path.name for path in (runs / moment / "checkpoints").iterdir())
    assert names == ["step-00000025", "step-00000030"]
