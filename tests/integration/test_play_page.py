"""The page of `ivideo play` in a real browser, with the packaged model: keys move the dream, and nothing is lost."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra `play` is not installed")
pytest.importorskip("websockets", reason="the browser is driven through websockets, of the extra `play`")
from devtools import BROWSER, Tab, browser

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium, chromium-browser or google-chrome")

_PUSHER = """(id) => {  // the middle of the dark pixels inside the walls, in pixels, and how many there are
  const canvas = document.getElementById(id), side = canvas.width;
  const held = canvas.getContext("2d").getImageData(0, 0, side, side).data;
  let count = 0, x = 0, y = 0;
  for (let at = 0; at < side * side; at++) {
    const [red, green, blue] = held.subarray(4 * at, 4 * at + 3);
    const column = at % side, row = Math.floor(at / side);
    if (Math.min(column, row) < 3 || Math.max(column, row) > side - 4) continue;
    if (red < 90 && green < 90 && blue < 90) { count++; x += column; y += row; }
  }
  return [x / count, y / count, count];
}"""
_FRAME = "ivideo.frame.frame"
_NUMBERS = itertools.count()


@contextmanager
def _server() -> Iterator[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ivideo", "play"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _pusher(tab: Tab, canvas: str = "dream") -> tuple[float, float]:
    x, y, count = tab.ask(f"({_PUSHER})('{canvas}')")
    assert 20 < count < 120
    return x, y


def _settled(tab: Tab) -> int:
    """The frame that is looked at, once time stands still: the server answers in turn, to nonsense with its name."""
    nonsense = f"settle {next(_NUMBERS)}"
    tab.ask(f"send({{do: 'play', on: false}}); send({{do: '{nonsense}'}})")
    tab.wait(f"document.getElementById('status').textContent.includes('{nonsense}')")
    return int(tab.ask(_FRAME))


def _press(tab: Tab, code: str, frames: int) -> int:
    """Hold a key for some frames; how many there were."""
    began = tab.ask(_FRAME)
    tab.call("Input.dispatchKeyEvent", type="keyDown", key=code, code=code)
    tab.wait(f"{_FRAME} >= {began + frames}")
    tab.call("Input.dispatchKeyEvent", type="keyUp", key=code, code=code)
    return _settled(tab) - int(began)


def test_the_page_is_played_with_keys_and_a_mouse(tmp_path: Path) -> None:
    with _server() as address, browser(tmp_path) as tab:
        tab.visit(address, 1280)
        tab.wait("window.ivideo && ivideo.frame && 1")
        assert tab.ask("[...document.querySelectorAll('button, select, input')].every((each) => each.tabIndex === 0)")

        # A tap is a frame; held keys move the dream, and the truth beside it, the right way.
        assert _press(tab, "ArrowUp", 1) >= 1
        for code, axis, sign in (("ArrowLeft", 0, -1), ("ArrowRight", 0, 1), ("KeyW", 1, -1)):
            before = _pusher(tab), _pusher(tab, "truth")
            _press(tab, code, 4)
            for old, new in zip(before, (_pusher(tab), _pusher(tab, "truth")), strict=True):
                assert sign * (new[axis] - old[axis]) > 5, (code, old, new)

        # Rewinding shows what was; acting there is a branch of its own, and the first is as long as it was.
        end = tab.ask(_FRAME)
        shown = tab.ask("Array.from(ivideo.pictures.get(0).slice(0, 3000))")
        tab.key("Comma")
        tab.wait(f"{_FRAME} === {end - 1}")
        tab.ask("document.getElementById('slider').focus()")
        tab.key("ArrowLeft")  # on the slider, an arrow rewinds and does not act
        tab.wait(f"{_FRAME} === {end - 2}")
        tab.ask("document.getElementById('dream').focus()")
        _press(tab, "ArrowDown", 2)
        assert tab.ask("ivideo.frame.branch") == 1
        assert tab.ask("ivideo.branches.map((each) => each.length)")[0] == end + 1
        assert tab.ask("document.querySelectorAll('.branch').length") == 2
        tab.ask("document.querySelector('.branch').click()")
        tab.wait("ivideo.frame.branch === 0")
        tab.ask(f"look({end})")
        tab.wait(f"{_FRAME} === {end}")
        assert tab.ask("Array.from(ivideo.pictures.get(0).slice(0, 3000))") == shown

        # A fork by key, and the past done otherwise.
        tab.key("KeyF")
        tab.wait("ivideo.frame.branch === 2")
        tab.ask("look(3)")
        tab.wait(f"{_FRAME} === 3")
        tab.ask("document.querySelector('#redo-fields input').value = 1; document.getElementById('redo').click()")
        tab.wait("ivideo.frame.branch === 3")
        assert tab.ask("ivideo.line[3].action[0]") == 1
        assert tab.ask("ivideo.line.length") == end + 1

        # A policy takes over and gives back; the space bar stops time.
        tab.key("KeyP")
        tab.wait("ivideo.frame.by === 'pusher' && ivideo.frame.playing")
        tab.key("KeyP")
        tab.wait("!ivideo.frame.playing && !ivideo.frame.driver")
        tab.key("Space")
        tab.wait("ivideo.frame.playing")
        tab.key("Space")
        tab.wait("!ivideo.frame.playing")

        # A drag acts; saving gives a film and an episode.
        x, y = tab.ask("(({left, top, width}) => [left + width / 2, top + width / 2])(dream.getBoundingClientRect())")
        began = _settled(tab)
        tab.mouse("mousePressed", x, y)
        tab.mouse("mouseMoved", x - 60, y)
        tab.wait(f"{_FRAME} > {began}")
        tab.mouse("mouseReleased", x - 60, y)
        _settled(tab)
        assert tab.ask("ivideo.frame.action")[0] < -0.3
        for kind, signature in (("gif", b"GIF89a"), ("npz", b"PK"), ("mp4", b"\0\0\0")):
            tab.ask(f"document.getElementById('save-{kind}').click()")
            tab.wait(f"ivideo.saved?.name === 'scene-0.{kind}'")
            assert bytes(tab.ask("ivideo.saved.head")).startswith(signature)

        # Nothing was fetched but the page, nothing went wrong, and it fits a phone.
        assert tab.ask("document.documentElement.scrollWidth <= innerWidth")
        tab.visit(address, 360, dark=True)
        tab.wait("window.ivideo && ivideo.frame && ivideo.frame.length === 1 && 1")
        assert tab.ask("[innerWidth, document.documentElement.scrollWidth]") == [360, 360]
        assert {each.split("?")[0] for each in tab.fetched if not each.startswith(("data:", "blob:"))} == {address}
        assert tab.said == []
