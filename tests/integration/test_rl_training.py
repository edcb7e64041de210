"""`ivideo rl drqv2` and `ivideo rl mbpo`: what they write, when they do what, and what they say to bad input."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from killed_rl import settings
from tiny_rollouts import OPTIONS, build

from ivideo import Episode, WorldModel
from ivideo.config import parse
from rl.drqv2 import DrQv2
from rl.imagination import Adaptive, ImaginationConfig
from rl.play import play
from rl.replay import Replay
from rl.sight import shrunken
from rl.tasks import TaskOptions, open_task
from rl.train.clock import Clock
from rl.train.commands import drqv2, fit_model, train
from rl.train.dreams import due
from rl.train.settings import DrQv2Training, MBPOTraining

SMALL = [
    "--task=pushing_table", "--options.horizon=8", "--agent.hidden=8", "--agent.trunk=4", "--agent.batch_size=4",
    "--agent.shrink=2", "--schedule.steps=40", "--schedule.seed_steps=16", "--schedule.evaluate_every=20",
    "--schedule.evaluation_episodes=2", "--schedule.films=1", "--schedule.device=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A world model in a folder."""
    folder = tmp_path_factory.mktemp("models") / "small"
    build(OPTIONS[3], heads=True, full=False).save_pretrained(folder)
    return str(folder)


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_model_free_run_leaves_what_people_look_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert drqv2([*SMALL, f"--run.folder={run}"]) == 0
    assert f"ivideo rl report {run}" in capsys.readouterr().out
    held = {path.name for path in run.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "curves.png", "media", "episodes", "checkpoints", "tensorboard"} <= held
    assert "imagined" not in held
    assert {"00000024-episode-0.mp4", "00000024-episode-0.png"} <= {path.name for path in (run / "media").iterdir()}
    lines = metrics(run)
    assert [line["step"] for line in lines if "eval/success" in line] == [24, 40]
    played = [line for line in lines if "train/return" in line]
    assert [line["step"] for line in played] == [8, 16, 24, 32, 40]
    assert ["agent/critic_loss" in line for line in played] == [False, False, True, True, True]
    assert played[-1]["time/simulator"] > 0
    assert len(Replay(run / "episodes")) == 40


def test_the_agent_of_a_run_acts_as_it_did_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert drqv2([*SMALL, f"--run.folder={run}", "--run.tensorboard=false"]) == 0
    agent, task = DrQv2.from_folder(run), open_task("pushing_table", options=TaskOptions(horizon=8))

    def act(observation: torch.Tensor) -> torch.Tensor:
        return agent.act(shrunken(observation[None], 2), 0, explore=False)[0]

    seeds = [int(np.random.SeedSequence([1, number]).generate_state(1)[0]) // 2 * 2 + 1 for number in range(2)]
    earned = [play(task, act, seed=seed, stack=3).earned for seed in seeds]
    (told,) = [line["eval/return"] for line in metrics(run) if line["step"] == 40 and "eval/return" in line]
    assert np.mean(earned) == pytest.approx(told)
    with pytest.raises(FileNotFoundError, match="holds no agent"):
        DrQv2.from_folder(tmp_path)
    weights = run / "agent" / "agent.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(ValueError, match="damaged"):
        DrQv2.from_folder(run)


def test_a_run_is_the_same_again_and_another_with_another_seed(tmp_path: Path) -> None:
    def returns(name: str, seed: int) -> list[float]:
        drqv2([*SMALL, f"--run.folder={tmp_path / name}", f"--schedule.seed={seed}", "--run.tensorboard=false"])
        return [value for line in metrics(tmp_path / name) for key, value in line.items() if key.endswith("/return")]

    assert returns("one", 1) == returns("again", 1) != returns("other", 2)


def test_the_model_learns_before_the_agent_and_the_agent_before_the_rollouts(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Updates of model and agent, rollouts and actions in the published order and at the published rhythm."""
    told: list[str] = []
    from rl.imagination import Imagination, ModelLearner

    def tell(owner: type, method: str, word: str) -> None:
        real = getattr(owner, method)

        def call(self: object, *arguments: object, **options: object) -> object:
            if options.get("explore", True):
                told.append(word)
            return real(self, *arguments, **options)

        monkeypatch.setattr(owner, method, call)

    tell(ModelLearner, "update_tokenizer", "tokenizer")
    tell(ModelLearner, "update", "transformer")
    tell(DrQv2, "update", "agent")
    tell(Imagination, "rollouts", "rollouts")
    tell(DrQv2, "act", "act")
    wanted = settings(small, tmp_path / "run", resume=False)
    schedule = replace(wanted.schedule, steps=32, seed_steps=8, evaluate_every=100)
    assert train(replace(wanted, schedule=schedule)) == 0
    rollout = ["rollouts", "act", "act", "act"]  # the policy answers three imagined frames
    first = [*["tokenizer", "transformer"] * 2, "agent", *rollout, "act"]
    plain, learning = ["agent", "act"], ["transformer", "agent", "act"]
    both = ["tokenizer", "transformer", "agent", *rollout, "act"]
    period = [*both, *plain * 3, *learning, *plain * 3]
    assert told == ["act"] * 8 + first + plain * 3 + learning + plain * 3 + period * 2


def test_half_of_a_batch_is_imagined(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, int]] = []
    real = Replay.sample

    def sample(self: Replay, batch: int, generator: object) -> object:
        drawn.append((batch, self.episodes[0].frames.shape[0]))
        return real(self, batch, generator)  # type: ignore[arg-type]

    monkeypatch.setattr(Replay, "sample", sample)
    wanted = settings(small, tmp_path / "run", resume=False)
    schedule = replace(wanted.schedule, steps=32, seed_steps=8, evaluate_every=100)
    assert train(replace(wanted, schedule=schedule)) == 0
    assert drawn[0][0] == 4  # nothing is imagined before the first updates
    assert {batch for batch, _ in drawn[1:]} == {2}
    assert {length for _, length in drawn[1::2]} == {9}
    assert all(length < 9 for _, length in drawn[2::2])


def test_horizons_may_adapt_and_rewards_be_late(small: str, tmp_path: Path) -> None:
    wanted = settings(small, tmp_path / "run", resume=False)
    horizon = Adaptive(max_steps=4, quantile=0.5)
    learner = replace(wanted.learner, reward_delay=1, tokenizer_every=None)
    options = {"imagination": ImaginationConfig(starts=2, horizon=horizon), "learner": learner, "harmonious": True}
    assert train(replace(wanted, **options)) == 0
    lengths = [line["imagined/length"] for line in metrics(tmp_path / "run") if "imagined/length" in line]
    assert min(lengths) < 4
    assert any("model/sigma/reward" in line for line in metrics(tmp_path / "run"))
    assert not any("tokenizer/loss" in line for line in metrics(tmp_path / "run"))


def test_what_is_imagined_may_be_kept_as_codes(small: str, tmp_path: Path) -> None:
    """With a tokenizer that does not learn, codes are as good as frames, also across a stop."""
    outcomes = {}
    for name, kept in (("frames", "frames"), ("codes", "codes"), ("resumed", "codes")):
        wanted = settings(small, tmp_path / name, imagined_as=kept, imagined_capacity=1000)
        wanted = replace(wanted, learner=replace(wanted.learner, tokenizer_every=None))
        if name == "resumed":
            train(replace(wanted, schedule=replace(wanted.schedule, steps=40)))
        assert train(wanted) == 0
        outcomes[name] = [line["agent/critic_loss"] for line in metrics(tmp_path / name) if "agent/critic_loss" in line]
    assert not (tmp_path / "codes" / "imagined").exists()
    assert outcomes["codes"] == outcomes["resumed"]
    assert outcomes["codes"] == pytest.approx(outcomes["frames"], rel=1e-3)


def test_a_model_without_pre_training_keeps_the_tokenizer_alone(small: str) -> None:
    model = WorldModel.from_pretrained(small)
    task = open_task("pushing_table", size=32)
    fresh = fit_model(WorldModel.from_pretrained(small), task, MBPOTraining(fresh=True))
    same = fit_model(WorldModel.from_pretrained(small), task, MBPOTraining())
    for name, value in model.state_dict().items():
        assert torch.equal(same.state_dict()[name], value)
        if name.startswith("tokenizer."):
            assert torch.equal(fresh.state_dict()[name], value)
    assert not torch.equal(fresh.transformer.norm.weight, model.transformer.norm.weight)


def test_demonstrations_are_learned_from_and_left_as_they_are(tmp_path: Path) -> None:
    shown = Replay(tmp_path / "shown")
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (5, 3, 64, 64), dtype=torch.uint8, generator=generator)
    shown.add(Episode(frames=frames, actions=torch.zeros(4, 2), rewards=torch.ones(4)))
    (file,) = (tmp_path / "shown").iterdir()
    before = file.read_bytes()
    options = ["--agent.shrink=4", f"--demonstrations.folder={tmp_path / 'shown'}", f"--run.folder={tmp_path / 'run'}"]
    assert drqv2([*SMALL, *options]) == 0
    assert file.read_bytes() == before
    assert len(list((tmp_path / "shown").iterdir())) == 1


def test_time_is_told_apart() -> None:
    began, clock = time.monotonic(), Clock({"agent": 5.0})
    with clock.on("simulator"), clock.on("agent"):
        pass
    assert clock.figures().keys() == {"time/agent", "time/simulator"}
    assert 5.0 < clock.total <= 5.0 + time.monotonic() - began + 1e-9


@pytest.mark.parametrize(
    ("step", "every", "repeat", "is_due"), [(10, 10, 2, True), (12, 10, 2, False), (11, 10, 2, True)]
)
def test_what_is_due(step: int, every: int, repeat: int, is_due: bool) -> None:
    assert due(step, every, repeat) is is_due


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task=pushing_tabel"], "pushing_table"),
        (["--agent.stack=0"], "stack is 0; expected at least 1"),
        (["--agent.shrink=9"], "17 pixels or more"),
        (["--schedule.seed_steps=-1"], "seed_steps is -1"),
        (["--demonstrations.scripted=-1"], "scripted is -1"),
        (["--demonstrations.folder=nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, options: list[str], words: str) -> None:
    with pytest.raises((ValueError, OSError), match=words):
        drqv2([*SMALL, f"--run.folder={tmp_path / 'run'}", *options])


def test_a_checkpoint_of_other_settings_is_refused_and_stays(tmp_path: Path) -> None:
    run = f"--run.folder={tmp_path / 'run'}"
    drqv2([*SMALL, run])
    before = {path: path.read_bytes() for path in (tmp_path / "run" / "checkpoints").rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"step-\d+ does not fit this run .* resume with the task and the settings"):
        drqv2([*SMALL, run, "--resume=true", "--agent.stack=2"])
    with pytest.raises(FileExistsError, match="add --resume to go on"):
        drqv2([*SMALL, run])
    assert before == {path: path.read_bytes() for path in before}


def test_a_world_model_of_other_actions_is_refused(tmp_path: Path) -> None:
    build(replace(OPTIONS[1], action_dim=5), heads=True).save_pretrained(tmp_path / "five")
    with pytest.raises(ValueError, match=r"takes 5 numbers as an action, pushing_table 2"):
        train(settings(str(tmp_path / "five"), tmp_path / "run"))


def test_both_recipes_of_a_task_differ_in_the_world_model_alone() -> None:
    for task in ("metaworld", "metaworld_small", "pushing_table"):
        free = parse(DrQv2Training, ["--config", f"rl/drqv2_{task}"], prog="")
        based = parse(MBPOTraining, ["--config", f"rl/mbpo_{task}"], prog="")
        for name in ("task", "options", "agent", "schedule", "demonstrations", "capacity"):
            assert getattr(free, name) == getattr(based, name)


def test_the_recipe_for_metaworld_is_the_published_one() -> None:
    found = parse(MBPOTraining, ["--config", "rl/mbpo_metaworld"], prog="")
    learner, imagination = found.learner, found.imagination
    assert (learner.first_updates, learner.every, learner.tokenizer_every, learner.batch_size) == (1000, 10, 40, 16)
    assert (learner.frames, learner.targets, learner.reward_delay) == (12, 5, 0)
    assert (learner.optimizer.lr, learner.optimizer.clip, learner.optimizer.weight_decay) == (1e-4, 1.0, 0.0)
    assert (imagination.starts, imagination.horizon.max_steps, imagination.horizon.min_steps) == (32, 10, 10)
    assert (found.first_rollouts, found.rollout_every, found.imagined_share) == (640, 200, 0.5)
    assert (found.schedule.seed_steps, found.demonstrations.scripted) == (4000, 5)
    agent = found.agent
    assert (agent.stack, agent.batch_size, agent.nstep, agent.gamma) == (3, 256, 3, 0.99)
    assert (agent.update_every, agent.updates, agent.weight_decay, agent.hidden, agent.shrink) == (1, 2, 1e-6, 1024, 1)
    assert (found.options.action_repeat, found.options.horizon, found.options.success_bonus) == (2, 100, 10.0)
