"""Rows of published figures: every command is one that could be typed, and runs go on where they ended."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import pytest

from ivideo import recipes
from ivideo.cli import main
from ivideo.evaluation.card import Card
from ivideo.evaluation.protocol import Protocol
from ivideo.evaluation.series import Figure
from ivideo.evaluation.statistics import Interval
from ivideo.reproduce import command
from ivideo.reproduce.cost import costs
from ivideo.reproduce.page import NOT_COMPARABLE, overview, page
from ivideo.reproduce.row import Stage, load, names
from ivideo.reproduce.stages import arguments, execute, filled, recorded, run
from ivideo.reproduce.tables import beside

ROWS = [load(name) for name in names()]
STAGES = {f"{row.name}, full, {stage.name}": stage for row in ROWS for stage in row.full}
STAGES |= {f"{row.name}, released, {stage.name}": stage for row in ROWS for stage in row.released}
STAGES |= {f"{row.name}, tiny, {stage.name}": stage for row in ROWS for stage in row.tiny.stages}


def shape(stage: Stage) -> tuple[str, ...]:
    """A command's verb, config and options without their values."""
    words = shlex.split(stage.command)
    return tuple(
        each for n, each in enumerate(words) if each.startswith("--") or words[n - 1] in ("ivideo", "--config")
    )


DISTINCT = {shape(stage): name for name, stage in STAGES.items()}
"""Commands that differ in values alone are typed once."""
PLACES = {"DATA": "data", "OUT": "out", "STEPS": 2, "EPISODES": 4, "CLIPS": 2, "WINDOWS": 8}


def test_every_published_figure_has_its_row() -> None:
    assert names() == [
        "bair64", "bair64_action", "few_shot", "metaworld", "robonet256", "robonet64", "scaling", "tokenization",
        "vp2_robodesk", "vp2_robosuite",
    ]  # fmt: skip


@pytest.mark.parametrize("name", DISTINCT.values())
def test_commands_could_be_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    stage = STAGES[name]
    words = arguments(filled(stage.command, PLACES))
    wanted = words[words.index("--config") + 1]
    if wanted.startswith("evaluate/") and wanted not in recipes.names():
        pytest.skip(f"no config {wanted} yet")
    with pytest.raises(SystemExit) as left:
        main([*words, "--print_config"])
    assert left.value.code == 0
    assert capsys.readouterr().out
    assert stage.name in words[words.index("--out" if "--out" in words else "--run.folder") + 1]


@pytest.mark.parametrize("row", ROWS, ids=names())
def test_stages_stand_on_what_was_made_before(row: command.Row) -> None:
    for stages in (row.full, row.tiny.stages):
        made: set[str] = set()
        for stage in stages:
            read = [word for word in shlex.split(stage.command) if word.startswith("OUT/")]
            assert {word.removeprefix("OUT/") for word in read} <= made | {stage.name}
            made.add(stage.name)
        if row.compares and stages is row.tiny.stages:
            assert {f"{name}/world_model" for name in row.compares} <= made


def test_the_list_has_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(ROWS) + 1]] == names()
    assert max(map(len, overview(ROWS).splitlines())) < 170


def test_a_page_says_what_it_takes() -> None:
    row = load("vp2_robosuite")
    shown = page(row, row.full, row.tiny.stages)
    for told in (
        ".783",
        ".935",
        "`ivideo.planning.vp2.Predictor`",
        "182 GB",
        "4 GPUs with 24 GB",
        "GPU-hours",
        NOT_COMPARABLE,
        "MPPI",
    ):
        assert told in shown, told
    typed = shown.replace("\\\n      ", "")
    assert all(stage.command in typed for stage in (*row.full, *row.tiny.stages))


def test_pre_training_takes_what_docs_scaling_counts() -> None:
    stages = [
        Stage(name="t", command="ivideo train tokenizer --config tokenizer/oxe64 --run.folder OUT/t"),
        Stage(name="w", command="ivideo train world-model --config world_model/oxe64 --tokenizer OUT/t"),
    ]
    tokenizer, transformer = costs(stages)
    assert tokenizer.gflop == pytest.approx(1514, rel=0.01)  # D
    assert transformer.gflop == pytest.approx(559 + 330, rel=0.01)  # C, and tokenizing in every step
    assert transformer.samples == 44_800_000  # W
    assert transformer.gpu_hours == pytest.approx(19 * 24, rel=0.05)  # published


def test_an_unknown_row_is_refused_with_its_neighbours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "bair_64"]) == 2
    assert "did you mean bair64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["bair64", "--run"], "pass --data FOLDER"),
        (["bair64", "--run", "--data", "nowhere"], "nowhere is no folder"),
        (["bair64", "--run", "--tiny"], "choose one"),
        (["bair64", "--dry_run"], "add one of them"),
        (["bair64", "--released"], "add --run"),
        (["tokenization", "--run", "--released"], "no released weights of tokenization are known"),
        (["--tiny"], "need a row: one of bair64"),
        (["bair64", "--tiny", "--steps", "0"], "steps is 0; expected at least 1"),
    ],
)
def test_mistakes_are_refused_before_work_starts(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_prints_what_would_run_with_folders_in_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "bair64", "--run", "--dry_run", "--data", "my data", "--out", str(tmp_path / "o")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(load("bair64").full)
    assert "'my data/train'" in lines[0]
    assert "DATA" not in "".join(lines)
    assert list(tmp_path.iterdir()) == []


def test_released_weights_are_measured_without_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "bair64_action", "--run", "--released", "--dry_run", "--data", "bair"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "ivideo evaluate thuml/ivideogpt-bair-64-act-cond --config evaluate/bair64_action --trust true "
        "--source bair/test"
    )


class Hand:
    """Stands in for the processes: notes what it was told, makes what it says, and fails where it is asked to."""

    def __init__(self, out: Path, fails: str = "") -> None:
        self.out, self.fails = out, fails
        self.did: list[str] = []

    def __call__(self, words: Sequence[str]) -> tuple[int, float | None]:
        name = words[-1]
        self.did.append(name)
        if name == self.fails:
            return 130, None
        (self.out / name).mkdir()
        return 0, 12.5


def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    stages = [Stage(name=name, command=f"ivideo make {name}") for name in "abc"]
    said: list[str] = []
    interrupted = Hand(tmp_path, fails="b")
    assert run(stages, tmp_path, interrupted, said.append) == 130
    assert interrupted.did == ["a", "b"]
    again = Hand(tmp_path)
    assert run(stages, tmp_path, again, said.append) == 0
    assert again.did == ["b", "c"]
    assert recorded(tmp_path)["a"].peak_mb == 12.5
    assert run(stages, tmp_path, once_more := Hand(tmp_path), said.append) == 0
    assert once_more.did == []
    (tmp_path / "b").rmdir()  # what it made is gone
    changed = [*stages[:2], replace(stages[2], command="ivideo make --otherwise c")]
    (tmp_path / "c").rmdir()
    assert run(changed, tmp_path, anew := Hand(tmp_path), said.append) == 0
    assert anew.did == ["b", "c"]


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stages.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match="no record of ours"):
        recorded(tmp_path)


def test_a_stage_is_a_process_whose_status_and_memory_are_known(capfd: pytest.CaptureFixture[str]) -> None:
    status, peak = execute(["configs", "mixture/example"])
    assert status == 0
    assert peak is None or 5 < peak < 4000
    assert "sets:" in capfd.readouterr().out
    assert execute(["no-such-verb"])[0] == 2


def test_tiny_figures_stand_beside_the_published_ones() -> None:
    def clips(source: str, quantity: str = "PSNR, dB", **interval: float) -> Figure:
        return Figure(quantity=quantity, source=source, per="clip", values=(Interval(**interval),))

    ours = clips("prediction", value=18.0, low=nan, high=inf)
    card = Card(
        model={},
        data={"clips": 3},
        protocol=Protocol(),
        figures=(
            replace(ours, per="frame", values=ours.values * 2),
            ours,
            clips("copy-last-frame", value=17.0, low=16.0, high=18.0),
            replace(ours, quantity="PSNR on changed pixels, dB"),
        ),
    )
    shown = beside(load("bair64"), card)
    first, copied, *rest = shown.splitlines()[1:]
    assert "18.00  " in first
    assert first.endswith("20.4")
    assert copied.endswith("17.00 [16.00, 18.00]")
    assert rest[0].startswith("FVD")
    assert "not measured" in rest[0]
    assert rest[0].endswith("75.0 ±0.20")
    assert shown.count(NOT_COMPARABLE) == 2


def test_the_documentation_lists_every_row() -> None:
    told = (Path(__file__).resolve().parents[2] / "docs" / "reproduce.md").read_text(encoding="utf-8")
    for row in ROWS:
        line = next(line for line in told.splitlines() if line.startswith(f"| `{row.name}` |"))
        if row.name in ("bair64", "robonet64", "metaworld"):  # counting takes a second each
            hours = sum(cost.gpu_hours for cost in costs(row.full))
            assert (f"| {hours:,.0f}" if hours >= 10 else f"| {hours:.1f}") in line
