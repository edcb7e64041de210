"""Runs of reinforcement learning whose first legs are killed: `killed_rl.py MODEL '{"FOLDER": [LEG, ...]}'`.

Each leg is a forked process that goes on from what is in FOLDER: MBPO with the small model in the folder MODEL on the
pushing table. `["OWNER.CALL", COUNT]` kills itself at the COUNT-th call of that method, `["after", SECONDS]` is killed
after so long; after the legs that are listed, a last one goes on to the end.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from killed_run import Leg, forked, kill_in

from ivideo import Episode
from ivideo.data.recorder import save_episodes
from ivideo.training.run import RunConfig, RunFolder
from rl.drqv2 import DrQv2
from rl.imagination.horizon import Fixed
from rl.imagination.learner import ModelLearner, ModelLearnerConfig
from rl.imagination.rollouts import Imagination, ImaginationConfig
from rl.replay import Replay
from rl.tasks import TaskOptions
from rl.train.commands import train
from rl.train.settings import AgentConfig, DemonstrationConfig, MBPOTraining, ScheduleConfig

OWNERS = {each.__name__: each for each in (DrQv2, Imagination, ModelLearner, Replay, RunFolder)}


def settings(model: str, folder: Path, **changes: Any) -> MBPOTraining:
    """A run of seconds in which everything happens that happens in one of hours."""
    shown = Path(model).with_name("demonstrations")
    small = MBPOTraining(
        task="pushing_table",
        options=TaskOptions(horizon=8),
        world_model=model,
        agent=AgentConfig(stack=2, hidden=8, trunk=4, batch_size=4, update_every=1),
        schedule=ScheduleConfig(
            steps=72,
            seed_steps=24,
            evaluate_every=30,
            evaluation_episodes=2,
            films=0,
            checkpoint_every=16,
            device="cpu",
        ),
        demonstrations=DemonstrationConfig(folder=str(shown) if shown.is_dir() else None),
        learner=ModelLearnerConfig(first_updates=2, every=4, tokenizer_every=8, batch_size=2, frames=5, targets=2),
        imagination=ImaginationConfig(starts=2, horizon=Fixed(steps=3)),
        rollout_every=8,
        first_rollouts=4,
        imagined_capacity=30,
        run=RunConfig(folder=folder, tensorboard=False),
        resume=True,
    )
    return replace(small, **changes)


def give_demonstrations(folder: Path) -> None:
    """Recorded episodes, which a run with the model in the same folder learns from."""
    generator = torch.Generator().manual_seed(0)
    shown = [
        Episode(
            frames=torch.randint(256, (6, 3, 32, 32), generator=generator, dtype=torch.uint8),
            actions=torch.rand(5, 2, generator=generator),
            rewards=torch.rand(5, generator=generator),
        )
        for _ in range(2)
    ]
    save_episodes(folder, shown)


def kill_at(call: str, count: float) -> None:
    """Let the process kill itself at the `count`-th call of OWNER.CALL."""
    name, _, method = call.partition(".")
    kill_in(OWNERS[name], method, count)


def run_leg(model: str, folder: Path, leg: Leg | None) -> tuple[bool, int]:
    """Go on with a run in a process of its own; whether it was killed before its end, and its memory in bytes."""
    return forked(lambda: train(settings(model, folder)), leg, kill_at)


def outcome(folder: Path) -> dict[str, object]:
    """All that a run comes to but the time it took: weights, counters, what it measured, played and imagined."""
    checkpoint = max((folder / "checkpoints").iterdir())
    state = json.loads((checkpoint / "state.json").read_text())
    state.pop("spent")
    state["dreams"]["imagination"].pop("seconds")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    clocked = ("minutes", "time/", "frames_per_second")
    metrics = [{name: value for name, value in line.items() if not name.startswith(clocked)} for line in lines]
    tensors = {file.name: file.read_bytes() for file in checkpoint.glob("*.safetensors")}
    episodes = {
        f"{kind}/{file.name}": file.read_bytes()
        for kind in ("episodes", "imagined")
        for file in (folder / kind).iterdir()
    }
    return {**tensors, **episodes, "step": checkpoint.name, "state": state, "metrics": metrics}


def main(model: str, runs: dict[str, list[Leg]]) -> None:
    for folder, legs in runs.items():
        for leg in [*legs, None]:
            run_leg(model, Path(folder), leg)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
