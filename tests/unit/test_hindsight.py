"""Chains of instructions in hindsight: skills, goals, distances, and what a run of `ivideo rl hindsight` does."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_rollouts import build

from ivideo.embedding import EmbeddingConfig
from ivideo.simulate import TableState
from ivideo.simulate.motion import advance
from ivideo.simulate.pushing_table import random_state
from ivideo.simulate.skills import SKILL_STEPS, SKILLS, Instructed, Skill
from rl.hindsight import Chain, Planner, imagined, recorded
from rl.hindsight.distance import EVERYTHING, Reductions, distance, moved, reduction
from rl.hindsight.learner import lessons_of
from rl.hindsight.trial import attempt, idling, trials
from rl.reinforce.imagined import first_frames, world
from rl.reinforce.network import SightConfig
from rl.reinforce.policy import Policy, PolicyConfig
from rl.sight import shrunken
from rl.verbs import hindsight

START = TableState(pusher=(10.0, 10.0), disc=(20.0, 30.0), square=(40.0, 40.0))
TINY = [
    "--size=32", "--short=3", "--long=2", "--actors=2", "--least=1", "--most=2", "--trials=2", "--sight.width=4",
    "--sight.blocks=0", "--sight.hidden=8", "--loop.steps=2", "--loop.batch_size=4", "--loop.accelerator=cpu",
    "--loop.evaluate_every=null", "--run.tensorboard=false",
]  # fmt: skip


def test_skills_push_what_they_are_told_where_they_are_told() -> None:
    ways = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
    for sentence in SKILLS:
        _, _, thing, direction = sentence.split()
        gone = []
        for number in range(10):
            rng = np.random.default_rng([number, 1])
            start = state = random_state(rng)
            policy = Instructed((sentence,))
            for _ in range(SKILL_STEPS):
                x, y = policy(None, {"state": state}, rng)
                state = advance(state, (float(x), float(y)))
            gone.append(np.subtract(getattr(state, thing), getattr(start, thing)) @ np.array(ways[direction]))
        assert np.mean(gone) > 2.0, sentence
    with pytest.raises(ValueError, match="'fly' is nothing that can be asked here; expected one of: push the disc"):
        Skill("fly", START)
    with pytest.raises(ValueError, match="no sentences"):
        Instructed(())


def test_the_reduction_is_1_at_the_goal_0_at_the_start_and_below_when_further_away() -> None:
    goal = replace(START, disc=(30.0, 30.0), pusher=(50.0, 50.0))
    assert reduction(START, goal, goal) == 1.0
    assert reduction(START, START, goal) == 0.0
    assert reduction(START, replace(START, disc=(25.0, 30.0)), goal) == pytest.approx(0.5)
    assert reduction(START, replace(START, disc=(10.0, 30.0)), goal) == pytest.approx(-1.0)
    # The square was to stay where it is: moving it takes from all objects and not from those the goal moves.
    strayed = Reductions.of(START, replace(goal, square=(45.0, 40.0)), goal)
    assert strayed.moved == 1.0
    assert strayed.objects == pytest.approx(0.5)
    assert moved(START, goal) == ("disc",)
    assert distance(START, goal, EVERYTHING) == pytest.approx(10.0 + math.hypot(40.0, 40.0))
    with pytest.raises(ValueError, match="already where the goal has them"):
        reduction(START, START, START)


def test_the_goal_of_a_chain_is_its_last_frame_beside_every_step() -> None:
    chains = recorded(3, least=2, most=3, seed=4, size=32)
    for chain in chains:
        assert torch.equal(chain.goal, chain.episode.frames[-1])
        asked = chain.episode.instruction.split(", then ")
        assert 2 <= len(asked) <= 3
        assert chain.said.tolist() == [SKILLS.index(each) for each in asked for _ in range(SKILL_STEPS)]
    lessons = lessons_of(chains, stack=2, shrink=2, goals=True)
    assert lessons.goals is not None
    assert lessons.said is not None
    row = 0
    for chain in chains:
        goal = shrunken(chain.episode.frames[-1:], 2)[0]
        for step in range(len(chain.episode)):
            last = step == len(chain.episode) - 1
            assert torch.equal(lessons.goals[row], goal)
            assert float(lessons.acted[row]) == (0.0 if last else 1.0)
            assert float(lessons.left[row]) == len(chain.episode) - 1 - step
            if not last:
                assert int(lessons.said[row]) == int(chain.said[step])
                assert chain.episode.actions is not None
                assert torch.equal(lessons.actions[row], chain.episode.actions[step])
            row += 1
    assert row == len(lessons)
    longer = recorded(4, least=2, most=3, seed=4, size=32)
    assert all(torch.equal(a.episode.frames, b.episode.frames) for a, b in zip(chains, longer, strict=False))
    with pytest.raises(ValueError, match="steps are said"):
        Chain(episode=chains[0].episode, said=chains[0].said[1:])


def test_imagined_chains_are_the_same_again_and_show_what_the_model_made() -> None:
    model = build(EmbeddingConfig(action_dim=2, action_on="frame", guide=8), heads=True, full=False)
    begun = first_frames([each.episode for each in recorded(2, least=1, most=1, seed=0, size=32)], model.context_frames)
    torch.manual_seed(0)
    skills = Policy(PolicyConfig(size=16, sentences=SKILLS, sight=SightConfig(width=4, blocks=0, hidden=8)))
    env = world(model, begun, actors=2, horizon=2 * SKILL_STEPS)
    first, again = (imagined(env, skills, 2, least=1, most=2, seed=7) for _ in range(2))
    assert len(first) == 2
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.episode.frames, other.episode.frames)
        assert torch.equal(one.said, other.said)
        assert len(one.said) in (SKILL_STEPS, 2 * SKILL_STEPS)
        assert one.episode.actions is not None
        assert float(one.episode.actions.abs().max()) <= 1.0


def test_goals_can_be_reached_and_doing_nothing_reaches_none() -> None:
    given = trials(3, least=2, most=3)
    assert given == trials(5, least=2, most=3)[:3]
    assert all(moved(each.start, each.goal) for each in given)

    def still(seen: torch.Tensor, goals: torch.Tensor, step: int) -> torch.Tensor:
        assert seen.shape[1:] == (6, 16, 16)
        assert goals.shape[1:] == (3, 16, 16)
        return torch.zeros(len(seen), 2)

    stayed = attempt(given, still, steps=2, size=32, seen=16, stack=2)
    assert [each.objects for each in stayed] == [0.0] * 3
    wandered = attempt(given, idling(0), steps=20, size=32, seen=16, stack=2)
    assert wandered == attempt(given, idling(0), steps=20, size=32, seen=16, stack=2)
    assert any(each.everything != 0.0 for each in wandered)


def test_a_run_leaves_networks_and_figures_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, run = tmp_path / "model", tmp_path / "run"
    build(EmbeddingConfig(action_dim=2, action_on="frame", guide=8), heads=True, full=False).save_pretrained(model)
    common = [*TINY, f"--world_model={model}", f"--run.folder={run}"]
    assert hindsight(common) == 0
    told = json.loads((run / "results.json").read_text())
    assert set(told) == {
        "random actions", "random instructions", "short, actions", "short, instructions", "imagined, actions",
        "imagined, instructions",
    }  # fmt: skip
    assert all(np.isfinite(row["moved"]["value"]) for row in told.values())
    assert Planner.from_folder(run / "imagined").config.sentences == SKILLS
    assert Policy.from_folder(run / "skills").config.sentences == SKILLS
    assert "RDG" in capsys.readouterr().out
    with pytest.raises(FileExistsError, match="--resume"):
        hindsight(common)
    assert hindsight([*common, "--resume=true"]) == 0
    assert json.loads((run / "results.json").read_text()) == told


def test_bad_input_is_refused_in_one_line(tmp_path: Path) -> None:
    run = f"--run.folder={tmp_path / 'run'}"
    four = tmp_path / "four"
    build(EmbeddingConfig(action_dim=4, action_on="frame", guide=8), heads=True, full=False).save_pretrained(four)
    with pytest.raises(ValueError, match="takes 4 numbers as an action and the pushing table 2"):
        hindsight([*TINY, f"--world_model={four}", run])
    assert not (tmp_path / "run").exists()
    with pytest.raises(FileNotFoundError, match="holds no planner; expected a run of `ivideo rl hindsight`"):
        Planner.from_folder(tmp_path)
