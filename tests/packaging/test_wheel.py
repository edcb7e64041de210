"""The wheel, installed where nothing else of this checkout is in sight."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ivideo", "tokenizer", "transformer", "rl")


def run(command: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(folder), str(ROOT)]
    done = run([sys.executable, *build], folder)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is installed in."""
    target = tmp_path_factory.mktemp("installed")
    command = ["-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    done = run([sys.executable, *command], target)
    assert done.returncode == 0, done.stderr
    return target


def python(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, *arguments], cwd, PYTHONPATH=str(installed))


def tracked(folder: str, suffix: str) -> set[str]:
    paths = (path for path in (ROOT / folder).rglob(f"*{suffix}") if "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_the_wheel_holds_every_module_config_and_asset(wheel: Path) -> None:
    held = set(ZipFile(wheel).namelist())
    for package in PACKAGES:
        assert tracked(package, ".py") <= held
        assert f"{package}/py.typed" in held
    assert {f"ivideo/_{name}" for name in tracked("configs", ".yaml")} <= held
    assert tracked("ivideo/evaluation/report", "") <= held
    assert {name for name in tracked("ivideo/assets", "") if (ROOT / name).is_file()} <= held


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
        size = sum(entry.file_size for entry in archive.infolist())
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)
    assert size < 8_000_000


def test_the_wheel_declares_its_licence_and_command(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        about = archive.read(metadata).decode()
        commands = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    assert "License-Expression: MIT\n" in about
    assert "Requires-Python: >=3.11\n" in about
    assert "ivideo = ivideo.__main__:run" in commands
    assert "torchvision" not in about.partition("\n\n")[0]


def test_configs_are_listed_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    done = python(installed, tmp_path, "-m", "ivideo", "configs")
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert listed == {name.removeprefix("configs/").removesuffix(".yaml") for name in tracked("configs", ".yaml")}
    where = python(installed, tmp_path, "-c", "from ivideo import recipes; print(recipes.folder())")
    assert Path(where.stdout.strip()) == installed / "ivideo" / "_configs"


def test_an_impostor_in_the_current_folder_is_named(installed: Path, tmp_path: Path) -> None:
    impostor = tmp_path / "tokenizer.py"
    impostor.write_text("raise SystemExit('the impostor ran')")
    assert python(installed, tmp_path, "-m", "ivideo", "configs").returncode == 0
    told = f"{impostor} is imported in place of {installed / 'tokenizer'}"

    verb = python(installed, tmp_path, "-m", "ivideo", "predict", "model", "clip.mp4")
    assert verb.returncode == 2
    assert verb.stderr.startswith(f"ivideo: error: {told}")

    api = python(installed, tmp_path, "-c", "import ivideo; ivideo.WorldModel")
    assert api.returncode == 1
    assert told in api.stderr.splitlines()[-1]


def test_an_impostor_package_that_comes_first_is_named(installed: Path, tmp_path: Path) -> None:
    impostor = tmp_path / "elsewhere" / "transformer"
    impostor.mkdir(parents=True)
    (impostor / "__init__.py").write_text("raise SystemExit('the impostor ran')")
    command = [sys.executable, "-c", "from ivideo._siblings import check; check()"]
    done = run(command, tmp_path, PYTHONPATH=f"{impostor.parent}{os.pathsep}{installed}")
    assert f"{impostor} is imported in place of {installed / 'transformer'}" in done.stderr.splitlines()[-1]
    assert f"put {installed} first on PYTHONPATH" in done.stderr.splitlines()[-1]
