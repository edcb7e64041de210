"""A toy world model trained for minutes with random kills: `soak.py [STEPS]`, 3000 steps if not given.

One run is left alone and watched: its memory and its open files should not grow. A second one is killed with SIGKILL
every 5 to 20 seconds, though never before its next checkpoint, and started again; it should end like the first, to the
last bit. From the repository's root:

    PYTHONPATH=.:tests python tests/benchmarks/soak.py
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from killed_run import WORLD_MODEL, settings, squares, tokenizer

from ivideo.training import checkpoints
from ivideo.training.world_model import WorldModelTraining, train_world_model


def start(folder: Path, steps: int) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            torch.set_num_threads(1)
            found = settings(WorldModelTraining, WORLD_MODEL, folder)
            loop = replace(found.loop, steps=steps, log_every=10, evaluate_every=200, checkpoint_every=50)
            found = replace(found, loop=loop, tokenizer=str(folder.parent / "tokenizer"))
            train_world_model(found, (squares(0, 6), squares(1, 2)))
            status = 0
        finally:
            os._exit(status)
    return child


def newest(folder: Path) -> int:
    found = checkpoints.listed(folder / "checkpoints")
    return int(found[0].name.removeprefix("step-")) if found else 0


def watch(
    child: int, seconds: float = float("inf"), folder: Path = Path()
) -> tuple[int | None, list[tuple[float, float, int]]]:
    """How a process ended, None where it has not after so long; minutes, MiB of memory and open files on the way.

    It is given the time to get past the checkpoint that it began from.
    """
    began, seen, first = time.monotonic(), [], newest(folder)
    while time.monotonic() - began < seconds or newest(folder) == first:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), seen
        memory = int(Path(f"/proc/{child}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        if memory:  # none is left to one that has just ended
            seen.append(((time.monotonic() - began) / 60, memory, len(list(Path(f"/proc/{child}/fd").iterdir()))))
        time.sleep(0.5)
    return None, seen


def outcome(folder: Path, steps: int) -> dict[str, object]:
    checkpoint = folder / "checkpoints" / f"step-{steps:08d}"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    curve = [{name: value for name, value in line.items() if name != "minutes"} for line in lines]
    return {file.name: file.read_bytes() for file in checkpoint.glob("*.safetensors")} | {"curve": curve}


def main(steps: int, folder: Path) -> int:
    child = os.fork()
    if child == 0:
        tokenizer(folder / "tokenizer")
        os._exit(0)
    os.waitpid(child, 0)

    code, seen = watch(start(folder / "whole", steps))
    assert code == 0
    settled = np.array(seen[len(seen) // 4 :])  # after what is read and compiled once
    slope = np.polyfit(settled[:, 0], settled[:, 1], 1)[0]
    print(
        f"left alone: {steps} steps in {seen[-1][0]:.1f} minutes; memory {settled[0, 1]:.0f} to "
        f"{settled[-1, 1]:.0f} MiB, {slope:+.2f} MiB a minute; "
        f"{settled[:, 2].min():.0f} to {settled[:, 2].max():.0f} open files",
        flush=True,
    )
    draw, kills, began = random.Random(0), 0, time.monotonic()
    while True:
        child = start(folder / "killed", steps)
        code, _ = watch(child, draw.uniform(5, 20), folder / "killed")
        if code is not None:
            break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
    assert code == 0
    same = outcome(folder / "killed", steps) == outcome(folder / "whole", steps)
    print(
        f"killed {kills} times in {(time.monotonic() - began) / 60:.1f} minutes: "
        f"{'equal to the run left alone' if same else 'NOT equal to the run left alone'}"
    )
    return 0 if same else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000, Path(place)))
