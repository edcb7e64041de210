"""`ivideo data check` says what it found: exit status, screen, report, and what names from files can do to them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from broken_files import episode

from ivideo.cli import main
from ivideo.data.check.findings import LINTS
from ivideo.data.names import plain, quoted
from ivideo.data.recorder import save_episodes

HOSTILE = "<script>alert(1)<!--\x1b[31m|`x`[a](b) http:,,evil www.evil.org ![i](j) \u202e\n# head"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five good episodes."""
    torch.manual_seed(0)
    save_episodes(tmp_path / "set", [episode(frames=12) for _ in range(5)])
    return tmp_path / "set"


def check(folder: Path, *more: str) -> int:
    return main(["data", "check", str(folder), *more])


def test_exit_status_says_how_it_went(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder) == 0
    assert "5 of 5 episodes read" in capsys.readouterr().out
    (folder / "000003.npz").write_bytes(b"")
    assert check(folder) == 1
    said = capsys.readouterr()
    assert "1 problems, 1 of 5 episodes concerned" in said.out
    assert "000003.npz: the file is empty" in " ".join(said.out.split())
    assert not said.err
    for mistake in (
        [str(tmp_path / "nowhere")],
        [str(folder), "--workers", "0"],
        [str(folder), "--limit", "0"],
        [str(folder), "--size", "0"],
        [str(folder), "--moving", "-1"],
        [str(folder), "--lik", str(folder)],
        [str(folder), "--like", str(tmp_path / "nowhere")],
        [""],
    ):
        assert main(["data", "check", *mistake]) == 2, mistake
        error = capsys.readouterr().err
        assert error.startswith("ivideo: error:")
        assert len(error.splitlines()) == 1
    (tmp_path / "void").mkdir()
    assert check(tmp_path / "void") == 2


def test_a_set_in_which_nothing_can_be_read_is_no_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        (tmp_path / f"{number}.npz").touch()
    assert check(tmp_path, "--out", str(tmp_path / "report")) == 1
    assert "0 of 3 episodes read" in capsys.readouterr().out


def test_notes_alone_are_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 12, 16, 16, 3), np.uint8)
    for number in range(3):
        np.savez(tmp_path / f"{number}.npz", frames=frames[number], actions=np.zeros((11, 2)))
    assert check(tmp_path) == 0
    assert "No problems, 2 notes" in capsys.readouterr().out


def test_the_screen_is_eighty_columns_wide(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(40):
        np.savez(folder / f"a long name of an episode {number}.npz", frames=np.zeros((4, 8, 8, 3), np.uint8))
    assert check(folder) == 1
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  duplicate") for line in lines)


def test_a_report_names_everything_and_can_be_read_by_programs(folder: Path, tmp_path: Path) -> None:
    (folder / "000001.npz").write_bytes(b"")
    np.savez(folder / "black.npz", frames=np.zeros((6, 32, 32, 3), np.uint8))
    report = tmp_path / "reports" / "first"
    assert check(folder, "--out", str(report)) == 1
    assert sorted(path.name for path in report.iterdir()) == ["pictures", "report.json", "report.md"]
    document = json.loads((report / "report.json").read_text())
    found = {(each["code"], each["episode"]) for each in document["findings"]}
    assert {("unreadable", "000001"), ("flat-frames", "black"), ("static", "black")} <= found
    assert {each["code"] for each in document["findings"]} <= set(document["lints"]) == set(LINTS)
    assert document["episodes"] == {"found": 6, "read": 5}
    text = (report / "report.md").read_text()
    for finding in document["findings"]:
        assert finding["code"] in text
        assert finding["severity"] in ("problem", "note")
        if finding["picture"]:
            assert read_video_of(report / finding["picture"])
            assert f"]({finding['picture']})" in text
    assert "**black**" in text
    assert "Remedy" in text


def read_video_of(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_a_report_replaces_a_report_only(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report"
    assert check(folder, "--out", str(report)) == 0
    assert check(folder, "--out", str(report)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert check(folder, "--out", str(report), "--overwrite") == 0
    (report / "mine.txt").write_text("mine")
    assert check(folder, "--out", str(report), "--overwrite") == 2
    assert "mine.txt" in capsys.readouterr().err
    assert (report / "mine.txt").read_text() == "mine"
    assert check(folder, "--out", str(folder)) == 2, "nor is a data set replaced"
    assert len(list(folder.iterdir())) == 5
    (tmp_path / "file").write_text("mine")
    assert check(folder, "--out", str(tmp_path / "file")) == 2


def test_a_report_that_cannot_be_written_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ivideo.data.check.report.json.dumps", fail)
    assert check(folder, "--out", str(tmp_path / "report")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_names_from_files_stay_names(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (HOSTILE, "x" * 240, "..", "CON", " ", "-rf"):
        np.savez((folder / name).with_name(f"{name}.npz"), frames=np.zeros((4, 8, 8, 3), np.uint8))
    report = tmp_path / "report"
    assert check(folder, "--out", str(report), "--pictures", "50") == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert max(len(line) for line in out.splitlines() if not line.startswith("Written")) <= 80
    text = (report / "report.md").read_text()
    assert "<script" not in text
    assert "\x1b" not in text
    assert not re.search(r"(?<!\\)\]\((?!pictures/\d{4}\.png\))", text), "no link but to our pictures"
    assert not re.search(r"^# head", text, re.MULTILINE)
    assert all(re.fullmatch(r"\d{4}\.png", path.name) for path in (report / "pictures").iterdir())
    document = json.loads((report / "report.json").read_text())
    assert HOSTILE in {each["episode"] for each in document["findings"]}, "programs get the name as it is"


def test_quoting() -> None:
    assert plain("a\x1b[2Jb\n\u202ec") == "a\\x1b[2Jb\\n\\u202ec"
    assert quoted("<b>|x|") == "&lt;b&gt;\\|x\\|"
    assert "http://" not in quoted("http://evil")


def test_a_trial_counts_what_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder, "--trial") == 0
    out = capsys.readouterr().out
    assert re.search(r"one frame +one-frame +1 of 1 +none", out)


def test_the_pushing_table_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "pushing_table", "--limit", "12"]) == 0
    assert "12 of 12 episodes read" in capsys.readouterr().out
