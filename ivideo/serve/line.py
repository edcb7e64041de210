"""A client's connection: one question, one answer."""

import threading
from collections import deque
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import connect

from ivideo.serve import wire
from ivideo.web.door import FULL, REFUSED, is_local


class ConnectionLost(ConnectionError):
    """The server is not there any more, or has closed the connection; what was open or saved on it is gone."""


class Line:
    """A connection to a server of `ivideo serve`; may be used from several threads, one after the other."""

    def __init__(self, address: str, *, timeout: float = 120.0) -> None:
        """Connect; OSError in one line where that cannot be.

        Args:
            address: as `ivideo serve` printed it, such as ws://127.0.0.1:8000/ or ws://table.lan:8000/?token=...
            timeout: seconds to wait for an answer.
        """
        self.address, self.timeout = _whole(address), timeout
        self._asking = threading.Lock()
        self._number = 0
        self._left: deque[int] = deque()
        self._lost = ""
        try:
            opening = connect(
                self.address,
                open_timeout=timeout,
                close_timeout=2,
                max_size=None,
                compression=None,
                proxy=None if is_local(urlsplit(self.address).hostname or "") else True,
            )
            self._socket = opening.__enter__()  # it is left in `close`
        except InvalidURI as error:
            raise ValueError(f"{address!r} is no address; expected one such as ws://127.0.0.1:8000/") from error
        except (OSError, InvalidHandshake) as error:
            raise ConnectionRefusedError(
                f"nobody serves a world model at {self._shown} ({error}); start `ivideo serve`, or check the address"
            ) from error
        self.hello = self.ask("hello")

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """The answer to a question; ValueError for one that the server refuses, ConnectionLost where none comes."""
        with self._asking:
            if self._lost:
                raise ConnectionLost(self._lost)
            said = ""
            try:
                while self._left:
                    self._say({"do": "close", "env": self._left.popleft()})
                self._say({"do": do, **fields})
                while True:
                    given = self._socket.recv(self.timeout)
                    answer = wire.unpacked(given if isinstance(given, bytes) else given.encode())
                    if answer.get("re") == self._number:
                        break
                    if answer.get("re") is None:  # what a server says unasked is why it closes
                        said = str(answer.get("message"))
            except ConnectionClosed as error:
                raise self._losing(said or _why(error)) from error
            except TimeoutError as error:
                raise self._losing(f"no answer for {self.timeout:g} s") from error
            except OSError as error:
                raise self._losing(str(error)) from error
            except BaseException:  # an interrupted question leaves its answer behind
                self._losing("a question was interrupted")
                raise
        if answer.get("kind") == "error":
            raise ValueError(f"the server says: {answer.get('message')}")
        return answer

    def leave(self, env: int) -> None:
        """Close environments there: now, or with the next question where one is being asked.

        So it may be called from anywhere, Python's collection of garbage included.
        """
        self._left.append(env)
        if not self._asking.acquire(blocking=False):
            return
        try:
            while self._left and not self._lost:
                self._say({"do": "close", "env": self._left.popleft()})
        except (ConnectionClosed, OSError):
            pass
        finally:
            self._asking.release()

    def close(self) -> None:
        """Leave; does nothing where that was done."""
        if not self._lost:
            self._losing("it was closed here")

    def _say(self, fields: dict[str, Any]) -> None:
        self._number += 1
        self._socket.send(wire.packed({"id": self._number, **fields}))

    def _losing(self, why: str) -> ConnectionError:
        self._lost = (
            f"the connection to {self._shown} was lost ({why}), and with it what was open or saved there; make new "
            "environments, or call reconnect() and reset()"
        )
        self._socket.close()
        return ConnectionLost(self._lost)

    @property
    def _shown(self) -> str:
        """The address without its token."""
        return self.address.partition("?")[0]


def _whole(address: str) -> str:
    for given, meant in (("http://", "ws://"), ("https://", "wss://")):
        if address.startswith(given):
            return meant + address.removeprefix(given)
    return address if "://" in address else f"ws://{address}"


def _why(error: ConnectionClosed) -> str:
    if error.rcvd is None:
        return "the server is not there any more"
    if error.rcvd.code in (REFUSED, FULL):
        return f"it was refused: {error.rcvd.reason}"
    return error.rcvd.reason or f"closed with code {error.rcvd.code}"
