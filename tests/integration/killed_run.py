"""Runs whose first legs are killed with SIGKILL: `killed_run.py '{"FOLDER": [["CALL", COUNT], ...], ...}'`.

Each leg is a forked process that goes on from what is in FOLDER. It kills itself at the COUNT-th call of that function
of `ivideo.training.checkpoints`; after the legs that are listed, a last one goes on to the end.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from ivideo.training import LoopConfig, OptimizerConfig, RunConfig, RunFolder, checkpoints, fit


def train(folder: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.2), nn.Linear(16, 1))

    def batches(index: int) -> Tensor:
        return torch.randn(8, 4, generator=torch.Generator().manual_seed(index))

    def loss(batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        error = (model(batch)[:, 0] - batch.sum(1)).square().mean()
        return error, {"error": error.detach()}

    with RunFolder(RunConfig(folder=folder, tensorboard=False), resume=True) as run:
        fit(
            model,
            loss,
            batches,
            loop=LoopConfig(steps=30, log_every=1, checkpoint_every=5, accelerator="cpu"),
            optimizer=OptimizerConfig(lr=0.01, muon_lr=0.02, ema_decay=0.9),
            run=run,
            export=lambda path: (path / "weights").touch(),
        )


os.fsync = lambda descriptor: None  # the death of a process loses nothing that was written


def kill_at(call: str, count: int) -> None:
    real, left = getattr(checkpoints, call), [count]

    def fatal(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(checkpoints, call, fatal)


def main(runs: dict[str, list[tuple[str, int]]]) -> None:
    for folder, legs in runs.items():
        for call, count in [*legs, ("", 0)]:
            child = os.fork()
            if child == 0:
                torch.set_num_threads(1)
                if call:
                    kill_at(call, count)
                train(Path(folder))
                os._exit(0)
            _, status = os.waitpid(child, 0)
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            assert killed == bool(call), (call, count, status)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
