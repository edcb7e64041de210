"""Who may come in: this machine alone, or whoever knows a token; never another site's page.

A connection that another site's page opens is refused, as is a name for this machine that is not its own.
"""

import hmac
import re
import secrets
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine for itself."""
REFUSED, FULL, ENDED = 4003, 4008, 4000
"""Codes with which a connection is closed: at once, at once for want of room, or after being quiet for too long."""
_PATIENCE_MS = 20_000
"""How long the system keeps a connection whose other side takes nothing."""
_BUFFER = 1 << 17
"""Bytes that the system holds for a connection before it makes the sender wait."""


@runtime_checkable
class Guarded(Protocol):
    """The part of a server's rules that says who may come in."""

    @property
    def token(self) -> str | None:
        """Whoever comes must know this; None asks nobody."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Under which names the server may be addressed, when it asks for no token."""


def refusal(rules: Guarded, headers: "object", token: str | None) -> str:
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


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def guard(host: str) -> tuple[str | None, tuple[str, ...]]:
    """Token and names of a server that listens there: a new token unless only this machine can reach it."""
    if not is_local(host):
        return secrets.token_urlsafe(16), LOCAL_HOSTS
    return None, (*LOCAL_HOSTS, host, f"[{host}]")


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on; OSError that names a place which cannot be had."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.create_server((place[0], port), family=family, backlog=128)
    except OSError as error:
        raise OSError(f"cannot listen at {host}:{port} ({error}); pass another --port, or 0 for a free one") from error
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)  # connections inherit both
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PATIENCE_MS)
    return taken


def address(scheme: str, host: str, taken: socket.socket, token: str | None) -> str:
    """What a client is to be given, such as http://127.0.0.1:8000/."""
    shown = f"[{host}]" if ":" in host else host
    key = "" if token is None else f"?token={token}"
    return f"{scheme}://{shown}:{taken.getsockname()[1]}/{key}"
