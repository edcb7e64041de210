"""The pushing table as a planning task: instances, trials, what they come to, and the verb."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_rollouts import build

from ivideo import cli, recipes
from ivideo.config import parse
from ivideo.embedding import EmbeddingConfig
from ivideo.planning import ICEM, ModelDynamics, RandomShooting, TableDynamics
from ivideo.planning.command import Planning
from ivideo.planning.results import markdown, rows
from ivideo.planning.table_task import LEAST_WAY, Instance, instances
from ivideo.planning.trial import Footage, ModelSight, Trial, TrueSight, run_trial, trial_seed
from ivideo.planning.trial_folder import TrialFolder
from ivideo.planning.vp2 import mppi
from ivideo.planning.wanted import Wanted
from ivideo.simulate.motion import TableState
from ivideo.simulate.pushing_table import GOAL_TOLERANCE, PushingTable
from ivideo.world_model import WorldModel

PLANNER = ICEM(horizon=8, samples=48, elites=6, iterations=3, std=1.0)
QUICK = (
    "--planner.samples 6 --planner.elites 2 --planner.iterations 1 --planner.horizon 2 --every 2 --within 4 --steps 4"
)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return build(EmbeddingConfig(action_dim=2), heads=True, full=False)


@pytest.fixture
def folder(model: WorldModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def told(capfd: pytest.CaptureFixture[str], command: str) -> tuple[int, str, str]:
    status = cli.main(command.split())
    out, err = capfd.readouterr()
    return status, out, err


@pytest.mark.parametrize("goals", ["place", "painted"])
def test_instances_can_be_done_and_are_not_done_yet(goals: Any) -> None:
    found = instances(12, goals=goals, within=8)
    for instance in found:
        assert instance.start.step == instance.goal.step == 0
        assert instance.distance(instance.start) >= LEAST_WAY > GOAL_TOLERANCE
        assert instance.solved(instance.goal)
        PushingTable().reset(options={"state": instance.goal})  # a state of the table
    assert len({instance.place for instance in found}) == (12 if goals == "place" else 1)


def test_a_longer_list_begins_with_a_shorter_one_and_a_seed_decides() -> None:
    found = instances(6, goals="place", within=8)
    assert instances(4, goals="place", within=8) == found[:4]
    assert instances(4, goals="place", within=8, seed=1) != found[:4]


def test_the_simulator_solves_what_is_within_its_sight_and_chance_does_not() -> None:
    tasks, wanted = instances(3, goals="place", within=8), Wanted(which="last")
    sight = TrueSight(dynamics=TableDynamics(size=32))
    how: dict[str, Any] = {"steps": 10, "every": 4, "seed": 0}
    planned = [run_trial(task, sight, PLANNER, wanted, who="simulator", **how) for task in tasks]
    random = [
        run_trial(task, sight, RandomShooting(samples=1), wanted, who="random", **how | {"every": 1}) for task in tasks
    ]
    assert sum(trial.solved for trial in planned) >= 2
    assert sum(trial.solved for trial in random) == 0
    first = planned[0]
    assert first.distances[0] == tasks[0].distance(tasks[0].start)
    assert first.solved == (first.distances[-1] <= GOAL_TOLERANCE)
    assert first.imagined <= first.decisions * PLANNER.iterations * (PLANNER.samples + 10) * PLANNER.horizon
    again = run_trial(tasks[0], sight, PLANNER, wanted, who="simulator", **how | {"steps": 4})
    assert again.distances == first.distances[:5]


@pytest.mark.parametrize("remembered", ["latest", "first"])
def test_a_model_plans_from_what_it_sees(model: WorldModel, remembered: Any) -> None:
    (task,) = instances(1, goals="place", within=8)
    sight = ModelSight(dynamics=ModelDynamics(model=model), remembered=remembered)
    seen = []

    class Watched(ModelSight):
        def look(self, state: TableState, frame: torch.Tensor, action: torch.Tensor | None) -> Any:
            found = sight.look(state, frame, action)
            seen.append(found)
            return found

    footage = Footage()
    planner = ICEM(horizon=2, samples=4, elites=2, iterations=1)
    watched = Watched(dynamics=sight.dynamics)
    trial = run_trial(
        task, watched, planner, Wanted(features=1.0), who="model", steps=4, every=2, seed=0, footage=footage
    )
    assert (len(trial.distances), trial.decisions) == (5, 2)
    assert len(footage.executed) == len(footage.planned) == 5
    assert [state.frames for state in seen] == ([0, 0, 0, 0, 0] if remembered == "latest" else [0, 1, 2, 3, 4])
    if remembered == "first":
        assert all(state.context is seen[0].context for state in seen)


def test_decisions_draw_from_seeds_of_their_own() -> None:
    drawn = {trial_seed(seed, number, step) for seed in range(3) for number in range(5) for step in range(15)}
    assert len(drawn) == 3 * 5 * 15
    assert all(0 <= each < 2**62 for each in drawn)


def some_trial(who: str, number: int, *, solved: bool, last: float) -> Trial:
    return Trial(who=who, number=number, solved=solved, distances=(10.0, last), decisions=2, seconds=3.0, imagined=100)


def test_trials_come_to_figures_normalised_to_the_simulator() -> None:
    true = [some_trial("simulator", number, solved=number < 8, last=2.0) for number in range(10)]
    own = [some_trial("model", number, solved=number < 6, last=4.0) for number in range(10)]
    simulator, planned = rows({"simulator": true, "model": own})
    assert (simulator.success.value, planned.success.value) == (80.0, 60.0)
    assert planned.success_ratio.value == pytest.approx(0.75)
    assert planned.success_ratio.low < 0.75 < planned.success_ratio.high
    assert (planned.distance.value, planned.progress.value) == (4.0, 6.0)
    assert planned.progress_ratio.value == pytest.approx(0.75)
    assert (planned.seconds, planned.frames) == (1.5, 50.0)
    (alone,) = rows({"model": own})
    assert math.isnan(alone.success_ratio.value)
    text = markdown([simulator, planned])
    assert text.count("\n") == 4
    assert "| model | 60.00 [" in text


def test_trials_are_kept_and_those_of_something_else_refused(tmp_path: Path) -> None:
    kept, trial = TrialFolder(tmp_path / "trials", {"steps": 15}), some_trial("model", 3, solved=True, last=1.0)
    assert kept.load("model", 3) is None
    kept.save(trial)
    assert TrialFolder(tmp_path / "trials", {"steps": 15}).load("model", 3) == trial
    (tmp_path / "trials" / "model-0003.json").write_text('{"who": "mo')
    assert kept.load("model", 3) is None
    with pytest.raises(ValueError, match=r"holds trials of something else \(steps 15, now 9\); choose another --out"):
        TrialFolder(tmp_path / "trials", {"steps": 9})


def test_the_verb_plans_writes_and_goes_on(
    capfd: pytest.CaptureFixture[str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = f"plan {folder} --config plan/pushing_table {QUICK} --instances 1 --videos 1 --out {out}"
    status, printed, progress = told(capfd, command)
    assert status == 0
    assert all(who in printed for who in ("simulator", "model", "random"))
    assert "planning with the model" in progress
    result = json.loads((out / "results.json").read_text())
    assert [row["who"] for row in result["rows"]] == ["simulator", "model", "random"]
    assert result["command"].startswith("ivideo plan")
    assert {path.name for path in (out / "videos").iterdir()} == {
        f"{who}-0000.{kind}" for who in ("simulator", "model", "random") for kind in ("mp4", "png")
    }
    before = {path.name: path.stat().st_mtime_ns for path in (out / "trials").glob("*-*.json")}
    (out / "trials" / "model-0000.json").unlink()
    assert told(capfd, command.replace("--instances 1", "--instances 2"))[0] == 0
    after = {path.name: path.stat().st_mtime_ns for path in (out / "trials").glob("*-*.json")}
    assert (len(before), len(after)) == (3, 6)
    assert {name for name, time in before.items() if after[name] == time} == set(before) - {"model-0000.json"}
    status, _, problem = told(capfd, f"{command} --seed 1")
    assert status == 2
    assert "holds trials of something else (seed 0, now 1)" in problem
    assert told(capfd, f"{command} --seed 1 --overwrite --who [random]")[0] == 0
    assert len(list((out / "trials").glob("*-*.json"))) == 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--every 3", "every is 3 and the planner's horizon 2; expected at most as many"),
        ("--who []", "who is empty"),
        ("--instances 0", "instances is 0; expected at least 1"),
        ("--within 3", "within is 3; expected at least 4 steps"),
        ("--steps 3", "steps is 3 and within 4; expected at least as many"),
        ("--objective.pixels 0", "no objective has a weight"),
        ("--planner.std [1,1,1]", "std has 3 values and an action 2"),
        ("--planner CEM --planner.colour 2", "planner.colour belongs to ICEM, but planner is CEM"),
        ("--goals everywhere", "goals is 'everywhere'; expected 'place' or 'painted'"),
    ],
)
def test_mistakes_are_told_in_a_line(capfd: pytest.CaptureFixture[str], folder: Path, words: str, problem: str) -> None:
    kind = "" if "CEM" in words else "--planner ICEM"
    status, _, err = told(capfd, f"plan {folder} {kind} {QUICK if kind else ''} --instances 1 {words}")
    assert status == 2
    lines = [line for line in err.splitlines() if line.startswith("ivideo: error: ")]
    assert len(lines) == 1
    assert problem in lines[0]


@pytest.mark.parametrize(("size", "words"), [(3, "an action has 2 values; this model takes 3"), (0, "action-free")])
def test_models_of_other_actions_are_refused(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, size: int, words: str
) -> None:
    build(EmbeddingConfig(action_dim=size), full=False).save_pretrained(tmp_path / "other")
    status, _, err = told(capfd, f"plan {tmp_path / 'other'} --config plan/pushing_table --instances 1")
    assert status == 2
    assert words in err


def test_a_model_without_rewards_is_refused_in_a_line(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    build(EmbeddingConfig(action_dim=2), full=False).save_pretrained(tmp_path / "other")
    command = f"plan {tmp_path / 'other'} --planner ICEM {QUICK} --instances 1 --who [model] --objective.rewards 1"
    status, _, err = told(capfd, command)
    assert status == 2
    assert "asks for rewards, but this model has no reward head" in err


def test_what_the_simulator_cannot_know_is_replaced_by_pixels() -> None:
    goal = torch.zeros(3, 32, 32, dtype=torch.uint8)
    wanted = Wanted(pixels=0.0, features=2.0, unlikely=1.0)
    assert wanted(goal).needs == {"features", "likelihood"}
    assert wanted.for_simulator()(goal).needs == {"frames", "likelihood"}
    assert Wanted(rewards=1.0, pixels=0.0).for_simulator()(goal).needs == {"rewards"}
    assert replace(Wanted(), which="last")(goal).needs == {"last_frame"}


def test_an_instance_knows_where_the_disc_has_to_be() -> None:
    state = TableState(pusher=(20.0, 30.0), disc=(32.0, 30.0), square=(50.0, 50.0))
    instance = Instance(number=0, start=state, goal=state, place=(32.0, 27.0))
    assert instance.distance(state) == 3.0
    assert instance.solved(state)
    assert not replace(instance, place=(32.0, 26.0)).solved(state)


@pytest.mark.parametrize("name", [name for name in recipes.names() if name.startswith("plan/")])
def test_packaged_plans_say_what_they_are(name: str) -> None:
    wanted = parse(Planning, ["MODEL", "--config", name], prog="ivideo plan", positional=("model",))
    assert wanted.instances >= (50 if wanted.task == "pushing_table" else 25)
    comment = recipes.find(name).read_text().partition("\n#\n")[2]
    told = dict(line[2:].split(maxsplit=1) for line in comment.splitlines()[:4])
    assert set(told) == {"command", "hardware", "hours", "reaches"}
    model = "pushing_table" if wanted.task == "pushing_table" else "MODEL"
    assert told["command"].startswith(f"ivideo plan {model} --config {name} ")
    assert told["command"].endswith(" --out FOLDER")


def test_the_plan_by_vp2s_settings_is_vp2s_planner() -> None:
    wanted = parse(Planning, ["MODEL", "--config", "plan/pushing_table_vp2"], prog="plan", positional=("model",))
    assert wanted.planner == replace(mppi("robosuite"), std=0.5)
    assert (wanted.every, wanted.steps, wanted.objective) == (1, 15, Wanted())
