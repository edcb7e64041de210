"""The folder of a run: who may have it, what it never damages, and what it writes."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ivideo.training import checkpoints
from ivideo.training.run import RunConfig, RunFolder


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "sync", lambda path: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    rate: float = 0.1
    steps: int = 5


def open_run(
    path: Path, *, resume: bool = False, overwrite: bool = False, settings: Settings | None = None
) -> RunFolder:
    return RunFolder(RunConfig(folder=path), settings or Settings(), resume=resume, overwrite=overwrite)


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for options, message in (
        ({}, "add --resume to go on with that run, --overwrite to delete it"),
        ({"resume": True}, "no run of ours"),
        ({"overwrite": True}, "no run of ours"),
    ):
        with pytest.raises(FileExistsError, match=message) as caught:
            open_run(tmp_path, **options)
        assert "thesis.txt" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_overwriting_deletes_what_runs_make_and_nothing_else(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.begin(0)
        run.save(3, {"model": {"a": torch.ones(1)}}, {"step": 3})
        run.record(3, {"loss": 1.0})
    (tmp_path / "notes.txt").write_text("mine")
    with open_run(tmp_path, overwrite=True) as run:
        assert run.latest() == (None, [])
        run.begin(0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "lock", "notes.txt"]


def test_resuming_a_run_that_never_was_starts_one(tmp_path: Path) -> None:
    with open_run(tmp_path / "new", resume=True) as run:
        assert run.latest() == (None, [])
        run.begin(0)
    assert (tmp_path / "new" / "config.yaml").read_text() == "rate: 0.1\nsteps: 5\n"


def test_resume_and_overwrite_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="resume and overwrite"):
        open_run(tmp_path, resume=True, overwrite=True)


def test_resuming_says_which_settings_differ(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.begin(0)
    with open_run(tmp_path, resume=True, settings=Settings(steps=9)) as run:
        assert run.latest()[1] == ["settings differ from those the run was started with: steps 5 -> 9"]
        assert (tmp_path / "config.yaml").read_text() == "rate: 0.1\nsteps: 5\n"  # until it is known to fit
        run.begin(0)
    assert (tmp_path / "config.yaml").read_text() == "rate: 0.1\nsteps: 9\n"


def test_one_process_has_the_folder_at_a_time(tmp_path: Path) -> None:
    with open_run(tmp_path), pytest.raises(BlockingIOError, match=f"in use by process {os.getpid()} on "):
        open_run(tmp_path, resume=True)
    with open_run(tmp_path, resume=True):
        pass


def test_a_place_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"cannot write .*file/run.*choose another --run.folder"):
        open_run(tmp_path / "file" / "run")
    with pytest.raises(FileExistsError, match=r"cannot write .*file"):
        open_run(tmp_path / "file")


def test_resuming_over_nothing_but_damaged_checkpoints_is_refused(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        (run.save(1, {"model": {"a": torch.ones(1)}}, {}) / "state.json").unlink()
    with (
        open_run(tmp_path, resume=True) as run,
        pytest.raises(ValueError, match=r"every checkpoint .*state.json is missing"),
    ):
        run.latest()


def test_metrics_after_the_resumed_step_are_forgotten(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.begin(0)
        for step in (1, 2, 3):
            run.record(step, {"loss": float("nan") if step == 2 else 0.5})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # cut short by a crash
    with open_run(tmp_path, resume=True) as run:
        run.begin(2)
        run.record(3, {"loss": 0.25})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}, {"step": 3, "loss": 0.25}]


def test_what_is_measured_again_where_a_run_is_taken_up_is_written_once(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.begin(0)
        run.record(3, {"loss": 0.5})
        run.record(3, {"held_out/psnr": 20.0})
    with open_run(tmp_path, resume=True) as run:
        run.begin(3)
        run.record(3, {"held_out/psnr": 20.0})
        run.record(4, {"held_out/psnr": 21.0})
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [3, 3, 4]


def test_pictures_show_every_video_with_time_to_the_right(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.draw(12, "clips", torch.zeros(2, 2, 3, 3, 8, 8, dtype=torch.uint8))
    assert (tmp_path / "media" / "00000012-clips.mp4").stat().st_size > 0
    png = (tmp_path / "media" / "00000012-clips.png").read_bytes()
    width, height = (int.from_bytes(png[place : place + 4], "big") for place in (16, 20))
    assert (width, height) == (3 * 8, 4 * 8 + 3 * 2)
