"""Running a row's commands one after the other, each in a process of its own; a later run goes on where one ended."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ivideo.files import replace_file
from ivideo.reproduce.row import Stage

RECORD = "stages.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that came to its end."""

    command: str
    seconds: float
    peak_mb: float | None
    """Most memory that its process held; None where the system does not say."""


Execute = Callable[[Sequence[str]], tuple[int, float | None]]
"""Runs `ivideo` with these arguments: exit status and peak memory in MB."""


def filled(command: str, places: Mapping[str, object]) -> str:
    """The command with folders and numbers in their places; a place without a value keeps its name."""
    pattern = re.compile(rf"\b({'|'.join(places)})\b") if places else None
    words = shlex.split(command)
    if pattern is not None:
        words = [pattern.sub(lambda match: str(places[match[1]]), word) for word in words]
    return shlex.join(words)


def arguments(command: str) -> list[str]:
    """What comes after `ivideo`."""
    first, *rest = shlex.split(command)
    assert first == "ivideo", command
    return rest


def run(stages: Sequence[Stage], out: Path, execute: Execute, tell: Callable[[str], None] = print) -> int:
    """Execute what is not done yet; the exit status of the first that fails, or 0.

    A stage is done when its command came to its end before and what it made is still there. The record is in
    `out/stages.json`.
    """
    record = recorded(out)
    for stage in stages:
        before = record.get(stage.name)
        if before is not None and before.command == stage.command and (out / stage.name).exists():
            tell(f"# {stage.name}: done before, in {before.seconds:.0f} s")
            continue
        tell(stage.command)
        began = time.perf_counter()
        status, peak = execute(arguments(stage.command))
        if status:
            tell(f"# {stage.name} ended with status {status}; the same `ivideo reproduce` goes on from here")
            return status
        record[stage.name] = Done(command=stage.command, seconds=time.perf_counter() - began, peak_mb=peak)
        text = json.dumps({name: asdict(done) for name, done in record.items()}, indent=2) + "\n"
        replace_file(out / RECORD, lambda path, text=text: path.write_text(text, encoding="utf-8"))  # type: ignore[misc]
    return 0


def recorded(out: Path) -> dict[str, Done]:
    """What was done in this folder, by stage."""
    path = out / RECORD
    if not path.is_file():
        return {}
    try:
        return {name: Done(**done) for name, done in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"{path} is no record of ours; choose another --out, or remove it") from None


def execute(words: Sequence[str]) -> tuple[int, float | None]:
    """`ivideo` in a new process, whose devices and memory are free again when it ends."""
    child = subprocess.Popen([sys.executable, "-m", "ivideo", *words])
    try:
        if not hasattr(os, "wait4"):  # Windows
            return child.wait(), None
        _, ended, used = os.wait4(child.pid, 0)
    except KeyboardInterrupt:  # the child has heard of it too, and saves
        return child.wait(), None
    child.returncode = os.waitstatus_to_exitcode(ended)
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return child.returncode, used.ru_maxrss / unit
