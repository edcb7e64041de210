"""Policies that see frames alone: the scripted ones, what they find, and how policies are named."""

import math
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo.judge import policies
from ivideo.judge.acting import Briefing, OneByOne
from ivideo.judge.edits import COLOURS, Edit
from ivideo.judge.locating import DISC, find_goal, locate
from ivideo.judge.policies import Named, find_policies, find_policy
from ivideo.judge.rollouts import live
from ivideo.judge.scenes import Scene
from ivideo.judge.table_policies import SCRIPTED, TablePolicy
from ivideo.judge.truth import true_values
from ivideo.simulate.drawing import USUAL, Look, render
from ivideo.simulate.motion import DEFAULT_GOAL, TOLERANCE, TableState, penetration
from ivideo.simulate.pushing_table import random_state
from rl.drqv2.agent import DrQv2, DrQv2Config
from rl.judged import drqv2


def drawn(state: TableState, look: Look = USUAL, size: int = 64) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(render(state, size, look)).permute(2, 0, 1).contiguous()


def scenes(count: int, size: int = 64) -> list[Scene]:
    states = [random_state(np.random.default_rng(seed)) for seed in range(count)]
    return [
        Scene(number=number, name=f"scene {number}", frames=drawn(state, size=size)[None], table=state)
        for number, state in enumerate(states)
    ]


def plain(frame: np.ndarray, info: dict, rng: np.random.Generator) -> list[float]:
    return [float(rng.uniform(-1, 1)), 0.1 * info["step"]]


class Counting:
    """A callable with a memory."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, frame: np.ndarray, info: dict, rng: np.random.Generator) -> list[float]:
        self.calls += 1
        return [0.01 * self.calls, 0.0]


def test_skill_is_graded() -> None:
    names = ("expert", "wrong_place", "idle")
    value = {name: true_values(live(find_policies([name])[0], scenes(5, 32), 40)) for name in names}
    success = {name: each["success"].mean() for name, each in value.items()}
    assert success["expert"] >= 0.8
    assert success["wrong_place"] == success["idle"] == 0
    assert value["wrong_place"]["touched"].mean() > 0.5
    assert value["idle"]["touched"].sum() == 0
    assert value["expert"]["return"].mean() > value["idle"]["return"].mean()


@pytest.mark.parametrize("name", sorted(SCRIPTED))
def test_a_world_is_the_same_in_any_company(name: str) -> None:
    together = live(Named(name=name, policy=SCRIPTED[name]), scenes(3, 32), 3)
    alone = live(Named(name=name, policy=SCRIPTED[name]), scenes(3, 32)[1:2], 3)
    assert torch.allclose(together.actions[1:2], alone.actions, atol=1e-3)
    assert float(together.actions.abs().max()) <= 1.0


def test_the_goal_is_found_where_it_is_painted() -> None:
    for seed in range(12):
        state = random_state(np.random.default_rng(seed), goal=None)
        assert math.dist(find_goal(drawn(state)), state.goal) < 1.0
    assert find_goal(torch.zeros(3, 64, 64, dtype=torch.uint8)) == DEFAULT_GOAL


def test_things_are_found_and_what_vanishes_is_where_it_was_last() -> None:
    state = random_state(np.random.default_rng(3))
    gone = drawn(state).clone()
    x, y = (round(value) for value in state.disc)
    gone[:, y - 7 : y + 8, x - 7 : x + 8] = torch.tensor([214, 210, 200], dtype=torch.uint8)[:, None, None]
    found = locate(torch.stack([drawn(state), gone])[None], [state.goal], [USUAL])
    assert not found.lost[0, 0].any()
    assert found.disc_lost.tolist() == [[False, True]]
    assert torch.allclose(found.positions[0, 0, DISC], torch.tensor(state.disc), atol=0.5)
    assert torch.equal(found.positions[0, 1, DISC], found.positions[0, 0, DISC])
    assert float(found.distances[0, 0]) == pytest.approx(math.dist(state.disc, state.goal), abs=0.5)


def test_a_thing_of_another_colour_is_found_by_who_knows_of_it() -> None:
    state, look = random_state(np.random.default_rng(4)), Look(disc=COLOURS["purple"])
    frames = drawn(state, look)[None, None]
    assert not locate(frames, [state.goal], [look]).disc_lost.any()
    assert locate(frames, [state.goal], [USUAL]).disc_lost.all()
    back = locate(drawn(state)[None, None], [state.goal], [look])  # painted as usual after all
    assert not back.disc_lost.any()


@pytest.mark.parametrize("text", ["recolour", "recolour:square=#0a0b0c", "add", "add:mark=red", "move", "move:disc"])
def test_edits_change_what_they_say_and_leave_a_possible_table(text: str) -> None:
    state, edit = random_state(np.random.default_rng(5)), Edit.parse(text)
    changed, look = edit(state, USUAL, np.random.default_rng(0))
    assert penetration(changed) <= TOLERANCE
    assert (changed, look) != (state, USUAL)
    assert (changed == state) == (edit.kind != "move")
    assert not torch.equal(drawn(changed, look), drawn(state))
    assert edit(state, USUAL, np.random.default_rng(0)) == (changed, look)


def test_a_thing_is_moved_where_it_is_asked_for_or_refused() -> None:
    state = random_state(np.random.default_rng(5))
    moved, _ = Edit.parse("move:goal=15x49")(state, USUAL, np.random.default_rng(0))
    assert moved.goal == (15.0, 49.0)
    with pytest.raises(ValueError, match="the pusher does not fit there"):
        Edit.parse("move:pusher=1x1")(state, USUAL, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recolor", "did you mean recolour"),
        ("move:mark", "expected move:goal|disc"),
        ("move:goal=here", "expected x and y"),
        ("recolour:disc=blurple", "is no colour"),
        ("add:disc", "expected add:mark"),
    ],
)
def test_edits_that_make_no_sense_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("|", r"\|")):
        Edit.parse(text)


def test_policies_are_found_by_name_module_and_label() -> None:
    assert find_policies(["expert"])[0].policy is SCRIPTED["expert"]
    named = find_policies(["jerk=ivideo.judge.table_policies:TablePolicy"])[0]
    assert (named.name, named.policy) == ("jerk", TablePolicy())
    assert isinstance(find_policy("ivideo.simulate.policies:GoalPusher"), OneByOne)


def test_packages_enter_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(name="jerky", value="test_judge_policies_entry:made", group=policies.GROUP)
    known = EntryPoint(name="scripted", value="ivideo.judge.policies:find_policy", group=policies.GROUP)
    monkeypatch.setattr(policies, "entry_points", lambda group: [entry, known])
    assert find_policy("scripted:idle") is SCRIPTED["idle"]
    with pytest.raises(ValueError, match="did you mean scripted"):
        find_policy("script")
    with pytest.raises(ValueError, match=r"policy jerky of ivideo\.policies cannot be imported"):
        find_policy("jerky:x")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["expertt"], "did you mean expert"),
        (["qqqqqqqq"], "expected one of expert"),
        (["no.such.module:policy"], "there is no module 'no'"),
        (["ivideo.judge.table_policies:TablePolice"], "did you mean TablePolicy"),
        (["ivideo.judge.table_policies:TABLE"], "expected a policy"),
        (["idle", "idle"], "given twice"),
        (["ivideo.judge.table_policies:TABLE:x"], "nothing to call"),
        (["rl.judged:drqv2:/nowhere"], "holds no agent"),
    ],
)
def test_unknown_policies_are_refused_in_one_line(names: list[str], said: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        find_policies(names)


def test_plain_callables_have_a_memory_for_each_world() -> None:
    actions = live(Named(name="counting", policy=OneByOne(Counting())), scenes(3), 4).actions
    assert torch.allclose(actions[:, :, 0], torch.tensor([0.01, 0.02, 0.03, 0.04]).expand(3, 4))
    drawn_actions = live(Named(name="plain", policy=OneByOne(plain)), scenes(2), 3).actions
    assert drawn_actions[0, 0, 0] != drawn_actions[1, 0, 0]
    assert torch.allclose(drawn_actions[:, :, 1], torch.tensor([0.0, 0.1, 0.2]).expand(2, 3))


@pytest.mark.parametrize(
    ("answer", "said"),
    [(lambda *_: [1.0, 0.0, 0.0], "expected \\[2, 2\\]"), (lambda *_: [math.nan, 0.0], "NaN or infinite")],
)
def test_wrong_actions_are_refused(answer, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        live(Named(name="odd", policy=OneByOne(answer)), scenes(2), 2)


def test_an_agent_acts_on_stacked_small_frames(tmp_path: Path) -> None:
    agent = DrQv2(DrQv2Config(size=32, action_dim=2, channels=4, hidden=16, trunk=8), seed=1)
    agent.save(tmp_path / "agent")
    policy = drqv2(str(tmp_path))
    frames = torch.stack([scene.frames for scene in scenes(2)])
    actor = policy.begin(Briefing(frames=frames, seeds=((0,), (1,)), instructions=("", "")))
    first, second = actor(frames[:, -1]), actor(frames[:, -1].flip(-1))
    small = torch.nn.functional.avg_pool2d(frames[:, -1].float(), 2).round().to(torch.uint8)
    mirrored = torch.nn.functional.avg_pool2d(frames[:, -1].flip(-1).float(), 2).round().to(torch.uint8)
    assert torch.equal(first, agent.act(torch.cat([small] * 3, dim=1), 0, explore=False))
    assert torch.equal(second, agent.act(torch.cat([small, small, mirrored], dim=1), 0, explore=False))
    assert live(Named(name="agent", policy=policy), scenes(1), 3).actions.shape == (1, 3, 2)
