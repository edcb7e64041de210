"""The server of `ivideo play`: one page, and a connection for everyone who has it open.

It listens to this machine alone unless told otherwise, and then asks for a token. A connection that another site's
page opens is refused, as is a name for this machine that is not its own.
"""

import base64
import hashlib
import re
import socket
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from ivideo.play.room import Room, Rules
from ivideo.play.seat import Seat
from ivideo.web import running
from ivideo.web.door import ENDED as ENDED
from ivideo.web.door import FULL, REFUSED, refusal
from ivideo.web.door import is_local as is_local
from ivideo.web.door import listening as listening

if TYPE_CHECKING:
    from ivideo.play.dreamer import Dreamer
    from ivideo.play.starts import Starts


def make_app(room: Room) -> FastAPI:
    """The page at `/` and its connection at `/play`."""
    app = FastAPI(title="ivideo play", docs_url=None, redoc_url=None, openapi_url=None)
    text = resources.files("ivideo.play").joinpath("page.html").read_text(encoding="utf-8")
    headers = {
        "Content-Security-Policy": policy(text),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
    }

    @app.get("/")
    async def page(request: Request) -> Response:
        why = refusal(room.rules, request.headers, request.query_params.get("token"))
        return PlainTextResponse(why, 403) if why else HTMLResponse(text, headers=headers)

    @app.websocket("/play")
    async def play(websocket: WebSocket) -> None:
        await websocket.accept()
        why = refusal(room.rules, websocket.headers, websocket.query_params.get("token"))
        if why:
            await websocket.close(REFUSED, why)
            return
        if room.taken >= room.rules.seats:
            await websocket.close(FULL, f"all {room.rules.seats} seats are taken; come back later")
            return
        room.taken += 1
        try:
            await Seat(room, websocket).serve()
        finally:
            room.taken -= 1

    return app


def policy(page: str) -> str:
    """The Content-Security-Policy of a page: its own script and style, its own connection, nothing else."""
    hashes = {}
    for tag in ("script", "style"):
        (held,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        hashes[tag] = base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def run(taken: socket.socket, rules: Rules, load: "Callable[[], tuple[Dreamer, Starts]]") -> None:
    """Serve until interrupted; raises what loading raises."""
    room = Room(load, rules)
    try:
        running.run(make_app(room), taken, room.loaded)
    finally:
        room.close()
