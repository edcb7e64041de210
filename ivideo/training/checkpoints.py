"""Checkpoints that are whole or not there: a folder is staged, hashed, and renamed into place.

::

    checkpoints/
      step-00001000/
        model.safetensors  optimizer.safetensors  ...   tensors by name
        state.json                                      counters and random states
        manifest.json                                   size and SHA-256 of every file, itself included; last
      .step-00002000-x7f3/                              being written, or left by a crash: swept at the next start
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ivideo.files import digest, sync

MANIFEST = "manifest.json"
STATE = "state.json"
_NAME = re.compile(r"step-(\d{8,})")
_MAX_JSON = 2**28
"""Bytes; a thousand processes, whose random states make most of a state.json, write some 20 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds, read and verified."""

    path: Path
    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def publish(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], *, keep: int
) -> Path:
    """Write the checkpoint of a step into `folder`, then delete all but the newest `keep`.

    Whatever happens in between, every earlier checkpoint stays readable and no half of this one is visible. Raises
    `ValueError` for weights that are not finite and `OSError`, naming the place, when the disk does not take it.
    """
    for group, values in tensors.items():
        for name, tensor in values.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise ValueError(
                    f"{group} tensor {name} holds NaN or infinite values at step {step}; nothing was saved, and the "
                    "last checkpoint stays as it was: resume from it with a lower learning rate"
                )
    final = folder / f"step-{step:08d}"
    if final.is_dir() and not damage(final):
        return final
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(mkdtemp(prefix=f".{final.name}-", dir=folder))
    try:
        _write(stage, tensors, state)
        if final.exists():
            _discard(final)
        stage.rename(final)
        sync(folder)
    except OSError as error:
        raise OSError(
            f"cannot save the checkpoint of step {step} in {folder} ({error.strerror or error}); earlier checkpoints "
            "are whole: make room or choose another folder, then resume"
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    for old in listed(folder)[keep:]:
        _discard(old)
    return final


def listed(folder: Path) -> list[Path]:
    """Return the checkpoint folders, newest first, whole or not."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)


def sweep(folder: Path) -> None:
    """Remove what a crash left over while a checkpoint was written or deleted."""
    for path in folder.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that is whole, and a warning for every newer one that is not."""
    warnings: list[str] = []
    for path in listed(folder):
        problem = damage(path)
        if not problem:
            return read(path), warnings
        warnings.append(f"checkpoint {path} is damaged ({problem}) and passed over")
    return None, warnings


def damage(path: Path) -> str:
    """Return what is wrong with a checkpoint, naming the file; nothing when every file is as it was written."""
    try:
        text = _text(path / MANIFEST)
        manifest = json.loads(text)
        files = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
        whole = text == _manifest(manifest["torch"], manifest["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{MANIFEST} is missing or unreadable"
    if not whole:
        return f"{MANIFEST} is not what was written"
    for name, (size, summed) in files.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes, written were {size}"
        if digest(file) != summed:
            return f"{name} is not what was written: its SHA-256 differs"
    try:
        _state(path)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def started_with(folder: Path, name: str) -> Any:
    """Return an entry of state.json that is the same in all checkpoints of a run, unverified; None without one."""
    for path in listed(folder):
        with suppress(OSError, ValueError, KeyError):
            return _state(path)[name]
    return None


def read(path: Path) -> Checkpoint:
    """Return a whole checkpoint's content."""
    try:
        # Copies, because what is read stays tied to its file, which a later checkpoint removes.
        tensors = {
            file.stem: {name: tensor.clone() for name, tensor in load_file(file).items()}
            for file in sorted(path.glob("*.safetensors"))
        }
        state = _state(path)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"checkpoint {path} cannot be read ({error}); remove it to resume from another") from error
    return Checkpoint(path=path, step=int(path.name.removeprefix("step-")), tensors=tensors, state=state)


def _state(path: Path) -> dict[str, Any]:
    """What the state.json of a checkpoint says; ValueError, naming it, where that is more than a run ever writes."""
    text = _text(path / STATE)
    try:
        state = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{STATE} is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{STATE} is no valid JSON ({error})") from error
    if not isinstance(state, dict):
        raise ValueError(f"{STATE} holds a JSON {type(state).__name__}, not an object")
    return state


def _text(file: Path) -> str:
    """A JSON file's text; ValueError, before it is read, for one larger than any that a run writes."""
    if (size := file.stat().st_size) > _MAX_JSON:
        raise ValueError(f"{file.name} has {size} bytes, at most {_MAX_JSON} are read")
    return file.read_text(encoding="utf-8", errors="replace")


def _write(stage: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    for group, values in tensors.items():
        # Copies, because safetensors refuses tensors that share memory.
        copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in values.items()}
        try:
            save_file(copies, stage / f"{group}.safetensors")
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(str(error)) from error
    (stage / STATE).write_text(json.dumps(state, allow_nan=False), encoding="utf-8")
    files = sorted(stage.iterdir())
    for file in files:
        sync(file)
    entries = {file.name: {"bytes": file.stat().st_size, "sha256": digest(file)} for file in files}
    manifest = stage / MANIFEST
    manifest.write_text(_manifest(str(torch.__version__), entries), encoding="utf-8")
    sync(manifest)
    stage.chmod(0o755)
    sync(stage)


def _manifest(version: str, files: Mapping[str, Any]) -> str:
    """The text of a manifest, which ends in the hash of all that precedes it."""
    body = json.dumps({"format": 2, "torch": version, "files": files}, indent=1).removesuffix("\n}")
    return f'{body},\n "sha256": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}'


def _discard(path: Path) -> None:
    """Delete a checkpoint so that a crash in the middle leaves a hidden remainder and no half checkpoint."""
    grave = Path(mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    path.rename(grave / path.name)
    shutil.rmtree(grave, ignore_errors=True)
