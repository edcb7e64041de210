"""`ivideo rl report`: which runs belong together, what they came to when, and what is wrong with the rest."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rl_runs import write_run

from rl.report.command import main
from rl.report.curves import smoothed, write_curves
from rl.report.groups import Run, grouped
from rl.report.metrics import Metrics
from rl.report.table import tables, usual_steps

EASY = {1000: (0.5, 50.0), 2000: (1.0, 100.0)}


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(lines), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------------------- metrics


def test_lines_that_cannot_be_read_are_counted_and_passed_over(tmp_path: Path) -> None:
    path = write(
        tmp_path / "metrics.jsonl",
        '{"step": 20, "loss": 2.0, "gone": null, "word": "x", "yes": true}\n',
        "\n",
        '{"loss": 1.0}\n',
        "[1, 2]\n",
        '{"step": "7", "loss": 1.0}\n',
        '{"step": 10.0, "loss": NaN}\n',
        "no json\n",
        '{"step": 30, "lo',
    )
    metrics = Metrics.read(path)
    assert metrics.lines == ((10, {}), (20, {"loss": 2.0}))
    assert metrics.unread == 5
    assert metrics.come_to == 20
    with pytest.raises(FileNotFoundError, match=r"nothing\.jsonl"):
        Metrics.read(tmp_path / "nothing.jsonl")
    assert Metrics.read(write(tmp_path / "empty.jsonl")).come_to == 0


def test_an_evaluation_counts_for_the_step_at_which_it_was_due(tmp_path: Path) -> None:
    steps = (900, 1030, 2000, 2510, 3070, 4090)
    lines = [f'{{"step": {step}, "eval/success": {place}}}\n' for place, step in enumerate(steps)]
    path = write(tmp_path / "metrics.jsonl", *lines)
    known = Metrics.read(path, evaluate_every=1000, steps=4000)
    # 2510 was not due: the run was stopped there.
    assert known.evaluations("success") == {900: 0, 1000: 1, 2000: 2, 2510: 3, 3000: 4, 4000: 5}
    assert list(Metrics.read(path).evaluations("success")) == list(steps)


# -------------------------------------------------------------------------------------------------------- groups


def test_runs_belong_together_when_only_seed_and_folder_differ(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / "a0", evaluations=EASY),
        write_run(tmp_path / "m0", evaluations=EASY, mbpo=True),
        write_run(tmp_path / "a1", evaluations=EASY, seed=1),
        write_run(tmp_path / "h0", evaluations=EASY, task="metaworld/hammer-v3"),
        write_run(tmp_path / "m1", evaluations=EASY, mbpo=True, seed=1),
        write_run(tmp_path / "f0", evaluations=EASY, learning_rate=0.001, updates=2),
    ]
    groups, notes = grouped([Run.open(folder) for folder in folders])
    slow, fast = "drqv2, learning_rate 0.0001, updates none", "drqv2, learning_rate 0.001, updates 2"
    assert [(each.task, each.label, [run.folder.name for run in each.runs]) for each in groups] == [
        ("pushing_table", slow, ["a0", "a1"]),
        ("pushing_table", "mbpo, learning_rate 0.0001", ["m0", "m1"]),
        ("metaworld/hammer-v3", slow, ["h0"]),
        ("pushing_table", fast, ["f0"]),
    ]
    assert notes == []


def test_what_methods_share_is_compared_and_what_one_has_alone_is_not(tmp_path: Path) -> None:
    runs = [
        Run.open(write_run(tmp_path / "d", evaluations=EASY, a=1, b=1, c=1, d=1)),
        Run.open(write_run(tmp_path / "m", evaluations=EASY, a=2, b=2, c=2, d=2, mbpo=True)),
    ]
    groups, _ = grouped(runs)
    assert [each.label for each in groups] == ["drqv2 as in d", "mbpo as in m"]
    assert groups[1].standing().endswith("(mbpo, a 2, b 2, c 2, d 2)")  # imagined_share is mbpo's own
    assert grouped(runs, ("x", "y"))[0][0].standing().endswith("(drqv2, a 1, b 1, c 1, d 1)")


def test_labels_are_given_in_the_order_of_first_runs(tmp_path: Path) -> None:
    runs = [
        Run.open(write_run(tmp_path / name, evaluations=EASY, mbpo=name[0] == "m", seed=int(name[1])))
        for name in ("m0", "d0", "m1")
    ]
    groups, _ = grouped(runs, ("ours", "theirs"))
    assert [(each.label, len(each.runs)) for each in groups] == [("ours", 2), ("theirs", 1)]
    with pytest.raises(ValueError, match="labels are one; expected 2, for mbpo, drqv2"):
        grouped(runs, ("one",))
    with pytest.raises(ValueError, match=r"label 'same' is given to .*m0 and .*d0, which differ in more"):
        grouped(runs, ("same", "same"))


def test_one_label_for_what_differs_between_tasks(tmp_path: Path) -> None:
    runs = [
        Run.open(write_run(tmp_path / task, evaluations=EASY, task=task, updates=updates))
        for task, updates in (("reach", 1), ("push", 2))
    ]
    groups, _ = grouped(runs, ("ours", "ours"))
    assert [(each.task, each.label) for each in groups] == [("reach", "ours"), ("push", "ours")]
    assert tables(groups, (1000,))[-1].task == "all 2 tasks"


def test_runs_that_have_evaluated_nothing_yet_are_in_without_scores(tmp_path: Path) -> None:
    fresh = write_run(tmp_path / "fresh", evaluations={}, seed=1)
    (fresh / "metrics.jsonl").unlink()
    runs = [write_run(tmp_path / "a", evaluations=EASY), write_run(tmp_path / "b", evaluations={}, seed=2, come_to=300)]
    (group,), _ = grouped([Run.open(each) for each in (*runs, fresh)])
    assert group.standing().endswith(
        ": one at 0 of 4,000 steps; one at 300 of 4,000 steps; one at 2,000 of 4,000 steps"
    )
    assert group.scores("success", 2000) == [1.0]


def test_the_same_seed_twice_is_told(tmp_path: Path) -> None:
    runs = [Run.open(write_run(tmp_path / name, evaluations=EASY, seed=3)) for name in "ab"]
    _, notes = grouped(runs)
    assert len(notes) == 1
    assert "have one seed, 3: is this the same run twice?" in notes[0]


def test_how_far_runs_have_come(tmp_path: Path) -> None:
    runs = [
        Run.open(write_run(tmp_path / "a", evaluations={4000: (1, 1)}, seed=0)),
        Run.open(write_run(tmp_path / "b", evaluations={1000: (1, 1)}, seed=1, come_to=1500)),
    ]
    (group,), _ = grouped(runs)
    assert group.standing() == "2 runs, seeds 0, 1: 1 complete (4,000 steps); one at 1,500 of 4,000 steps"


# --------------------------------------------------------------------------------------------------------- table


@pytest.fixture
def five(tmp_path: Path) -> list[Run]:
    """Five seeds of each method, the fifth of the first of which is still at 2500."""
    found = []
    for seed in range(5):
        half = seed == 4
        grown = {1010: (seed / 10, seed), 2000: (0.5, 10.0 * seed), 4000: (0.6 + seed / 10, 100.0)}
        grown = {step: value for step, value in grown.items() if step < 3000 or not half}
        found.append(write_run(tmp_path / f"d{seed}", evaluations=grown, seed=seed, come_to=2500 if half else None))
        early = {1000: (0.5, 9.0), 2000: (0.5, 25.0), 4000: (1.0, 100.0)}
        found.append(write_run(tmp_path / f"m{seed}", evaluations=early, seed=seed, mbpo=True))
    return [Run.open(folder) for folder in found]


def test_scores_at_fixed_steps(five: list[Run]) -> None:
    groups, _ = grouped(five)
    (table,) = tables(groups, (500, 1000, 2400, 4000))
    rows = {(row.what, row.name): row for row in table.rows}
    success = rows["success", "drqv2"].cells
    assert [cell.runs for cell in success] == [0, 5, 5, 4]
    assert [cell.interval.value for cell in success[1:]] == pytest.approx([0.2, 0.5, 0.75])
    assert [cell.interval.value for cell in rows["return", "drqv2"].cells[1:]] == pytest.approx([2.0, 20.0, 100.0])
    better = rows["improvement in return", "mbpo over drqv2"].cells
    assert [cell.interval.value for cell in better[1:]] == pytest.approx([1.0, 0.6, 0.5])
    assert rows["improvement in success", "mbpo over drqv2"].cells[3].interval.value == 1.0
    assert rows["minutes", "drqv2"].cells[3].interval.value == 40.0
    assert usual_steps(groups) == (1000, 2000, 4000)


def test_single_runs_are_not_said_to_improve_on_each_other(tmp_path: Path) -> None:
    runs = [Run.open(write_run(tmp_path / name, evaluations=EASY, mbpo=name == "m")) for name in "dm"]
    (table,) = tables(grouped(runs)[0], (1000,))
    assert [row.what for row in table.rows] == ["success"] * 2 + ["return"] * 2 + ["minutes"] * 2
    assert "| success | mbpo | 0.50 |\n" in table.markdown()
    assert "| minutes | mbpo | 10.0 |\n" in table.markdown()


def test_several_tasks_have_tables_of_their_own_and_one_of_all(tmp_path: Path) -> None:
    runs = []
    for task, level in (("reach", 0.0), ("push", 1.0)):
        for seed in range(4):
            scores = {1000: (level, 0.0)}
            runs.append(Run.open(write_run(tmp_path / f"{task}{seed}", evaluations=scores, seed=seed, task=task)))
    found = tables(grouped(runs)[0], (1000,))
    assert [table.task for table in found] == ["reach", "push", "all 2 tasks"]
    (cell,) = found[-1].rows[0].cells
    assert (cell.interval.value, cell.interval.low, cell.interval.high, cell.runs) == (0.5, 0.5, 0.5, 8)
    assert {row.what for row in found[-1].rows} == {"success"}  # returns of several tasks have no common scale


# ------------------------------------------------------------------------------------------------------- command


def test_the_report_on_the_terminal_and_in_a_folder(
    five: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    folders = [str(run.folder) for run in five]
    assert main([*folders[:3], "--at", "1000,4000", "--out", str(out), *folders[3:], folders[0]]) == 0
    said = capsys.readouterr().out
    assert "mbpo over drqv2" in said
    assert "0.75 (4)" in said
    assert "one at 2,500 of 4,000 steps" in said
    assert sorted(path.name for path in out.iterdir()) == ["curves.png", "report.json", "report.md"]
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "## pushing\\_table" in text
    assert "| success | drqv2 | 0.20 [" in text
    assert "(curves.png)" in text
    document = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert len(document["runs"]) == 10  # a folder named twice is one run
    row = next(row for row in document["tables"][0]["rows"] if (row["what"], row["name"]) == ("success", "drqv2"))
    assert row["cells"][1]["runs"] == 4
    assert row["cells"][1]["value"] == pytest.approx(0.75)
    main([*folders, "--out", str(out), "--overwrite", "--labels", "model-free,model-based"])
    assert "model-based over model-free" in capsys.readouterr().out


def test_a_single_run_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", evaluations={1000: (0.25, 3.0)}, come_to=1700)
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"step": 1800, "train/re')
    assert main([str(run)]) == 0
    said = capsys.readouterr().out
    assert "1 run, seed 0: one at 1,700 of 4,000 steps" in said
    assert "0.25" in said
    assert "one line of metrics.jsonl passed over" in said


def test_a_picture_for_every_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / task, evaluations=EASY, task=task) for task in ("reach", "push")]
    assert main([*map(str, runs), "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"curves-1.png", "curves-2.png"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}/nowhere"], "nowhere"),
        (["{0}/file"], "a file; expected a folder of a run"),
        (["{0}"], "holds no config.yaml, so no run; runs lie below it, such as .*: name those"),
        (["{0}/foreign"], "no run of reinforcement learning: its config.yaml has no task and schedule.steps"),
        (["{0}/fresh"], "fresh has not evaluated anything yet, at step 0; wait"),
        (["{0}/early", "{0}/fresh"], "none of the 2 runs has evaluated anything yet, at step 300; wait"),
        (["{0}/good", "--at", "-5"], "at is -5"),
        (["{0}/good", "--at", "soon"], "at is 'soon'|soon"),
        (["{0}/good", "--labels", "a,b"], "labels are a, b; expected 1, for drqv2"),
        (["{0}/good", "--out", "{0}", "--overwrite"], "no part of a report"),
        (["{0}/good", "--out", "{0}/good"], "not empty"),
        ([], "runs"),
        (["{0}/good", "--att", "5"], "did you mean --at"),
    ],
)
def test_what_is_no_run_is_said_in_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    write_run(tmp_path / "good", evaluations=EASY)
    write_run(tmp_path / "early", evaluations={}, come_to=300)
    (write_run(tmp_path / "fresh", evaluations={}) / "metrics.jsonl").unlink()
    (tmp_path / "foreign").mkdir()
    write(tmp_path / "foreign" / "config.yaml", "loop: {steps: 3}\n")
    write(tmp_path / "file")
    with pytest.raises((ValueError, OSError), match=message) as caught:
        main([word.format(tmp_path) for word in arguments])
    assert "\n" not in str(caught.value)
    assert (tmp_path / "good" / "metrics.jsonl").is_file()


# -------------------------------------------------------------------------------------------------------- curves


def test_smoothing_is_the_mean_of_what_lies_in_the_window() -> None:
    steps, values = np.array([10.0, 20.0, 30.0, 60.0]), np.array([1.0, 3.0, 5.0, 7.0])
    places = np.array([5.0, 10.0, 30.0, 50.0, 60.0, 75.0, 90.0])
    found = smoothed(steps, values, places, 15.0, 1)
    assert np.isnan(found[[0, 6]]).all()
    assert found[1:6].tolist() == [1.0, 4.0, 5.0, 7.0, 7.0]
    assert smoothed(steps, values, places, 15.0, 3)[1:6].tolist() == [1.0, 3.0, 3.0, 5.0, 5.0]
    assert np.isnan(smoothed(np.array([]), np.array([]), places, 15.0)).all()


def test_curves_show_every_group_and_change_with_what_was_measured(tmp_path: Path) -> None:
    low, high = (
        Metrics.read(write_run(tmp_path / name, evaluations={1000: (score, 1.0), 2000: (score, 2.0)}) / "metrics.jsonl")
        for name, score in (("low", 0.0), ("high", 1.0))
    )

    def drawn(name: str, **groups: list[Metrics]) -> np.ndarray:
        write_curves(tmp_path / name, groups)
        return np.asarray(Image.open(tmp_path / name))

    blue, orange = (0, 114, 178), (184, 74, 0)
    alone, both = drawn("alone.png", a=[low]), drawn("both.png", a=[low], b=[high, high])
    assert _shows(alone, blue)
    assert not _shows(alone, orange)
    assert _shows(both, orange)
    empty = drawn("empty.png", a=[Metrics(lines=())])
    assert empty.shape[1] == alone.shape[1]
    # A success of 1 lies above one of 0.
    assert _height(drawn("high.png", a=[high]), blue) < _height(alone, blue)


def _where(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    near: np.ndarray = np.abs(picture.astype(int) - np.array(colour)).max(axis=-1) < 12
    return near


def _shows(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool(_where(picture, colour).any())


def _height(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    """The mean row of the first half, below the names, in which a colour is seen."""
    rows = np.nonzero(_where(picture, colour)[80 : picture.shape[0] // 2])[0]
    return float(rows.mean())
