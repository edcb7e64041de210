"""Tasks for planning: a simulator that can be put back, problems kept in files, VP2's files, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_rollouts import build

from ivideo import cli
from ivideo.embedding import EmbeddingConfig
from ivideo.planning import ICEM, Dynamics, GoalFeatures, RewardSum
from ivideo.planning.table_task import TableTask
from ivideo.planning.tasks.opening import NAMES, check_task, open_task
from ivideo.planning.tasks.problems import Judge, Problem, load_problems, save_problems
from ivideo.planning.tasks.simulated import FromVP2, Maker, SimulatedTask
from ivideo.planning.tasks.simulator import Simulator, SimulatorDynamics
from ivideo.planning.tasks.task import Instance, Outcome, PlanningTask, Scene
from ivideo.planning.tasks.vp2_file import vp2_problems
from ivideo.planning.trial import Footage, TrueSight, run_trial
from ivideo.planning.wanted import Wanted
from ivideo.simulate.motion import TableState

SIZE = 32


class Drift:
    """A bright square of 16 pixels that actions move and that keeps half of its speed: a simulator with a memory."""

    action_dim = 2

    def __init__(self, size: int = SIZE) -> None:
        self.size, self._state = size, np.array([8.0, 8.0, 0.0, 0.0])

    def save(self) -> np.ndarray:
        return self._state.copy()

    def restore(self, state: np.ndarray) -> None:
        self._state = state.copy()

    def advance(self, action: np.ndarray) -> float:
        speed = 0.5 * self._state[2:] + 2.0 * np.clip(action, -1, 1)
        self._state = np.concatenate([np.clip(self._state[:2] + speed, 0, self.size - 16), speed])
        return float(self._state[0])

    def draw(self) -> np.ndarray:
        frame = np.zeros((self.size, self.size, 3), np.uint8)
        x, y = np.round(self._state[:2]).astype(int)
        frame[y : y + 16, x : x + 16] = 255
        return frame


class Drifting:
    """Bring the square to another place."""

    name, unit, goal_numbers, tries = "drift", "pixels", 2, 50

    def __init__(self, size: int = SIZE, far: float = 6.0) -> None:
        self.simulator, self.far, self.made = Drift(size), far, 0

    @property
    def settings(self) -> dict[str, Any]:
        return {"far": self.far}

    def outcome(self, goal: np.ndarray) -> Outcome:
        away = float(np.linalg.norm(self.simulator.save()[:2] - goal))
        return Outcome(distance=away, solved=away < 2.0)

    def problem(self, seed: tuple[int, ...]) -> Problem | None:
        self.made += 1
        rng = np.random.default_rng(seed)
        start, goal = rng.uniform(0, 16, 2), rng.uniform(0, 16, 2)
        if not self.far <= np.linalg.norm(start - goal) <= 10:
            return None
        self.simulator.restore(np.array([*goal, 0.0, 0.0]))
        return Problem(start=np.array([*start, 0.0, 0.0]), goal=goal, image=self.simulator.draw())

    def close(self) -> None:
        self.simulator.restore(np.zeros(4))


def test_what_there_is_to_plan_keeps_to_the_protocols() -> None:
    maker = Drifting()
    task = SimulatedTask(maker)
    (instance,) = task.instances(1, 0)
    scene, table = instance.scene(SIZE), TableTask(size=SIZE, goals="place", within=4)
    assert isinstance(maker, Maker | Judge)
    assert isinstance(maker.simulator, Simulator)
    for each in (task, table):
        assert isinstance(each, PlanningTask)
        assert isinstance(each.dynamics(), Dynamics)
    (first,) = table.instances(1, 0)
    for thing in (instance, first):
        assert isinstance(thing, Instance)
    for seen in (scene, first.scene(SIZE)):
        assert isinstance(seen, Scene)


def test_the_simulator_as_a_model_goes_where_it_goes_itself() -> None:
    simulator = Drift()
    dynamics, actions = SimulatorDynamics(simulator=simulator), torch.rand(5, 4, 2) * 2 - 1
    start = np.array([10.0, 8.0, 3.0, -1.0])
    needs = frozenset({"frames", "rewards", "likelihood"})
    (found,) = dynamics.imagine(start, actions, needs)
    (last,) = dynamics.imagine(start, actions, frozenset({"last_frame"}))
    for row in range(5):
        simulator.restore(start)
        for step in range(4):
            paid = simulator.advance(actions[row, step].numpy())
            assert float(found.rewards[row, step]) == pytest.approx(paid)
            assert torch.equal(found.frames[row, step], torch.from_numpy(simulator.draw()).permute(2, 0, 1))
    assert torch.equal(last.frames, found.frames[:, -1:])
    assert last.rewards is None
    assert not found.log_likelihood.any()
    with pytest.raises(ValueError, match="asks for features, but this model has no token features"):
        GoalFeatures(found.frames[0, 0]).prepare(dynamics, start)


def test_a_scene_stands_still_while_others_imagine_in_its_simulator() -> None:
    task = SimulatedTask(Drifting())
    (instance,) = task.instances(1, 0)
    alone, disturbed = instance.scene(SIZE), None
    actions = torch.tensor([[1.0, 0.3], [-0.5, 1.0], [0.2, 0.2]])
    for action in actions:
        alone.act(action)
    disturbed = instance.scene(SIZE)
    for action in actions:
        list(task.dynamics().imagine(disturbed.state(), torch.rand(3, 5, 2), frozenset({"last_frame"})))
        disturbed.act(action)
    assert np.array_equal(alone.state(), disturbed.state())
    assert torch.equal(alone.frame(), disturbed.frame())
    assert alone.outcome() == disturbed.outcome()


def test_a_trial_is_carried_out_judged_and_filmed() -> None:
    task = SimulatedTask(Drifting())
    instances = task.instances(3, 0)
    planner = ICEM(horizon=5, samples=24, elites=4, iterations=3, std=1.0)
    how: dict[str, Any] = {"who": "simulator", "steps": 10, "every": 1, "seed": 0}
    footage = Footage()
    sight = TrueSight(dynamics=task.dynamics())
    trials = [
        run_trial(each, sight, planner, Wanted(), footage=footage if each.number == 0 else None, **how)
        for each in instances
    ]
    assert all(trial.solved for trial in trials)
    assert all(trial.distances[0] >= 6 for trial in trials)
    assert torch.equal(footage.goal, instances[0].scene(SIZE).goal)
    assert len(footage.executed) == len(footage.planned) == len(trials[0].distances)


def test_idle_steps_are_zeros_and_decide_nothing() -> None:
    task = SimulatedTask(Drifting())
    (instance,) = task.instances(1, 0)
    how: dict[str, Any] = {"who": "simulator", "steps": 4, "every": 1, "seed": 0, "idle": 2}
    footage = Footage()
    planner = ICEM(horizon=2, samples=4, elites=2, iterations=1)
    sight = TrueSight(dynamics=task.dynamics())
    trial = run_trial(instance, sight, planner, Wanted(), footage=footage, **how)
    assert trial.decisions == 2
    assert trial.distances[0] == trial.distances[1] == trial.distances[2] != trial.distances[3]
    assert torch.equal(footage.planned[0], footage.executed[0])
    none = run_trial(instance, sight, planner, Wanted(), **how | {"idle": 9})
    assert (none.decisions, len(none.distances)) == (0, 5)


def same(first: Problem, second: Problem) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("start", "goal", "image"))


def test_problems_are_made_once_and_a_longer_list_begins_with_a_shorter_one(tmp_path: Path) -> None:
    kept, told = tmp_path / "out" / "instances.npz", []
    maker = Drifting()
    short = SimulatedTask(maker, kept=kept, progress=lambda made, count: told.append((made, count))).instances(3, 7)
    assert told == [(1, 3), (2, 3), (3, 3)]
    again, other = Drifting(), Drifting()
    long = SimulatedTask(again, kept=kept).instances(5, 7)
    assert all(same(first.problem, second.problem) for first, second in zip(short, long, strict=False))
    fresh = SimulatedTask(other).instances(5, 7)
    assert all(same(first.problem, second.problem) for first, second in zip(long, fresh, strict=True))
    assert again.made < other.made
    assert [each.number for each in long] == [0, 1, 2, 3, 4]
    SimulatedTask(third := Drifting(far=7.0), kept=kept).instances(1, 7)
    assert third.made > 0, "problems made otherwise are not taken for these"
    taken = SimulatedTask(fourth := Drifting(far=7.0), file=kept).instances(1, 99)
    assert (len(taken), fourth.made) == (1, 0)


def test_what_cannot_be_made_is_given_up_in_a_line() -> None:
    with pytest.raises(
        ValueError, match="drift: only 0 of 2 instances were found in 100 demonstrations; ask for fewer"
    ):
        SimulatedTask(Drifting(far=11.0)).instances(2, 0)


def test_files_of_instances_that_do_not_fit_are_refused_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "instances.npz"
    problems = [each.problem for each in SimulatedTask(Drifting()).instances(2, 0)]
    about = {"task": "drift", "far": 6.0}

    def refused(words: str, *, count: int = 1, size: int = SIZE, far: float = 6.0, name: Path = file) -> None:
        with pytest.raises((ValueError, FileNotFoundError), match=words) as told:
            SimulatedTask(Drifting(size, far), file=name).instances(count, 0)
        assert "\n" not in str(told.value)

    refused("there is no such file of instances; leave it out to make some")
    save_problems(file, problems, about)
    assert same(load_problems(file, Drift(), name="drift", numbers=2)[0][1], problems[1])
    refused("holds 2 instances and 3 are wanted; ask for fewer", count=3)
    refused(r"images is uint8 \[2, 32, 32, 3\]; expected uint8 \[2, 48, 48, 3\] for drift at 48 pixels", size=48)
    refused(r"holds instances made otherwise \(far 6.0, now 8.0\)", far=8.0)
    save_problems(file, problems, about | {"task": "pusht"})
    refused("holds instances of 'pusht'; expected some of 'drift'")
    save_problems(file, [replace(each, start=np.zeros(5)) for each in problems], about)
    refused(r"starts is float64 \[2, 5\]; expected float64 \[2, 4\]")
    save_problems(file, [replace(each, goal=np.full(2, np.nan)) for each in problems], about)
    refused("a state holds a number that is not finite")
    file.write_bytes(b"PK\x03\x04 no zip")
    refused("is no file of instances")
    (tmp_path / "goals.hdf5").write_bytes(b"")
    refused("VP2 has no drift; expected a file that", name=tmp_path / "goals.hdf5")


def test_goals_of_another_size_are_refused() -> None:
    (instance,) = SimulatedTask(Drifting()).instances(1, 0)
    with pytest.raises(ValueError, match="the goal image of instance 0 is 32x32 and the model sees 48x48"):
        instance.scene(48)


def write_goals(path: Path, *, states: int = 6, start: int | None = 2, camera: str = "camera", side: int = 64) -> Path:
    """Two instances as VP2 lays them out, in the order in which a file lists its groups."""
    import h5py

    with h5py.File(path, "w") as file:
        for number in (2, 10):
            demo = file.create_group(f"data/demo_{number}")
            demo["states"] = np.arange(5.0 * states).reshape(5, states) + number
            picture = np.zeros((5, side, side, 3), np.uint8)
            picture[-1, : side // 2] = 10 * number
            demo[f"obs/{camera}_image"] = picture
            if start is not None:
                demo["start_index"] = start
    return path


def test_vp2s_own_instances_are_read(tmp_path: Path) -> None:
    def read(path: Path, **options: Any) -> list[Problem]:
        known: dict[str, Any] = {"camera": "camera", "size": SIZE, "numbers": 6}
        begin: Callable[[np.ndarray], np.ndarray] = lambda numbers: -numbers  # noqa: E731
        return vp2_problems(path, begin=begin, goal=lambda numbers: numbers[:2], **known | options)

    first, second = read(write_goals(tmp_path / "goals.hdf5"))
    assert np.array_equal(first.start, -(np.arange(12.0, 18.0) + 2))
    assert np.array_equal(second.goal, [34.0, 35.0])
    assert second.image.shape == (SIZE, SIZE, 3)
    assert (int(second.image[0].max()), int(second.image[-1].max())) == (100, 0)
    assert np.array_equal(read(write_goals(tmp_path / "whole.hdf5", start=None))[0].start, -(np.arange(6.0) + 2))
    for words, path, options in (
        (r"'demo_2' has states \[5, 6\]; expected \[t, 76\]", "goals.hdf5", {"numbers": 76}),
        (r"there is no array 'obs/agentview_image'", "goals.hdf5", {"camera": "agentview"}),
        ("there is no such file of instances", "none.hdf5", {}),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            read(tmp_path / path, **options)
    with pytest.raises(ValueError, match="begins in row 9 of 5 states"):
        read(write_goals(tmp_path / "far.hdf5", start=9))


def test_names_and_settings_are_checked_before_anything_is_opened() -> None:
    for name in NAMES:
        check_task(name, goals="place", from_file=False)
    for words, name, settings in (
        ("no planning task 'pushd'; did you mean .*pusht", "pushd", {}),
        ("goals is 'painted', and robodesk/push_red paints none", "robodesk/push_red", {"goals": "painted"}),
        ("the pushing table's instances are made from seeds", "pushing_table", {"from_file": True}),
    ):
        with pytest.raises(ValueError, match=words):
            check_task(name, **{"goals": "place", "from_file": False} | settings)


@pytest.mark.parametrize(
    ("task", "package", "words"),
    [
        ("pusht", "gym_pusht", r"PushT is not installed .*pip install 'ivideo\[pusht\]'"),
        ("metaworld/reach-v3", "metaworld", r"Meta-World is not installed .*pip install 'ivideo\[metaworld\]'"),
        ("robodesk/push_red", "robodesk", r"RoboDesk is not installed .*pip install 'ivideo\[robodesk\]'"),
        ("robosuite/push", "robosuite", r"robosuite is not installed .*pip install 'ivideo\[robosuite\]'"),
    ],
)
def test_a_missing_simulator_names_its_extra(
    task: str, package: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "mujoco", sys.modules.get("mujoco"))  # drawing is not what is missing here
    with pytest.raises(ImportError, match=words):
        open_task(task, size=64)


def test_the_verb_refuses_in_a_line(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    build(EmbeddingConfig(action_dim=2), full=False).save_pretrained(tmp_path / "model")
    quick = "--planner.horizon 2 --planner.samples 2 --instances 1 --within 4"
    for words, problem in (
        ("--task pushing", "no planning task 'pushing'; did you mean pushing_table"),
        ("--instances_from x.npz", "instances_from is set, and the pushing table's instances are made from seeds"),
        ("--idle -1", "idle is -1; expected at least 0"),
        ("--task metaworld/reach-v3 --goals painted", "goals is 'painted', and metaworld/reach-v3 paints none"),
    ):
        assert cli.main(f"plan {tmp_path / 'model'} {quick} {words}".split()) == 2
        err = capfd.readouterr().err
        lines = [line for line in err.splitlines() if line.startswith("ivideo: error: ")]
        assert len(lines) == 1
        assert problem in lines[0], words


def test_the_table_is_a_task_like_the_others(tmp_path: Path) -> None:
    task = open_task("pushing_table", size=SIZE, within=4)
    assert (task.name, task.unit, task.action_dim) == ("pushing_table", "units", 2)
    (instance,) = task.instances(1, 0)
    scene = instance.scene(SIZE)
    assert isinstance(scene.state(), TableState)
    (imagined,) = task.dynamics().imagine(scene.state(), torch.ones(1, 1, 2), RewardSum().needs)
    scene.act(torch.ones(2))
    assert imagined.rewards.shape == (1, 1)
    assert scene.outcome().distance > 0
    assert not isinstance(Drifting(), FromVP2)
    assert json.dumps({"unit": task.unit})
