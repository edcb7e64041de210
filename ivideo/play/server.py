"""The server of `ivideo play`: one page, and a connection for everyone who has it open.

It listens to this machine alone unless told otherwise, and then asks for a token. A connection that another site's
page opens is refused, as is a name for this machine that is not its own.
"""

import base64
import hashlib
import hmac
import re
import socket
from collections.abc import Callable
from importlib import resources
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from ivideo.play.messages import MOST_BYTES
from ivideo.play.room import Room, Rules
from ivideo.play.seat import ENDED as ENDED
from ivideo.play.seat import Seat

if TYPE_CHECKING:
    from ivideo.play.dreamer import Dreamer
    from ivideo.play.starts import Starts

REFUSED, FULL = 4003, 4008
"""Codes with which a connection is closed at once."""


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


def refusal(rules: Rules, headers: "object", token: str | None) -> str:
    """Why somebody may not come in; empty where they may."""
    get: Callable[..., str] = headers.get  # type: ignore[attr-defined]  # of either kind of request
    host, origin = get("host", ""), get("origin", "")
    if rules.token is not None:
        if not hmac.compare_digest((token or "").encode(), rules.token.encode()):
            return "the token is missing or wrong; open the address that was printed"
    elif re.sub(r":\d+$", "", host) not in rules.hosts:
        return "this server is not known under that name; open the address that was printed"
    if origin and urlsplit(origin).netloc != host:
        return "another site's page may not connect"
    return ""


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


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on; OSError that names a place which cannot be had."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((place[0], port), family=family, backlog=128)
    except OSError as error:
        raise OSError(f"cannot listen at {host}:{port} ({error}); pass another --port, or 0 for a free one") from error


def run(taken: socket.socket, rules: Rules, load: "Callable[[], tuple[Dreamer, Starts]]") -> None:
    """Serve until interrupted; raises what loading raises."""
    room = Room(load, rules)
    config = uvicorn.Config(
        make_app(room),
        log_level="critical",
        ws_max_size=4 * MOST_BYTES,  # up to there it is answered, and the session goes on
        ws_max_queue=8,
        ws_ping_interval=5,
        ws_ping_timeout=5,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    server = uvicorn.Server(config)

    def check(_: object) -> None:
        if room.loaded.exception() is not None:
            server.should_exit = True

    room.loaded.add_done_callback(check)
    try:
        server.run(sockets=[taken])
    finally:
        room.close()
    if room.loaded.done() and (failed := room.loaded.exception()) is not None:
        raise failed
