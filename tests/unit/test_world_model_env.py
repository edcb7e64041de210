"""The world model as an environment: Gymnasium's rules, and what only a model can do."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import jaxtyping
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from tiny_rollouts import build

import ivideo
from ivideo import WorldModelEnv
from ivideo.embedding import EmbeddingConfig
from ivideo.episode import Episode
from ivideo.simulate.play_log import PlayLog
from ivideo.world_model import WorldModel

STEPS = 7


@pytest.fixture(scope="module")
def model() -> WorldModel:
    made = build(EmbeddingConfig(action_dim=2, action_on="frame", guide=8), heads=True, full=False)
    made.config = replace(made.config, sampling=ivideo.Sampling(temperature=1.0))
    with torch.no_grad():
        made.heads.termination.bias.fill_(-1.0)  # some episodes end by themselves, most do not
    return made


@pytest.fixture(scope="module")
def starts() -> list[Episode]:
    generator = torch.Generator().manual_seed(0)
    return [
        Episode(frames=torch.randint(256, (length, 3, 32, 32), dtype=torch.uint8, generator=generator))
        for length in (5, 3, 9)
    ]


@pytest.fixture
def make(model: WorldModel, starts: list[Episode]):
    def made(num_envs: int = 3, **how: Any) -> WorldModelEnv:
        return WorldModelEnv(model, starts, num_envs=num_envs, **{"horizon": 4, **how})

    return made


def actions_of(env: WorldModelEnv, steps: int = STEPS, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (steps, env.num_envs, 2)).astype(np.float32)


def play(env: WorldModelEnv, actions: np.ndarray) -> list[tuple]:
    return [env.step(each)[:4] for each in actions]


def same(first: list[tuple], second: list[tuple]) -> bool:
    return all(
        np.array_equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("observations", ["pixels", "tokens"])
def test_spaces_seeds_and_shapes_are_kept_over_a_long_play(make, observations: str) -> None:
    env, again = make(observations=observations), make(observations=observations)
    first, _ = env.reset(seed=3)
    second, _ = again.reset(seed=3)
    assert np.array_equal(first, second)
    assert first in env.observation_space
    actions = actions_of(env, 60)
    for each in actions:
        observation, reward, terminated, truncated, infos = env.step(each)
        repeated = again.step(each)[:4]
        assert observation in env.observation_space
        assert np.isfinite(reward).all()
        assert np.isfinite(infos["log_likelihood"]).all()
        assert not (terminated & truncated).any()
        assert same([(observation, reward, terminated, truncated)], [repeated])
    assert len(env.render()) == 3
    assert env.render()[0].shape == (32, 32, 3)


def test_an_environment_is_the_same_alone_and_in_a_batch(make) -> None:
    many = make(4)
    many.reset(seed=10)
    actions = actions_of(many, 12)
    played = play(many, actions)
    for index in range(4):
        alone = make(1)
        alone.reset(seed=10 + index)
        for step, each in enumerate(actions[:, index : index + 1]):
            observation, reward, terminated, truncated, _ = alone.step(each)
            assert np.abs(observation.astype(int) - played[step][0][index : index + 1]).max() <= 1
            assert reward == pytest.approx(played[step][1][index : index + 1], abs=1e-4)
            assert (terminated, truncated) == (played[step][2][index], played[step][3][index])


def test_an_episode_is_truncated_at_the_horizon_and_begins_anew_with_the_next_step(make, model: WorldModel) -> None:
    env = make(2, threshold=1.0)
    env.reset(seed=0)
    played = play(env, actions_of(env, 10))
    truncated = np.array([step[3] for step in played])
    assert truncated[:, 0].tolist() == [False, False, False, True, False, False, False, False, True, False]
    begun = played[4]
    assert begun[1].tolist() == [0.0, 0.0]
    frames = {frame.numpy().tobytes() for episode in env.worlds.starts for frame in episode.frames.permute(0, 2, 3, 1)}
    assert np.ascontiguousarray(begun[0][0]).tobytes() in frames


def test_a_snapshot_leads_to_the_same_future_as_often_as_it_is_restored(make) -> None:
    env = make(3)
    env.reset(seed=1)
    play(env, actions_of(env, 3))
    snapshot, actions = env.save(), actions_of(env, 9, seed=5)
    first = play(env, actions)
    for _ in range(2):
        env.restore(snapshot)
        assert same(play(env, actions), first)
    other = make(3)
    other.restore(snapshot)
    assert same(play(other, actions), first)
    with pytest.raises(ValueError, match="the snapshot is of 3 environments and here are 2"):
        make(2).restore(snapshot)


def test_the_first_of_each_fork_goes_on_as_the_original_would(make) -> None:
    env = make(2, threshold=1.0)
    env.reset(seed=1)
    play(env, actions_of(env, 2))
    forked = env.fork(3)
    assert forked.num_envs == 6
    actions = actions_of(env, 6, seed=2)
    own = play(env, actions)
    branched = play(forked, actions.repeat(3, axis=1))
    for (observation, reward, *_), (many, rewards, *_) in zip(own, branched, strict=True):
        assert np.abs(observation.astype(int) - many[::3]).max() <= 1
        assert reward == pytest.approx(rewards[::3], abs=1e-4)
    assert not np.array_equal(branched[1][0][0], branched[1][0][1])  # siblings draw their own tokens


def test_tokens_leave_decoding_to_render(make, monkeypatch: pytest.MonkeyPatch, model: WorldModel) -> None:
    seen, tokens = make(2, threshold=1.0), make(2, threshold=1.0, observations="tokens")
    seen.reset(seed=4)
    codes, _ = tokens.reset(seed=4)
    assert codes.shape == (2, 4)
    decoded: list[int] = []
    decode = type(model.tokenizer).decode_frames

    def counted(self: object, *given: Any) -> torch.Tensor:
        decoded.append(1)
        return decode(self, *given)

    monkeypatch.setattr(type(model.tokenizer), "decode_frames", counted)
    actions = actions_of(seen, 3)
    for each in actions:
        tokens.step(each)
    assert decoded == []
    for each in actions:
        pixels = seen.step(each)[0]
    assert np.abs(np.stack(tokens.render()).astype(int) - pixels).max() <= 1


def test_a_log_is_replayed_bit_for_bit(make, tmp_path: Path) -> None:
    env = make(2)
    log = PlayLog.of(env)
    seen: list[tuple] = [(env.reset()[0],)]  # unseeded
    seen += [env.step(each)[:4] for each in actions_of(env, 6)]
    seen.append((env.reset(options={"reset_mask": np.array([True, False])})[0],))
    seen += [env.step(each)[:4] for each in actions_of(env, 3, seed=1)]
    log.save(tmp_path / "play.json")
    again = [each[:4] for each in PlayLog.load(tmp_path / "play.json").replay(make(2))]
    assert len(again) == len(seen) == 11
    assert same(seen, again)
    with pytest.raises(ValueError, match="the log is of 2 environments and here are 3"):
        next(log.replay(make(3)))
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json: no log of a play"):
        PlayLog.load(tmp_path / "other.json")


def test_some_environments_are_reset_and_the_others_stay(make) -> None:
    env = make(3)
    env.reset(seed=0)
    before = play(env, actions_of(env, 2))[-1][0]
    after, _ = env.reset(options={"reset_mask": np.array([False, True, False])})
    assert np.array_equal(after[[0, 2]], before[[0, 2]])
    assert not np.array_equal(after[1], before[1])


def test_gymnasium_finds_nothing_wrong_with_one(model: WorldModel, starts: list[Episode]) -> None:
    env = gymnasium.make("ivideo/WorldModel-v0", model=model, starts=starts, render_mode="rgb_array")
    check_env(env.unwrapped)
    assert env.unwrapped.render().shape == (32, 32, 3)


def test_stable_baselines_finds_nothing_wrong_with_one_and_learns_in_it(
    model: WorldModel, starts: list[Episode]
) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker", reason="stable-baselines3 is not installed")
    from stable_baselines3 import PPO

    env = gymnasium.make("ivideo/WorldModel-v0", model=model, starts=starts, horizon=4)
    checker.check_env(env.unwrapped, warn=False)
    learner = PPO("MlpPolicy", env, n_steps=8, batch_size=4, n_epochs=1, device="cpu", seed=0)
    before = [parameter.clone() for parameter in learner.policy.parameters()]
    learner.learn(16)
    assert any(not torch.equal(a, b) for a, b in zip(before, learner.policy.parameters(), strict=True))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"num_envs": 0}, "num_envs is 0"),
        ({"horizon": 0}, "horizon 0"),
        ({"observations": "sound"}, "expected 'pixels' or 'tokens'"),
        ({"render_mode": "human"}, "render_mode is 'human'"),
        ({"starts": []}, "none of the 0 episodes has the 2 frames"),
    ],
)
def test_what_makes_no_environment_is_refused(
    model: WorldModel, starts: list[Episode], how: dict, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    with pytest.raises(ValueError, match=words):
        WorldModelEnv(model, **{"starts": starts, **how})


def test_models_that_are_no_environments_are_refused(starts: list[Episode]) -> None:
    with pytest.raises(ValueError, match="takes no actions"):
        WorldModelEnv(build(EmbeddingConfig(), full=False), starts)


def test_without_a_reward_head_rewards_are_0_or_a_function_of_frames(starts: list[Episode]) -> None:
    plain = WorldModelEnv(build(EmbeddingConfig(action_dim=2), full=False), starts, num_envs=2, observations="tokens")
    assert not plain.worlds.rewarded
    plain.reset(seed=0)
    _, reward, *_ = plain.step(np.ones((2, 2), np.float32))
    assert reward.tolist() == [0.0, 0.0]
    bright = WorldModelEnv(
        build(EmbeddingConfig(action_dim=2), full=False),
        starts,
        reward=lambda frames: frames.float().mean(dim=(1, 2, 3)),
    )
    observation, _ = bright.reset(seed=0)
    observation, reward, *_ = bright.step(np.zeros((1, 2), np.float32))
    assert reward[0] == pytest.approx(observation[0].mean(), rel=1e-5)


@pytest.mark.parametrize("tile", [0, 4])
def test_memory_does_not_grow_with_the_age_of_a_world(starts: list[Episode], tile: int) -> None:
    model = build(EmbeddingConfig(action_dim=2), full=False, remember=4)
    env = WorldModelEnv(model, starts, num_envs=2, horizon=1000, observations="tokens", tile=tile)
    env.reset(seed=0)
    sizes, rng = [], np.random.default_rng(0)
    for _ in range(26):
        env.step(rng.uniform(-1, 1, (2, 2)).astype(np.float32))
        states = [state for group in env._groups for state in (group.state, *group.more)]
        assert all(state.frames == env._steps[0] for state in states)
        sizes.append(sum(tensor.nbytes for tensor in _tensors(states)))
    assert max(sizes[18:]) == max(sizes[10:18])


def _tensors(value: object) -> list[torch.Tensor]:
    """Every tensor inside, once."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [tensor for each in value for tensor in _tensors(each)]
    if is_dataclass(value):
        return [tensor for each in fields(value) for tensor in _tensors(getattr(value, each.name))]
    return []


def test_mistakes_of_the_caller_are_named(make) -> None:
    env = make(2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros((2, 2), np.float32))
    env.reset(seed=[1, None])
    with pytest.raises(ValueError, match="actions have shape"):
        env.step(np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="NaN or infinite"):
        env.step(np.full((2, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="3 seeds are given for 2 environments"):
        env.reset(seed=[1, 2, 3])
