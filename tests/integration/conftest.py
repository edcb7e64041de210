"""Broken files to run into, and the rule that running into them leaves everything as it was."""

import hashlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import jaxtyping
import pytest

# Nothing of ours is imported up here: the shape checks hook into later imports only.


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small models, episodes and videos, whole and broken."""
    from broken_files import fill

    folder = tmp_path_factory.mktemp("files")
    fill(folder)
    return folder


@pytest.fixture
def among_files(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test runs in that folder, as outside of tests, and must leave it exactly as it was."""
    monkeypatch.chdir(files)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    before = _contents(files)
    yield
    assert _contents(files) == before


@pytest.fixture
def refuse(among_files: None, capfd: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Runs a command line in that folder, which must end in status 2 and one line that holds all the words."""
    from ivideo.cli import main

    def run(command: str, *words: str) -> None:
        assert main(shlex.split(command)) == 2
        said = capfd.readouterr().err  # of the process, so that what FFmpeg would print counts as well
        assert said.startswith("ivideo: error: ")
        assert said.endswith("\n")
        assert said.count("\n") == 1, said
        assert len(said) < 600, said
        for word in words:
            assert word in said, f"{word!r} is not in {said!r}"

    return run


def _contents(folder: Path) -> dict[str, str]:
    """Hashes of all files, and all folders, hidden ones included."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }
