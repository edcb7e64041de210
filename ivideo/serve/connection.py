"""One client: reads what it asks, has it computed, answers.

A client has any number of sets of environments. For each, one request is worked on and one may wait; a third is
answered with an error. So is everything that is not as described: in one message, after which all is as it was.
"""

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from fastapi import WebSocket, WebSocketDisconnect

from ivideo.serve import wire
from ivideo.serve.host import Host
from ivideo.serve.pictures import PICTURES, Pictures, drawn
from ivideo.serve.session import Session
from ivideo.simulate.worlds import Snapshot
from ivideo.web.door import ENDED
from ivideo.web.message import Message, shown

PATIENCE = 20.0
"""Seconds to wait for a client that does not take what is sent."""
_LONGEST = 1_000_000
"""Steps of the longest episode."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Desk:
    """Where requests for one set of environments, or for none, wait to be worked on one after the other."""

    session: Session | None
    pictures: Pictures
    waiting: "asyncio.Queue[Message]"
    work: "asyncio.Task[None] | None" = None


class Connection:
    """A client with environments of its own."""

    def __init__(self, host: Host, socket: WebSocket) -> None:
        self.host, self.socket = host, socket
        self._desks: dict[int, _Desk] = {}
        self._saved: dict[int, tuple[Snapshot, str]] = {}
        self._numbers = 0
        self._sending = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Until the client leaves, is quiet for too long, or takes nothing."""
        front = self._desk(0, None, "raw")
        self._reading = asyncio.create_task(self._read())
        try:
            await asyncio.wait([self._reading])
            if not self._reading.cancelled() and isinstance(self._reading.exception(), TimeoutError):
                self.host.counts.dropped += 1
        finally:
            self._reading.cancel()
            for desk in [front, *self._desks.values()]:
                assert desk.work is not None
                desk.work.cancel()
            works = [desk.work for desk in self._desks.values() if desk.work is not None]
            await asyncio.gather(self._reading, *works, return_exceptions=True)
            for desk in self._desks.values():
                if desk.session is not None:
                    self.host.release(desk.session)
            self._desks.clear()
            self._saved.clear()

    # ----------------------------------------------------------------------------------------------------- reading

    async def _read(self) -> None:
        while True:
            try:
                got = await asyncio.wait_for(self.socket.receive(), self.host.rules.idle)
            except TimeoutError:
                self.host.counts.dropped += 1
                await self._error(None, f"nothing was asked for {self.host.rules.idle:g} s, so this connection ends")
                await self.socket.close(ENDED)
                return
            if got["type"] == "websocket.disconnect":
                return
            number = None
            try:
                given = got.get("bytes")
                message = wire.read(got.get("text") if given is None else given)
                number = wire.reply_to(message.fields.get("id"))
                self._place(message).waiting.put_nowait(message)
            except asyncio.QueueFull:
                self.host.counts.malformed += 1
                await self._error(number, "two requests for these environments are waiting; wait for their answers")
            except ValueError as error:
                self.host.counts.malformed += 1
                await self._error(number, str(error))

    def _place(self, message: Message) -> _Desk:
        """Where a message is worked on; ValueError where it asks for nothing that there is."""
        if message.do in FRONT:
            return self._desks[0]
        if message.do not in BACK:
            raise ValueError(f"do is {shown(message.do)}; expected one of {', '.join([*FRONT, *BACK])}")
        number = message.whole("env", least=1)
        if number not in self._desks:
            raise ValueError(f"env is {number}, and there are no such environments here; open some")
        return self._desks[number]

    # ----------------------------------------------------------------------------------------------------- working

    def _desk(self, number: int, session: Session | None, pictures: Pictures) -> _Desk:
        desk = _Desk(session=session, pictures=pictures, waiting=asyncio.Queue(1))
        self._desks[number] = desk
        desk.work = asyncio.create_task(self._work(number, desk))
        return desk

    async def _work(self, number: int, desk: _Desk) -> None:
        while self._desks.get(number) is desk:
            message = await desk.waiting.get()
            reply = wire.reply_to(message.fields.get("id"))
            try:
                try:
                    answer = await (FRONT | BACK)[message.do](self, desk, message)
                    sent = wire.packed({"re": reply, **answer})
                except (ValueError, gymnasium.error.Error) as error:
                    self.host.counts.malformed += 1
                    await self._error(reply, str(error))
                except (WebSocketDisconnect, TimeoutError):
                    raise
                except Exception as error:  # whatever it was, the session goes on
                    if not isinstance(error, MemoryError | ArithmeticError):
                        traceback.print_exc(file=sys.stderr)
                    await self._error(reply, f"that failed: {type(error).__name__}: {error}")
                else:
                    await self._send(sent)
            except TimeoutError:
                self.host.counts.dropped += 1
                self._leave()
                return
            except (WebSocketDisconnect, RuntimeError):  # starlette's RuntimeError: it is closed already
                self._leave()
                return
        if not desk.waiting.empty():
            late = desk.waiting.get_nowait()
            await self._error(wire.reply_to(late.fields.get("id")), "these environments were closed before")

    def _leave(self) -> None:
        assert self._reading is not None
        self._reading.cancel()

    async def _error(self, number: int | None, why: str) -> None:
        line = " ".join(why.split())[:400]
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._send(wire.packed({"re": number, "kind": "error", "message": line}))

    async def _send(self, message: bytes) -> None:
        async with self._sending:
            await asyncio.wait_for(self.socket.send_bytes(message), PATIENCE)

    # ----------------------------------------------------------------------------------------------- what is asked

    async def _hello(self, desk: _Desk, message: Message) -> dict[str, Any]:
        return self.host.hello()

    async def _ping(self, desk: _Desk, message: Message) -> dict[str, Any]:
        return {"kind": "pong", **self.host.status()}

    async def _open(self, desk: _Desk, message: Message) -> dict[str, Any]:
        rules, fields = self.host.rules, message.fields
        count = message.whole("envs", least=1) if "envs" in fields else 1
        seeds = wire.seeds(message, "seeds", count)
        kind = message.word("pictures", PICTURES) if "pictures" in fields else "raw"
        pictures = next(each for each in PICTURES if each == kind)
        tokens = "observations" in fields and message.word("observations", ("pixels", "tokens")) == "tokens"
        session = await self.host.open(
            count,
            horizon=message.whole("horizon", least=1, most=_LONGEST) if "horizon" in fields else rules.horizon,
            observations="tokens" if tokens else "pixels",
            threshold=message.number("threshold", least=0, most=1) if "threshold" in fields else 0.5,
        )
        session.seed(seeds or ())
        return {"kind": "opened", "env": self._new(session, pictures), "envs": count, "horizon": session.horizon}

    async def _reset(self, desk: _Desk, message: Message) -> dict[str, Any]:
        session = _of(desk)
        count = session.num_envs
        seeds = wire.seeds(message, "seeds", count)
        mask = None
        if message.fields.get("mask") is not None:
            mask = wire.array(message, "mask", dtype="|b1", shape=(count,))
        options = None if mask is None else {"reset_mask": mask}
        seen, _ = await self.host.turn(session, session.resetting(seeds, options))
        return {"kind": "begun", "observations": await self._observed(desk, seen)}

    async def _step(self, desk: _Desk, message: Message) -> dict[str, Any]:
        session = _of(desk)
        actions = wire.array(message, "actions", dtype="<f4", shape=session.action_space.shape or ())
        seen, rewards, terminated, truncated, infos = await self.host.turn(session, session.stepping(actions))
        return {
            "kind": "stepped",
            "observations": await self._observed(desk, seen),
            "rewards": rewards,
            "terminated": terminated,
            "truncated": truncated,
            "log_likelihood": infos["log_likelihood"],
            "terminal": infos["terminal"],
        }

    async def _render(self, desk: _Desk, message: Message) -> dict[str, Any]:
        session = _of(desk)
        frames = np.stack(await self.host.call(session.render))
        return {"kind": "frames", "frames": await asyncio.to_thread(drawn, frames, desk.pictures)}

    async def _save(self, desk: _Desk, message: Message) -> dict[str, Any]:
        session = _of(desk)
        held = sum(len(each.steps) for each, _ in self._saved.values())
        if held + session.num_envs > self.host.rules.saves:
            raise ValueError(
                f"the state of {held} environments is saved, and {self.host.rules.saves} is the most for a connection; "
                "forget some"
            )
        snapshot = await self.host.call(session.save)
        self._numbers += 1
        self._saved[self._numbers] = (snapshot, session.observations)
        return {"kind": "saved", "save": self._numbers}

    async def _restore(self, desk: _Desk, message: Message) -> dict[str, Any]:
        session = _of(desk)
        snapshot, observations = self._save_of(message)
        if observations != session.observations:
            raise ValueError(f"that was saved of environments that show {observations}; these show others")
        await self.host.call(lambda: session.restore(snapshot))
        return {"kind": "restored"}

    async def _forget(self, desk: _Desk, message: Message) -> dict[str, Any]:
        self._save_of(message)
        del self._saved[message.whole("save")]
        return {"kind": "forgotten"}

    async def _fork(self, desk: _Desk, message: Message) -> dict[str, Any]:
        session, n = _of(desk), message.whole("n", least=1)
        count = session.num_envs * n
        self.host.reserve(count)
        try:
            forked = await self.host.call(lambda: session.fork(n))
        except BaseException:
            self.host.counts.sessions -= count
            raise
        return {"kind": "opened", "env": self._new(forked, desk.pictures), "envs": count, "horizon": session.horizon}

    async def _close(self, desk: _Desk, message: Message) -> dict[str, Any]:
        self.host.release(_of(desk))
        del self._desks[message.whole("env")]
        return {"kind": "closed"}

    # ------------------------------------------------------------------------------------------------------ within

    def _new(self, session: Session, pictures: Pictures) -> int:
        self._numbers += 1
        self._desk(self._numbers, session, pictures)
        return self._numbers

    def _save_of(self, message: Message) -> tuple[Snapshot, str]:
        number = message.whole("save")
        if number not in self._saved:
            raise ValueError(f"save is {number}, and nothing is saved under it here; save first")
        return self._saved[number]

    async def _observed(self, desk: _Desk, seen: Any) -> Any:
        if desk.pictures == "raw" or _of(desk).observations == "tokens":
            return seen
        return await asyncio.to_thread(drawn, seen, desk.pictures)


def _of(desk: _Desk) -> Session:
    assert desk.session is not None
    return desk.session


_Verb = Callable[[Connection, _Desk, Message], Awaitable[dict[str, Any]]]
FRONT: dict[str, _Verb] = {
    "hello": Connection._hello,
    "ping": Connection._ping,
    "open": Connection._open,
    "forget": Connection._forget,
}
"""What is asked of the server."""
BACK: dict[str, _Verb] = {
    "reset": Connection._reset,
    "step": Connection._step,
    "render": Connection._render,
    "save": Connection._save,
    "restore": Connection._restore,
    "fork": Connection._fork,
    "close": Connection._close,
}
"""What is asked of a set of environments, named by `env`."""
