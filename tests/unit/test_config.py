"""Configs from YAML and options: what is built, what is refused, and in which words."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivideo.config import load_config, parse, save_config
from tokenizer.config import EMAVQ, TokenizerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """One kind."""

    beta: float = 1.0
    """Weight of the commitment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Averaged:
    """Another kind, which shares a field name with the first."""

    beta: float = 0.25
    """Weight of the commitment."""
    decay: float = 0.99
    """Of the averages, below 100%."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay is {self.decay}; expected 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """How weights move."""

    lr: float = 1e-4
    """Step size."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of both moments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a test needs."""

    model: Path
    """Where the model is."""
    steps: int = 10
    """How many."""
    resume: bool = False
    """Go on."""
    channels: tuple[int, ...] = (8, 16)
    """Widths."""
    width: int | None = 64
    """Of a code."""
    attention: Literal["sdpa", "flash"] = "sdpa"
    """Backend."""
    quantizer: Plain | Averaged = field(default_factory=Plain)
    """How codes are found."""
    optimizer: Optimizer = Optimizer()
    """The optimizer."""
    second: Optimizer | None = None
    """Another optimizer."""
    weights: dict[str, float] = field(default_factory=dict)
    """Of every source."""
    stages: tuple[Optimizer, ...] = ()
    """One after the other."""


def parsed(*argv: str) -> Config:
    return parse(Config, argv, prog="ivideo test", positional=("model",))


def from_yaml(folder: Path, text: str, *argv: str) -> Config:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return parse(Config, ["--config", str(path), *argv], prog="ivideo test")


def test_defaults_stand_where_nothing_is_said() -> None:
    assert parsed("runs/a") == Config(model=Path("runs/a"))


@pytest.mark.parametrize(
    ("argv", "change"),
    [
        (["--steps", "3"], {"steps": 3}),
        (["--steps=-3"], {"steps": -3}),
        (["--steps", "-3"], {"steps": -3}),
        (["--resume"], {"resume": True}),
        (["--resume", "false"], {"resume": False}),
        (["--channels", "4,8,16"], {"channels": (4, 8, 16)}),
        (["--channels", "[4, 8]"], {"channels": (4, 8)}),
        (["--width", "null"], {"width": None}),
        (["--model", "3"], {"model": Path("3")}),
        (["--attention", "flash"], {"attention": "flash"}),
        (["--optimizer.lr", "1e-3"], {"optimizer": Optimizer(lr=1e-3)}),
        (["--optimizer", "{lr: 2}"], {"optimizer": Optimizer(lr=2.0)}),
        (["--quantizer.beta", "2"], {"quantizer": Plain(beta=2.0)}),
        (["--quantizer", "Averaged"], {"quantizer": Averaged()}),
        (["--quantizer", "Averaged", "--quantizer.decay", "0.5"], {"quantizer": Averaged(decay=0.5)}),
        (["--quantizer.kind", "Averaged"], {"quantizer": Averaged()}),
        (["--second.lr", "1"], {"second": Optimizer(lr=1.0)}),
        (["--weights.bair", "2"], {"weights": {"bair": 2.0}}),
        (["--stages", "[{lr: 1}, {lr: 2}]"], {"stages": (Optimizer(lr=1.0), Optimizer(lr=2.0))}),
    ],
)
def test_options_set_their_field_and_no_other(argv: list[str], change: dict[str, object]) -> None:
    assert parsed("m", *argv) == Config(**({"model": Path("m")} | change))  # type: ignore[arg-type]


def test_hyphens_count_as_underscores() -> None:
    config = parse(TokenizerConfig, ["--context-frames", "1"], prog="test")
    assert config == TokenizerConfig(context_frames=1)


def test_a_flag_leaves_the_next_word_alone() -> None:
    assert parsed("--resume", "runs/a") == Config(model=Path("runs/a"), resume=True)


def test_an_option_wins_over_yaml_wherever_it_stands(tmp_path: Path) -> None:
    text = "model: m\nsteps: 5\noptimizer: {lr: 1e-3, betas: [0.5, 0.6]}\n"
    config = from_yaml(tmp_path, text, "--optimizer.lr", "7")
    assert config == Config(model=Path("m"), steps=5, optimizer=Optimizer(lr=7.0, betas=(0.5, 0.6)))
    before = parse(Config, ["--steps", "9", "--config", str(tmp_path / "recipe.yaml")], prog="test")
    assert before.steps == 9


def test_a_change_of_kind_drops_what_was_said_of_the_old_kind(tmp_path: Path) -> None:
    text = "model: m\nquantizer:\n  kind: Averaged\n  beta: 3\n  decay: 0.5\n"
    assert from_yaml(tmp_path, text).quantizer == Averaged(beta=3.0, decay=0.5)
    assert from_yaml(tmp_path, text, "--quantizer", "Plain").quantizer == Plain()
    assert from_yaml(tmp_path, text, "--quantizer", "Averaged").quantizer == Averaged(beta=3.0, decay=0.5)


def test_yaml_says_null_for_an_optional_dataclass(tmp_path: Path) -> None:
    assert from_yaml(tmp_path, "model: m\nsecond: null\n").second is None
    assert from_yaml(tmp_path, "model: m\nsecond: null\n", "--second.lr", "1").second == Optimizer(lr=1.0)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "model is missing; give --model VALUE or set it in a config file"),
        (["m", "--stps", "3"], "unknown option --stps; did you mean --steps?"),
        (["m", "--stps"], "unknown option --stps; did you mean --steps?"),
        (["m", "--optimzer.lr", "3"], "unknown option --optimzer.lr; did you mean --optimizer.lr?"),
        (["m", "--lr", "3"], "unknown option --lr; did you mean --optimizer.lr?"),
        (["m", "--zzz", "3"], "unknown option --zzz; --help lists them all"),
        (["m", "--steps", "many"], "steps is 'many'; expected int"),
        (["m", "--steps", "1.5"], "steps is '1.5'; expected int"),
        (["m", "--steps"], "--steps stands without a value; expected int"),
        (["m", "--steps.more", "1"], "steps.more is '1', but steps is a single value: int"),
        (["m", "--attention", "flsh"], "attention is 'flsh'; expected 'sdpa' or 'flash'"),
        (["m", "--width", "wide"], "width is 'wide'; expected int or null"),
        (["m", "--optimizer.lr", "nan"], "optimizer.lr is 'nan'; expected float"),
        (["m", "--optimizer.betas", "1,2,3"], "optimizer.betas is '1,2,3'; expected list of 2: float, float"),
        (["m", "--optimizer", "adam"], "optimizer is 'adam'; expected the keys of Optimizer"),
        (["m", "--quantizer", "Avraged"], "quantizer.kind is 'Avraged'; did you mean Averaged?"),
        (["m", "--quantizer", "None"], "quantizer.kind is 'None'; expected Plain or Averaged"),
        (
            ["m", "--quantizer.decay", "1"],
            "quantizer.decay belongs to Averaged, but quantizer is Plain; set quantizer.kind before it",
        ),
        (["m", "--quantizer", "Averaged", "--quantizer.decay", "3"], "quantizer: decay is 3.0; expected 0 to 1"),
        (["m", "--stages", "[{lr: fast}]"], "stages.0.lr is 'fast'; expected float"),
        (["m", "--stages", "fast"], "stages is 'fast'; expected list of the keys of Optimizer"),
        (["m", "more"], "unexpected argument 'more'; options are written --name VALUE, --help lists them"),
        (["m", "-s", "3"], "unknown option '-s'; options begin with two hyphens, --help lists them"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(argv: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parsed(*argv)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: m\nstps: 3", "unknown key stps in {file}; did you mean steps?"),
        ("model: m\noptimizer: {lrr: 3}", "unknown key optimizer.lrr in {file}; did you mean optimizer.lr?"),
        ("model: m\nqqq: 3", "unknown key qqq in {file}; expected one of model, steps, resume,"),
        ("model: m\nsteps: many", "steps is 'many' in {file}; expected int"),
        ("model: m\nsteps: true", "steps is True in {file}; expected int"),
        ("model: m\nsteps:", "steps is empty in {file}; expected int"),
        ("model: 3", "model is 3 in {file}; expected path"),
        ("model: m\nmodel: n", "{file}, line 2: no valid YAML: key 'model' stands twice"),
        ("model: [", "{file}, line 1: no valid YAML: "),
        ("3: m", "{file}, line 1: no valid YAML: expected a word as key"),
        ("- m", "{file} holds a single list; expected lines of `key: value`"),
        ("", "model is missing; give --model VALUE"),
    ],
)
def test_a_mistake_in_yaml_is_named_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message.format(file=tmp_path / 'recipe.yaml'))}"):
        from_yaml(tmp_path, text)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"recipe.yaml is no text; expected YAML"):
        load_config(Config, path)


def test_help_shows_types_defaults_and_field_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parsed("--quantizer", "Averaged", "--help")
    assert left.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "usage: ivideo test MODEL [--config NAME|FILE]" in text
    assert "--optimizer.lr LR Step size. (type: float, default: 0.0001)" in text
    assert "--quantizer.decay DECAY Of the averages, below 100%. (type: float, default: 0.99)" in text
    assert "One of Plain, Averaged." in text


def test_print_config_prints_what_would_run_as_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["m", "--quantizer", "Averaged", "--optimizer.lr", "1e-7", "--weights.bair", "2"]
    with pytest.raises(SystemExit) as left:
        parsed(*argv, "--print_config")
    assert left.value.code == 0
    assert from_yaml(tmp_path, capsys.readouterr().out) == parsed(*argv)


configs = st.builds(
    Config,
    model=st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1).map(Path),
    steps=st.integers(),
    resume=st.booleans(),
    channels=st.lists(st.integers()).map(tuple),
    width=st.none() | st.integers(),
    attention=st.sampled_from(["sdpa", "flash"]),
    quantizer=st.builds(Plain, beta=st.floats(allow_nan=False)) | st.builds(Averaged, decay=st.floats(0, 1)),
    optimizer=st.builds(Optimizer, lr=st.floats(allow_nan=False)),
    second=st.none() | st.builds(Optimizer),
    weights=st.dictionaries(st.text(st.characters(categories=["L"]), min_size=1), st.floats(allow_nan=False)),
    stages=st.lists(st.builds(Optimizer, lr=st.floats(allow_nan=False)), max_size=2).map(tuple),
)


@settings(max_examples=50)
@given(configs)
def test_load_inverts_save(tmp_path_factory: pytest.TempPathFactory, config: Config) -> None:
    path = tmp_path_factory.getbasetemp() / "saved.yaml"
    save_config(config, path)
    assert load_config(Config, path) == config


def test_the_tokenizers_config_round_trips(tmp_path: Path) -> None:
    config = TokenizerConfig(channels=(32, 64, 64), dropout=0.0, quantizer=EMAVQ())
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(TokenizerConfig, tmp_path / "saved.yaml") == config


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What several have."""

    camera: str = "top"
    """Which view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heir(Shared):
    """What has more."""

    rows: int = 8
    """How many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeirOfHeir(Heir):
    """What has more yet, and another view."""

    depth: int = 2
    camera: str = "side"


def test_what_a_dataclass_adds_stands_before_what_it_inherits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(Heir, ["--help"], prog="test")
    said = capsys.readouterr().out
    assert said.index("How many.") < said.index("Which view.")
    save_config(Heir(), tmp_path / "heir.yaml")
    assert (tmp_path / "heir.yaml").read_text() == "rows: 8\ncamera: top\n"
    save_config(HeirOfHeir(), tmp_path / "heir.yaml")
    assert (tmp_path / "heir.yaml").read_text() == "depth: 2\ncamera: side\nrows: 8\n"
