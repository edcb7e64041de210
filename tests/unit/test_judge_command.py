"""`ivideo judge` from end to end with a model that knows nothing: what it writes, resumes and refuses."""

import csv
import json
from pathlib import Path

import pytest
import torch
from tiny_play import drawing_model
from tiny_rollouts import build

from ivideo import recipes
from ivideo.embedding import EmbeddingConfig
from ivideo.judge import command
from ivideo.judge.command import main
from ivideo.judge.judges import GoalPicture, Reward, Success
from ivideo.judge.results import compared_with
from ivideo.judge.tables import markdown
from ivideo.video import read_video

SMALL = ("--scenes", "2", "--policies", "random,idle,walk", "--horizons", "1,3", "--videos", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    drawing_model().save_pretrained(folder)
    return str(folder)


def test_a_report_is_written_and_rollouts_are_not_repeated(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "judged"
    arguments = [model, *SMALL, "--baselines", "--edit", "none,recolour", "--out", str(out)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "agreement with the truth after 3 steps, edit recolour" in said
    results = json.loads((out / "results.json").read_text())
    assert {row["policy"] for row in results["policies"]} == {"random", "idle", "walk"}
    assert {row["steps"] for row in results["policies"]} == {1, 3}
    assert {row["variant"] for row in results["agreements"]} >= {"all dreams", "none lost", "shuffled actions"}
    assert {row["edit"] for row in results["lost"]} == {"none", "recolour"}
    assert results["model"]["parameters"] > 0
    report = (out / "report.md").read_text()
    assert all((out / name).is_file() for name in ("values.png", "reliability.png", "frames.png", "horizons.png"))
    assert all(f"]({name})" in report for name in ("values.png", "frames.png"))
    film = read_video(out / "films" / "random.mp4")
    assert film.shape[0] == 4
    assert film.shape[3] > 1.9 * film.shape[2]  # the truth beside the dream

    def never(*_: object, **__: object) -> None:
        raise AssertionError("rolled out again")

    monkeypatch.setattr(command, "dream", never)
    monkeypatch.setattr(command, "replay", never)
    (out / "results.json").unlink()
    assert main(arguments) == 0
    again = json.loads((out / "results.json").read_text())
    assert again["policies"] == results["policies"]
    assert again["agreements"] == results["agreements"]
    with pytest.raises(ValueError, match=r"holds rollouts of something else .*scenes 2, now 3"):
        main([*arguments, "--scenes", "3"])
    broken = next((out / "rollouts").glob("none-idle.dream.npz"))
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(AssertionError, match="rolled out again"):
        main(arguments)


def test_a_person_is_asked_and_then_believed(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [model, *SMALL, "--judges", "labels,reward", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "fill in" in capsys.readouterr().out
    with (tmp_path / "labels.csv").open() as file:
        names = [row["video"] for row in csv.DictReader(file)]
    assert len(names) == 6
    filled = tmp_path / "filled.json"
    filled.write_text(json.dumps({name: place % 2 for place, name in enumerate(names)}))
    assert main([*arguments, "--labels", str(filled)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert all(0 <= row["judged"]["labels"]["value"] <= 1 for row in results["policies"])
    filled.write_text(json.dumps({names[0]: 1}))
    with pytest.raises(ValueError, match="has no score for video"):
        main([*arguments, "--labels", str(filled)])


def test_other_scenes_are_judged_without_a_truth(model: str, tmp_path: Path) -> None:
    from ivideo.judge.scenes import scenes_of
    from ivideo.video import write_video
    from ivideo.world_model import WorldModel

    scenes = scenes_of("pushing_table", 2, model=WorldModel.from_pretrained(model))
    for scene in scenes:
        write_video(tmp_path / "mine" / f"{scene.number}.png", scene.frames[-1:])
    arguments = [model, *SMALL, "--starts", str(tmp_path / "mine")]
    assert main([*arguments, "--things", "true", "--judges", "reward,success", "--out", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["agreements"] == []
    assert all(row["true"] == {} and set(row["judged"]) == {"reward", "success"} for row in results["policies"])
    assert main(arguments) == 0  # reward alone
    with pytest.raises(ValueError, match="judge success looks for the pushing table's disc"):
        main([*arguments, "--judges", "success"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policies", "exprt"], "did you mean expert"),
        (["--judges", "rewards"], "did you mean reward"),
        (["--judges", "labels"], "needs a place for videos"),
        (["--judges", "vision"], "none is named"),
        (["--judges", "no.module:x"], "cannot be imported"),
        (["--horizons", "0"], "expected numbers of steps"),
        (["--edit", "paint"], "is unknown"),
        (["--policies", "[]"], "policies is empty"),
        (["--scenes", "0"], "scenes is 0"),
        (["--polices", "idle"], "did you mean --policies"),
    ],
)
def test_mistakes_are_one_line(model: str, arguments: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        main([model, *SMALL, *arguments])
    assert "\n" not in str(caught.value)


def test_a_model_without_rewards_is_refused_by_that_judge_alone(tmp_path: Path) -> None:
    build(EmbeddingConfig(action_dim=2, action_on="frame"), heads=False).save_pretrained(tmp_path / "plain")
    with pytest.raises(ValueError, match="this model has no reward head"):
        main([str(tmp_path / "plain"), *SMALL, "--judges", "reward"])
    assert main([str(tmp_path / "plain"), *SMALL]) == 0


def test_packaged_configs_load() -> None:
    names = [name for name in recipes.names() if name.startswith("judge/")]
    assert names
    for name in names:
        text = recipes.find(name).read_text(encoding="utf-8")
        assert f"ivideo judge pushing_table --config {name} --out" in text
        with pytest.raises(SystemExit):
            main(["pushing_table", "--config", name, "--print_config"])


def test_judges_are_compared_with_their_own_truth_first() -> None:
    assert compared_with(Reward()) == ["return", "success"]
    assert compared_with(Success()) == ["success", "return"]
    assert compared_with(GoalPicture(goals=lambda scene: torch.zeros(3, 2, 2))) == ["success", "return"]
    assert markdown(["a", "b"], [["x_y", "1|2"]]) == "| a | b |\n| --- | ---: |\n| x\\_y | 1\\|2 |\n"
