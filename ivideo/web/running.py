"""How an application is served: until it is interrupted, or what it waits for has failed."""

import socket
from concurrent.futures import Future
from typing import Any, NoReturn

import uvicorn
from fastapi import FastAPI

from ivideo.web.message import MOST_BYTES


def server_of(app: FastAPI) -> uvicorn.Server:
    """A server of WebSockets that finds out within 10 seconds who is there no more."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="critical",
            ws_max_size=4 * MOST_BYTES,  # up to there it is answered, and the session goes on
            ws_max_queue=8,
            ws_ping_interval=4,
            ws_ping_timeout=5,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
            server_header=False,
        )
    )


def run(app: FastAPI, taken: socket.socket, needed: "Future[Any] | None" = None) -> NoReturn:
    """Serve until interrupted (KeyboardInterrupt), or until `needed` fails, and raise what it raised."""
    server = server_of(app)

    def check(done: "Future[Any]") -> None:
        if not done.cancelled() and done.exception() is not None:
            server.should_exit = True

    if needed is not None:
        needed.add_done_callback(check)
    server.run(sockets=[taken])
    if needed is not None and needed.done() and not needed.cancelled() and (failed := needed.exception()) is not None:
        raise failed
    raise KeyboardInterrupt  # what else ends it; uvicorn raises that itself, but not at every moment
