"""The server of `ivideo play`: who may come in, what is said over the wire, and that nothing said there ends it."""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_play import drawing_model, session, starts

from ivideo import open_episodes, read_video
from ivideo.cli import main
from ivideo.play import messages
from ivideo.play.dreamer import Dreamer
from ivideo.world_model import WorldModel

pytest.importorskip("fastapi", reason="the extra `play` is not installed")
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from ivideo.play.room import Room, Rules
from ivideo.play.server import ENDED, is_local, listening, make_app, policy, run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:starlette|httpx|websockets|uvicorn")
RIGHT = [1.0, 0.0]


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return drawing_model()


class Visitor:
    """Somebody at the page, as far as the wire knows."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    def say(self, fields: dict[str, Any] | str | bytes) -> None:
        if isinstance(fields, bytes):
            self.socket.send_bytes(fields)
        else:
            self.socket.send_text(fields if isinstance(fields, str) else json.dumps(fields))

    def hear(self) -> tuple[dict[str, Any], bytes]:
        got = self.socket.receive()
        if got["type"] == "websocket.close":
            raise WebSocketDisconnect(got["code"], got.get("reason"))
        return messages.unpack(got["bytes"]) if got.get("bytes") else (json.loads(got["text"]), b"")

    def until(self, kind: str) -> tuple[dict[str, Any], bytes]:
        while True:
            fields, payload = self.hear()
            if fields["kind"] == kind:
                return fields, payload
            assert kind == "error" or fields["kind"] != "error", fields

    def do(self, **fields: Any) -> tuple[dict[str, Any], bytes]:
        self.say(fields)
        return self.until("frame")

    def heard(self) -> None:
        """Wait until all that was said before has been read: errors are answered in turn."""
        self.say("[1]")
        self.until("error")

    def stopped(self) -> dict[str, Any]:
        """What is seen once time stands still, and whatever was on the way has arrived."""
        self.say({"do": "play", "on": False})
        self.say("[1]")
        last: dict[str, Any] = {}
        while (fields := self.hear()[0])["kind"] != "error":
            last = fields if fields["kind"] == "frame" else last
        return last


@pytest.fixture
def visit(model: WorldModel) -> Iterator[Callable[..., Any]]:
    rooms = []

    def made(rules: Rules | None = None) -> TestClient:
        room = Room(lambda: (Dreamer(model=model), starts(model)), rules or Rules(name="tiny"))
        rooms.append(room)
        app = make_app(room)
        app.state.room = room
        return TestClient(app, base_url="http://127.0.0.1:8000", headers={"host": "127.0.0.1:8000"})

    yield made
    for room in rooms:
        room.close()


def pixels(fields: dict[str, Any], payload: bytes) -> np.ndarray:
    return np.frombuffer(payload, np.uint8).reshape(len(fields["pictures"]), 32, 32, 3)


def test_what_is_played_over_the_wire_is_what_a_session_plays(visit: Callable[..., Any], model: WorldModel) -> None:
    own = session(model)
    with visit().websocket_connect("/play") as wire:
        visitor = Visitor(wire)
        hello, _ = visitor.until("hello")
        assert (hello["side"], hello["size"], hello["model"]) == (32, 2, "tiny")
        visitor.until("frame")
        for _ in range(3):
            seen = visitor.do(do="step", action=RIGHT)
            own.act((1.0, 0.0))
        assert seen[0]["frame"] == 3
        assert seen[0]["true_reward"] == own.moment.true_reward
        assert seen[0]["reward"] == own.moment.reward
        assert np.array_equal(pixels(*seen)[0], own.moment.dream.permute(1, 2, 0).numpy())
        assert np.array_equal(pixels(*seen)[1], own.moment.truth.permute(1, 2, 0).numpy())
        visitor.do(do="look", frame=1)
        visitor.say({"do": "step", "action": [0, 1]})
        listed, _ = visitor.until("branches")
        assert [each["branch"] for each in listed["branches"]] == [0, 1]
        assert [each["action"] for each in listed["timeline"]] == [None, RIGHT, [0, 1]]
        fields, payload = visitor.until("frame")
        assert fields["pictures"] == [["dream", 1], ["truth", 1], ["branch", 0]]
        assert np.array_equal(pixels(fields, payload)[2], own.timeline.moments[2].dream.permute(1, 2, 0).numpy())
        assert visitor.do(do="redo", frame=1, action=[-1, 0])[0]["branch"] == 2
        assert visitor.do(do="drop", branch=2)[0]["branch"] == 1
        assert visitor.do(do="policy", name="goal_pusher")[0]["driver"] == "goal_pusher"
        assert visitor.do(do="step")[0]["by"] == "goal_pusher"
        assert visitor.do(do="policy", name=None)[0]["driver"] is None
        assert visitor.do(do="show", **{"as": "truth"})[0]["shows"] == "truth"
        assert visitor.do(do="begin", scene=7)[0]["length"] == 1
        visitor.say(messages.binary({"do": "picture"}, bytes(range(256)) * 12))
        fields, payload = visitor.until("frame")
        assert payload == bytes(range(256)) * 12


def test_time_goes_on_while_an_action_is_held_and_the_latest_wins(visit: Callable[..., Any]) -> None:
    client = visit(Rules(fps=50))
    with client.websocket_connect("/play") as wire:
        visitor = Visitor(wire)
        visitor.until("frame")
        visitor.say({"do": "hold", "action": RIGHT, "stamp": 1})
        assert visitor.until("frame")[0]["action"] == RIGHT
        busy = threading.Event()
        client.app.state.room.thread.submit(busy.wait)  # what computes is slower than what arrives
        for stamp in range(2, 40):
            visitor.say({"do": "hold", "action": [0, stamp / 40], "stamp": stamp})
        visitor.heard()
        busy.set()
        between = set()
        while (fields := visitor.until("frame")[0])["stamp"] < 39:
            between.add(fields["stamp"])
        assert len(between - {1}) <= 1  # one step may have been waiting its turn; all others were overtaken
        assert fields["action"][1] == pytest.approx(39 / 40)
        visitor.say({"do": "hold", "action": [0, 0]})
        now = visitor.stopped()["frame"]
        time.sleep(0.1)
        assert visitor.stopped()["frame"] == now
        visitor.say({"do": "hold", "action": RIGHT})  # a tap counts, however short
        visitor.say({"do": "hold", "action": [0, 0]})
        while visitor.until("frame")[0]["frame"] <= now:
            pass
        time.sleep(0.1)
        assert visitor.stopped()["length"] == now + 2
        visitor.say({"do": "play", "on": True})
        while not (fields := visitor.until("frame")[0])["playing"]:
            pass
        while fields["frame"] <= now + 1:
            fields = visitor.until("frame")[0]
        assert fields["action"] == [0, 0]


def test_films_and_episodes_come_over_the_wire(visit: Callable[..., Any], tmp_path: Path) -> None:
    with visit().websocket_connect("/play") as wire:
        visitor = Visitor(wire)
        visitor.until("frame")
        visitor.do(do="step", action=RIGHT)
        visitor.do(do="step", action=RIGHT)
        for kind in ("mp4", "gif", "npz"):
            visitor.say({"do": "save", "as": kind})
            fields, payload = visitor.until("file")
            assert fields["name"] == f"scene-0.{kind}"
            (tmp_path / fields["name"]).write_bytes(payload)
    assert len(read_video(tmp_path / "scene-0.mp4")) == len(read_video(tmp_path / "scene-0.gif")) == 3
    (episode,) = open_episodes(tmp_path / "scene-0.npz", size=None)
    assert episode.actions.tolist() == [RIGHT] * 2


BAD = [
    ("nonsense", "no JSON"),
    ("[1]", "nothing to do"),
    ('{"do": 3}', "nothing to do"),
    ('{"do": "fly"}', "expected one of hold"),
    ('{"do": "step", "action": [NaN, 0]}', "NaN is no number"),
    ('{"do": "step", "action": [Infinity, 0]}', "no number"),
    ('{"do": "step", "action": [1e999, 0]}', "expected finite"),
    ('{"do": "step", "action": [1]}', "list of 2"),
    ('{"do": "step", "action": [true, 0]}', "expected finite"),
    ('{"do": "step", "action": [' + "9" * 400 + ", 0]}", "expected finite"),
    ('{"do": "hold", "action": "up"}', "list of 2"),
    ('{"do": "look", "frame": 99}', "has frames"),
    ('{"do": "look", "frame": 0.5}', "whole number"),
    ('{"do": "look", "frame": -1}', "whole number"),
    ('{"do": "begin", "scene": 10000}', "expected 0 to 9999"),
    ('{"do": "save", "as": "../x"}', "expected one of mp4"),
    ('{"do": "policy", "name": "__import__"}', "expected one of pusher"),
    ('{"do": "play", "on": 1}', "true or false"),
    ('{"do": "play", "on": false, "fps": 1e6}', "expected 0.5 to 60"),
    ('{"do": "drop", "branch": 0}', "only branch"),
    ('{"do": "save", "as": "npz"}', "single frame"),
    ("[" * 100_000, "no JSON"),
    (b"", "no JSON|shorter"),
    (b"\xff\xff\xff\xff{}", "shorter"),
    (b"\x02\x00\x00\x00{}", "nothing to do"),
    (messages.binary({"do": "picture"}, b"123"), "3072"),
    ('{"do": "step", "pad": "' + "x" * messages.MOST_BYTES + '"}', "at most 1048576"),
]


def test_bad_messages_are_answered_in_a_line_and_nothing_changes(visit: Callable[..., Any]) -> None:
    with visit().websocket_connect("/play") as wire:
        visitor = Visitor(wire)
        visitor.until("frame")
        for bad, expected in BAD:
            visitor.say(bad)
            answer = visitor.until("error")[0]["message"]
            assert any(part in answer for part in expected.split("|")), (bad[:80], answer)
            assert len(answer) <= 400
        assert visitor.do(do="step", action=RIGHT)[0]["length"] == 2


def test_thousands_of_made_up_messages_leave_the_session_alive(visit: Callable[..., Any]) -> None:
    rng = random.Random(0)
    words = ["do", "action", "frame", "branch", "scene", "as", "on", "fps", "name", "stamp", "hold", "look", "fork"]
    values: list[Callable[[], Any]] = [
        lambda: rng.choice(words),
        lambda: rng.randint(-(2**70), 2**70),
        lambda: rng.random() * 10 ** rng.randint(-300, 300),
        lambda: None,
        lambda: rng.choice([True, False]),
        lambda: [rng.choice(values)() for _ in range(rng.randint(0, 3))],
        lambda: {rng.choice(words): rng.choice(values)() for _ in range(rng.randint(0, 3))},
        lambda: "".join(map(chr, rng.choices(range(1, 0xD000), k=4))),
    ]
    kinds = ["hold", "play", "look", "fork", "drop", "policy", "show", "save", "redo", "picture", "fly"]
    with visit(Rules(fps=0.5)).websocket_connect("/play") as wire:
        visitor = Visitor(wire)
        visitor.until("frame")
        for index in range(3000):
            fields = {name: rng.choice(values)() for name in rng.sample(words, rng.randint(0, 4))}
            text = json.dumps({**fields, "do": rng.choice(kinds)} if rng.random() < 0.8 else fields)
            if rng.random() < 0.3:
                at = rng.randrange(len(text))
                text = text[:at] + rng.choice('{}[]",:\\0e-') + text[at + 1 :]
            visitor.say(text.encode() if index % 7 == 0 else text)
            if index % 100 == 99:  # or what is sent here would wait for the answers to be read
                visitor.say({"do": "look", "frame": 0, "stamp": 10_000 + index})
                while (seen := visitor.hear()[0]).get("stamp") != 10_000 + index:
                    pass
                assert seen["frame"] == 0
        assert visitor.do(do="begin", scene=1)[0]["length"] == 1


@pytest.mark.parametrize(
    ("headers", "rules", "why"),
    [
        ({"origin": "http://evil.example"}, Rules(), "another site"),
        ({"origin": "null"}, Rules(), "another site"),
        ({"host": "evil.example:8000", "origin": "http://evil.example:8000"}, Rules(), "not known under that name"),
        ({}, Rules(token="secret"), "token"),
    ],
)
def test_strangers_are_turned_away(visit: Callable[..., Any], headers: dict[str, str], rules: Rules, why: str) -> None:
    client = visit(rules)
    with client.websocket_connect("/play", headers=headers) as wire, pytest.raises(WebSocketDisconnect) as refused:
        Visitor(wire).hear()
    assert why in refused.value.reason
    answer = client.get("/", headers=headers)
    assert answer.status_code == 403
    assert why in answer.text


def test_those_who_may_come_in_do(visit: Callable[..., Any]) -> None:
    for rules, address, headers in (
        (Rules(), "/play", {"origin": "http://127.0.0.1:8000"}),
        (Rules(), "/play", {"host": "localhost:9", "origin": "http://localhost:9"}),
        (Rules(token="secret"), "/play?token=secret", {"host": "table.lan", "origin": "http://table.lan"}),
    ):
        with visit(rules).websocket_connect(address, headers=headers) as wire:
            Visitor(wire).until("frame")


def test_seats_are_limited_and_given_back(visit: Callable[..., Any]) -> None:
    client = visit(Rules(seats=1))
    with client.websocket_connect("/play") as first:
        Visitor(first).until("frame")
        with client.websocket_connect("/play") as second, pytest.raises(WebSocketDisconnect) as refused:
            Visitor(second).hear()
        assert "seats are taken" in refused.value.reason
    while client.app.state.room.taken:
        time.sleep(0.01)
    with client.websocket_connect("/play") as third:
        Visitor(third).until("frame")


def test_whoever_is_quiet_for_too_long_gives_way(visit: Callable[..., Any]) -> None:
    with visit(Rules(idle=0.3)).websocket_connect("/play") as wire:
        visitor = Visitor(wire)
        visitor.until("frame")
        assert "nothing was done" in visitor.until("error")[0]["message"]
        with pytest.raises(WebSocketDisconnect) as ended:
            visitor.hear()
        assert ended.value.code == ENDED


def test_the_page_is_whole_and_may_do_nothing_else(visit: Callable[..., Any]) -> None:
    answer = visit().get("/")
    assert answer.status_code == 200
    held = answer.headers["content-security-policy"]
    assert held == policy(answer.text)
    assert "default-src 'none'" in held
    assert "unsafe" not in held
    for word in ("http://", "https://", "src=", "@import", "url(", " style="):
        assert word not in answer.text.replace('"https:"', "")


def test_places_to_listen() -> None:
    assert [is_local(each) for each in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "192.168.1.5", "table.lan")] == [
        *[True] * 3,
        *[False] * 3,
    ]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="another --port"):
            listening("127.0.0.1", taken.getsockname()[1])


def test_a_model_that_cannot_be_loaded_ends_the_server() -> None:
    def fails() -> Any:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        run(listening("127.0.0.1", 0), Rules(), fails)


def test_the_verb_says_an_address_at_once_and_what_is_wrong_in_a_line(
    tmp_path: Path, model: WorldModel, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import sys; sys.addaudithook(lambda event, of: event == 'import' and of[0] == 'torch' and print(of[0]));"
        "from ivideo.cli import main; main(['play', '--host', '0.0.0.0'])"
    )
    command = [sys.executable, "-uc", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}) as it:
        assert it.stdout is not None
        address, after = it.stdout.readline(), it.stdout.readline()
        it.terminate()
    assert address.startswith("http://0.0.0.0:")
    assert "/?token=" in address
    assert after == "torch\n"  # what takes long, to import as to load, comes after
    assert main(["play", "no-such-model"]) == 2
    said = capsys.readouterr()
    assert "no model" in said.err
    assert said.out == ""  # no address of a server that never was


def test_a_film_is_recorded_without_a_page(
    tmp_path: Path, model: WorldModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path / "tiny")
    out, threads = tmp_path / "film.gif", torch.get_num_threads()
    common = ["play", str(tmp_path / "tiny"), "--record"]
    assert main([*common, str(out), "--frames", "3"]) == 0
    assert "4 frames, dream beside truth" in capsys.readouterr().out
    assert len(read_video(out)) == 4
    assert main([*common, str(out)]) == 2
    assert "pass --overwrite" in capsys.readouterr().err
    (tmp_path / "actions.json").write_text("[[1, 0], [0, 1]]")
    assert main([*common, str(tmp_path / "one.npz"), "--actions", str(tmp_path / "actions.json")]) == 0
    (episode,) = open_episodes(tmp_path / "one.npz", size=None)
    assert episode.actions.tolist() == [[1, 0], [0, 1]]
    for bad, why in (("[[1]]", r"expected [frames, 2]"), ("[[NaN, 1]]", "finite"), ("{}", "no actions")):
        (tmp_path / "actions.json").write_text(bad)
        assert main([*common, str(tmp_path / "two.npz"), "--actions", str(tmp_path / "actions.json")]) == 2
        assert why in capsys.readouterr().err
    assert main([*common, str(tmp_path / "film.avi")]) == 2
    assert "ends in .mp4" in capsys.readouterr().err
    torch.set_num_threads(threads)
