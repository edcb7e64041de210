"""One visitor: reads what they want, lets time go on, sends what is to be seen.

Time goes on by itself while it is not paused, and as long as an action is held. Of actions that arrive faster than
frames are imagined, the latest wins; one that is held for a moment only still counts for a frame.
"""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastapi import WebSocket, WebSocketDisconnect

from ivideo.play import messages
from ivideo.play.messages import Message
from ivideo.play.room import Room
from ivideo.web.door import ENDED

if TYPE_CHECKING:
    from ivideo.play.session import Session

SOURCES = ("dream", "truth")
_DONE = object()
_PATIENCE = 20.0
"""Seconds to wait for a visitor who does not take what is sent."""


class Seat:
    """A connection with a session of its own."""

    def __init__(self, room: Room, socket: WebSocket) -> None:
        self.room, self.socket = room, socket
        self.session: Session | None = None
        self.playing = False
        self.fps = room.rules.fps
        self._held: tuple[float, ...] | None = None
        self._tapped: tuple[float, ...] | None = None
        self._stamp = 0
        self._told: tuple[Any, ...] = ()
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._taking = threading.Lock()

    async def serve(self) -> None:
        """Until they leave, or are quiet for too long."""
        clock: asyncio.Task[None] | None = None
        try:
            if not self.room.loaded.done():
                await self._send(messages.text({"kind": "loading", "model": self.room.rules.name}))
            self.session = await self.room.session()
            await self._send(messages.text(self._hello()))
            await self._show()
            clock = asyncio.create_task(self._clock())
            await self._read()
        except (WebSocketDisconnect, RuntimeError, TimeoutError):  # starlette's RuntimeError: it is closed already
            pass
        finally:
            if clock is not None:
                clock.cancel()
                with suppress(asyncio.CancelledError):
                    await clock

    # ----------------------------------------------------------------------------------------------------- reading

    async def _read(self) -> None:
        while True:
            try:
                got = await asyncio.wait_for(self.socket.receive(), self.room.rules.idle)
            except TimeoutError:
                await self._error(f"nothing was done for {self.room.rules.idle:g} s, so this session ends")
                await self.socket.close(ENDED)
                return
            if got["type"] == "websocket.disconnect":
                return
            try:
                given = got.get("text")
                message = messages.read(got.get("bytes") or b"" if given is None else given)
                await self._do(message)
            except ValueError as error:
                await self._error(str(error))
            except WebSocketDisconnect:
                raise
            except Exception as error:  # whatever it was, the session goes on
                traceback.print_exc(file=sys.stderr)
                await self._error(f"that failed: {type(error).__name__}: {error}")

    async def _do(self, message: Message) -> None:
        session = self._session()
        if message.do == "hold":
            action = message.numbers("action", session.dreamer.size)
            stamp = message.whole("stamp") if "stamp" in message.fields else 0
            with self._taking:
                self._held, self._stamp = action if any(action) else None, stamp
                self._tapped = self._held or self._tapped
            self._wake.set()
        elif message.do == "play":
            self.playing = message.flag("on")
            if "fps" in message.fields:
                self.fps = message.number("fps", least=0.5, most=60)
            self._wake.set()
            await self._show()
        elif message.do == "save":
            await self._save(message)
        elif message.do in ACTS or message.do == "redo":
            if message.do in _STOPS:
                self.playing, self._held, self._tapped = False, None, None
            if message.do == "redo":
                steps = session.redoing(message.whole("frame"), message.numbers("action", session.dreamer.size))
                while await self.room.think(lambda: next(steps, _DONE)) is not _DONE:
                    pass  # the others have their turns in between
            else:
                await self.room.think(lambda: ACTS[message.do](session, message))
            await self._show(stamp=message.whole("stamp") if "stamp" in message.fields else 0)
        else:
            known = ", ".join(["hold", "play", "save", "redo", *ACTS])
            raise ValueError(f"do is {message.do[:40]!r}; expected one of {known}")

    async def _save(self, message: Message) -> None:
        from ivideo.play.keeping import KINDS, packed

        session, kind = self._session(), message.word("as", KINDS)
        chosen = [session.timeline]
        if message.fields.get("branches") is True and kind != "npz":
            chosen += [each.timeline for number, each in session.branches.items() if number != session.current]
        made = await asyncio.to_thread(packed, kind, chosen, fps=self.fps)  # not in the thread that others wait for
        name = "".join(each if each.isalnum() or each in "-_" else "-" for each in chosen[0].start.name)[:40]
        await self._send(messages.binary({"kind": "file", "name": f"{name or 'play'}.{kind}"}, made))

    # ------------------------------------------------------------------------------------------------- time goes on

    async def _clock(self) -> None:
        began = 0.0
        while True:
            self._wake.clear()
            if not (self.playing or self._held or self._tapped):
                await self._wake.wait()
                continue
            wait = began + 1 / self.fps - time.monotonic()
            if wait > 0 and not self._tapped:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait)
                continue
            began = time.monotonic()
            try:
                await self._tick()
            except (ValueError, MemoryError) as error:
                await self._rest(str(error))
            except (WebSocketDisconnect, TimeoutError):
                return
            except Exception as error:  # a policy's own mistake, say
                traceback.print_exc(file=sys.stderr)
                await self._rest(f"that failed: {type(error).__name__}: {error}")

    async def _tick(self) -> None:
        session, began = self._session(), time.perf_counter()

        def step() -> int:
            with self._taking:  # at the last moment: the latest wins
                action, stamp = self._tapped or self._held, self._stamp
                self._tapped = None
            if session.driver is not None and action is None:
                session.drive()
            else:
                session.act(action)
            return stamp

        stamp = await self.room.think(step)
        await self._show(stamp=stamp, took=time.perf_counter() - began)

    async def _rest(self, why: str) -> None:
        self.playing, self._held, self._tapped = False, None, None
        await self._error(why)
        await self._show()

    # ----------------------------------------------------------------------------------------------------- sending

    async def _show(self, **more: Any) -> None:
        from ivideo.play import view

        session = self._session()

        def shown() -> tuple[str | None, bytes]:
            now = (session.current, tuple(session.branches), session.timeline.start)
            told, self._told = self._told, now
            listed = view.branches(session) if len(told) == 0 or told[:2] != now[:2] or told[2] is not now[2] else None
            return listed, view.frame(session, playing=self.playing, **more)

        listed, frame = await self.room.think(shown)
        if listed is not None:
            await self._send(listed)
        await self._send(frame)

    async def _error(self, why: str) -> None:
        await self._send(messages.text({"kind": "error", "message": " ".join(why.split())[:400]}))

    async def _send(self, message: str | bytes) -> None:
        async with self._sending:
            sent = self.socket.send_text(message) if isinstance(message, str) else self.socket.send_bytes(message)
            await asyncio.wait_for(sent, _PATIENCE)

    def _hello(self) -> dict[str, Any]:
        from ivideo.play.keeping import KINDS
        from ivideo.play.pilots import SCRIPTED

        session = self._session()
        return {
            "kind": "hello",
            "model": self.room.rules.name,
            "side": session.dreamer.side,
            "size": session.dreamer.size,
            "scenes": len(session.starts),
            "policies": list(SCRIPTED) if session.moment.table is not None else [],
            "saves": KINDS,
            "fps": self.fps,
        }

    def _session(self) -> "Session":
        assert self.session is not None
        return self.session


def _picture(session: "Session", message: Message) -> None:
    from ivideo.play.session import picture_of

    session.begin_with(picture_of(message.payload, session.dreamer.side))


def _look(session: "Session", message: Message) -> None:
    session.look(message.whole("frame"), message.whole("branch") if "branch" in message.fields else None)


def _step(session: "Session", message: Message) -> None:
    if "action" in message.fields:
        session.act(message.numbers("action", session.dreamer.size))
    elif session.driver is not None:
        session.drive()
    else:
        session.act()


def _policy(session: "Session", message: Message) -> None:
    if message.fields.get("name") is None:
        session.take_over()
    else:
        from ivideo.play.pilots import SCRIPTED

        session.hand_over(message.word("name", list(SCRIPTED)))


ACTS: dict[str, Callable[["Session", Message], object]] = {
    "begin": lambda session, message: session.begin(message.whole("scene")),
    "picture": _picture,
    "look": _look,
    "step": _step,
    "fork": lambda session, _: session.fork(),
    "drop": lambda session, message: session.drop(message.whole("branch")),
    "policy": _policy,
    "show": lambda session, message: session.show("truth" if message.word("as", SOURCES) == "truth" else "dream"),
}
"""What is done to a session, by name."""
_STOPS = {"begin", "picture", "look", "step", "redo"}
"""After which time stands still."""
