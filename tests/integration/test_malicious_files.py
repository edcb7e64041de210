"""Files made to do harm: none runs, none takes memory that it does not hold, none writes; each gets one clean line."""

import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_files import CODES, WEIGHTS
from malicious_files import MALICIOUS_MODELS, VAST_MODELS, not_a_number, write_arrays

Refuse = Callable[..., None]
ENOUGH = 256 << 10
"""kB by which the process may grow at most; what the files describe begins at terabytes."""


@pytest.mark.parametrize("command", ["info {}", "convert {} new"])
@pytest.mark.parametrize(("harm", "words"), MALICIOUS_MODELS)
def test_models_that_mean_harm(
    refuse: Refuse, tmp_path: Path, command: str, harm: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    shutil.copytree("model", tmp_path / "harmful")
    harm(tmp_path / "harmful")
    refuse(command.format(tmp_path / "harmful"), *words)


@pytest.mark.parametrize("command", ["predict {} clip.mp4", "convert {} new"])
@pytest.mark.parametrize("name", [CODES, WEIGHTS])
def test_weights_that_are_no_numbers(refuse: Refuse, tmp_path: Path, command: str, name: str) -> None:
    shutil.copytree("model", tmp_path / "harmful")
    not_a_number(name)(tmp_path / "harmful")
    refuse(command.format(tmp_path / "harmful"), name, "holds NaN or infinite weights")


@pytest.mark.parametrize(("harm", "words"), VAST_MODELS)
def test_models_that_are_vast_on_paper(
    refuse: Refuse, tmp_path: Path, harm: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    shutil.copytree("model", tmp_path / "vast")
    harm(tmp_path / "vast")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refuse(f"convert {tmp_path / 'vast'} new", *words)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < ENOUGH


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: !!python/object/apply:os.mkdir [unpickled]", "could not determine a constructor"),
        ("data: !!python/name:os.system", "could not determine a constructor"),
        ("data: !!python/module:os", "could not determine a constructor"),
        ("data: " + "[" * 100_000, "nested too deeply"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "line 2: no valid YAML: aliases are not read here"),
        ("data: {<<: {frames: 3}}", "line 1: no valid YAML: expected a word as key"),
    ],
)
def test_configs_that_mean_harm(refuse: Refuse, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "harmful.yaml"
    path.write_text(text)
    refuse(f"train tokenizer --config {path}", words)


def test_arrays_that_mean_harm(refuse: Refuse, tmp_path: Path) -> None:
    write_arrays(tmp_path)
    refuse(f"data show {tmp_path / 'nested.npz'}", "nested.npz", "Python objects, which could run code when read")


@pytest.mark.usefixtures("among_files")
def test_names_inside_an_archive_are_no_paths(tmp_path: Path) -> None:
    from ivideo.cli import main

    (tmp_path / "inner/deeper").mkdir(parents=True)
    write_arrays(tmp_path / "inner/deeper")
    main(["data", "show", str(tmp_path / "inner/deeper/slip.npz")])
    assert {path.name for path in tmp_path.rglob("*")} == {"inner", "deeper", "slip.npz", "nested.npz"}
    assert not Path("/tmp/slipped.npy").exists()
