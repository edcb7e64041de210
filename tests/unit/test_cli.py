"""`ivideo VERB ...`: which verb runs, how mistakes are told, what the first import costs."""

import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch

from ivideo import cli, recipes
from ivideo.cli import Verb, main

calls: list[list[str]] = []


def record(argv: list[str]) -> int:
    calls.append(argv)
    return 7


def refuse(argv: list[str]) -> int:
    raise ValueError("steps is 0;\n  expected at least 1")


def miss(argv: list[str]) -> int:
    Path(argv[0]).read_text()
    return 0


def need(argv: list[str]) -> int:
    raise ImportError("no module named 'taming'; pip install --no-deps taming-transformers")


def stop(argv: list[str]) -> int:
    raise KeyboardInterrupt


def fail(argv: list[str]) -> int:
    raise AssertionError("ours")


def hoard(argv: list[str]) -> int:
    return int(torch.empty(1 << 60, dtype=torch.uint8)[0])


@pytest.fixture(autouse=True)
def verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verbs of this file in place of the real ones."""
    calls.clear()
    here = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, "verbs_of_a_test", here)
    names = ("refuse", "miss", "need", "stop", "fail", "hoard")
    table = {name: Verb(f"verbs_of_a_test:{name}", f"{name}s") for name in names}
    table |= {"train tokenizer": Verb("verbs_of_a_test:record", "trains"), "demo": Verb("verbs_of_a_test:record", "")}
    monkeypatch.setattr(cli, "VERBS", table)


def test_a_verb_gets_the_words_after_its_name_and_its_status_is_returned() -> None:
    assert main(["train", "tokenizer", "--lr", "3"]) == 7
    assert main(["demo", "tokenizer"]) == 7
    assert calls == [["--lr", "3"], ["tokenizer"]]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["demmo"], "unknown verb 'demmo'; did you mean `ivideo demo`?"),
        (["train", "tokeniser"], "unknown verb 'train tokeniser'; did you mean `ivideo train tokenizer`?"),
        (["tokenizer"], "unknown verb 'tokenizer'; did you mean `ivideo train tokenizer`?"),
        (["xyz"], "unknown verb 'xyz'; `ivideo --help` lists the verbs"),
        (["--verbose", "demo"], "unknown option '--verbose' before the verb; expected --debug, --version or --help"),
        (["refuse"], "steps is 0; expected at least 1"),
        (["miss", "nowhere.txt"], "No such file or directory: nowhere.txt"),
        (["need"], "no module named 'taming'; pip install --no-deps taming-transformers"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"ivideo: error: {message}\n")


def test_debug_shows_where_a_mistake_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--debug", "refuse"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert "in refuse" in err


def test_our_own_mistakes_keep_their_traceback() -> None:
    with pytest.raises(AssertionError, match="ours"):
        main(["fail"])


def test_running_out_of_memory_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hoard"]) == 2
    assert re.fullmatch(r"ivideo: error: out of memory \(.*\); ask for less at once: .*\n", capsys.readouterr().err)
    with pytest.raises(RuntimeError, match="memory"):
        main(["--debug", "hoard"])


def test_an_interrupt_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop"]) == 130
    assert capsys.readouterr().err == "ivideo: error: interrupted\n"


def test_help_lists_every_verb_and_a_first_word_lists_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    everything = capsys.readouterr().out
    assert "train tokenizer" in everything
    assert "refuses" in everything
    assert main(["train", "--help"]) == 0
    assert "refuses" not in capsys.readouterr().out
    assert main([]) == main(["train"]) == 2
    assert not calls


def test_another_distribution_adds_verbs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    point = EntryPoint("rl.mbpo", "verbs_of_a_test:record", cli.GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: EntryPoints([point]))
    assert main(["rl", "mbpo", "--steps", "3"]) == 7
    assert calls == [["--steps", "3"]]
    assert main(["rl", "mbbo"]) == 2
    assert "did you mean `ivideo rl mbpo`?" in capsys.readouterr().err
    assert main(["rl", "--help"]) == 0
    assert "rl mbpo" in capsys.readouterr().out


def test_an_impostor_of_a_sibling_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    impostor = tmp_path / "tokenizer.py"
    impostor.write_text("raise RuntimeError('never imported')")
    monkeypatch.delitem(sys.modules, "tokenizer", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["demo"]) == 2
    assert capsys.readouterr().err.startswith(f"ivideo: error: {impostor} is imported in place of ")
    assert not calls


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of configs in place of the packaged one."""
    for name, text in (("tokenizer/oxe64", "# The released one.\nsteps: 3\n"), ("plan/push", "steps: 4\n")):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir()
        path.write_text(text)
    monkeypatch.setattr(recipes, "folder", lambda: tmp_path)
    return tmp_path


def test_configs_are_listed_with_their_headline_and_printed(packaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipes.main([]) == 0
    assert capsys.readouterr().out == "plan/push\ntokenizer/oxe64  The released one.\n"
    assert recipes.main(["tokenizer/oxe64"]) == 0
    assert capsys.readouterr().out == "# The released one.\nsteps: 3\n"


def test_a_config_is_found_by_path_by_name_and_by_name_within_its_group(packaged: Path) -> None:
    path = packaged / "tokenizer" / "oxe64.yaml"
    assert recipes.find(str(path)) == path
    assert (
        recipes.find("tokenizer/oxe64") == recipes.find("oxe64", "tokenizer") == recipes.find("oxe64.yaml", "tokenizer")
    )
    assert recipes.find("oxe64", "tokenizer") == path


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("tokenizer/oxe65", "did you mean tokenizer/oxe64?"),
        ("oxe64", "did you mean tokenizer/oxe64?"),
        ("zzz", "packaged names: plan/push, tokenizer/oxe64"),
    ],
)
def test_an_unknown_config_lists_near_names(packaged: Path, name: str, remedy: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"no config '{name}': .*{remedy.replace('?', '.')}$"):
        recipes.find(name)


def in_a_new_process(*lines: str) -> str:
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return done.stdout


def test_help_imports_nothing_heavy() -> None:
    """Half a second is the promise; what would break it is an import."""
    report = in_a_new_process(
        "import sys, json, time",
        "from ivideo.cli import main",
        "main(['--help'])",
        "heavy = {'torch', 'numpy', 'jsonargparse', 'transformers', 'lightning', 'av', 'gymnasium', 'rich', 'yaml'}",
        "print(json.dumps(sorted(heavy & set(sys.modules))))",
    )
    assert json.loads(report.splitlines()[-1]) == []


def test_importing_ivideo_imports_nothing_heavy() -> None:
    report = in_a_new_process("import sys, ivideo", "print('torch' in sys.modules or 'numpy' in sys.modules)")
    assert report.strip() == "False"


REAL_VERBS = {name: verb.target for name, verb in cli.VERBS.items()}


@pytest.mark.parametrize("name", REAL_VERBS)
def test_every_verb_exists(name: str) -> None:
    module, _, function = REAL_VERBS[name].partition(":")
    assert callable(getattr(import_module(module), function))
