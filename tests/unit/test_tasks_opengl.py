"""What a user is told where MuJoCo cannot draw; each in a process of its own, as MuJoCo settles that at import."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("mujoco") is None:
    pytest.skip("MuJoCo is not installed: pip install 'ivideo[metaworld]'", allow_module_level=True)
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MuJoCo has one OpenGL alone")
OPEN = """
from ivideo.simulate.opengl import import_mujoco
try:
    import_mujoco()
    import os
    print("drawn with", os.environ.get("MUJOCO_GL"))
except ImportError as error:
    print(error)
"""
WITHOUT_LIBRARIES = """
import ctypes
load = ctypes.CDLL.__init__
def refuse(self, name, *rest, **others):
    if name and ("EGL" in name or "OSMesa" in name):
        raise OSError(f"{name}: cannot open shared object file")
    load(self, name, *rest, **others)
ctypes.CDLL.__init__ = refuse
"""


def said(code: str = OPEN, path: Path | None = None, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    root = str(Path(__file__).parents[2])
    kept["PYTHONPATH"] = os.pathsep.join([root, *([] if path is None else [str(path)])])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **variables}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@linux
@pytest.mark.parametrize(("value", "told"), [("nonsense", "is none of its values"), ("off", "turns drawing off")])
def test_a_wrong_value_is_named(value: str, told: str) -> None:
    line = said(MUJOCO_GL=value)
    assert f"MUJOCO_GL={value} {told}; set it to egl or osmesa" in line
    assert "\n" not in line


@linux
@pytest.mark.slow
def test_missing_libraries_are_named(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_LIBRARIES)
    line = said(path=tmp_path)
    assert "neither EGL nor OSMesa works" in line
    assert "apt install libegl1 libgl1-mesa-dri, or libosmesa6" in line
    assert "\n" not in line
    line = said(path=tmp_path, MUJOCO_GL="egl")
    assert "cannot draw with MUJOCO_GL=egl" in line
    assert "\n" not in line


@linux
def test_what_works_is_found() -> None:
    line = said()
    if "neither EGL nor OSMesa works" in line:
        pytest.skip(line)
    assert line in ("drawn with egl", "drawn with osmesa")
