"""`ivideo serve` among strangers: who may come in, what may be said, and that nobody is in anybody's way."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_serve import ending_model, served

from ivideo.cli import main
from ivideo.web.door import ENDED, FULL, REFUSED
from ivideo.web.message import MOST_BYTES
from ivideo.world_model import WorldModel

pytest.importorskip("msgpack", reason="the extra `serve` is not installed")
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
import msgpack
import uvicorn
import websockets
from fastapi import FastAPI
from websockets.sync.client import connect

from ivideo.serve import wire
from ivideo.serve.client import RemoteWorlds
from ivideo.serve.host import Host
from ivideo.serve.line import ConnectionLost

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:starlette|httpx|uvicorn")


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return ending_model()


@pytest.fixture(scope="module")
def server(model: WorldModel) -> Iterator[tuple[str, Host]]:
    with served(model, sessions=4, saves=4) as held:
        yield held


class Wire:
    """What a client of one's own making can do."""

    def __init__(self, address: str, **headers: str) -> None:
        how: dict[str, Any] = {"max_size": None, "compression": None, "proxy": None, "open_timeout": 100}
        opening = connect(address, additional_headers=headers, **how)
        self.socket = opening.__enter__()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, message: bytes | str | dict[str, Any]) -> dict[str, Any]:
        self.socket.send(msgpack.packb(message) if isinstance(message, dict) else message)
        return self.hear()

    def hear(self) -> dict[str, Any]:
        got = self.socket.recv(300)
        assert isinstance(got, bytes)
        return wire.unpacked(got)

    def step(self, env: int = 1) -> dict[str, Any]:
        return self.say({"do": "step", "env": env, "id": 7, "actions": array("<f4", [1, 2], bytes(8))})


def array(dtype: object, shape: object, data: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data": data}


def acts(value: object) -> dict[str, object]:
    return {"do": "step", "env": 1, "actions": value}


NAN = np.float32([np.nan, 0]).tobytes()
BAD: list[tuple[bytes | str | dict[str, Any], str]] = [
    ("text", "is text"),
    (b"", "no MessagePack"),
    (b"\xc1", "no MessagePack"),
    (b"\x93\x01", "no MessagePack"),
    (b"\x91" * 100_000, "no MessagePack"),
    (b"\xdd\xff\xff\xff\xff", "no MessagePack"),
    (b"\xdf\xff\xff\xff\xff", "no MessagePack"),
    (msgpack.packb(msgpack.ExtType(5, b"x")), "extension type 5"),
    (msgpack.packb({1: 2}), "no MessagePack"),
    (msgpack.packb([1]), "nothing to do"),
    ({"do": 3}, "nothing to do"),
    ({"do": "fly"}, "expected one of hello"),
    ({"do": "step"}, "whole number from 1"),
    ({"do": "step", "env": True}, "whole number from 1"),
    ({"do": "step", "env": 99}, "no such environments"),
    (acts(None), "expected an array"),
    (acts([[0.0, 0.0]]), "expected an array"),
    (acts(array("|O", [1, 2], bytes(16))), "expected one of |b1"),
    (acts(array(">f4", [1, 2], bytes(8))), "expected one of |b1"),
    (acts(array("<f8", [1, 2], bytes(16))), "expected <f4 of [1, 2]"),
    (acts(array("<f4", [2, 1], bytes(8))), "expected <f4 of [1, 2]"),
    (acts(array("<f4", [1, 2], bytes(4))), "expected the 8 bytes"),
    (acts(array("<f4", [2**30, 2**30], bytes(4))), "expected the"),
    (acts(array("<f4", [-1, 2], bytes(8))), "no list of at most 5"),
    (acts(array("<f4", [1] * 6, bytes(4))), "no list of at most 5"),
    (acts(array("<f4", "12", bytes(8))), "no list of at most 5"),
    (acts(array("<f4", [1, 2], "text")), "expected the 8 bytes"),
    (acts(array("<f4", [1, 2], NAN)), "NaN or infinite"),
    ({"do": "reset", "env": 1, "seeds": [1.5]}, "whole numbers from 0"),
    ({"do": "reset", "env": 1, "seeds": [-1]}, "whole numbers from 0"),
    ({"do": "reset", "env": 1, "seeds": [1, 2]}, "list of 1"),
    ({"do": "reset", "env": 1, "mask": array("|b1", [1], b"\2")}, "neither false nor true"),
    ({"do": "open", "envs": 0}, "whole number from 1"),
    ({"do": "open", "envs": 100}, "of the server's 4 are free"),
    ({"do": "open", "horizon": 0}, "whole number from 1"),
    ({"do": "open", "threshold": float("nan")}, "expected finite"),
    ({"do": "open", "threshold": 2}, "expected 0 to 1"),
    ({"do": "open", "observations": "smells"}, "expected one of pixels"),
    ({"do": "open", "pictures": "../x"}, "expected one of raw"),
    ({"do": "restore", "env": 1, "save": 9}, "nothing is saved"),
    ({"do": "forget", "save": 9}, "nothing is saved"),
    ({"do": "fork", "env": 1, "n": 2**40}, "whole number from 1"),
    ({"do": "fork", "env": 1, "n": 4}, "of the server's 4 are free"),
    (b"\xc4" * (MOST_BYTES + 1), "at most 1048576"),
]


def test_bad_messages_are_answered_in_a_line_and_nothing_changes(server: tuple[str, Host]) -> None:
    before = server[1].counts.malformed
    with Wire(server[0]) as one:
        assert one.say({"do": "open", "id": 3})["re"] == 3
        assert "step was called before reset" in one.step()["message"]
        one.say({"do": "reset", "env": 1, "seeds": [0]})
        first = one.step()
        one.say({"do": "reset", "env": 1, "seeds": [0]})
        for bad, expected in BAD:
            answer = one.say(bad)
            assert answer["kind"] == "error", (str(bad)[:80], answer)
            assert expected in answer["message"], (str(bad)[:80], answer)
            assert len(answer["message"]) <= 400
        after = one.step()
        assert after["re"] == 7
        assert np.array_equal(after["observations"], first["observations"])
    assert server[1].counts.malformed == before + len(BAD) + 1


def test_what_is_far_too_long_closes_the_connection(server: tuple[str, Host]) -> None:
    with Wire(server[0]) as one:
        one.socket.socket.sendall(b"\x82\xff" + (5 << 20).to_bytes(8, "big") + bytes(4))  # so much is to come
        with pytest.raises(websockets.ConnectionClosed) as closed:
            one.hear()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    with Wire(server[0]) as one, pytest.raises(websockets.ConnectionClosed):  # who sends on may miss the code
        one.say(bytes(5 << 20))
    with Wire(server[0]) as one:
        assert one.say({"do": "hello"})["model"] == "tiny"


def test_made_up_messages_are_all_answered(server: tuple[str, Host]) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    try:
        from serving import made_up
    finally:
        sys.path.pop(0)
    rng = random.Random(1)
    with Wire(server[0]) as one:
        for _ in range(600):
            assert one.say(made_up(rng))["kind"]
    with Wire(server[0]) as one:
        one.say({"do": "open"})
        assert one.say({"do": "reset", "env": 1})["kind"] == "begun"


def test_a_third_request_is_refused_and_two_are_answered_in_order(server: tuple[str, Host]) -> None:
    with Wire(server[0]) as one:
        one.say({"do": "open"})
        one.say({"do": "reset", "env": 1, "seeds": [0]})
        for number in range(10):
            one.socket.send(msgpack.packb({**acts(array("<f4", [1, 2], bytes(8))), "id": number}))
        answers = [one.hear() for _ in range(10)]
    assert sorted(each["re"] for each in answers) == list(range(10))
    stepped = [each["re"] for each in answers if each["kind"] == "stepped"]
    assert stepped[:2] == [0, 1]
    assert stepped == sorted(stepped)
    assert all("two requests" in each["message"] for each in answers if each["kind"] == "error")


@pytest.mark.parametrize(
    ("headers", "rules", "why"),
    [
        ({"Origin": "http://evil.example"}, {}, "another site"),
        ({"Origin": "null"}, {}, "another site"),
        ({}, {"hosts": ("table.lan",)}, "not known under that name"),
        ({}, {"token": "secret12"}, "token"),
    ],
)
def test_strangers_are_turned_away(model: WorldModel, headers: dict[str, str], rules: dict[str, Any], why: str) -> None:
    with served(model, **rules) as (address, _):
        bare = address.partition("?")[0]
        with Wire(bare, **headers) as one, pytest.raises(websockets.ConnectionClosed) as refused:
            one.say({"do": "hello"})
        assert refused.value.rcvd is not None
        assert refused.value.rcvd.code == REFUSED
        assert why in refused.value.rcvd.reason
        if "token" in rules:
            with pytest.raises(ConnectionLost, match=r"refused: the token is missing") as told:
                RemoteWorlds(bare)
            assert "secret" not in str(told.value)
            RemoteWorlds(address.replace("ws://", "http://")).close()


def test_room_is_limited_and_given_back(server: tuple[str, Host]) -> None:
    four = [Wire(server[0]) for _ in range(4)]
    for each in four:
        each.say({"do": "hello"})
    with Wire(server[0]) as fifth, pytest.raises(websockets.ConnectionClosed) as refused:
        fifth.hear()
    assert refused.value.rcvd is not None
    assert refused.value.rcvd.code == FULL
    for each in four:
        each.socket.close()
    _until(lambda: server[1].counts.connections == 0)
    env = RemoteWorlds(server[0], num_envs=4)
    with pytest.raises(ValueError, match="0 of the server's 4 are free"):
        env.fork(1)
    env.close()
    _until(lambda: server[1].counts.sessions == 0)


def test_whoever_is_quiet_or_takes_nothing_is_let_go(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from ivideo.serve import connection
    from ivideo.web import running

    with served(model, idle=0.8) as (address, host):
        with Wire(address) as one:
            answers = []

            def listen() -> None:
                answers.append(one.say({"do": "open"}))
                while True:
                    answers.append(one.hear())

            with pytest.raises(websockets.ConnectionClosed) as ended:
                listen()
            assert "nothing was asked for" in "".join(each.get("message", "") for each in answers)
            assert ended.value.rcvd is not None
            assert ended.value.rcvd.code == ENDED
        _until(lambda: host.counts.sessions == host.counts.connections == 0)
    monkeypatch.setattr(connection, "PATIENCE", 0.5)
    pinging = running.server_of

    def server_of(app: FastAPI) -> uvicorn.Server:  # whose pings would let the glutton go as well, if later
        made = pinging(app)
        made.config.ws_ping_interval = None
        return made

    monkeypatch.setattr(running, "server_of", server_of)
    with served(model, sessions=64) as (address, host):
        glutton = socket.create_connection((address.split(":")[1].strip("/"), int(address.split(":")[2].strip("/"))))
        glutton.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        glutton.sendall(
            f"GET / HTTP/1.1\r\nHost: {address[5:-1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        steady = RemoteWorlds(address)
        steady.reset(seed=0)
        _send(glutton, {"do": "open", "envs": 60})
        _send(glutton, {"do": "reset", "env": 1})
        _until(lambda: host.counts.sessions == 61)
        for _ in range(40):
            try:
                _send(glutton, {"do": "render", "env": 1})
            except OSError:
                break
            steady.step(np.zeros((1, 2), np.float32))
            time.sleep(0.02)
        _until(lambda: host.counts.sessions == 1)
        assert host.counts.dropped == 1
        steady.step(np.zeros((1, 2), np.float32))
        steady.close()
        glutton.close()


def _send(raw: socket.socket, fields: dict[str, Any]) -> None:
    message = msgpack.packb(fields)
    raw.sendall(b"\x82" + bytes([0x80 | len(message)]) + bytes(4) + message)


def _until(done: Callable[[], bool], seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "that took too long"
        time.sleep(0.02)


# ------------------------------------------------------------------------------------------------- the command itself


def _start(*options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "ivideo", "serve", *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def test_the_command_serves_until_interrupted_and_frees_the_room_of_the_killed(
    tmp_path: Path, model: WorldModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path / "tiny")
    process = _start(str(tmp_path / "tiny"), "--host", "0.0.0.0", "--sessions", "6", "--token", "abcdefgh12")
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("ws://0.0.0.0:")
    assert address.endswith("/?token=abcdefgh12")
    address = address.replace("0.0.0.0", "127.0.0.1")
    port = address.split(":")[2].partition("/")[0]
    assert main(["serve", str(tmp_path / "tiny"), "--port", port]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "another --port" in said.err
    code = (
        "import sys; from ivideo.serve.client import RemoteWorlds; e = RemoteWorlds(sys.argv[1], num_envs=5);"
        "e.reset(seed=0); print('begun', flush=True); sys.stdin.read()"
    )
    victim = subprocess.Popen(
        [sys.executable, "-c", code, address], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "begun\n"
    env = RemoteWorlds(address)
    assert env.line.ask("ping")["sessions"] == 6
    victim.kill()
    victim.communicate()
    _until(lambda: env.line.ask("ping")["sessions"] == 1)
    env.close()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=300)
    assert (process.returncode, out, error) == (130, "", "")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["no-such-model"], "there is no model 'no-such-model'"),
        (["pushing_tabel"], "did you mean pushing_table"),
        (["--starts", "no-such-episodes"], "no-such-episodes"),
        (["--sesions", "3"], "sesions"),
        (["--sessions", "0"], "expected at least 1"),
        (["--idle", "0"], "idle is 0"),
        (["--gather", "-1"], "expected 0 to 1000"),
        (["--token", "short"], "at least 8"),
        (["--replicas", "2"], "pass --ray"),
        (["--device", "tpu"], "no device"),
        (["--host", "203.0.113.7"], "cannot listen at 203.0.113.7"),
    ],
)
def test_what_cannot_be_served_is_said_before_an_address_is(
    options: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert why in said.err


def test_help_and_status(server: tuple[str, Host], capsys: pytest.CaptureFixture[str]) -> None:
    import urllib.request

    with urllib.request.urlopen(server[0].replace("ws://", "http://"), timeout=100) as answer:
        assert json.loads(answer.read())["model"] == "tiny"
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--help"])
    assert ended.value.code == 0
    assert "--sessions" in capsys.readouterr().out
