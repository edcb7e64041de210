"""The report in a real browser: it fits phones and desks, plays, and fetches nothing.

The browser is given this test's own server as its proxy, so that nothing leaves the machine: some ask their maker for
updates whatever they are told.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import made_up_report as made_up
import pytest

from ivideo.evaluation.report import write_page
from ivideo.evaluation.series import COPY, PREDICTION

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium, chromium-browser or google-chrome")

_FRAMES, _CONTEXT = 20, 2
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Frames of both widths around the report, looked into once it has played for a while.
_VISITOR = """<!doctype html><pre id="seen"></pre>
<iframe src="/report.html" width="360" height="800"></iframe>
<iframe src="/report.html" width="1280" height="800"></iframe>
<script>
const wait = (time) => new Promise((done) => setTimeout(done, time));
const look = async (frame) => {
  const view = frame.contentWindow, page = frame.contentDocument, seen = {};
  const find = (name) => page.querySelector(name);
  const slider = find(".controls input");
  const probe = new OffscreenCanvas(8, 8).getContext("2d", {willReadFrequently: true});
  const level = (screen) => {
    probe.drawImage(screen, 0, 0);
    return probe.getImageData(4, 4, 1, 1).data[0];
  };
  const press = (node, key) => node.dispatchEvent(new view.KeyboardEvent("keydown", {key, bubbles: true}));
  await wait(200);
  seen.width = view.innerWidth;
  seen.needed = page.documentElement.scrollWidth;
  seen.began = Number(slider.value);
  await wait(1000);
  seen.reached = Number(slider.value);
  seen.button = find(".play").textContent;
  seen.shown = [];
  for (let at = 0; at <= Number(slider.max); at++) {
    slider.value = at;
    slider.dispatchEvent(new view.Event("input"));
    const first = find(".clip");
    seen.shown.push([[...first.querySelectorAll("canvas")].map(level), first.classList.contains("given")]);
  }
  await wait(1000);
  seen.stopped = [Number(slider.value), find(".play").textContent, find(".frame").textContent];
  const plot = find("svg.plot[tabindex]");
  plot.focus();
  press(plot, "Home");
  press(plot, "ArrowRight");
  seen.readout = find(".readout").textContent;
  seen.card = await (await fetch(find("#download").href)).json();
  seen.fetched = view.performance.getEntriesByType("resource").map((each) => each.name);
  seen.copy = find(".command button").textContent;
  return seen;
};
addEventListener("load", async () => {
  const seen = await Promise.all([...document.querySelectorAll("iframe")].map(look));
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>"""


@contextmanager
def _proxy(report: str) -> Iterator[str]:
    """A server that has two pages and refuses everything else."""
    pages = {"http://visitor.test/": _VISITOR, "http://visitor.test/report.html": report}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = pages.get(self.path, "").encode()
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _visit(folder: Path, *options: str) -> tuple[list[dict[str, Any]], str]:
    """What was seen at 360 and 1280 pixels, and what the console said."""
    assert BROWSER is not None
    card = made_up.card(name=made_up.HOSTILE, sources=(PREDICTION, COPY, made_up.HOSTILE))
    labels = ("best", made_up.HOSTILE, "worst")
    write_page(folder / "report.html", card, [made_up.clip(frames=_FRAMES, label=label) for label in labels])
    with _proxy((folder / "report.html").read_text(encoding="utf-8")) as proxy:
        places = (f"--user-data-dir={folder / 'profile'}", f"--proxy-server={proxy}", "--proxy-bypass-list=<-loopback>")
        dump = ("--enable-logging=stderr", "--window-size=1700,1800", "--virtual-time-budget=6000", "--dump-dom")
        finished = subprocess.run(
            [BROWSER, *_QUIET, *places, *dump, *options, "http://visitor.test/"],
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
            env={**os.environ, "HOME": str(folder)},
        )
    seen = re.search('<pre id="seen">(.+?)</pre>', finished.stdout, flags=re.DOTALL)
    assert seen is not None, finished.stdout[:2000] + finished.stderr
    console = "\n".join(line for line in finished.stderr.splitlines() if "CONSOLE" in line)
    held = seen[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return json.loads(held), console


def test_report_in_a_browser(tmp_path: Path) -> None:
    seen, console = _visit(tmp_path)
    assert console == ""
    assert [each["width"] for each in seen] == [360, 1280]
    for each in seen:
        assert each["needed"] <= each["width"]
        assert each["reached"] > each["began"]
        assert each["button"] == "Pause"
        for frame, (levels, given) in enumerate(each["shown"]):
            assert levels == [3 * frame, 3 * frame + 10, 40]
            assert given == (frame < _CONTEXT)
        assert each["stopped"] == [_FRAMES - 1, "Play", f"imagined {_FRAMES - _CONTEXT} of {_FRAMES - _CONTEXT}"]
        assert each["readout"].startswith("frame 2\nprediction: 29.70 [29.20, 30.20]\n")
        assert each["card"]["model"]["name"] == made_up.HOSTILE
        assert each["copy"] == "Copy"
        assert [address for address in each["fetched"] if not address.startswith("data:image/png;")] == []


def test_report_holds_still_for_who_wants_that(tmp_path: Path) -> None:
    seen, _ = _visit(tmp_path, "--force-prefers-reduced-motion")
    assert [(each["began"], each["reached"], each["button"]) for each in seen] == [(0, 0, "Play")] * 2
