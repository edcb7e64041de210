"""What the README and docs/transfer.md say can be typed: its Python runs, its commands are known, its targets exist."""

import re
import shlex
from pathlib import Path

import pytest

from ivideo.cli import VERBS, _other_verbs, main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRANSFER = (ROOT / "docs" / "transfer.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- runs -->\n```python\n(.*?)```", README, re.DOTALL)
COMMANDS = sorted(
    set(
        re.findall(r"^(ivideo .*?)(?: *#.*)?$", re.sub(r"\\\n *", "", README + TRANSFER), re.MULTILINE)
        + re.findall(r"`(ivideo .*?)`", README)
    )
)


def test_the_readme_was_read() -> None:
    assert BLOCKS
    assert len(COMMANDS) >= 5


def test_python_blocks_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), scope)
    assert any(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_name_a_verb_and_settings_it_knows(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)[1:]
    if words[0] == "VERB":
        assert main(["--help"]) == 0
        return
    verb = next(name for name in VERBS | _other_verbs() if words[: len(name.split())] == name.split())
    after = words[len(verb.split()) :]
    try:
        status = main([*verb.split(), "--help"])
    except SystemExit as left:
        status = int(left.code or 0)
    told = capsys.readouterr().out
    assert status == 0
    for option in (word for word in after if word.startswith("--") and word != "--help"):
        assert option in told
    if verb == "configs":
        assert main(words) == 0


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", README)) <= targets


def test_links_into_the_repository_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", README):
        assert (ROOT / target).exists(), target
