"""`ivideo serve --ray`: two replicas on this machine, and connections that stay with theirs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_serve import ending_model

pytest.importorskip("msgpack", reason="the extra `serve` is not installed")
from ivideo.serve.client import RemoteWorlds

pytestmark = pytest.mark.slow


def test_two_replicas_serve_and_a_connection_stays_with_its_own(tmp_path: Path) -> None:
    if not list(Path(sys.prefix).glob("lib/python3*/site-packages/ray/serve")):
        pytest.skip("the extra `ray` is not installed")
    ending_model().save_pretrained(tmp_path / "tiny")
    command = [sys.executable, "-m", "ivideo", "serve", str(tmp_path / "tiny"), "--ray", "--replicas", "2"]
    options = ["--cores", "0.2", "--sessions", "8", "--horizon", "4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": ""}
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("ws://127.0.0.1:")
            envs = [RemoteWorlds(address, num_envs=2) for _ in range(4)]
            homes = [env.line.ask("ping")["process"] for env in envs]
            assert len(set(homes)) == 2
            begun = [env.reset(seed=3)[0] for env in envs]
            actions = np.random.default_rng(0).uniform(-1, 1, (6, 2, 2)).astype(np.float32)
            for each in actions:
                steps = [env.step(each) for env in envs]
                for seen, rewards, terminated, *_ in steps:  # whichever replica it is
                    assert np.abs(seen.astype(int) - steps[0][0]).max() <= 1
                    np.testing.assert_allclose(rewards, steps[0][1], rtol=1e-4, atol=1e-4)
                    assert np.array_equal(terminated, steps[0][2])
            saved = envs[0].save()
            envs[0].step(actions[0])
            envs[0].restore(saved)
            assert [env.line.ask("ping")["process"] for env in envs] == homes
            assert all(np.array_equal(each, begun[0]) for each in begun)
            for env in envs:
                env.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(300) == 130
            assert process.stdout.read() == ""
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    with pytest.raises(OSError, match="nobody serves"):
        RemoteWorlds(address)
