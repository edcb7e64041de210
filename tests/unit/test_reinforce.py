"""REINFORCE in imagined episodes: its arithmetic, that it learns, and what a run of `ivideo rl reinforce` does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_rollouts import build

from ivideo import Episode, recipes
from ivideo.config import load_config
from ivideo.embedding import EmbeddingConfig
from rl.hindsight.command import HindsightTraining
from rl.reinforce.cloning import CloneTraining
from rl.reinforce.command import ReinforceTraining
from rl.reinforce.imagined import Rollouts, first_frames, imagine, world
from rl.reinforce.learner import Learner, LearnerConfig, less_mean, returns_to_go
from rl.reinforce.network import SightConfig
from rl.reinforce.policy import Policy, PolicyConfig
from rl.reinforce.steps import StepsToGo, StepsToGoConfig, agreement, rewards_of
from rl.verbs import clone, reinforce

SMALL = SightConfig(width=4, blocks=1, hidden=16)
CLONE = [
    "--size=32", "--scripted=2", "--steps_scripted=1", "--held_out=2", "--sight.width=4",
    "--sight.blocks=0", "--sight.hidden=8", "--loop.steps=3", "--loop.batch_size=8", "--loop.accelerator=cpu",
    "--loop.evaluate_every=3", "--evaluation_episodes=1", "--run.tensorboard=false",
]  # fmt: skip
REINFORCE = [
    "--scripted=2", "--actors=3", "--horizon=3", "--evaluate_every=2", "--evaluation_episodes=1",
    "--run.tensorboard=false", "--learner.batch_size=4",
]  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return build(EmbeddingConfig(action_dim=2, action_on="frame", guide=8), heads=True, full=False)


@pytest.fixture(scope="module")
def small(model, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "small"
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs") / "clone"
    assert clone([*CLONE, f"--run.folder={folder}"]) == 0
    steps = StepsToGo.from_folder(folder)  # so little training leaves it at no steps, which nothing can be learned from
    with torch.no_grad():
        steps.sight.rest[-1].bias.fill_(1.0)
    steps.save(folder / "model")
    return str(folder)


def networks() -> tuple[Policy, StepsToGo]:
    torch.manual_seed(0)
    return Policy(PolicyConfig(size=16, sight=SMALL)), StepsToGo(StepsToGoConfig(size=16, sight=SMALL))


def starts() -> list[Episode]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return [Episode(frames=frames, name="e")]


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_returns_to_go_are_discounted_to_every_step() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 8.0]])
    assert returns_to_go(rewards, 0.5).tolist() == [[3.0, 4.0, 4.0], [2.0, 4.0, 8.0]]
    assert returns_to_go(rewards, 0.0).tolist() == rewards.tolist()
    assert returns_to_go(rewards, 1.0)[0].tolist() == [7.0, 6.0, 4.0]


def test_a_baseline_is_the_mean_of_those_who_are_still_going() -> None:
    returns = torch.tensor([[2.0, 5.0], [4.0, 100.0]])
    going = torch.tensor([[True, True], [True, False]])
    assert less_mean(returns, going).tolist() == [[-1.0, 0.0], [1.0, 95.0]]


def test_rewards_are_what_the_steps_to_go_fell_by() -> None:
    left = torch.tensor([[10.0, 9.0, 9.5]])
    assert torch.allclose(rewards_of(left, 0.05), torch.tensor([[0.05, -0.025]]))


@pytest.mark.parametrize("baseline", ["none", "step"])
def test_a_bandit_is_learned_and_what_does_not_count_is_not(baseline: str) -> None:
    """The nearer the first number is to 0.6 the better; steps that are over say the opposite."""
    policy, _ = networks()
    learner = Learner(policy, LearnerConfig(baseline=baseline, learning_rate=3e-3, batch_size=128), seed=0)
    generator = torch.Generator().manual_seed(1)
    seen = torch.zeros(64, 2, 6, 16, 16, dtype=torch.uint8)
    before = float(policy(seen[:1, 0])[0, 0].detach())
    for _ in range(40):
        means = policy(seen.flatten(0, 1)).detach()
        actions = policy.draw(means, generator, 0.3).unflatten(0, (64, 2))
        rewards = 1.0 - (actions[..., 0] - 0.6).abs()
        rewards[:, 1] = -100.0
        going = torch.ones(64, 2, dtype=torch.bool)
        going[:, 1] = False
        rewards = torch.stack([rewards[:, 0], torch.zeros(64)], dim=1)
        learner.update(
            Rollouts(
                observations=seen, actions=actions, going=going, left=torch.zeros(64, 3), rewards=rewards,
                log_likelihood=0.0, reached=0.0, broken=0.0,
            )
        )  # fmt: skip
    after = float(policy(seen[:1, 0])[0, 0].detach())
    assert abs(after - 0.6) < 0.15 < abs(before - 0.6)


def test_a_policy_is_kept_near_to_what_it_was() -> None:
    """Where every step of the number up is worth the same, it goes as far as its divergence costs no more."""
    gone = {}
    seen = torch.zeros(256, 1, 6, 16, 16, dtype=torch.uint8)
    for near in (0.0, 0.3, 10.0):
        policy, _ = networks()
        learner = Learner(policy, LearnerConfig(learning_rate=3e-3, batch_size=256, near=near), seed=0)
        generator = torch.Generator().manual_seed(1)
        before = policy(seen[:1, 0]).detach()
        for _ in range(60):
            actions = policy.draw(policy(seen[:, 0]).detach(), generator, 0.3)[:, None]
            figures = learner.update(
                Rollouts(
                    observations=seen, actions=actions, going=torch.ones(256, 1, dtype=torch.bool),
                    left=torch.zeros(256, 2), rewards=actions[..., 0] - before[0, 0],
                    log_likelihood=0.0, reached=0.0, broken=0.0,
                )
            )  # fmt: skip
        after = policy(seen[:1, 0]).detach()
        gone[near] = float((after - before)[0, 0])
        nats = learner.divergence(after, before)
        assert torch.allclose(nats, (after - before).square().sum(dim=1) / (2 * 0.3**2), atol=1e-5)
        assert abs(figures["train/divergence"] - float(nats)) < 0.2 * float(nats) + 0.01
    assert gone[0.0] > 0.6
    assert abs(gone[0.3] - 0.3**2 / 0.3) < 0.1  # d / spread^2 is what the next bit of d costs, and 1 what it earns
    assert gone[10.0] < 0.05


def test_the_policy_that_is_kept_is_the_mean_of_the_first_and_of_some_rounds() -> None:
    policy, _ = networks()
    learner = Learner(policy, LearnerConfig(average_every=2), seed=0)
    assert Learner(policy, LearnerConfig(), seed=0).kept is policy
    weight, kept = policy.sight.first.weight, learner.kept.sight.first.weight
    first = weight.detach().clone()
    assert torch.equal(kept, first)
    for rounds in (1, 2, 3, 4):
        with torch.no_grad():
            weight.add_(float(rounds))
        learner.average(rounds)
        if rounds == 1:
            assert torch.equal(kept, first)
    assert torch.allclose(kept, first + (0 + 3 + 10) / 3, atol=1e-5)
    assert torch.allclose(weight, first + 10, atol=1e-5)


def test_imagined_episodes_are_the_same_again_and_stop_counting_when_they_are_over(model) -> None:
    policy, steps = networks()
    env = world(model, starts(), actors=4, horizon=3)
    first, again = (imagine(env, policy, steps, seed=5, spread=0.3) for _ in range(2))
    other = imagine(env, policy, steps, seed=6, spread=0.3)
    assert torch.equal(first.actions, again.actions)
    assert torch.equal(first.observations, again.observations)
    assert not torch.equal(first.actions, other.actions)
    assert first.observations.shape[2:] == (6, 16, 16)
    assert torch.allclose(first.rewards.sum(dim=1), 0.05 * (first.left[:, 0] - first.left[:, -1]), atol=1e-5)
    # Everything is over at once where every frame counts as the aim.
    over = imagine(env, policy, steps, seed=5, spread=0.3, reached=1e9)
    assert over.going.tolist() == [[True]] * 4
    assert over.reached == 1.0


def test_an_episode_ends_before_a_jump_which_earns_nothing(model) -> None:
    policy, steps = networks()
    with torch.no_grad():  # whatever changes in the picture is a jump for this one
        steps.sight.rest[-1].weight.mul_(20)
        steps.sight.rest[-1].bias.fill_(5.0)
    env = world(model, starts(), actors=4, horizon=3)
    broken = imagine(env, policy, steps, seed=5, spread=0.3, reached=-1.0, jump=1e-3)
    assert broken.broken > 0
    assert float(broken.rewards.abs().max()) <= 0.05 * 1e-3
    free = imagine(env, policy, steps, seed=5, spread=0.3, reached=-1.0)
    assert free.broken == 0.0
    assert float(free.rewards.abs().max()) > 0.05 * 1e-3


def test_an_episode_can_begin_at_its_first_frames_alone() -> None:
    (begun,) = first_frames(starts(), 2)
    assert torch.equal(begun.frames, starts()[0].frames[:2])


def test_pixels_tell_the_steps_where_a_picture_fades_into_the_last_one() -> None:
    fading = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(8, 3, 16, 16).clone()
    _, steps = networks()
    with torch.no_grad():
        steps.sight.rest[-1].bias.fill_(3.0)
    told = agreement(steps, [Episode(frames=fading * 20), Episode(frames=fading[:5] * 30)])
    assert told.pixels.value > 0.9
    assert -1.0 <= told.network.value <= 1.0
    frames = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    with torch.no_grad():
        steps.sight.rest[-1].bias.fill_(1e6)
        assert steps.read(frames).tolist() == [steps.config.most] * 2
        steps.sight.rest[-1].bias.fill_(-1e6)
        assert steps.read(frames).tolist() == [0.0, 0.0]


def test_a_clone_leaves_networks_that_load_and_figures(cloned: str) -> None:
    folder = Path(cloned)
    (last,) = [line for line in metrics(folder) if "eval/success" in line]
    assert {"steps_to_go/rank_correlation", "steps_to_go/rank_correlation_of_pixels"} <= last.keys()
    policy, steps = Policy.from_folder(folder), StepsToGo.from_folder(folder)
    assert policy.config.size == steps.config.size == 16
    assert steps.config.most >= 1
    assert policy(torch.zeros(1, 6, 16, 16, dtype=torch.uint8)).shape == (1, 2)


def test_a_run_that_goes_on_ends_as_if_it_had_not_stopped(cloned: str, small: str, tmp_path: Path) -> None:
    common = [*REINFORCE, f"--policy={cloned}", f"--world_model={small}", "--learner.near=1"]
    common += ["--learner.average_every=1"]
    assert reinforce([*common, "--rounds=3", f"--run.folder={tmp_path / 'whole'}"]) == 0
    assert reinforce([*common, "--rounds=1", f"--run.folder={tmp_path / 'parts'}"]) == 0
    assert reinforce([*common, "--rounds=3", f"--run.folder={tmp_path / 'parts'}", "--resume=true"]) == 0
    whole, parts = (Policy.from_folder(tmp_path / name).state_dict() for name in ("whole", "parts"))
    begun = Policy.from_folder(cloned).state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert any(not torch.equal(whole[name], begun[name]) for name in whole)
    lines = metrics(tmp_path / "whole")
    assert [line["step"] for line in lines if "imagined/reward" in line] == [1, 2, 3]
    assert [line["step"] for line in lines if "eval/success" in line] == [0, 2, 3]
    assert all(np.isfinite(line["eval/imagined_reward"]) for line in lines if "eval/success" in line)
    kept = StepsToGo.from_folder(tmp_path / "whole").state_dict()
    assert all(torch.equal(kept[name], value) for name, value in StepsToGo.from_folder(cloned).state_dict().items())


def test_the_packaged_configs_load_and_follow_each_other() -> None:
    cloning = load_config(CloneTraining, recipes.find("rl/clone_pushing_table"))
    reinforcing = load_config(ReinforceTraining, recipes.find("rl/reinforce_pushing_table"))
    chaining = load_config(HindsightTraining, recipes.find("rl/hindsight_pushing_table"))
    assert reinforcing.policy == cloning.run.folder
    assert (cloning.task, cloning.size) == (reinforcing.task, chaining.size)
    assert (reinforcing.learner.gamma, reinforcing.worth, reinforcing.actors) == (0.9, 0.05, 64)
    assert (chaining.least, chaining.most) == (3, 5)


def test_bad_input_is_refused_in_one_line(cloned: str, small: str, tmp_path: Path) -> None:
    run = f"--run.folder={tmp_path / 'run'}"
    with pytest.raises(FileNotFoundError, match="holds no policy; expected a run of `ivideo rl clone`"):
        reinforce([*REINFORCE, f"--policy={tmp_path}", f"--world_model={small}", run])
    four = build(EmbeddingConfig(action_dim=4, action_on="frame", guide=8), heads=True, full=False)
    four.save_pretrained(tmp_path / "four")
    with pytest.raises(ValueError, match="takes 4 numbers"):
        reinforce([*REINFORCE, f"--policy={cloned}", f"--world_model={tmp_path / 'four'}", run])
    with pytest.raises(ValueError, match=r"gamma is 2\.0; expected"):
        LearnerConfig(gamma=2.0)
    with pytest.raises(ValueError, match="average_every is 0"):
        LearnerConfig(average_every=0)
    with pytest.raises(ValueError, match="near is -1"):
        LearnerConfig(near=-1.0)
    with pytest.raises(ValueError, match="spread is 0"):
        LearnerConfig(spread=0.0)
    with pytest.raises(ValueError, match="unknown option --no_such"):
        clone([*CLONE, "--no_such=1", run])
    assert not (tmp_path / "run").exists()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in (Path(cloned) / "model").iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    weights = damaged / "policy.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"policy\.safetensors is damaged"):
        Policy.from_folder(damaged)
