"""What is behind the figures of `ivideo rl hindsight` in docs/learning_in_the_model.md, from runs of several seeds.

python tests/benchmarks/hindsight_chains.py above RUN..         planners above short-horizon cloning, averaged over runs
python tests/benchmarks/hindsight_chains.py control RUN..       the same of chains by the follower on the true table
python tests/benchmarks/hindsight_chains.py drift MODEL RUN..   how far instructions move objects in a model's chains
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ivideo import WorldModel
from ivideo.config import load_config
from ivideo.evaluation.statistics import bootstrap
from ivideo.simulate import render
from ivideo.simulate.motion import advance
from ivideo.simulate.pushing_table import random_state
from ivideo.simulate.skills import SKILL_STEPS, SKILLS, Instructed
from ivideo.training import randomness
from ivideo.training.run import RunConfig
from rl.hindsight.chains import HIDDEN, Chain, drawn, imagined, recorded
from rl.hindsight.command import HindsightTraining, _fit, _pairs, instead
from rl.hindsight.distance import Reductions
from rl.hindsight.follower import Follower
from rl.hindsight.planner import Planner, PlannerConfig
from rl.hindsight.trial import attempt, instructing, planning, trials
from rl.reinforce.imagined import first_frames, world
from rl.sight import shrunken

WAYS = ((-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
"""Where the four instructions of an object lead: left, right, up, down."""


class TrueTable:
    """The true table with the calls of an imagined one, beginning as recorded chains do."""

    def __init__(self, rows: int, size: int) -> None:
        self.num_envs, self.size = rows, size

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        rng = np.random.default_rng([seed, 5])
        self.states = []
        for _ in range(self.num_envs):
            state, hidden = random_state(rng), drawn(rng, 0, HIDDEN)
            policy = Instructed(hidden) if hidden else None
            for _ in range(SKILL_STEPS * len(hidden)):
                assert policy is not None
                x, y = policy(None, {"state": state}, rng)
                state = advance(state, (float(x), float(y)))
            self.states.append(state)
        return self._shown(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, None, None, None, dict[str, Any]]:
        self.states = [advance(each, (float(x), float(y))) for each, (x, y) in zip(self.states, actions, strict=True)]
        return self._shown(), None, None, None, {}

    def _shown(self) -> np.ndarray:
        return np.stack([render(each, self.size) for each in self.states])


def opened(run: str) -> tuple[HindsightTraining, Follower]:
    folder = Path(run)
    return load_config(HindsightTraining, folder / "config.yaml"), Follower.from_folder(folder / "skills")


def singles(settings: HindsightTraining) -> list[Chain]:
    return recorded(settings.short, least=1, most=1, seed=settings.loop.seed, size=settings.size, noise=settings.noise)


def reached(settings: HindsightTraining, skills: Follower, planner: Planner) -> list[Reductions]:
    given = trials(settings.trials, least=settings.least, most=settings.most, seed=settings.trial_seed)
    act = instructing(planning(planner.eval()), skills)
    size = settings.size // settings.shrink
    return attempt(given, act, steps=SKILL_STEPS * settings.most, size=settings.size, seen=size)


def tell(name: str, found: Sequence[Sequence[Reductions]], beside: Sequence[Sequence[Reductions]]) -> None:
    """Differences averaged over runs, with 95% intervals over goals."""
    for of in ("moved", "objects"):
        rows = [torch.tensor([[getattr(each, of) for each in run] for run in runs]) for runs in (found, beside)]
        print(f"{name} above short, {of}: {bootstrap((rows[0] - rows[1]).mean(0))}")


def above(runs: Sequence[str]) -> None:
    found: dict[str, list[list[Reductions]]] = {}
    for run in runs:
        settings, skills = opened(run)
        for name in ("short", "imagined", *(["recorded"] if settings.recorded else [])):
            found.setdefault(name, []).append(reached(settings, skills, Planner.from_folder(Path(run) / name)))
    for name in found.keys() - {"short"}:
        tell(name, found[name], found["short"])


def control(runs: Sequence[str]) -> None:
    made, short = [], []
    for run in runs:
        settings, skills = opened(run)
        table: Any = TrueTable(settings.actors, settings.size)
        bounds = {"least": settings.least, "most": settings.most, "seed": settings.loop.seed}
        chains = imagined(table, skills, settings.long, **bounds, noise=settings.imagined_noise)
        learned = instead(singles(settings), chains)
        randomness.seed_all(settings.loop.seed)
        planner = Planner(PlannerConfig(size=settings.size // settings.shrink, eyes=settings.eyes), skills.eyes)
        beside = replace(settings, run=RunConfig(folder=Path(run)), resume=False, overwrite=True)
        _fit("control", planner, beside, partial(_pairs, settings, partial(list, learned), skills))
        made.append(reached(settings, skills, planner))
        short.append(reached(settings, skills, Planner.from_folder(Path(run) / "short")))
    tell("the follower's on the true table", made, short)


def drift(model: str, runs: Sequence[str]) -> None:
    for run in runs:
        settings, skills = opened(run)
        whole = WorldModel.from_pretrained(model)
        starts = first_frames([each.episode for each in singles(settings)], whole.context_frames)
        env = world(whole, starts, actors=settings.actors, horizon=SKILL_STEPS * settings.most)
        bounds = {"least": settings.least, "most": settings.most}
        dreamt = imagined(env, skills, settings.long, **bounds, seed=settings.loop.seed, noise=settings.imagined_noise)
        lived = recorded(200, **bounds, seed=77, size=settings.size, noise=settings.imagined_noise)
        read = _reader(settings, skills)
        for name, chains in ((model, dreamt), ("the demonstrator", lived)):
            moved = torch.cat([_moved(chain, read(chain.episode.frames[::SKILL_STEPS])) for chain in chains])
            along, across, other = moved.mean(0).tolist()
            print(f"{run}, {name}: {along:.1f} units along, {across:.1f} across, the other object {other:.1f}")


def _reader(settings: HindsightTraining, skills: Follower) -> Any:
    """Tells where pusher, disc and square are, from what the follower's eyes see: fitted on 1,000 tables."""
    rng = np.random.default_rng(0)
    states = [random_state(rng) for _ in range(1500)]

    def seen(frames: Tensor) -> Tensor:
        with torch.no_grad():
            eyes = skills.eyes(shrunken(frames, settings.shrink))
        return torch.cat([eyes, torch.ones(len(eyes), 1)], dim=1)

    rows = seen(torch.stack([torch.from_numpy(render(each, settings.size)).permute(2, 0, 1) for each in states]))
    true = torch.tensor([(*each.pusher, *each.disc, *each.square) for each in states])
    weights = torch.linalg.lstsq(rows[:1000], true[:1000]).solution
    print(f"read to {(rows[1000:] @ weights - true[1000:]).abs().mean():.2f} units")
    return lambda frames: seen(frames) @ weights


def _moved(chain: Chain, places: Tensor) -> Tensor:
    """Of every instruction: how far what was meant went along its way and across it, and the other object."""
    rows = []
    for number, way in zip(chain.said[::SKILL_STEPS].tolist(), (places[1:] - places[:-1]).view(-1, 3, 2), strict=True):
        meant, aim = 1 + number // len(WAYS), torch.tensor(WAYS[number % len(WAYS)])
        along = way[meant] @ aim
        rows.append(torch.stack([along, (way[meant] - along * aim).norm(), way[3 - meant].norm()]))
    return torch.stack(rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert len(SKILLS) == 2 * len(WAYS)
    if sys.argv[1] == "drift":
        drift(sys.argv[2], sys.argv[3:])
    else:
        {"above": above, "control": control}[sys.argv[1]](sys.argv[2:])
