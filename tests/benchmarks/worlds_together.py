"""Worlds of different lengths that go on together, beside the same worlds one by one and in tiles.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/worlds_together.py [worlds|environments|bits] [MODEL]

worlds         frames a second of 1, 4, 16 and 64 worlds that began at different times: one by one, together, in tiles
environments   steps a second of 32 environments whose episodes end at different steps, as one group and as many
bits           how many different futures one world has, alone and in different company, together and in tiles

Processor time of one thread; every figure is the best of two turns, taken in alternation. Of 64 worlds, every fourth is
stepped by itself.
"""

import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

import ivideo
from ivideo.data import open_episodes
from ivideo.simulate.worlds import Group, Worlds

FRAMES = 5
TURNS = 2


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else "worlds"
    torch.set_num_threads(1)
    model = ivideo.WorldModel.from_pretrained(sys.argv[2] if len(sys.argv) > 2 else "pushing_table")
    {"worlds": worlds, "environments": environments, "bits": bits}[what](model)


def timed(ways: dict[str, Callable[[], None]]) -> dict[str, float]:
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(TURNS):
        for name, way in ways.items():
            began = time.process_time()
            way()
            best[name] = min(best[name], time.process_time() - began)
    return best


def aged(of: Worlds, ages: Sequence[int]) -> list[Group]:
    """World i by itself, after `ages[i]` frames."""
    found: dict[int, Group] = {}
    for age in sorted(set(ages)):
        members = [member for member, own in enumerate(ages) if own == age]
        group, _ = of.begin(members, [np.random.default_rng(member) for member in members])
        for _ in range(age):
            group, _ = of.advance(group, torch.zeros(len(members), 2))
        found |= {member: of.only(group, [member]) for member in members}
    return [found[member] for member in range(len(ages))]


def worlds(model: ivideo.WorldModel) -> None:
    starts = open_episodes("pushing_table", size=model.tokenizer.config.resolution)
    print("worlds  observations  one by one  together  ratio  tiles of 8  ratio")
    prepared = {tile: Worlds(model=model, starts=starts, pixels=False, tile=tile) for tile in (0, 8)}
    ages = [member % 15 for member in range(64)]
    every = {tile: aged(of, ages) for tile, of in prepared.items()}
    for pixels in (True, False):
        for count in (1, 4, 16, 64):
            given = torch.rand(FRAMES, count, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
            sample = range(0, count, 4 if count == 64 else 1)  # one by one, a quarter of 64 is enough to know

            ways = {tile: replace(of, pixels=pixels) for tile, of in prepared.items()}

            def step(
                tile: int, which: Sequence[Sequence[int]], ways: dict[int, Worlds] = ways, given: Tensor = given
            ) -> None:
                for members in which:
                    group = ways[tile].together([every[tile][member] for member in members])
                    for frame in range(FRAMES):
                        group, _ = ways[tile].advance(group, given[frame, list(members)])

            taken = timed(
                {
                    "apart": lambda step=step, sample=sample: step(0, [[member] for member in sample]),
                    "together": lambda step=step, count=count: step(0, [range(count)]),
                    "tiles": lambda step=step, count=count: step(8, [range(count)]),
                }
            )
            apart = len(sample) * FRAMES / taken["apart"]
            together, tiles = (count * FRAMES / taken[name] for name in ("together", "tiles"))
            kind = "pixels" if pixels else "tokens"
            print(
                f"{count:6d}  {kind:12s}  {apart:10.0f}  {together:8.0f}  {together / apart:5.2f}  {tiles:10.0f}  "
                f"{tiles / apart:5.2f}",
                flush=True,
            )


def environments(model: ivideo.WorldModel, count: int = 32, steps: int = 16) -> None:
    def made(joins: bool) -> ivideo.WorldModelEnv:
        env = ivideo.WorldModelEnv(model, num_envs=count, horizon=15, observations="tokens")
        if not joins:
            begin = env._begin

            def apart(which: Sequence[int], rows: object) -> None:
                kept = env.worlds.without(env._groups, which) if which else env._groups
                env._groups = ()
                begin(which, rows)  # type: ignore[arg-type]
                env._groups = (*kept, *env._groups)

            env._begin = apart  # type: ignore[method-assign]
        env.reset(seed=0)
        env._steps = [index % 15 for index in range(count)]  # so that episodes end at different steps
        rng = np.random.default_rng(0)
        for _ in range(15):
            env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        return env

    ways = {}
    for name, joins in (("many groups", False), ("one group", True)):
        env = made(joins)
        snapshot = env.save()
        print(name, "has", len(env._groups), "groups")

        def play(env: ivideo.WorldModelEnv = env, snapshot: object = snapshot) -> None:
            env.restore(snapshot)  # type: ignore[arg-type]
            rng = np.random.default_rng(1)
            for _ in range(steps):
                env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))

        ways[name] = play
    taken = timed(ways)
    rates = {name: count * steps / each for name, each in taken.items()}
    print(
        {name: round(rate) for name, rate in rates.items()}, "steps/s, ratio", rates["one group"] / rates["many groups"]
    )


def bits(model: ivideo.WorldModel, runs: int = 5, frames: int = 8) -> None:
    starts = open_episodes("pushing_table", size=model.tokenizer.config.resolution)
    mine = np.random.default_rng(0).uniform(-1, 1, (frames, 2)).astype(np.float32)
    for tile in (0, 8):
        of = Worlds(model=model, starts=starts, tile=tile, sampling=ivideo.Sampling(temperature=1.0))
        found: dict[int, set[str]] = {}
        for company in (1, 8, 13):
            for _ in range(runs):
                mine_last = [*range(1, company), 0]
                groups = aged(of, [0, *(member % 6 for member in range(1, company))])
                group = of.together([groups[member] for member in mine_last])
                told = hashlib.sha256()
                for frame in range(frames):
                    given = torch.zeros(company, 2)
                    given[-1] = torch.from_numpy(mine[frame])
                    group, seen = of.advance(group, given)
                    for each in (seen.frames, seen.codes, seen.rewards, seen.log_likelihood):
                        assert each is not None
                        told.update(each[-1].numpy().tobytes())
                found.setdefault(company, set()).add(told.hexdigest()[:12])
        print("tile", tile, {company: sorted(each) for company, each in found.items()}, flush=True)


if __name__ == "__main__":
    main()
