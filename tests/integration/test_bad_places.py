"""Places that are taken or cannot be written, disks that fill up, interrupts: what was there stays as it was."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ivideo import rollout
from ivideo.cli import main
from ivideo.simulate.pushing_table import PushingTable

Refuse = Callable[..., None]
TABLE = "ivideo/PushingTable-v0"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "predict model clip.mp4 --out clip.webm",
            "clip.webm exists already; choose another --out, or pass --overwrite",
        ),
        ("predict model clip.mp4 --out strip.mp4", "strip.png exists already"),
        ("predict model clip.mp4 --out new.avi", "cannot write .avi; expected .mp4, .webm, .gif"),
        ("predict model clip.mp4 --out new.png", "expected .mp4, .webm or .gif: a .png strip is written beside it"),
        ("predict model clip.mp4 --out file/new.mp4", "file/new.mp4 cannot be written, for file is a file"),
        ("predict model clip.mp4 --out /proc/new.mp4", "/proc/new.mp4 cannot be written"),
        ("predict model clip.mp4 --out ''", "cannot write without a suffix"),
        ("evaluate model --out old", "old/card.json exists already; choose another --out, or pass --overwrite"),
        ("evaluate model --out table.json", "table.json is a file; expected a folder to write to"),
        ("evaluate model --out file/new", "file/new/card.json cannot be written, for file is a file"),
        ("evaluate model --out /proc/new", "/proc/new/card.json cannot be written"),
        ("demo --model model", "demo/futures.gif exists already; choose another --out, or pass --overwrite"),
        ("demo --model model --out file", "file/futures.mp4 cannot be written, for file is a file"),
        ("demo --model model --out /proc/new", "/proc/new/futures.mp4 cannot be written"),
        ("data show data --out clip.gif", "clip.gif exists already"),
        ("data show data --out file/new.png", "file/new.png cannot be written, for file is a file"),
        ("data show data --out /proc/new.png", "/proc/new.png cannot be written"),
        (f"data record {TABLE} data", "data exists already; choose another folder, or pass --overwrite"),
        (f"data record {TABLE} model --overwrite", "model holds tokenizer, which is no recorded episode"),
        (f"data record {TABLE} file --overwrite", "file is a file; expected a folder to make"),
        (f"data record {TABLE} file/new", "file/new cannot be written, for file is a file"),
        (f"data record {TABLE} /proc/new", "/proc/new cannot be written"),
        ("convert model data", "data exists already and is not empty; choose another name"),
        ("convert model file", "file is a file; expected a folder to make"),
        ("convert model file/new", "file/new cannot be written, for file is a file"),
        ("convert model /proc/new", "/proc/new cannot be written"),
        (
            "train tokenizer --config tiny.yaml --run.folder run",
            "run holds",
        ),
        (
            "train tokenizer --config tiny.yaml --run.folder data --overwrite",
            "data holds 000000.npz but no run of ours",
        ),
        ("train tokenizer --config tiny.yaml --run.folder file", "file"),
        ("train tokenizer --config tiny.yaml --run.folder file/new", "file/new"),
        ("train tokenizer --config tiny.yaml --run.folder /proc/new", "/proc/new"),
        ("train world-model --config tiny_world.yaml --run.folder run", "add --resume to go on with that run"),
        ("train tokenizer --config tiny.yaml --run.folder run --overwrite --data.source cut.npz", "cut.npz"),
        ("train world-model --config tiny_world.yaml --run.folder run --overwrite --data.source cut.npz", "cut.npz"),
        ("train world-model --config tiny_world.yaml --run.folder run --overwrite --tokenizer modle", "modle"),
    ],
)
def test_places_that_are_taken_or_cannot_be_written(refuse: Refuse, command: str, words: str) -> None:
    refuse(command, words)


@contextmanager
def small_disk() -> Iterator[None]:
    """No file may grow beyond 4 kB; held around the command alone, since pytest's own log may be longer than that."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    "command",
    [
        "predict model clip.mp4 --out clip.webm --overwrite --frames 1 --samples 1",
        f"data record {TABLE} data --overwrite --episodes 1 --max_steps 30",
        "convert model new",
    ],
)
def test_a_full_disk(refuse: Refuse, command: str) -> None:
    with small_disk():
        refuse(command, "too large")


def test_a_table_that_is_half_written(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    refuse(
        "evaluate model --source data --held_out all --frames 3 --horizons 3 --out old --overwrite",
        "old/parts/settings.json cannot be written (No space left on device); make room",
    )


@pytest.mark.usefixtures("among_files")
@pytest.mark.parametrize(
    "command",
    [
        "predict model clip.mp4 --out clip.webm --overwrite --frames 1",
        "evaluate model --source data --held_out all --frames 3 --horizons 3 --out old --overwrite",
        f"data record {TABLE} data --overwrite --episodes 1",
    ],
)
def test_an_interrupt_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rollout, "step", interrupt)
    monkeypatch.setattr(PushingTable, "step", interrupt)
    assert main(command.split()) == 130
    assert capfd.readouterr().err == "ivideo: error: interrupted\n"
