"""Rollouts in a model, and who judges them: rewards, places, classifiers, a vision-language model, a person."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_play import drawing_model
from tiny_rollouts import build
from tiny_vision_language import WORDS, write_vision_language_model

from ivideo.embedding import EmbeddingConfig
from ivideo.judge.baselines import Effort, FirstFrame
from ivideo.judge.classifier import (
    find_classifier,
    load_classifier,
    save_classifier,
    table_examples,
    train_classifier,
)
from ivideo.judge.edits import Edit
from ivideo.judge.judges import Classified, Distance, GoalPicture, Judge, Reward, Success, Touched, goal_pictures
from ivideo.judge.labels import Labels, read_labels, write_template, write_videos
from ivideo.judge.outcomes import outcome
from ivideo.judge.policies import Named
from ivideo.judge.rollouts import Rollouts, check_model, dream, live, replay
from ivideo.judge.scenes import Scene, scenes_of
from ivideo.judge.table_policies import TablePolicy
from ivideo.judge.truth import true_values
from ivideo.judge.vision import Vision, VisionSettings, load_pipeline, majority, read_score
from ivideo.simulate.drawing import TABLE_COLOUR
from ivideo.video import write_video
from ivideo.world_model import WorldModel

RANDOM = Named(name="random", policy=TablePolicy(aim="random"))


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return drawing_model()


@pytest.fixture(scope="module")
def scenes(model: WorldModel) -> list[Scene]:
    return scenes_of("pushing_table", 3, model=model)


@pytest.fixture(scope="module")
def pushed(scenes: list[Scene]) -> Rollouts:
    """A true rollout in which the disc arrives in the goal of some scenes."""
    return live(Named(name="expert", policy=TablePolicy()), scenes, 25).with_located()


class FakePipeline:
    """Answers as it was told to, by turns, and remembers what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = answers, []

    def __call__(self, *, text: list[dict[str, Any]], **how: Any) -> list[dict[str, str]]:
        self.asked.append((text, how))
        return [{"generated_text": self.answers[(len(self.asked) - 1) % len(self.answers)]}]


# ---------------------------------------------------------------------------------------------------------- rollouts


def test_dreams_are_the_same_in_any_batch_and_by_their_actions(model: WorldModel, scenes: list[Scene]) -> None:
    together = dream(model, RANDOM, scenes, 3, seed=1)
    apart = dream(model, RANDOM, scenes, 3, seed=1, at_once=2)
    again = replay(model, "random", scenes, together.actions, seed=1)
    for other in (apart, again):
        assert torch.equal(together.frames, other.frames)
        assert torch.allclose(together.rewards, other.rewards, atol=1e-5)
    assert together.frames.shape == (3, 4, 3, 32, 32)
    assert torch.equal(together.frames[:, 0], torch.stack([scene.frames[-1] for scene in scenes]))
    assert not torch.equal(together.actions, dream(model, RANDOM, scenes, 3, seed=2).actions)
    short = together.upto(2)
    assert (short.steps, short.rewards.shape) == (2, (3, 2))
    with pytest.raises(ValueError, match="4 steps are wanted"):
        together.upto(4)


def test_the_same_policy_begins_alike_in_dream_and_truth(model: WorldModel, scenes: list[Scene]) -> None:
    imagined, true = dream(model, RANDOM, scenes, 1), live(RANDOM, scenes, 1)
    assert torch.equal(imagined.actions, true.actions)
    assert torch.equal(imagined.frames[:, 0], true.frames[:, 0])
    assert true.true
    assert not imagined.true
    assert not {*imagined.names()} & {*true.names()}


def test_known_actions_lead_to_the_known_truth(scenes: list[Scene], pushed: Rollouts) -> None:
    again = live(Named(name="expert", policy=TablePolicy(aim="idle")), scenes, 25, actions=pushed.actions)
    assert torch.equal(again.frames, pushed.frames)


def test_repeats_of_a_scene_differ_in_what_is_drawn_alone(model: WorldModel) -> None:
    tries = scenes_of("pushing_table", 2, model=model, repeats=2)
    assert [scene.key for scene in tries] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    actions = live(RANDOM, tries, 2).actions
    assert not torch.equal(actions[0], actions[1])
    assert torch.equal(tries[0].frames, tries[1].frames)


def test_scenes_come_from_pictures_that_a_person_edited(model: WorldModel, scenes: list[Scene], tmp_path: Path) -> None:
    for scene in scenes[:2]:
        write_video(tmp_path / f"{scene.number}.png", scene.frames[-1:])
    found = scenes_of(str(tmp_path), 5, model=model)
    assert len(found) == 2
    assert torch.equal(found[0].frames, scenes[0].frames)
    assert found[0].table is None
    check_model(model, found)
    with pytest.raises(ValueError, match="edit 'move' is of the pushing table"):
        scenes_of(str(tmp_path), 5, model=model, edit=Edit.parse("move"))
    with pytest.raises(ValueError, match="know no true table"):
        live(RANDOM, found, 2)


def test_scenes_and_models_that_do_not_fit_are_refused(model: WorldModel, scenes: list[Scene], tmp_path: Path) -> None:
    small = [replace(scenes[0], frames=scenes[0].frames[:, :, :16, :16])]
    with pytest.raises(ValueError, match=r"has frames \[2, 3, 16, 16\] and this model starts from \[2, 3, 32, 32\]"):
        check_model(model, small)
    with pytest.raises(ValueError, match="takes no actions"):
        check_model(build(EmbeddingConfig()), [])
    with pytest.raises((ValueError, OSError), match=str(tmp_path)):
        scenes_of(str(tmp_path), 3, model=model)
    with pytest.raises(ValueError, match="first is 20000"):
        scenes_of("pushing_table", 3, model=model, first=20_000)


# ------------------------------------------------------------------------------------------------------------ judges


def test_places_seen_on_true_frames_are_judged_as_the_states_say(pushed: Rollouts) -> None:
    true = true_values(pushed)
    assert true["success"].sum() > 0
    assert Success()(pushed).tolist() == true["success"].tolist()
    assert Touched()(pushed).tolist() == true["touched"].tolist()
    assert Distance()(pushed) == pytest.approx(true["distance"], abs=1.0)
    assert Reward()(pushed) == pytest.approx(true["return"], abs=1e-4)
    assert Effort()(pushed).max() <= 1
    first = FirstFrame()(pushed)
    assert first == pytest.approx(Distance()(pushed.upto(1)), abs=4.0)
    assert GoalPicture(goals=goal_pictures(None, 32))(pushed).max() <= 0


def test_a_vanished_disc_is_no_success_and_is_counted(pushed: Rollouts) -> None:
    frames = pushed.frames.clone()
    frames[:, -5:] = torch.tensor(TABLE_COLOUR, dtype=torch.uint8)[:, None, None]
    gone = replace(pushed, frames=frames, states=()).with_located()
    found = outcome("none", (10, 25), [Success(), Distance()], gone, truth=pushed)
    assert found.disc_lost()[-1].all()
    assert not found.disc_lost()[0].any()
    assert found.lost_in_truth is not None
    assert not found.lost_in_truth[:, :, 1].any()
    assert found.truth["success"].shape == (2, 3)
    assert found.on_truth["success"][-1].tolist() == found.truth["success"][-1].tolist()
    assert np.isfinite(found.scores["distance"]).all()


def test_judges_refuse_what_they_cannot_judge(scenes: list[Scene]) -> None:
    blind = build(EmbeddingConfig(action_dim=2), heads=False)
    with pytest.raises(ValueError, match="no reward head"):
        Reward().check(blind, scenes, located=True)
    for judge in (Success(), Distance(), Touched()):
        assert isinstance(judge, Judge)
        with pytest.raises(ValueError, match=f"judge {judge.name} looks for the pushing table's disc"):
            judge.check(blind, scenes, located=False)
    with pytest.raises(ValueError, match="give a picture of it"):
        goal_pictures(None, 32)(replace(scenes[0], table=None))
    with pytest.raises(FileNotFoundError, match="picture of the goal"):
        goal_pictures("/nowhere.png", 32)
    with pytest.raises(ValueError, match=r"made \[1, 2\] of 1 frames"):
        Classified(classifier=lambda frames: torch.zeros(len(frames), 2)).check(blind, scenes, located=True)


def test_a_classifier_learns_the_table_and_is_kept(pushed: Rollouts, tmp_path: Path) -> None:
    network = train_classifier(*table_examples(600, size=32), steps=200)
    frames, labels = table_examples(150, size=32, seed=1)
    assert ((network(frames) > 0) == labels).float().mean() > 0.85
    scores = Classified(classifier=network)(pushed)
    assert ((scores > 0.5) == (true_values(pushed)["success"] > 0.5)).mean() >= 2 / 3
    save_classifier(network, tmp_path / "success.safetensors")
    again = find_classifier(str(tmp_path / "success.safetensors"), 32)
    assert torch.equal(again(frames[:5]), network(frames[:5]))
    with pytest.raises(ValueError, match="learned 32x32"):
        network(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="is no classifier"):
        load_classifier(tmp_path / "bad.safetensors")


def test_a_classifier_comes_from_two_folders_of_pictures(scenes: list[Scene], tmp_path: Path) -> None:
    write_video(tmp_path / "success" / "a.png", scenes[0].frames[-1:])
    with pytest.raises(ValueError, match="failure holds no pictures"):
        find_classifier(str(tmp_path), 32)
    with pytest.raises(ValueError, match="neither pushing_table, a folder"):
        find_classifier("something", 32)
    with pytest.raises(ValueError, match="some of each kind"):
        train_classifier(torch.zeros(3, 3, 32, 32, dtype=torch.uint8), torch.ones(3, dtype=torch.bool))


# ----------------------------------------------------------------------------------------- vision-language model


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("The disc is in the circle.\nScore: 1", 1.0),
        ("Score: 0.5", 0.5),
        ("**Score: 0.5**", 0.5),
        ("From 0 to 1 I would say 0.5", 0.5),
        ("score: 1.0 no, score 0", 0.0),
        ("Score: 0.7", None),
        ("I cannot say", None),
        ("It moved 10 pixels", None),
    ],
)
def test_scores_are_read_out_of_answers(answer: str, score: float | None) -> None:
    assert read_score(answer) == score


def test_the_majority_counts_and_ties_go_up() -> None:
    assert majority([0.0, 0.5, 0.5]) == 0.5
    assert majority([0.0, 0.0, 1.0, 1.0, 0.5]) == 1.0
    assert np.isnan(majority([]))


def test_a_vision_language_model_is_asked_once_for_each_answer(pushed: Rollouts, tmp_path: Path) -> None:
    settings = VisionSettings(model="fake", samples=3, stride=10, side=64, cache=str(tmp_path))
    pipeline = FakePipeline("Score: 0", "Score: 1", "Score: 1")
    judge = Vision(settings, pipeline)
    assert judge(pushed).tolist() == [1.0, 1.0, 1.0]
    assert len(pipeline.asked) == 9
    chat, how = pipeline.asked[0]
    images = [part["image"] for part in chat[0]["content"] if part["type"] == "image"]
    assert [image.size for image in images] == [(64, 64)] * 4  # frames 0, 10, 20 and the last
    assert settings.task in chat[0]["content"][-1]["text"]
    assert how["generate_kwargs"] == {"do_sample": True, "temperature": 0.7}
    silent = FakePipeline("Score: 0")
    assert Vision(settings, silent)(pushed).tolist() == [1.0, 1.0, 1.0]  # from the disk
    assert silent.asked == []
    next(tmp_path.rglob("*.json")).write_text("damaged")
    Vision(settings, silent)(pushed)
    assert len(silent.asked) == 1
    other = replace(settings, task="Stop.")
    assert Vision(other, silent)(pushed).tolist() == [0.0, 0.0, 0.0]
    assert all("model" in json.loads(file.read_text()) for file in tmp_path.rglob("*.json"))


def test_a_model_of_transformers_is_asked(pushed: Rollouts, tmp_path: Path) -> None:
    write_vision_language_model(tmp_path / "model")
    settings = VisionSettings(
        model=str(tmp_path / "model"), samples=2, longest=6, stride=20, cache=str(tmp_path / "cache")
    )
    scores = Vision(settings)(pushed)
    assert scores.shape == (3,)
    answers = [json.loads(file.read_text())["answer"] for file in (tmp_path / "cache").rglob("*.json")]
    assert len(answers) == 6
    assert {word for answer in answers for word in answer.split()} <= {*WORDS}
    assert np.array_equal(Vision(settings, FakePipeline())(pushed), scores, equal_nan=True)  # nobody is asked again


def test_answers_without_a_score_are_not_judged(pushed: Rollouts, tmp_path: Path) -> None:
    settings = VisionSettings(model="fake", samples=2, cache=str(tmp_path))
    assert np.isnan(Vision(settings, FakePipeline("Who knows"))(pushed)).all()


def test_a_model_that_cannot_be_had_is_one_clear_line(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError, match=r"'nobody/nothing' cannot be loaded .*give its folder as --vision\.model"):
        load_pipeline("nobody/nothing")
    with pytest.raises(ValueError, match=r"none is named; give one, --vision\.model"):
        Vision(VisionSettings()).check(model, [], located=True)


# ---------------------------------------------------------------------------------------------------------- a person


def test_a_person_is_given_videos_and_a_table_and_is_believed(pushed: Rollouts, tmp_path: Path) -> None:
    names = write_videos(tmp_path, pushed)
    table = write_template(tmp_path, names)
    assert {file.stem for file in (tmp_path / "videos").iterdir()} == {*names}
    assert not any("expert" in name for name in names)
    lines = table.read_text().splitlines()
    assert lines[0] == "video,score"
    assert lines[1:] == sorted(f"{name}," for name in names)
    with pytest.raises(ValueError, match="holds no scores"):
        read_labels(table)
    table.write_text(f"video,score\n{names[0]},1\n{names[1]}.mp4, 0.5\n")
    with pytest.raises(ValueError, match=f"no score for video {names[2]} and 0 more of 3"):
        read_labels(table)(pushed)
    assert write_template(tmp_path, names) == table  # what is filled in stays
    table.write_text(table.read_text().replace(f"{names[2]},", f"{names[2]},0"))
    assert read_labels(table)(pushed).tolist() == [1.0, 0.5, 0.0]
    (tmp_path / "labels.json").write_text(json.dumps(dict.fromkeys(names, 1)))
    assert read_labels(tmp_path / "labels.json")(pushed).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "video,score\nabc,good\n", "line 2: 'good' is no score"),
        ("a.json", "[1]", "holds a list"),
        ("a.json", "{", "is no JSON"),
        ("a.json", '{"abc": "nan"}', "'nan' is no score"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        read_labels(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_labels(tmp_path / "nowhere.csv")
    assert Labels(scores={}).judges_truth is False
