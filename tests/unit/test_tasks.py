"""Tasks by name: what they show, take and pay, and how mistakes are told."""

import importlib.util
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from ivideo import Episode
from ivideo.data.recorder import save_episodes
from rl.play import play
from rl.tasks import Task, TaskOptions, demonstrations, open_task, read_demonstrations
from rl.tasks.opening import PUBLISHED

SIMULATED = ("metaworld/hammer-v3", "dm_control/cartpole-balance")


class Slide(gymnasium.Env[Any, Any]):
    """A bright column that an action moves; the aim is the right edge."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    action_space: gymnasium.Space[Any] = gymnasium.spaces.Box(np.float32([0.0]), np.float32([4.0]))
    observation_space = gymnasium.spaces.Box(-1.0, 40.0, (1,))

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.place, self.taken = render_mode, 0.0, []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = float(self.np_random.uniform(0, 8))
        return np.float32([self.place]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken.append(float(action[0]))
        self.place = min(self.place + float(action[0]), 39.0)
        aim = self.place >= 39.0
        return np.float32([self.place]), 1.0, aim, False, {"is_success": aim}

    def render(self) -> Any:
        frame = np.zeros((40, 60, 3), np.uint8)
        frame[:, 10 + int(self.place)] = 255
        return frame


class Unseen(Slide):
    metadata = {"render_modes": []}  # noqa: RUF012


class Counted(Slide):
    action_space = gymnasium.spaces.Discrete(3)


@pytest.fixture(autouse=True)
def registered() -> Any:
    for kind in (Slide, Unseen, Counted):
        gymnasium.register(id=f"Tests{kind.__name__}-v0", entry_point=kind, max_episode_steps=30)
    yield
    for kind in (Slide, Unseen, Counted):
        del gymnasium.registry[f"Tests{kind.__name__}-v0"]


def needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'ivideo[{package.replace('_', '-')}]'")


def opened(name: str, **options: Any) -> Task:
    package = name.partition("/")[0]
    if package in ("metaworld", "dm_control"):
        needs(package)
    return open_task(name, options=TaskOptions(**options))


def played(task: Task, seed: int, steps: int = 6) -> tuple[np.ndarray, list[float]]:
    rng = np.random.default_rng(seed)
    frames, rewards = [task.env.reset(seed=seed)[0]], []
    for _ in range(steps):
        frame, reward, *_ = task.env.step(rng.uniform(-1, 1, task.action_dim).astype(np.float32))
        frames.append(frame)
        rewards.append(float(reward))
    return np.stack(frames), rewards


@pytest.mark.filterwarnings("ignore")  # the simulators' own
@pytest.mark.parametrize("name", ["pushing_table", "TestsSlide-v0", *SIMULATED])
def test_a_task_keeps_its_promises(name: str) -> None:
    task = opened(name)
    space = task.env.observation_space
    assert isinstance(space, gymnasium.spaces.Box)
    assert (space.shape, space.dtype) == ((64, 64, 3), np.uint8)
    actions = task.env.action_space
    assert isinstance(actions, gymnasium.spaces.Box)
    assert (actions.low == -1).all()
    assert (actions.high == 1).all()
    assert actions.shape == (task.action_dim,)
    frames, rewards = played(task, seed=3)
    assert frames.dtype == np.uint8
    assert frames.std() > 5
    again = played(task, seed=3)  # after another episode in the same environment
    other = played(opened(name), seed=3)  # in another one
    for same in (again, other):
        assert (frames == same[0]).all()
        assert rewards == same[1]
    assert (played(task, seed=4)[0] != frames).any()
    info = task.env.step(np.zeros(task.action_dim, np.float32))[4]
    assert info["success"] in (0.0, 1.0)
    task.env.close()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "horizon"), [("metaworld/hammer-v3", 100), ("dm_control/cartpole-balance", 500)])
def test_time_truncates_and_never_terminates(name: str, horizon: int) -> None:
    task = opened(name)
    assert (task.action_repeat, task.horizon) == (2, horizon)
    task.env.close()
    task = opened(name, horizon=3)
    task.env.reset(seed=0)
    ends = [task.env.step(np.zeros(task.action_dim, np.float32))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    task.env.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_tasks_run(name: str) -> None:
    needs("metaworld")
    task = open_task(name)
    assert task.name == f"metaworld/{name}"
    frames, rewards = played(task, seed=0, steps=3)
    assert frames.shape == (4, 64, 64, 3)
    assert (frames[0] != frames[-1]).any()
    assert all(0 <= reward <= 20 for reward in rewards)
    task.env.close()


@pytest.mark.filterwarnings("ignore")
def test_environments_that_draw_in_turn_all_draw() -> None:
    tasks = [opened(name) for name in (*SIMULATED, "InvertedPendulum-v5")]
    alone = [played(task, seed=0, steps=2)[0] for task in tasks]
    for task, frames in zip(tasks, alone, strict=True):
        assert (played(task, seed=0, steps=2)[0] == frames).all()
        assert frames.max() > 50
    for task in tasks:
        task.env.close()


def test_actions_are_rescaled_clipped_and_repeated_and_success_pays() -> None:
    task = opened("TestsSlide-v0", action_repeat=3, success_bonus=5.0)
    assert task.horizon == 10
    env = task.env.unwrapped
    assert isinstance(env, Slide)
    frame, _ = task.env.reset(seed=0)
    env.taken.clear()
    task.env.step(np.float32([-1]))
    assert env.taken == [0, 0, 0]
    _, reward, terminated, truncated, info = task.env.step(np.float32([9]))
    assert env.taken[3:] == [4, 4, 4]
    assert (reward, terminated, truncated, info["success"]) == (3.0, False, False, 0.0)
    while not terminated:
        frame, reward, terminated, truncated, info = task.env.step(np.float32([1]))
    assert info["success"] == 1.0
    assert reward in (6.0, 7.0, 8.0)  # the steps until the aim, and the bonus once
    assert not truncated
    assert frame[:, -2:].max() > 100  # the centre square of the frame ends at the aim
    with pytest.raises(ValueError, match=r"action is .*nan.*expected 1 finite numbers"):
        task.env.step(np.float32([np.nan]))


def test_the_table_ends_in_success_and_pays_for_it() -> None:
    plain = demonstrations("pushing_table", 2, seed=1)
    paid = demonstrations("pushing_table", 2, seed=1, options=TaskOptions(success_bonus=7.0))
    for one, other in zip(plain, paid, strict=True):
        assert one.terminal
        assert one.rewards is not None
        assert other.rewards is not None
        assert torch.equal(one.frames, other.frames)
        assert torch.allclose(other.rewards[:-1], one.rewards[:-1])
        assert float(other.rewards[-1] - one.rewards[-1]) == pytest.approx(7.0)
    assert torch.equal(demonstrations("pushing_table", 1, seed=1)[0].frames, plain[0].frames)
    goals = open_task("pushing_table", options=TaskOptions(random_goal=True, horizon=2))
    first = [goals.env.reset(seed=seed)[1]["state"].goal for seed in (0, 1)]
    assert first[0] != first[1]


def test_demonstrators_take_over_where_others_have_led() -> None:
    led = demonstrations("pushing_table", 6, seed=1, astray=25)
    plain = demonstrations("pushing_table", 6, seed=1)
    assert all(each.terminal for each in led)
    assert all(len(each) == len(each.actions) + 1 == len(each.rewards) + 1 for each in led)
    firsts = [(one.frames[0] != other.frames[0]).any() for one, other in zip(led, plain, strict=True)]
    assert sum(map(bool, firsts)) >= 5  # they begin elsewhere, most of them
    again = demonstrations("pushing_table", 3, seed=1, astray=25)
    assert all(torch.equal(one.frames, other.frames) for one, other in zip(again, led, strict=False))
    with pytest.raises(ValueError, match="nothing scripted leads"):
        demonstrations("metaworld/hammer-v3", 1, astray=5)


def test_touching_is_a_task_and_rewards_can_be_scaled() -> None:
    plain = open_task("pushing_table/touch")
    scaled = open_task("pushing_table/touch", options=TaskOptions(reward_scale=4.0, success_bonus=1.0))
    rewards = []
    for task in (plain, scaled):
        task.env.reset(seed=0)
        _, reward, *_ = task.env.step(np.ones(2, np.float32))
        rewards.append(reward)
    assert rewards[1] == pytest.approx(4 * rewards[0])
    assert rewards[0] < 0
    (shown,) = demonstrations("pushing_table/touch", 1, options=TaskOptions(reward_scale=4.0, success_bonus=1.0))
    assert shown.terminal
    assert 3.9 < float(shown.rewards[-1]) <= 4.0


def test_a_task_is_played_as_agents_play() -> None:
    task = opened("pushing_table", horizon=4, action_repeat=2)
    told = play(task, lambda seen: torch.zeros(2), seed=0, stack=3)
    assert len(told.episode) == 5
    assert not told.episode.terminal


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_demonstrations_of_meta_world_are_paid_as_agents_are() -> None:
    needs("metaworld")
    (episode,) = demonstrations("hammer-v3", 1, seed=0)
    assert episode.rewards is not None
    assert episode.actions is not None
    assert episode.actions.shape == (100, 4)
    assert not episode.terminal
    assert episode.rewards.max() > 20  # two steps at 10 and the bonus


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    task = opened("pushing_table")
    episodes = demonstrations("pushing_table", 2, seed=0)

    def saved(name: str, **changes: Any) -> Path:
        def changed(each: Episode) -> Episode:
            kept = {"frames": each.frames, "actions": each.actions, "rewards": each.rewards, "terminal": each.terminal}
            return Episode(**{**kept, **{key: change(each) for key, change in changes.items()}})

        save_episodes(tmp_path / name, [changed(each) for each in episodes])
        return tmp_path / name

    read = read_demonstrations(saved("good"), task)
    assert torch.equal(read[1].frames, episodes[1].frames)
    assert read[1].terminal
    wrong = {
        "frames are 32x32 and pushing_table shows 64x64": {"frames": lambda each: each.frames[:, :, ::2, ::2]},
        "have 1 controls and pushing_table takes 2": {"actions": lambda each: each.actions[:, :1]},
        "have no actions": {"actions": lambda each: None},
        "no rewards": {"rewards": lambda each: None},
        r"action of [\d.]+; expected controls in -1..1": {"actions": lambda each: each.actions * 3},
    }
    for number, (message, change) in enumerate(wrong.items()):
        with pytest.raises(ValueError, match=message):
            read_demonstrations(saved(str(number), **change), task)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_demonstrations(tmp_path / "nowhere", task)


def test_mistakes_are_told_in_one_line() -> None:
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("pushing_tabel", {}, "no task 'pushing_tabel'; did you mean pushing_table"),
        ("hamer-v3", {}, "did you mean metaworld/hammer-v3"),
        ("cartpole-balanc", {}, "dm_control/cartpole-balance"),
        ("pushing_table", {"camera": "corner"}, "camera is 'corner', and pushing_table has none to choose"),
        ("TestsSlide-v0", {"shadows": True}, "shadows is True, and TestsSlide-v0 has none"),
        ("TestsCounted-v0", {}, r"takes actions of Discrete\(3\); expected Box"),
        ("TestsUnseen-v0", {}, "cannot be seen: .*no render mode rgb_array"),
    ]
    for name, options, message in cases:
        with pytest.raises(ValueError, match=message) as told:
            open_task(name, options=TaskOptions(**options))
        assert "\n" not in str(told.value)
    with pytest.raises(ImportError, match="nosuchmodule:Env-v0: cannot import nosuchmodule"):
        open_task("nosuchmodule:Env-v0")
    with pytest.raises(ValueError, match="size is 2"):
        open_task("pushing_table", size=2)
    for name in ("action_repeat", "horizon"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            TaskOptions(**{name: 0})
    with pytest.raises(ValueError, match="no scripted demonstrator"):
        demonstrations("TestsSlide-v0", 1)
    with pytest.raises(ValueError, match="reached the aim in 0 of 10"):
        demonstrations("pushing_table", 1, options=TaskOptions(horizon=1))
