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
from rl.hindsight import Chain, Follower, FollowerConfig, Hindsight, Planner, PlannerConfig, Told, imagined, recorded
from rl.hindsight.command import instead
from rl.hindsight.distance import EVERYTHING, Reductions, distance, moved, reduction
from rl.hindsight.eyes import Eyes, EyesConfig
from rl.hindsight.trial import attempt, demonstrated, idling, instructing, summary, telling, trials
from rl.reinforce.imagined import first_frames, world
from rl.sight import shrunken
from rl.verbs import hindsight

EYES = EyesConfig(width=4, watched=4, hidden=8)
START = TableState(pusher=(10.0, 10.0), disc=(20.0, 30.0), square=(40.0, 40.0))
TINY = [
    "--size=32", "--short=3", "--long=2", "--actors=2", "--least=1", "--most=2", "--trials=2", "--eyes.width=4",
    "--eyes.watched=4", "--eyes.hidden=8", "--loop.steps=2", "--loop.batch_size=4", "--loop.accelerator=cpu",
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


def test_chains_keep_what_was_meant_beside_what_an_unsteady_hand_did() -> None:
    chains = recorded(3, least=2, most=3, seed=4, size=32)
    for chain in chains:
        assert torch.equal(chain.goal, chain.episode.frames[-1])
        asked = chain.episode.instruction.split(", then ")
        assert 2 <= len(asked) <= 3
        assert chain.said.tolist() == [SKILLS.index(each) for each in asked for _ in range(SKILL_STEPS)]
        assert chain.episode.actions is not None
        assert not torch.equal(chain.meant, chain.episode.actions)
        assert float(chain.episode.actions.abs().max()) <= 1.0
    longer = recorded(4, least=2, most=3, seed=4, size=32)
    assert all(torch.equal(a.episode.frames, b.episode.frames) for a, b in zip(chains, longer, strict=False))
    steady = recorded(3, least=1, most=1, seed=4, size=32, noise=0.0)
    assert all(torch.equal(each.meant, each.episode.actions) for each in steady if each.episode.actions is not None)
    with pytest.raises(ValueError, match="steps are said"):
        Chain(episode=chains[0].episode, said=chains[0].said[1:], meant=chains[0].meant[1:])


def test_who_is_told_sees_the_frame_in_which_it_was_told() -> None:
    chains = recorded(2, least=2, most=2, seed=1, size=32)
    told = Told.of(chains, shrink=2)
    assert len(told.said) == 2 * 2 * SKILL_STEPS
    batch = told.drawn(400, seed=0, index=3)
    assert torch.equal(batch.said, told.drawn(400, seed=0, index=3).said)
    assert not torch.equal(batch.meant, told.drawn(400, seed=0, index=4).meant)
    frames = [shrunken(each.episode.frames, 2) for each in chains]
    steps = {
        (frames[number][step].numpy().tobytes(), chain.meant[step].numpy().tobytes()): (number, step)
        for number, chain in enumerate(chains)
        for step in range(2 * SKILL_STEPS)
    }
    for row in range(400):
        number, step = steps[batch.frames[row].numpy().tobytes(), batch.meant[row].numpy().tobytes()]
        assert torch.equal(batch.asked[row], frames[number][step - step % SKILL_STEPS])
        assert int(batch.said[row]) == int(chains[number].said[step])


def test_in_hindsight_every_later_beginning_is_what_an_instruction_was_for() -> None:
    chains = recorded(3, least=3, most=3, seed=2, size=32)
    eyes = Eyes(EYES)
    pairs = Hindsight.of(chains, eyes, shrink=2, sentences=len(SKILLS))
    assert len(pairs.said) == 3 * (6 + 4)
    nothing = (pairs.now == pairs.goals).all(dim=1)
    assert int((pairs.said == len(SKILLS)).sum()) == 12
    assert bool(nothing[pairs.said == len(SKILLS)].all())
    with torch.no_grad():
        seen = eyes(shrunken(chains[0].episode.frames[::SKILL_STEPS], 2))
    expected = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3)]
    for row, (first, last) in enumerate(expected):
        assert torch.allclose(pairs.now[row], seen[first])
        assert torch.allclose(pairs.goals[row], seen[last])
        said = len(SKILLS) if first == last else int(chains[0].said[first * SKILL_STEPS])
        assert int(pairs.said[row]) == said


def test_a_planner_learns_and_its_eyes_stay_as_they_are() -> None:
    torch.manual_seed(0)
    chains = recorded(8, least=1, most=1, seed=3, size=32)
    planner = Planner(PlannerConfig(size=16, eyes=EYES), Eyes(EYES))
    before = planner.eyes.first.weight.clone()
    pairs = Hindsight.of(chains, planner.eyes, shrink=2, sentences=len(SKILLS))
    optimizer = torch.optim.Adam([each for each in planner.parameters() if each.requires_grad], lr=1e-2)
    losses = []
    for step in range(60):
        loss, _ = pairs.drawn(16, 0, step).loss(planner)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(planner.eyes.first.weight, before)
    frames, goals = (torch.stack([shrunken(each.episode.frames, 2)[at] for each in chains]) for at in (0, -1))
    assert torch.equal(planner.answer(frames, goals), planner(frames, goals).argmax(dim=1))


def test_chains_take_the_place_of_as_many_instructions() -> None:
    short, long = (recorded(7, least=1, most=1, seed=0, size=32), recorded(2, least=2, most=2, seed=1, size=32))
    mixed = instead(short, long)
    assert mixed == [*long, *short[:3]]
    assert sum(len(each.said) for each in mixed) == sum(len(each.said) for each in short)
    assert instead(short[:3], long) == long


def test_eyes_say_where_things_are() -> None:
    eyes = Eyes(EyesConfig(width=3, watched=1, hidden=4))
    assert eyes.first.bias is not None
    with torch.no_grad():  # watch what is bright
        eyes.first.weight.fill_(0.2)
        eyes.first.bias.zero_()
        eyes.second.weight.fill_(1.0)
        dark = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        dark[0, :, 4:8, 24:28] = 255
        dark[1, :, 24:28, 4:8] = 255
        (right, up), (left, down) = eyes(dark).tolist()
    assert right == pytest.approx(-left, abs=0.1)
    assert right > 2.0 > -2.0 > up
    assert down == pytest.approx(-up, abs=0.1)


def test_imagined_chains_are_the_same_again_and_as_long_as_it_is_their_turn() -> None:
    model = build(EmbeddingConfig(action_dim=2, action_on="frame", guide=8), heads=True, full=False)
    begun = first_frames([each.episode for each in recorded(2, least=1, most=1, seed=0, size=32)], model.context_frames)
    torch.manual_seed(0)
    skills = Follower(FollowerConfig(size=16, eyes=EYES))
    env = world(model, begun, actors=1, horizon=2 * SKILL_STEPS)
    first, again = (imagined(env, skills, 2, least=1, most=2, seed=7) for _ in range(2))
    assert [len(each.said) for each in first] == [SKILL_STEPS, 2 * SKILL_STEPS]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.episode.frames, other.episode.frames)
        assert torch.equal(one.said, other.said)
        assert torch.equal(one.meant, other.meant)
        assert one.episode.actions is not None
        assert float(one.episode.actions.abs().max()) <= 1.0
        frames = shrunken(one.episode.frames, 2)
        for step in (0, SKILL_STEPS - 1):  # told in the first frame
            with torch.no_grad():
                meant = skills(frames[step : step + 1], frames[:1], one.said[step : step + 1])
            assert torch.allclose(meant[0], one.meant[step], atol=1e-5)


def test_goals_can_be_reached_and_doing_nothing_reaches_none() -> None:
    given = trials(3, least=2, most=3)
    assert given == trials(5, least=2, most=3)[:3]
    assert all(moved(each.start, each.goal) for each in given)

    def still(seen: torch.Tensor, goals: torch.Tensor, step: int) -> torch.Tensor:
        assert seen.shape[1:] == goals.shape[1:] == (3, 16, 16)
        return torch.zeros(len(seen), 2)

    stayed = attempt(given, still, steps=2, size=32, seen=16)
    assert [each.objects for each in stayed] == [0.0] * 3
    wandered = attempt(given, idling(0), steps=20, size=32, seen=16)
    assert wandered == attempt(given, idling(0), steps=20, size=32, seen=16)
    assert any(each.everything != 0.0 for each in wandered)
    told = demonstrated(trials(20, least=2, most=3), seed=0)
    assert np.mean([each.objects for each in told]) > 0.5
    above = summary(told[:3], beside=stayed)
    assert above["objects"].value == pytest.approx(np.mean([each.objects for each in told[:3]]))


def test_nothing_to_say_is_nothing_to_do_and_words_are_kept_until_the_next() -> None:
    given = trials(2, least=1, most=1)
    torch.manual_seed(0)
    follower = Follower(FollowerConfig(size=16, eyes=EYES))
    heard = []

    def say(seen: torch.Tensor, goals: torch.Tensor, number: int) -> torch.Tensor:
        heard.append(number)
        return torch.tensor([len(SKILLS), 0])

    act = instructing(say, follower)
    frames = torch.randint(256, (2 * SKILL_STEPS, 2, 3, 16, 16), dtype=torch.uint8)
    for step, seen in enumerate(frames):
        moves = act(seen, seen, step)
        assert moves[0].tolist() == [0.0, 0.0]
        with torch.no_grad():
            asked = frames[step - step % SKILL_STEPS]
            assert torch.allclose(moves[1:], follower(seen[1:], asked[1:], torch.tensor([0])), atol=1e-5)
    assert heard == [0, 1]
    assert telling(given)(frames[0], frames[0], 0).tolist() == [SKILLS.index(each.sentences[0]) for each in given]
    assert telling(given)(frames[0], frames[0], 1).tolist() == [len(SKILLS)] * 2


def test_a_run_leaves_networks_and_figures_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, run = tmp_path / "model", tmp_path / "run"
    build(EmbeddingConfig(action_dim=2, action_on="frame", guide=8), heads=True, full=False).save_pretrained(model)
    common = [*TINY, f"--world_model={model}", f"--run.folder={run}"]
    assert hindsight(common) == 0
    told = json.loads((run / "results.json").read_text())
    assert set(told) == {
        "random actions", "random instructions", "short", "imagined", "imagined above short", "what led there",
        "what led there, scripted",
    }  # fmt: skip
    assert all(np.isfinite(row[of]["value"]) for row in told.values() for of in ("moved", "single"))
    planner, skills = Planner.from_folder(run / "imagined"), Follower.from_folder(run / "skills")
    assert planner.config.sentences == skills.config.sentences == SKILLS
    assert torch.equal(planner.eyes.first.weight, skills.eyes.first.weight)
    assert "RDG" in capsys.readouterr().out
    with pytest.raises(FileExistsError, match="--resume"):
        hindsight(common)
    assert hindsight([*common, "--resume=true"]) == 0
    assert "settings differ" not in "".join(capsys.readouterr())
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
