"""Both learners on the six published tasks, on the real simulator, for a moment."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from killed_rl import settings
from tiny_rollouts import OPTIONS, build

from rl.tasks import TaskOptions
from rl.tasks.opening import PUBLISHED
from rl.train.commands import train
from rl.train.settings import DrQv2Training

# Looked for, not imported: a test of its own finds OpenGL before MuJoCo is there.
pytestmark = [pytest.mark.skipif(find_spec("metaworld") is None, reason="needs the extra metaworld"), pytest.mark.slow]


@pytest.mark.parametrize("task", PUBLISHED)
def test_both_learners_run(task: str, tmp_path: Path) -> None:
    build(replace(OPTIONS[3], action_dim=4), heads=True, full=False).save_pretrained(tmp_path / "small")
    based = settings(str(tmp_path / "small"), tmp_path / "mbpo", resume=False, task=f"metaworld/{task}")
    based = replace(based, options=TaskOptions(horizon=8))
    shared = ("task", "options", "agent", "schedule", "run")
    free = DrQv2Training(**{name: getattr(based, name) for name in shared})
    assert train(based) == 0
    assert train(replace(free, run=replace(free.run, folder=tmp_path / "drqv2"))) == 0
    for name in ("mbpo", "drqv2"):
        assert (tmp_path / name / "agent" / "agent.safetensors").is_file()
