"""A small client for a headless browser, over its DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Space": 32, "Enter": 13}


class Tab:
    """A page in a browser: asked in JavaScript, driven with keys and a mouse as if by hand."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.said: list[str] = []
        self.fetched: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            got = json.loads(self._socket.recv(timeout=100))
            if got.get("id") == self._number:
                assert "error" not in got, got["error"]
                return got["result"]
            self._note(got)

    def _note(self, event: dict[str, Any]) -> None:
        if event["method"] == "Network.requestWillBeSent":
            self.fetched.append(event["params"]["request"]["url"])
        elif event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            if event["params"].get("entry", {}).get("level") == "warning":  # such as of reading pixels, as tests do
                return
            self.said.append(json.dumps(event["params"])[:600])

    def ask(self, expression: str) -> Any:
        """The value of an expression, awaited where it is a promise."""
        got = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def wait(self, expression: str, seconds: float = 100.0) -> Any:
        """The value of an expression as soon as it is true."""
        end = time.monotonic() + seconds
        while not (value := self.ask(expression)):
            assert time.monotonic() < end, f"never true: {expression}; {self.said}"
            time.sleep(0.02)
        return value

    def visit(self, address: str, width: int, height: int = 900, *, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)

    def key(self, code: str, *, hold: float = 0.0) -> None:
        """Press and release a key."""
        letter = code.removeprefix("Key").lower() if code.startswith("Key") else code
        shown = {"Space": " ", "Period": ".", "Comma": ","}.get(code, letter)
        number = _KEYS.get(code, ord(letter.upper()) if len(letter) == 1 else 0)
        fields = {"key": shown, "code": code, "windowsVirtualKeyCode": number}
        typed = {"text": "\r" if code == "Enter" else shown} if len(shown) == 1 or code == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **fields, **typed)
        time.sleep(hold)
        self.call("Input.dispatchKeyEvent", type="keyUp", **fields)

    def mouse(self, kind: str, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def picture(self, path: Path) -> None:
        """A screenshot of the whole page."""
        got = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(got["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Tab]:
    """A browser of one's own, which knows no machine but this one."""
    assert BROWSER is not None
    process = subprocess.Popen(
        [BROWSER, *_QUIET, f"--user-data-dir={folder / 'profile'}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    try:
        port, end = folder / "profile" / "DevToolsActivePort", time.monotonic() + 100
        while not (port.is_file() and port.read_text().count("\n")):
            assert process.poll() is None, "the browser has ended"
            assert time.monotonic() < end, "the browser says no port"
            time.sleep(0.05)
        address = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=100) as answer:
            tabs = json.load(answer)
        debugger = next(each for each in tabs if each["type"] == "page")["webSocketDebuggerUrl"]
        with connect(debugger, max_size=None, proxy=None, open_timeout=100) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        try:
            process.wait(100)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
