"""What docs/judge.md says of judging: its Python runs, and every policy and judge is told of."""

import re
from pathlib import Path

from ivideo.judge.settings import JUDGES
from ivideo.judge.table_policies import SCRIPTED

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "judge.md").read_text(encoding="utf-8")


def test_python_blocks_run() -> None:
    scope: dict[str, object] = {}
    blocks = re.findall(r"<!-- runs -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "judge.md", "exec"), scope)
    assert len(scope["judged"]) == len(scope["true"]) == 3  # type: ignore[arg-type]


def test_every_policy_and_judge_is_told_of() -> None:
    told = set(re.findall(r"`([a-z_]+)`", TEXT))
    assert {*SCRIPTED, *JUDGES} <= told
