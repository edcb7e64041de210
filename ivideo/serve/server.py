"""The server of `ivideo serve`: a connection for everyone who steps in the model, at `/`.

It listens to this machine alone unless told otherwise, and then asks for a token. A connection that another site's
page opens is refused, as is a name for this machine that is not its own.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from ivideo.serve.connection import Connection
from ivideo.serve.host import Host
from ivideo.web import door, running


def make_app(host: Host) -> FastAPI:
    """WebSocket at `/`; what is going on, as JSON, for whoever asks by HTTP."""
    app = FastAPI(title="ivideo serve", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    async def status(request: Request) -> Response:
        why = door.refusal(host.rules, request.headers, request.query_params.get("token"))
        return PlainTextResponse(why, 403) if why else JSONResponse(host.status())

    @app.websocket("/")
    async def worlds(websocket: WebSocket) -> None:
        await attend(host, websocket)

    return app


async def attend(host: Host, websocket: WebSocket) -> None:
    """Let a client in, or not, and serve it until it leaves."""
    await websocket.accept()
    why = door.refusal(host.rules, websocket.headers, websocket.query_params.get("token"))
    if why:
        await websocket.close(door.REFUSED, why)
        return
    if host.counts.connections >= host.rules.sessions:
        await websocket.close(door.FULL, f"all {host.rules.sessions} connections are taken; come back later")
        return
    host.counts.connections += 1
    try:
        await Connection(host, websocket).serve()
    finally:
        host.counts.connections -= 1


def run(taken: socket.socket, host: Host) -> None:
    """Serve until interrupted."""
    try:
        running.run(make_app(host), taken)
    finally:
        host.close()


@contextmanager
def serving(host: Host) -> Iterator[str]:
    """Serve in a thread of this process, at a free port of this machine; gives the address."""
    taken = door.listening("127.0.0.1", 0)
    server = running.server_of(make_app(host))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield door.address("ws", "127.0.0.1", taken, host.rules.token)
    finally:
        server.should_exit = True
        thread.join()
        host.close()
        taken.close()
