"""`ivideo serve`, step by step: what many clients see is what a `WorldModelEnv` shows, and more than one at a time."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from tiny_rollouts import build
from tiny_serve import ending_model, served, some_starts

import ivideo.simulate  # noqa: F401  (registers environments)
from ivideo import WorldModelEnv
from ivideo.embedding import EmbeddingConfig
from ivideo.world_model import WorldModel

pytest.importorskip("msgpack", reason="the extra `serve` is not installed")
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

from ivideo.serve.client import ConnectionLost, RemoteWorlds
from ivideo.serve.host import Host

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:starlette|httpx|websockets|uvicorn")
STEPS = 9
Step = tuple[np.ndarray, ...]


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return ending_model()


@pytest.fixture(scope="module")
def server(model: WorldModel) -> Iterator[tuple[str, Host]]:
    with served(model, sessions=40, saves=8) as held:
        yield held


@pytest.fixture
def address(server: tuple[str, Host]) -> Iterator[str]:
    yield server[0]
    end = time.monotonic() + 100
    while time.monotonic() < end:
        if not server[1].counts.sessions and not server[1].counts.connections:
            return
        time.sleep(0.02)
    pytest.fail(f"left behind: {server[1].status()}")


def actions_of(count: int, seed: int, steps: int = STEPS) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, count, 2)).astype(np.float32)


def play(env: "RemoteWorlds | WorldModelEnv", actions: np.ndarray) -> list[Step]:
    made = []
    for each in actions:
        seen, rewards, terminated, truncated, infos = env.step(each)
        made.append((seen, rewards, terminated, truncated, infos["log_likelihood"], infos["terminal"]))
    return made


def assert_alike(first: list[Step], second: list[Step]) -> None:
    """Equal tokens and ends; frames within one level and numbers to rounding, since sums have another order."""
    for one, other in zip(first, second, strict=True):
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert a.dtype == b.dtype
            if a.dtype == np.uint8:
                assert np.abs(a.astype(int) - b.astype(int)).max() <= 1
            elif a.dtype.kind == "f":
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
            else:
                assert np.array_equal(a, b), index


@pytest.mark.parametrize("observations", ["pixels", "tokens"])
def test_a_client_sees_what_an_environment_of_its_own_shows(address: str, model: WorldModel, observations: str) -> None:
    actions = actions_of(3, 1)
    own = WorldModelEnv(model, some_starts(), num_envs=3, horizon=5, observations=observations)
    with_own, _ = own.reset(seed=3)
    remote = RemoteWorlds(address, num_envs=3, observations=observations)
    with_remote, _ = remote.reset(seed=3)
    assert np.array_equal(with_own, with_remote)
    assert (remote.observation_space, remote.action_space) == (own.observation_space, own.action_space)
    played = play(remote, actions)
    assert_alike(played, play(own, actions))
    assert played[0][0] in remote.observation_space
    assert any(step[2].any() for step in played)  # episodes were terminated, truncated, and begun anew
    assert any(step[3].any() for step in played)
    for mine, theirs in zip(remote.render(), own.render(), strict=True):
        assert np.abs(mine.astype(int) - theirs.astype(int)).max() <= 1
    mask = np.array([False, True, False])
    again = remote.reset(seed=[None, 7, None], options={"reset_mask": mask})[0]
    assert np.array_equal(again, own.reset(seed=[None, 7, None], options={"reset_mask": mask})[0])
    assert_alike(play(remote, actions), play(own, actions))
    remote.close()


def test_parallel_clients_see_what_each_would_see_alone(address: str, model: WorldModel, server) -> None:
    """Different numbers, horizons, observations and paces; some save, fork and go back meanwhile."""
    clients = 6
    kinds = [("pixels", "tokens")[index % 2] for index in range(clients)]
    counts = [1 + index % 3 for index in range(clients)]
    plays: dict[int, list[Step]] = {}
    before = server[1].worker.counts.steps, server[1].worker.counts.passes
    together = threading.Barrier(clients)

    def live(index: int) -> None:
        remote = RemoteWorlds(address, num_envs=counts[index], horizon=3 + index, observations=kinds[index])
        remote.reset(seed=10 * index)
        together.wait(120)
        actions = actions_of(counts[index], index)
        played = play(remote, actions[:4])
        if index % 3 == 0:
            saved = remote.save()
            forked = remote.fork(2)
            play(forked, actions_of(2 * counts[index], 99, steps=3))
            forked.close()
            play(remote, actions[::-1][:2])
            remote.restore(saved)
        if index == 5:
            time.sleep(0.3)
        plays[index] = played + play(remote, actions[4:])
        remote.close()

    threads = [threading.Thread(target=live, args=(index,)) for index in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert len(plays) == clients
    for index in range(clients):
        own = WorldModelEnv(model, some_starts(), num_envs=counts[index], horizon=3 + index, observations=kinds[index])
        own.reset(seed=10 * index)
        assert_alike(plays[index], play(own, actions_of(counts[index], index)))
    after = server[1].worker.counts.steps, server[1].worker.counts.passes
    assert (after[0] - before[0]) / (after[1] - before[1]) > 2 * sum(counts) / clients  # several in one pass


def test_saved_restored_forked_and_forgotten(address: str, model: WorldModel) -> None:
    remote, own = RemoteWorlds(address, num_envs=2), WorldModelEnv(model, some_starts(), num_envs=2, horizon=5)
    remote.reset(seed=5)
    own.reset(seed=5)
    actions = actions_of(2, 2)
    play(remote, actions[:3])
    play(own, actions[:3])
    saved = remote.save()
    first = play(remote, actions[3:])
    remote.restore(saved)
    assert_alike(play(remote, actions[3:]), first)
    remote.restore(saved)
    branches, own_branches = remote.fork(3), own.fork(3)
    assert branches.num_envs == 6
    wide = actions_of(6, 3)
    assert_alike(play(branches, wide), play(own_branches, wide))
    assert_alike(play(remote, actions[3:]), first)  # whatever its branches did
    remote.forget(saved)
    with pytest.raises(ValueError, match="nothing is saved under it"):
        remote.restore(saved)
    for _ in range(4):
        saved = remote.save()
    with pytest.raises(ValueError, match="8 is the most for a connection; forget some"):
        remote.save()
    with pytest.raises(ValueError, match="of 2 environments and here are 6"):
        branches.restore(saved)
    with RemoteWorldsOf(address) as other, pytest.raises(ValueError, match="another connection"):
        other.restore(saved)
    with pytest.raises(ValueError, match="60 environments are asked for"):
        remote.fork(30)
    branches.close()
    remote.close()


class RemoteWorldsOf:
    """Closed in the end."""

    def __init__(self, address: str, **how: object) -> None:
        self.env = RemoteWorlds(address, **how)  # type: ignore[arg-type]

    def __enter__(self) -> RemoteWorlds:
        return self.env

    def __exit__(self, *_: object) -> None:
        self.env.close()


def test_gymnasium_finds_nothing_wrong(address: str) -> None:
    single = gymnasium.make("ivideo/RemoteWorldModel-v0", address=address, render_mode="rgb_array", horizon=3)
    check_env(single.unwrapped)
    assert isinstance(single.reset(seed=1)[0], np.ndarray)
    assert single.step(np.zeros(2, np.float32))[1] == pytest.approx(
        float(single.reset(seed=1)[0].any()) * 0 + _reward_of(single)
    )
    single.close()


def _reward_of(single: gymnasium.Env) -> float:
    single.reset(seed=1)
    return float(single.step(np.zeros(2, np.float32))[1])


@pytest.mark.parametrize(("pictures", "off"), [("png", 0), ("jpeg", 255)])
def test_frames_may_travel_as_pictures(address: str, pictures: str, off: int) -> None:
    with RemoteWorldsOf(address, num_envs=2) as raw, RemoteWorldsOf(address, num_envs=2, pictures=pictures) as drawn:
        assert np.abs(raw.reset(seed=1)[0].astype(int) - drawn.reset(seed=1)[0]).max() <= off
        actions = actions_of(2, 0)[0]
        one, other = raw.step(actions)[0], drawn.step(actions)[0]
        assert other.shape == one.shape
        assert np.abs(one.astype(int) - other).max() <= off + 1
        assert drawn.render()[1].shape == (32, 32, 3)


def test_a_lost_connection_is_said_and_made_anew(model: WorldModel) -> None:
    with served(model) as (address, _):
        env = RemoteWorlds(address, num_envs=2)
        env.reset(seed=0)
        saved = env.save()
        env.line._socket.close()
        with pytest.raises(ConnectionLost, match=r"was lost .*reconnect\(\) and reset\(\)"):
            env.step(actions_of(2, 0)[0])
        with pytest.raises(ConnectionLost):
            env.reset()
        env.reconnect()
        env.reset(seed=0)
        with pytest.raises(ValueError, match="another connection"):
            env.restore(saved)
        assert env.step(actions_of(2, 0)[0])[0].shape == (2, 32, 32, 3)
    with pytest.raises(ConnectionLost):
        env.step(actions_of(2, 0)[0])
    with pytest.raises(ConnectionRefusedError, match="nobody serves a world model"):
        env.reconnect()
    env.close()


def test_a_model_without_a_reward_head_is_served_and_says_so(address: str) -> None:
    plain = build(EmbeddingConfig(action_dim=2), full=False)
    with served(plain) as (elsewhere, _), closing(RemoteWorlds(elsewhere, num_envs=2)) as env:
        assert not env.rewarded
        env.reset(seed=0)
        assert [step[1].tolist() for step in play(env, actions_of(2, 0))] == [[0.0, 0.0]] * STEPS
    with closing(RemoteWorlds(address)) as env:
        assert env.rewarded


def test_dm_env(address: str) -> None:
    test_utils = pytest.importorskip("dm_env.test_utils")
    from ivideo.serve.deepmind import RemoteEnvironment

    env = RemoteEnvironment(address, seed=3, horizon=3)
    first = env.reset()
    assert first.first()
    env.observation_spec().validate(first.observation)
    lasts = []
    for _ in range(20):
        seen = env.step(np.zeros(2, np.float32))
        env.observation_spec().validate(seen.observation)
        if seen.last():
            lasts.append(seen.discount)
            assert env.step(np.zeros(2, np.float32)).first()
    assert set(lasts) == {0.0, 1.0} or lasts[0] in (0.0, 1.0)
    env.close()

    class Checked(test_utils.EnvironmentTestMixin):
        def make_object_under_test(self) -> RemoteEnvironment:
            return RemoteEnvironment(address, horizon=3)

        def make_action_sequence(self) -> Iterator[np.ndarray]:
            yield from (np.zeros(2, np.float32) for _ in range(10))

    import unittest

    class Case(Checked, unittest.TestCase):
        pass

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert result.testsRun > 3
    assert not result.errors + result.failures, result


def test_stable_baselines_trains_in_it(address: str) -> None:
    stable = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed")
    from stable_baselines3.common.env_util import make_vec_env

    how = {"address": address, "horizon": 4, "observations": "tokens"}
    envs = make_vec_env("ivideo/RemoteWorldModel-v0", n_envs=2, env_kwargs=how)
    learner = stable.PPO("MlpPolicy", envs, n_steps=8, batch_size=8, n_epochs=1, device="cpu")
    learner.learn(16)
    assert learner.num_timesteps == 16
    envs.close()


def test_in_tiles_parallel_clients_see_bit_for_bit_what_an_environment_shows(model: WorldModel) -> None:
    kinds, found = ("pixels", "tokens"), dict[int, list[Step]]()

    def live(address: str, index: int) -> None:
        remote = RemoteWorlds(address, num_envs=1 + index % 2, horizon=3 + index, observations=kinds[index % 2])
        first = remote.reset(seed=7 * index)[0]
        found[index] = [(first,), *play(remote, actions_of(1 + index % 2, index, steps=6))]
        remote.close()

    with served(model, tile=4) as (address, host):
        threads = [threading.Thread(target=live, args=(address, index)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        assert host.worker.counts.steps > host.worker.counts.passes
    for index in range(4):
        own = WorldModelEnv(
            model,
            some_starts(),
            num_envs=1 + index % 2,
            horizon=3 + index,
            observations="tokens" if index % 2 else "pixels",
            tile=4,
        )
        expected = [(own.reset(seed=7 * index)[0],), *play(own, actions_of(1 + index % 2, index, steps=6))]
        for one, other in zip(found[index], expected, strict=True):
            for a, b in zip(one, other, strict=True):
                assert np.array_equal(a, b)
