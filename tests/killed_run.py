"""Runs whose first legs are killed with SIGKILL: `killed_run.py '{"FOLDER": ["RECIPE", [LEG, ...]], ...}'`.

Each leg is a forked process that goes on from what is in FOLDER. `["CALL", COUNT]` kills itself at the COUNT-th call of
that function of `ivideo.training.checkpoints`, `["after", SECONDS]` is killed after so long; after the legs that are
listed, a last one goes on to the end. RECIPE is "linear", "tokenizer" or "world model", all of them tiny.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ivideo.config import load_config
from ivideo.data import EpisodeStore
from ivideo.episode import Episode
from ivideo.training import LoopConfig, OptimizerConfig, RunConfig, RunFolder, checkpoints, fit
from ivideo.training.tokenizer import TokenizerTraining, train_tokenizer
from ivideo.training.world_model import WorldModelTraining, train_world_model

Leg = tuple[str, float]
STEPS = 30
LOOP = """
loop: {steps: 30, batch_size: 2, log_every: 1, evaluate_every: 10, checkpoint_every: 5, accelerator: cpu}
evaluation: {clips: 2, pictures: 1}
run: {tensorboard: false}
data: {frames: 5}
"""
TOKENIZER = f"""{LOOP}
targets: 2
tokenizer: {{resolution: 16, channels: [8, 16], blocks_per_level: 1, mid_blocks: 0, stem_stride: 4, latent_channels: 8,
  code_dim: 4, context_codes: 16, dynamics_codes: 16, patch_size: 2, context_frames: 2, max_attention_resolution: 4,
  norm_groups: 4, dropout: 0.1, quantizer: {{kind: EMAVQ, warmup_steps: 3}}}}
loss: {{l1: 0.0, mse: 10.0}}
optimizer: {{lr: 2.0e-3, ema_decay: 0.9}}
"""
WORLD_MODEL = f"""{LOOP}
model:
  transformer: {{width: 16, layers: 2, heads: 2, ffn_width: 32, max_positions: 64, attention_dropout: 0.1}}
  embedding: {{action_dim: 2}}
optimizer: {{lr: 2.0e-3, muon_lr: 0.01, ema_decay: 0.9}}
"""


def squares(seed: int, count: int) -> EpisodeStore:
    """Episodes in which a bright square moves as the action says."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        actions = torch.rand(7, 2, generator=generator) * 2 - 1
        places = (6 + 3 * torch.cat([torch.zeros(1, 2), actions.cumsum(0)])).clamp(0, 12).round().long()
        frames = torch.full((8, 3, 16, 16), 30, dtype=torch.uint8)
        for frame, (row, column) in zip(frames, places.tolist(), strict=True):
            frame[:, row : row + 4, column : column + 4] = 220
        made.append(Episode(frames=frames, actions=actions, name=f"{seed}/{number}"))
    return EpisodeStore(made, source="squares")


def linear(folder: Path) -> None:
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
            loop=LoopConfig(steps=STEPS, log_every=1, checkpoint_every=5, accelerator="cpu"),
            optimizer=OptimizerConfig(lr=0.01, muon_lr=0.02, ema_decay=0.9),
            run=run,
            export=lambda path: (path / "weights").touch(),
        )


def settings(kind: type, text: str, folder: Path) -> object:
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = folder.parent / f".{folder.name}.yaml"
    written.write_text(text)
    found = load_config(kind, written)
    return replace(found, run=replace(found.run, folder=folder), resume=True)


def tokenizer(folder: Path) -> None:
    train_tokenizer(settings(TokenizerTraining, TOKENIZER, folder), (squares(0, 6), squares(1, 2)))


def world_model(folder: Path) -> None:
    """On the tokenizer that `folder.parent / "tokenizer"` holds."""
    found = replace(settings(WorldModelTraining, WORLD_MODEL, folder), tokenizer=str(folder.parent / "tokenizer"))
    train_world_model(found, (squares(0, 6), squares(1, 2)))


RECIPES: dict[str, Callable[[Path], None]] = {"linear": linear, "tokenizer": tokenizer, "world model": world_model}


def kill_at(call: str, count: float) -> None:
    """Let the process kill itself at the `count`-th call of a function of `ivideo.training.checkpoints`."""
    kill_in(checkpoints, call, count)


def kill_in(owner: object, call: str, count: float) -> None:
    """Let the process kill itself at the `count`-th call of a function or method of `owner`."""
    real, left = getattr(owner, call), [count]

    def fatal(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(owner, call, fatal)


def forked(work: Callable[[], int | None], leg: Leg | None, kill: Callable[[str, float], None]) -> tuple[bool, int]:
    """Do work in a process of its own; whether it was killed before its end, and the memory it took, in bytes.

    `kill` arranges for the death that a leg names; one "after" so many seconds comes from here.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            torch.set_num_threads(1)
            os.fsync = lambda descriptor: None  # the death of a process loses nothing that was written
            if leg is not None and leg[0] != "after":
                kill(*leg)
            status = int(work() or 0)
        finally:
            os._exit(status)
    if leg is not None and leg[0] == "after":
        time.sleep(leg[1])
        os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), (leg, code)
    return code != 0, 1024 * used.ru_maxrss


def run_leg(recipe: str, folder: Path, leg: Leg | None) -> bool:
    """Go on with a run in a process of its own; True when it was killed, False when it came to its end."""
    return forked(lambda: RECIPES[recipe](folder), leg, kill_at)[0]


def outcome(folder: Path) -> dict[str, object]:
    """All that a run comes to: weights, optimizer, average, counters, random states, and everything it measured."""
    checkpoint = folder / "checkpoints" / f"step-{STEPS:08d}"
    state = json.loads((checkpoint / "state.json").read_text())
    state.pop("seconds")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics = [{name: value for name, value in line.items() if name != "minutes"} for line in lines]
    tensors = {file.name: file.read_bytes() for file in checkpoint.glob("*.safetensors")}
    return {**tensors, "state": state, "metrics": metrics}


def main(runs: dict[str, tuple[str, list[Leg]]]) -> None:
    for folder, (recipe, legs) in runs.items():
        for leg in [*legs, None]:
            assert run_leg(recipe, Path(folder), leg) == (leg is not None), (folder, leg)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
