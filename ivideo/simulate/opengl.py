"""Which OpenGL MuJoCo draws with on Linux: EGL where it works, else OSMesa, unless MUJOCO_GL names one.

MuJoCo settles that once, when it is imported, and an import that failed cannot be tried again with another library.
What works is therefore tried in a process of its own, and MUJOCO_GL is set to it: processes started later inherit it
and try nothing.
"""

import os
import subprocess
import sys
import warnings
from functools import cache
from importlib import reload
from importlib.util import find_spec
from typing import Any

PACKAGES = "apt install libegl1 libgl1-mesa-dri, or libosmesa6"
"""What bare Debian and Ubuntu lack."""
_KNOWN = {"egl", "osmesa", "glfw", "glx", "on", "enable", "enabled", "true", "1"}
_OFF = {"off", "disable", "disabled", "false", "0"}
_TRY = """
import mujoco
context = mujoco.gl_context.GLContext(8, 8)
context.make_current()
drawn = mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_50)
drawn.free()
context.free()
"""
"""What fails where nothing can be drawn."""


def import_mujoco() -> Any:
    """Return MuJoCo, found to be able to draw here.

    Raises:
        ModuleNotFoundError: when MuJoCo is not installed.
        ImportError: when it cannot draw; in one line with what to install or set.
    """
    if sys.platform != "linux":
        import mujoco

        return mujoco
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if chosen and chosen not in _KNOWN:
        said = "turns drawing off" if chosen in _OFF else "is none of its values"
        raise ImportError(
            f"MuJoCo cannot draw: MUJOCO_GL={chosen} {said}; set it to egl or osmesa, or to glfw on a desktop, or "
            "unset it to have one found"
        )
    if not chosen:
        os.environ["MUJOCO_GL"] = _found()
        if "mujoco.gl_context" in sys.modules:  # imported before, when it settled on a desktop's window
            reload(sys.modules["mujoco.gl_context"])
    try:
        import mujoco
    except ModuleNotFoundError:
        raise
    except Exception as error:  # Of which kind depends on where in MuJoCo, PyOpenGL or the driver it fails.
        raise ImportError(_failure(_line(str(error)))) from error
    reason = _tried_here()
    if reason is not None:
        raise ImportError(_failure(reason))
    return mujoco


def _failure(reason: str) -> str:
    chosen = os.environ.get("MUJOCO_GL", "")
    return f"MuJoCo cannot draw with MUJOCO_GL={chosen} ({reason}); unset it to have one found, or {PACKAGES}"


@cache
def _tried_here() -> str | None:
    """Say why nothing can be drawn in this process; None if it can. Once: a second failure would end the process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GLFW warns of what then fails
        try:
            exec(_TRY, {})
        except Exception as error:
            return _line(str(error)) or type(error).__name__
    return None


def _found() -> str:
    """The first library that works; ImportError if none does."""
    if find_spec("mujoco") is None:
        raise ModuleNotFoundError("No module named 'mujoco'", name="mujoco")
    reasons = []
    for library in ("egl", "osmesa"):
        reason = _fails(library)
        if reason is None:
            return library
        reasons.append(f"{library}: {reason}")
    raise ImportError(f"MuJoCo cannot draw: neither EGL nor OSMesa works ({'; '.join(reasons)}); {PACKAGES}")


def _fails(library: str) -> str | None:
    """Say why MuJoCo cannot draw with a library; None if it can."""
    path = os.pathsep.join(place for place in sys.path if place)
    environment = {**os.environ, "MUJOCO_GL": library, "PYTHONPATH": path}
    try:
        # -P: a file in the current folder that is called like a library is not that library.
        tried = subprocess.run(
            [sys.executable, "-P", "-c", _TRY], env=environment, capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return "no answer within two minutes"
    if tried.returncode == 0:
        return None
    said = [line for line in tried.stderr.splitlines() if line and not line.startswith((" ", "Traceback"))]
    return _line(said[-1]) if said else f"ended with code {tried.returncode}"


def _line(text: str) -> str:
    """One short line of a message that may have many."""
    line = " ".join(text.split())
    return line if len(line) <= 120 else line[:117] + "..."
