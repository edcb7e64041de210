"""What is written on planning: its Python runs, its settings for VP2 build the predictor, its table is complete."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from ivideo import planning

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "planning.md").read_text(encoding="utf-8")
HIERARCHICAL = (DOCS / "hierarchical_planning.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [TEXT, HIERARCHICAL], ids=["planning", "hierarchical"])
def test_python_blocks_run_one_after_the_other(text: str) -> None:
    scope: dict[str, object] = {}
    blocks = re.findall(r"<!-- runs -->\n```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "planning.md", "exec"), scope)


def test_the_settings_for_vp2s_runner_are_arguments_of_the_predictor() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    settings = yaml.safe_load(block)
    module, _, name = settings.pop("_target_").rpartition(".")
    accepted = inspect.signature(getattr(import_module(module), name)).parameters
    assert settings.keys() <= accepted.keys()


def test_every_planner_and_objective_is_told_of() -> None:
    told = set(re.findall(r"\b[A-Z][A-Za-z]+\b", TEXT + HIERARCHICAL))
    assert set(planning.__all__) - told <= {"Dynamics", "Futures", "Need", "Plan", "Planner"}
