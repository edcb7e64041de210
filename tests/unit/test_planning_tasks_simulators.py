"""PushT, Meta-World, RoboDesk and robosuite as planning tasks, each where its extra and a GL library are installed."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_rollouts import build

from ivideo import cli
from ivideo.embedding import EmbeddingConfig
from ivideo.planning import GoalImage, RandomShooting
from ivideo.planning.tasks.opening import NAMES, open_task
from ivideo.planning.tasks.simulated import SimulatedTask
from ivideo.planning.trial import TrueSight, run_trial

PACKAGES = {"pusht": "gym_pusht", "metaworld": "metaworld", "robodesk": "robodesk", "robosuite": "robosuite"}
pytestmark = pytest.mark.filterwarnings("ignore")  # the simulators' own


def needs(name: str) -> Any:
    package = PACKAGES[name.partition("/")[0]]
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"the extra for {name} is not installed"
    )


def opened(name: str, **options: Any) -> SimulatedTask:
    task = open_task(name, size=64, **options)
    assert isinstance(task, SimulatedTask)
    return task


EACH = [
    pytest.param(name, within, marks=needs(name))
    for name, within in (
        ("pusht", 8),
        ("metaworld/reach-v3", 10),
        ("metaworld/push-v3", 10),
        ("robodesk/push_green", 4),
        ("robosuite/push", 10),
    )
]


@pytest.mark.parametrize(("name", "within"), EACH)
def test_a_state_that_comes_back_has_the_future_it_had(name: str, within: int) -> None:
    """Bit by bit, pictures included, however often the simulator was elsewhere in between; problems can be done."""
    task = opened(name, within=within)
    simulator, (instance,) = task.maker.simulator, task.instances(1, 0)
    start = instance.problem.start
    actions = torch.rand(3, task.action_dim, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def played(*, back: bool) -> tuple[np.ndarray, np.ndarray]:
        simulator.restore(start)
        for action in actions.numpy():
            if back:
                here = simulator.save()
                simulator.restore(start)
                simulator.advance(-action)
                simulator.restore(here)
            simulator.advance(action)
        return simulator.save(), simulator.draw()

    state, frame = played(back=False)
    for other in (played(back=False), played(back=True)):
        assert np.array_equal(other[0], state)
        assert np.array_equal(other[1], frame)
    simulator.restore(start)
    assert np.array_equal(simulator.save(), start)
    scene = instance.scene(64)
    assert not scene.outcome().solved
    assert torch.equal(scene.frame(), torch.from_numpy(simulator.draw()).permute(2, 0, 1))
    assert not torch.equal(scene.frame(), scene.goal)
    trial = run_trial(
        instance, TrueSight(dynamics=task.dynamics()), RandomShooting(horizon=2, samples=2), GoalImage,
        who="random", steps=2, every=2, seed=0,
    )  # fmt: skip
    assert trial.distances[0] == scene.outcome().distance > 0
    assert trial.decisions == 1
    task.close()


@needs("pusht")
def test_pushts_goals_are_done_where_they_are_and_only_there() -> None:
    from ivideo.planning.tasks.pusht import LEAST_WAY, NEAR, PAINTED, PushTProblems, apart

    for goals in ("place", "painted"):
        maker = PushTProblems(size=64, goals=goals, within=8)
        instances = SimulatedTask(maker).instances(3, 0)
        for instance in instances:
            problem = instance.problem
            maker.simulator.restore(problem.goal)
            there = maker.outcome(problem.goal)
            assert there.solved
            assert there.distance == 0
            assert np.array_equal(maker.simulator.draw(), problem.image)
            maker.simulator.restore(problem.start)
            assert not maker.outcome(problem.goal).solved
            assert apart(problem.start, problem.goal) >= LEAST_WAY / 2 > NEAR
            if goals == "painted":
                assert np.allclose(problem.goal[4:], PAINTED)


@needs("pusht")
def test_pusht_moves_as_it_is_told_and_is_drawn_where_it_is() -> None:
    from ivideo.simulate.pusht import REACH, PushT, centre, corners

    board = PushT()
    state = np.array([100.0, 100.0, 0.0, 0.0, 300.0, 300.0, 0.5])
    board.reset(options={"state": state})
    frame = board.draw().astype(int)
    x, y = (centre(state) / 8).astype(int)
    assert np.abs(frame[y, x] - [119, 136, 153]).max() < 40  # light slate grey
    assert frame[12, 12, 2] - frame[12, 12, 0] > 80  # royal blue
    board.advance(np.array([1.0, 0.0], np.float32))
    moved = board.save()[:2] - state[:2]
    assert 0.85 * REACH < moved[0] < REACH
    assert abs(moved[1]) < 1
    vertices = [board._board.block.local_to_world(v) for s in board._board._block_shapes for v in s.get_vertices()]
    assert np.abs(corners(board.save())[:, None] - np.array(vertices)).sum(axis=2).min(axis=1).max() < 1e-6
    for words, call in (
        ("size is 8; PushT is drawn at 16 to 512", lambda: PushT(size=8)),
        ("expected 7 finite numbers", lambda: board.restore(np.full(7, np.nan))),
        (r"PushT takes two finite numbers in \[-1, 1\]", lambda: board.advance(np.array([np.nan, 0], np.float32))),
        ('PushT knows "state" alone', lambda: board.reset(options={"place": 1})),
    ):
        with pytest.raises(ValueError, match=words):
            call()


@needs("pusht")
def test_scripted_pushers_push(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from ivideo.data import open_episodes

    command = f"data record ivideo/PushT-v0 {tmp_path / 'new'} --policy scripted --episodes 4 --max_steps 20"
    assert cli.main(command.split()) == 0
    assert "4 episodes, 84 frames of 64x64" in capfd.readouterr().out
    episodes = list(open_episodes(tmp_path / "new"))
    changed = [float((each.frames[0].int() - each.frames[-1].int()).abs().float().mean()) for each in episodes]
    assert sum(change > 3 for change in changed) >= 2


@needs("pusht")
def test_the_verb_plans_keeps_its_instances_and_takes_them_back(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    build(EmbeddingConfig(action_dim=2), full=False).save_pretrained(tmp_path / "model")
    quick = "--planner ICEM --planner.samples 3 --planner.elites 2 --planner.iterations 1 --planner.horizon 2 --every 2"
    command = f"plan {tmp_path / 'model'} --task pusht {quick} --within 6 --steps 6 --videos 1 --instances"
    assert cli.main(f"{command} 2 --out {tmp_path / 'out'}".split()) == 0
    printed = capfd.readouterr().out
    assert "distances in units" in printed
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["who"] for row in result["rows"]] == ["simulator", "model", "random"]
    kept = tmp_path / "out" / "instances.npz"
    again = f"{command} 2 --who [random] --instances_from {kept} --out {tmp_path / 'again'}"
    assert cli.main(again.split()) == 0
    trials = [(tmp_path / folder / "trials" / "random-0001.json").read_text() for folder in ("out", "again")]
    assert trials[0].partition('"seconds"')[0] == trials[1].partition('"seconds"')[0]
    assert cli.main(f"{command} 3 --instances_from {kept}".split()) == 2
    assert "holds 2 instances and 3 are wanted; ask for fewer" in capfd.readouterr().err
    assert cli.main(f"{command} 1 --goals painted --instances_from {kept}".split()) == 2
    assert "holds instances made otherwise (goals 'place', now 'painted')" in capfd.readouterr().err
    build(EmbeddingConfig(action_dim=4), full=False).save_pretrained(tmp_path / "other")
    assert cli.main(f"{command.replace('/model', '/other')} 1".split()) == 2
    assert "pusht: an action has 2 values; this model takes 4" in capfd.readouterr().err


@needs("robodesk/push_red")
def test_vp2s_states_of_robodesk_are_entered(tmp_path: Path) -> None:
    import h5py

    task = opened("robodesk/push_red", within=2)
    desk = task.maker.simulator
    desk.reset(seed=1)
    data = desk._desk.physics.data
    places, moving = data.qpos.copy(), data.qvel.copy()
    numbers = np.concatenate([places[:9], moving[:9], places[9:], moving[9:], np.zeros(3)])
    with h5py.File(tmp_path / "goals.hdf5", "w") as file:
        file["data/demo_1/states"] = np.stack([numbers] * 3)
        file["data/demo_1/obs/camera_image"] = np.zeros((3, 256, 256, 3), np.uint8)
    (instance,) = opened("robodesk/push_red", within=2, file=tmp_path / "goals.hdf5").instances(1, 0)
    scene = instance.scene(64)
    there = desk.draw().astype(int)
    assert np.abs(scene.frame().permute(1, 2, 0).numpy() - there).max() <= 1
    assert scene.outcome().distance == pytest.approx(100 * desk.remaining())
    task.close()


@pytest.mark.parametrize("name", [name for name in NAMES if "/" in name])
def test_names_that_are_offered_are_names_of_simulators(name: str) -> None:
    from ivideo.planning.tasks import metaworld, opening
    from ivideo.simulate import robodesk

    stem, _, rest = name.partition("/")
    known = {"metaworld": metaworld.KNOWN, "robodesk": robodesk.TASKS, "robosuite": ("push",)}
    assert rest in known[stem]
    assert len(opening.ROBODESK) == len(robodesk.TASKS)
    assert len(opening.METAWORLD) == len(metaworld.KNOWN)
