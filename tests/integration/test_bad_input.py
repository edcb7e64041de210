"""Whatever a user gets wrong is one line that names it and says what to do, and nothing that existed is touched."""

import hashlib
import resource
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub  # noqa: F401  (so that its import, of seconds, is not taken for the answer's time)
import jaxtyping
import pytest
import torch
from broken_files import BROKEN_MODELS, fill

from ivideo import cli, rollout
from ivideo.cli import main
from ivideo.simulate.pushing_table import PushingTable

HUB = "thuml/ivideogpt-oxe-64-act-free"
TABLE = "ivideo/PushingTable-v0"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    fill(folder)
    return folder


@pytest.fixture(autouse=True)
def untouched(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test runs among the files, as outside of tests, and must leave them exactly as they were."""
    monkeypatch.chdir(files)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    before = contents(files)
    yield
    assert contents(files) == before


def contents(folder: Path) -> dict[str, str]:
    """Hashes of all files, and all folders, hidden ones included."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


Refuse = Callable[..., None]


@pytest.fixture
def refuse(capfd: pytest.CaptureFixture[str]) -> Refuse:
    """Runs a command line, which must end in status 2 and one line that holds all the words."""

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


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("predict model clip.mp4 --frmes 3", "unknown option --frmes; did you mean --frames?"),
        ("evaluate model --hold_out all", "unknown option --hold_out; did you mean --held_out?"),
        ("demo --modle model", "unknown option --modle; did you mean --model?"),
        ("data show data --cmera x", "unknown option --cmera; did you mean --camera?"),
        (f"data record {TABLE} new --episode 3", "unknown option --episode; did you mean --episodes?"),
        ("convert model new --dtpye float16", "unknown option --dtpye; did you mean --dtype?"),
        ("info --modle model", "unknown option --modle; did you mean --model?"),
        ("train tokenizer --loop.stps 3", "unknown option --loop.stps; did you mean --loop.steps?"),
        ("train tokenizer --config misspelt.yaml", "unknown key loop.stps in misspelt.yaml; did you mean loop.steps?"),
        ("train world-model --config misspelt.yaml", "unknown key loop.stps in misspelt.yaml"),
        ("train world-model --model.embeding.guide 3", "did you mean --model.embedding.guide?"),
        ("train tokenizer --config broken.yaml", "broken.yaml, line 2: no valid YAML"),
        ("train tokenizer --config tokenizer/oxe46", "no config 'tokenizer/oxe46'", "did you mean tokenizer/oxe64"),
        ("train tokenizer --config", "--config stands without a value; give a packaged name or the path"),
        ("configs tokenizer/oxe46", "did you mean tokenizer/oxe64"),
        ("configs --all", "takes at most one name"),
        ("predict model clip.mp4 more", "unexpected argument 'more'", "--help"),
        ("predict model", "video is missing; give --video VALUE"),
        ("predict '' clip.mp4", "model is empty"),
        ("predcit model clip.mp4", "did you mean `ivideo predict`?"),
        ("train tokeniser", "did you mean `ivideo train tokenizer`?"),
    ],
)
def test_what_is_misspelt_or_missing(refuse: Refuse, command: str, words: tuple[str, ...] | str) -> None:
    refuse(command, words)
