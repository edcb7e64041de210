"""One argument for acts of every kind: what each becomes, for all rows or for each, and how a wrong one is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_rollouts import build, clip
from tiny_text import SIZE, save_text_encoder

from ivideo.act import Goal, Interface, latest_frames
from ivideo.embedding import EmbeddingConfig
from ivideo.embodiments import Domain
from ivideo.episode import Batch, Episode
from ivideo.heads import HeadsConfig
from ivideo.inputs import context_frames
from ivideo.instructions import TextConfig
from ivideo.simulate.world_model_env import WorldModelEnv
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig

CAMERA = Domain(name="camera", choices=("hold still", "turn left", "turn right"))
PAD, ARM = Domain(name="pad", choices=4), Domain(name="arm", action_dim=2)


def mixed(**options: object) -> WorldModel:
    return build(EmbeddingConfig(domains=(CAMERA, PAD, ARM)), **options)  # type: ignore[arg-type]


@pytest.fixture
def text(tmp_path: Path) -> TextConfig:
    return TextConfig(encoder=save_text_encoder(tmp_path / "t5"), size=SIZE)


# --------------------------------------------------------------------------------------------------- what is taken


def test_the_interface_says_what_a_checkpoint_declares(text: TextConfig) -> None:
    def of(**options: object) -> Interface:
        goal = bool(options.pop("goal", False))
        return Interface.of(WorldModelConfig(embedding=EmbeddingConfig(**options), goal_conditioned=goal))  # type: ignore[arg-type]

    assert (of().kinds, str(of())) == ((), "no acts")
    assert (of(action_dim=3).kinds, str(of(action_dim=3))) == (("numbers",), "3 numbers")
    assert of(domains=(CAMERA,)).kinds == ("choices",)
    everything = of(domains=(CAMERA, PAD, ARM, Domain(name="film")), text=text, goal=True)
    assert everything.kinds == ("numbers", "choices", "words", "goal")
    assert str(everything) == (
        "one of camera's choices: hold still, turn left, turn right (or 0 to 2); one of pad's choices: 0 to 3; "
        "2 numbers of arm; words; a goal"
    )


@pytest.mark.parametrize("action_on", ["marker", "frame"])
def test_a_choice_is_the_same_by_name_by_number_and_as_a_tensor(action_on: str) -> None:
    model = build(EmbeddingConfig(domains=(CAMERA,), action_on=action_on, guide=8))  # type: ignore[arg-type]
    state = model.start(clip(2))
    found = [
        model.step(state, act)[1].log_likelihood
        for act in ("turn left", 1, [1, 1], ["turn left", 1], torch.tensor([[1.0], [1.0]]), torch.tensor(1))
    ]
    assert all(torch.equal(found[0], other) for other in found)
    others = [model.step(state, act)[1].log_likelihood for act in ("turn right", "hold still", None)]
    assert not any(torch.allclose(found[0], other) for other in others)


def test_numbers_may_come_as_a_list_an_array_or_a_tensor() -> None:
    model = build(EmbeddingConfig(action_dim=2))
    state = model.start(clip(2))
    for one in ([1, 0.5], (1.0, 0.5), np.array([1, 0.5], np.float32), [[1, 0.5], [1, 0.5]]):
        given, expected = model.step(state, one)[1], model.step(state, torch.tensor([1, 0.5]))[1]  # type: ignore[arg-type]
        assert torch.equal(given.log_likelihood, expected.log_likelihood)


def test_rows_are_told_acts_of_their_own_and_are_the_same_alone(text: TextConfig) -> None:
    model = build(EmbeddingConfig(domains=(CAMERA, PAD, ARM), text=text))
    names, acts = ["camera", "pad", "arm", "arm", "camera"], ["turn left", 3, [0.5, -1], None, "push the can"]
    state = model.start(clip(2, batch=5), domain=names)
    after, seen = model.step(state, acts)  # type: ignore[arg-type]
    after, later = model.step(after, None)
    for row, (name, act) in enumerate(zip(names, acts, strict=True)):
        alone, first = model.step(model.start(clip(2, batch=5)[row], domain=name, seed=row), act)  # type: ignore[arg-type]
        alone, second = model.step(alone, None)
        assert torch.equal(alone.ids[0], after.ids[row])
        torch.testing.assert_close(first.log_likelihood[0], seen.log_likelihood[row])
        torch.testing.assert_close(second.log_likelihood[0], later.log_likelihood[row])


def test_what_rows_were_told_is_read_again_when_frames_are_forgotten() -> None:
    model = build(EmbeddingConfig(domains=(CAMERA, ARM)), remember=4)
    state, lone = model.start(clip(2), domain=["camera", "arm"]), model.start(clip(2)[0], domain="camera")
    for step in range(9):
        act = "turn left" if step % 2 else None
        state, seen = model.step(state, [act, [0.5, 0.5]])
        lone, expected = model.step(lone, act)
        torch.testing.assert_close(seen.log_likelihood[0], expected.log_likelihood[0])


def test_words_change_from_step_to_step_and_hold_until_they_do(text: TextConfig) -> None:
    model = build(EmbeddingConfig(text=text))
    told = model.start(clip(2), instruction="push the can")
    state, first = model.step(model.start(clip(2)), "push the can")
    assert torch.equal(first.log_likelihood, model.step(told)[1].log_likelihood)
    held, changed = model.step(state)[1], model.step(state, "pick the block")[1]
    assert torch.equal(held.log_likelihood, model.step(state, "push the can")[1].log_likelihood)
    assert not torch.allclose(held.log_likelihood, changed.log_likelihood)
    silent, _ = model.step(state, "")
    assert not silent.text.any()  # type: ignore[union-attr]
    some, _ = model.step(state, [None, "pick the block"])
    assert torch.equal(some.text[0], state.text[0])  # type: ignore[index]
    assert torch.equal(some.text[1], model.text_of(["pick the block"])[0])  # type: ignore[index]
    assert state.text[0].equal(state.text[1]), "the old state stays valid"  # type: ignore[index]


def test_a_name_among_the_choices_is_a_choice_and_other_words_are_an_instruction(text: TextConfig) -> None:
    model = build(EmbeddingConfig(domains=(CAMERA,), text=text))
    state = model.start(clip(2))
    assert model.step(state, "turn left")[0].text is None
    assert model.step(state, "push left")[0].text is not None


def test_another_goal_begins_anew_at_the_latest_frames() -> None:
    model = build(EmbeddingConfig(), goal=True)
    goals = clip(3, seed=5)[0]
    state = model.start(clip(1), goal=goals[0].expand(2, -1, -1, -1))
    state, seen = model.step(state)
    found = [model.step(state, Goal(goal))[0] for goal in (goals[1], goals[1], goals[2])]
    assert torch.equal(found[0].ids, found[1].ids)
    assert torch.equal(found[0].context.codes[:, 1], found[2].context.codes[:, 1])
    assert not torch.equal(found[0].context.codes[:, 0], found[2].context.codes[:, 0])
    expected = model.start(seen.frame[:, None], goal=goals[1].expand(2, -1, -1, -1))  # type: ignore[index]
    assert torch.equal(found[0].context.codes, expected.context.codes)
    each, _ = model.step(state, [Goal(goals[1]), Goal(goals[2])])
    batch, _ = model.step(state, Goal(goals[1:]))
    assert torch.equal(each.ids, batch.ids)
    assert torch.equal(each.ids[0], found[0].ids[0])


def test_the_latest_frames_reach_into_the_context() -> None:
    model = build(EmbeddingConfig())
    state = model.start(clip(2))
    first = latest_frames(model, state, 1)
    state, seen = model.step(state)
    both = latest_frames(model, state, 2)
    assert torch.equal(both[:, 1], seen.frame)  # type: ignore[arg-type]
    assert torch.equal(both[:, 0], first[:, 0])


# ----------------------------------------------------------------------------------------------------- what is not


@pytest.mark.parametrize(
    ("domain", "act", "message"),
    [
        ("camera", "turn lef", r"'turn lef' is no choice of domain camera; did you mean 'turn left'\?"),
        ("camera", "sing", r"'sing' is no choice of domain camera; expected hold still, turn left, turn right"),
        ("camera", 3, r"3 is no choice of domain camera; expected .* \(or 0 to 2\)"),
        ("camera", -1, "-1 is no choice of domain camera"),
        ("pad", "up", "'up' is no choice of domain pad; expected 0 to 3"),
        ("pad", torch.tensor([4.0]), "an action is 4; domain pad has 4 choices: expected a whole number, 0 to 3"),
        ("pad", torch.tensor([0.5]), "an action is 0.5; domain pad"),
        ("arm", "push", "the act 'push' is words; this model takes one of camera's choices"),
        ("arm", 1, "the act 1 is the number of a choice; this model takes"),
        ("arm", [1.0, 2.0, 3.0], "an action has 3 values; domain arm takes 2"),
        ("arm", Goal(clip(1)[0, 0]), "the act is a goal; this model takes"),
        ("arm", [[1.0, 2.0]] * 3, "3 acts are given for 2 rows; expected one for all, or one for each"),
    ],
)
def test_an_act_that_a_model_does_not_take_is_refused_in_one_line(domain: str, act: object, message: str) -> None:
    model = mixed()
    with pytest.raises(ValueError, match=message) as caught:
        model.step(model.start(clip(2), domain=domain), act)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_model_of_one_kind_names_it_when_it_is_told_another(text: TextConfig) -> None:
    numbers, words = build(EmbeddingConfig(action_dim=2)), build(EmbeddingConfig(text=text))
    with pytest.raises(ValueError, match="the act 'push' is words; this model takes 2 numbers"):
        numbers.step(numbers.start(clip(2)), "push")
    with pytest.raises(ValueError, match=r"the act \[0.1, 0.2\] is numbers; this model takes words"):
        words.step(words.start(clip(2)), [0.1, 0.2])
    with pytest.raises(ValueError, match="the act 'push' is words; this model takes no acts"):
        build(EmbeddingConfig()).step(build(EmbeddingConfig()).start(clip(2)), "push")


def test_a_goal_of_another_size_is_refused() -> None:
    model = build(EmbeddingConfig(), goal=True)
    state = model.start(clip(1), goal=clip(1)[:, 0])
    with pytest.raises(ValueError, match=r"the goal is torch.uint8 \[3, 16, 16\]; expected uint8 \[3, 32, 32\]"):
        model.step(state, Goal(torch.zeros(3, 16, 16, dtype=torch.uint8)))
    with pytest.raises(ValueError, match=r"the goal is torch.uint8 \[3, 16, 16\]; expected uint8 \[3, 32, 32\]"):
        context_frames(model, clip(1), torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match="3 goals are given for 2 rows"):
        context_frames(model, clip(1), clip(1, batch=3)[:, 0])
    with pytest.raises(ValueError, match="1 of 2 rows are given a goal"):
        model.step(state, [Goal(clip(1)[0, 0]), None])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"choices": ("left", "left")}, "expected a name once for each"),
        ({"choices": ("left", " ")}, "expected a name once for each"),
        ({"choices": -1}, "expected 0, for numbers, or more"),
        ({"choices": ("left",), "action_dim": 2}, "both choices and numbers"),
        ({"choices": 2, "low": (0.0,), "high": (1.0,)}, "both choices and numbers"),
    ],
)
def test_choices_that_cannot_be_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Domain(name="camera", **fields)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- training and keeping


def test_choices_are_learned_begin_without_effect_and_stay_what_they_are(tmp_path: Path) -> None:
    model = build(EmbeddingConfig(domains=(CAMERA,)))
    fresh = WorldModel(build(EmbeddingConfig()).tokenizer, model.config).eval()
    state = fresh.start(clip(2))
    assert torch.equal(fresh.step(state, 1)[1].log_likelihood, fresh.step(state)[1].log_likelihood)
    batch = Batch(frames=clip(4), actions=torch.tensor([[[0.0], [1.0], [2.0]]] * 2))
    loss, _ = model.loss(batch)
    loss.backward()
    learned = model.embedding.action["camera"].weight.grad  # type: ignore[index,union-attr]
    assert learned[1:].abs().sum(1).gt(0).all()
    assert not learned[0].any(), "what leads to a context frame is not read"
    model.save_pretrained(tmp_path / "model")
    again = WorldModel.from_pretrained(tmp_path / "model")
    assert again.config.embedding.domains == (CAMERA,)
    assert torch.equal(again.loss(batch)[0], loss)


def test_a_batch_with_a_number_that_is_no_choice_is_refused() -> None:
    frames = clip(4)
    with pytest.raises(ValueError, match="an action is 3; domain camera has 3 choices"):
        build(EmbeddingConfig(domains=(CAMERA,))).loss(Batch(frames=frames, actions=torch.full((2, 3, 1), 3.0)))
    several = Batch(frames=frames, actions=torch.full((2, 3, 2), 3.0), domains=torch.tensor([2, 2]))
    mixed().loss(several)  # those are the arm's


def test_a_domain_without_choices_is_written_as_it_ever_was(tmp_path: Path) -> None:
    build(EmbeddingConfig(domains=(ARM,))).save_pretrained(tmp_path / "arm")
    written = json.loads((tmp_path / "arm" / "world_model.json").read_text())
    assert set(written["embedding"]["domains"][0]) == {"name", "action_dim", "low", "high"}
    mixed().save_pretrained(tmp_path / "mixed")
    assert WorldModel.from_pretrained(tmp_path / "mixed").config.embedding.domains == (CAMERA, PAD, ARM)


def test_a_choice_is_no_number_to_reconstruct() -> None:
    model = mixed()
    assert model.embodiments.sizes(torch.tensor([0, 1, 2])).tolist() == [0, 0, 2]
    assert HeadsConfig().action_reconstruction == 0


def test_environments_of_a_domain_with_choices_are_discrete() -> None:
    starts = [Episode(frames=clip(6, batch=1)[0])]
    env = WorldModelEnv(mixed(heads=True), starts, num_envs=2, domain="camera", horizon=3)
    assert env.single_action_space.n == 3
    env.reset(seed=0)
    found = [env.step(np.array([1, 2]))[0] for _ in range(3)]
    env.reset(seed=0)
    again = [env.step(np.array([1, 2]))[0] for _ in range(3)]
    assert np.array_equal(found, again)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="an action is 3; domain camera has 3 choices"):
        env.step(np.array([3, 0]))


def test_guidance_exaggerates_a_choice() -> None:
    model = build(EmbeddingConfig(domains=(CAMERA,)))
    state = model.start(clip(2))
    plain, guided = model.step(state, "turn left")[0], model.step(state, "turn left", guidance=3.0)[0]
    assert not torch.equal(plain.ids, guided.ids)
