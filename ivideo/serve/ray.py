"""Serving from several machines, or several copies of the model, with Ray Serve.

Every replica is a server of its own, with its own model, thread and sessions; Ray sends a new connection to one of
them, where it stays. A replica that dies takes its connections with it, and Ray starts another.
"""

import logging
import threading
from typing import Any

import ray
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from ray import serve

from ivideo.serve.command import Serve, host_of
from ivideo.serve.server import attend
from ivideo.web import door

NAME = "ivideo"
_STORE = 100_000_000
"""Bytes for Ray's store of objects, which nothing here uses."""
_app = FastAPI(title="ivideo serve", docs_url=None, redoc_url=None, openapi_url=None)


@serve.deployment(name=NAME)
@serve.ingress(_app)
class Replica:
    """A copy of the model, and whoever is connected to it."""

    def __init__(self, wanted: Serve, token: str | None, hosts: tuple[str, ...]) -> None:
        self.host = host_of(wanted, token=token, hosts=hosts)

    @_app.get("/")
    async def status(self, request: Request) -> Response:
        """What is going on in the replica that happens to answer."""
        why = door.refusal(self.host.rules, request.headers, request.query_params.get("token"))
        return PlainTextResponse(why, 403) if why else JSONResponse(self.host.status())

    @_app.websocket("/")
    async def worlds(self, websocket: WebSocket) -> None:
        """One client."""
        await attend(self.host, websocket)


def run(wanted: Serve) -> None:
    """Serve until interrupted, in the Ray cluster that this machine belongs to, or in one for this machine alone."""
    token, hosts = door.guard(wanted.host)
    with door.listening(wanted.host, wanted.port) as free:  # said now, in a line, if it is taken
        port = free.getsockname()[1]
        address = door.address("ws", wanted.host, free, wanted.token or token)
    logging.disable(logging.INFO)  # what is printed here is the address
    own = _connect()
    try:
        start(wanted, host=wanted.host, port=port, token=wanted.token or token, hosts=hosts)
        print(address, flush=True)
        threading.Event().wait()
    finally:
        if not own:  # a cluster of our own ends with us
            serve.delete(NAME)
        ray.shutdown()


def start(wanted: Serve, *, host: str, port: int, token: str | None, hosts: tuple[str, ...]) -> None:
    """Have the replicas load and listen; OSError where that fails."""
    serve.start(http_options={"host": host, "port": port}, logging_config={"log_level": "ERROR"})
    served = app(wanted, token=token, hosts=hosts)
    try:
        serve.run(served, name=NAME, route_prefix="/", logging_config={"log_level": "ERROR"})
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise OSError(f"Ray Serve could not start the replicas ({why[-300:]}); try without --ray first") from error


def app(wanted: Serve, *, token: str | None, hosts: tuple[str, ...]) -> Any:
    """The application, for `serve.run` and Ray's own configuration files."""
    return Replica.options(  # type: ignore[attr-defined]  # the decorator's doing
        num_replicas=wanted.replicas,
        max_ongoing_requests=wanted.sessions + 1,  # the one too many is told so
        ray_actor_options={"num_cpus": wanted.cores, "num_gpus": wanted.gpus},
    ).bind(wanted, token, hosts)


def _connect() -> bool:
    """Join the cluster that this machine belongs to, or begin one; whether it was begun here."""
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError:
        _begin()
        return True
    return False


def _begin(attempts: int = 3) -> None:
    """A cluster of this machine's own; Ray gives itself 30 seconds to start, which a busy machine may not have."""
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False, object_store_memory=_STORE)
    except Exception as error:  # Ray has no class for it
        ray.shutdown()
        if attempts > 1:
            _begin(attempts - 1)
            return
        why = " ".join(str(error).split())
        raise OSError(f"Ray could not start on this machine ({why[:200]}); try again, or without --ray") from error
