"""Which objective to plan by on the pushing table, and whether objective or model bounds what planning reaches.

python tests/benchmarks/planning_objectives.py agreement 50    candidates ranked in imagination and in truth
python tests/benchmarks/planning_objectives.py position 16     trials by where the disc is, instead of by pixels
python tests/benchmarks/planning_objectives.py position 16 1 2 the same, deciding before every action, two iterations
python tests/benchmarks/planning_objectives.py contact MODEL.. how far imagined discs end from true ones, where touched
python tests/benchmarks/planning_objectives.py drift MODEL..   the same by frames, in rollouts and behind true frames
"""

import sys

import torch
from torch import Tensor

from ivideo import WorldModel
from ivideo.evaluation.measures.forcing import read
from ivideo.evaluation.measures.objects import detect
from ivideo.evaluation.statistics import bootstrap
from ivideo.planning import (
    ICEM,
    Classified,
    GoalFeatures,
    GoalImage,
    ModelDynamics,
    TableDynamics,
    Unlikely,
    WeightedSum,
)
from ivideo.planning.noise import coloured
from ivideo.planning.results import markdown, rows
from ivideo.planning.table_dynamics import walk
from ivideo.planning.table_task import instances
from ivideo.planning.trial import ModelSight, TrueSight, run_trial
from ivideo.rollout import pixels
from ivideo.simulate.motion import DEFAULT_GOAL

TABLE = TableDynamics()


def agreement(model: ModelDynamics, count: int) -> None:
    """Rank correlation of scores with how near the disc truly ends, and what the best candidate is worth, in units."""
    found: dict[str, list[tuple[float, float]]] = {}
    for task in instances(count, goals="place", within=8, seed=1):
        goal, frame = (TABLE.draw([each])[0] for each in (task.goal, task.start))
        noise = coloured(48, torch.ones(8, 2), 2.0, torch.Generator().manual_seed(task.number))
        actions = noise.clamp(-1, 1)
        near = torch.tensor([-task.distance(walk(task.start, row)[-1]) for row in actions.tolist()])
        if near.unique().numel() < 5:  # hardly any candidate touches the disc
            continue
        state = model.model.start(frame[None])
        (imagined,) = model.imagine(state, actions, frozenset({"frames", "features", "likelihood"}))
        (true,) = TABLE.imagine(task.start, actions, frozenset({"frames"}))
        pixels, penalty = GoalImage(goal), Unlikely(bar=-1.0)
        for name, objective, dynamics, own, futures in (
            ("simulator, pixels", pixels, TABLE, task.start, true),
            ("model, pixels", pixels, model, state, imagined),
            ("model, pixels of the last frame", GoalImage(goal, which="last"), model, state, imagined),
            ("model, features", GoalFeatures(goal), model, state, imagined),
            ("model, features of the last frame", GoalFeatures(goal, which="last"), model, state, imagined),
            ("model, penalty alone", penalty, model, state, imagined),
            ("model, pixels + 10 penalty", _both(pixels, penalty, 10.0), model, state, imagined),
            ("model, pixels + 100 penalty", _both(pixels, penalty, 100.0), model, state, imagined),
        ):
            score = objective.prepare(dynamics, own)(futures)
            ranked = torch.corrcoef(torch.stack([_ranks(score), _ranks(near)]))[0, 1]
            found.setdefault(name, []).append((float(ranked), float(near[score.argmax()] - near.mean())))
    for name, values in found.items():
        both = torch.tensor(values)
        print(f"| {name} | {len(both)} | {bootstrap(both[:, :1])} | {bootstrap(both[:, 1:])} |")


def position(model: ModelDynamics, count: int, every: int = 3, iterations: int = 3) -> None:
    """Trials in the packaged settings, scored by where the disc is seen in frames and in the goal image."""
    planner = ICEM(horizon=8, samples=48, elites=6, iterations=iterations, std=1.0)
    sights = {"simulator": TrueSight(dynamics=TABLE), "model": ModelSight(dynamics=model)}
    tasks = instances(count, goals="place", within=8)
    trials = {
        who: [run_trial(task, sight, planner, _near, who=who, steps=15, every=every, seed=0) for task in tasks]
        for who, sight in sights.items()
    }
    print(markdown(rows(trials)))


def contact(names: list[str]) -> None:
    """How far the imagined disc is from the true one after eight actions that move it, and in the tokenizer alone."""
    for name in names:
        model = WorldModel.from_pretrained(name)
        off: list[Tensor] = []
        for task in instances(24, goals="place", within=8, seed=1):
            (frame,) = TABLE.draw([task.start])
            actions = coloured(48, torch.ones(8, 2), 2.0, torch.Generator().manual_seed(task.number)).clamp(-1, 1)
            ends = [walk(task.start, row)[-1] for row in actions.tolist()]
            true = torch.tensor([end.disc for end in ends])
            touched = ((true - torch.tensor(task.start.disc)).norm(dim=1) > 1.5).nonzero()[:16, 0]
            if len(touched) < 2:
                continue
            (imagined,) = ModelDynamics(model=model).imagine(
                model.start(frame[None]), actions[touched], frozenset({"frames"})
            )
            clips = torch.stack(
                [torch.stack([frame, each]) for each in TABLE.draw([ends[i] for i in touched.tolist()])]
            )
            with torch.inference_mode():
                coded = pixels(model.tokenizer.decode(model.tokenizer.encode(clips))[:, 1:])
            seen = torch.stack([imagined.frames[:, -1], coded[:, 0]])
            found = torch.stack([detect(frames, DEFAULT_GOAL).positions[:, 1] for frames in seen])
            off.append((found - true[touched]).norm(dim=-1))
        apart = torch.cat(off, dim=1)
        for who, each in zip((name, "its tokenizer"), apart, strict=True):
            known = each[~each.isnan()]
            print(
                f"{who}: {len(known)} of {len(each)} found; mean {known.mean():.2f}, median {known.median():.2f} units"
            )


def drift(names: list[str]) -> None:
    """How far imagined disc and pusher are from the true ones, by frames: in a rollout, and behind true frames."""
    for name in names:
        model = WorldModel.from_pretrained(name)
        apart: dict[str, list[Tensor]] = {}
        moved: list[Tensor] = []
        for task in instances(24, goals="place", within=8, seed=1):
            actions = coloured(16, torch.ones(8, 2), 2.0, torch.Generator().manual_seed(task.number)).clamp(-1, 1)
            ways = [walk(task.start, row) for row in actions.tolist()]
            true = torch.tensor([[(each.pusher, each.disc) for each in way] for way in ways])
            touched = (true[:, -1, 1] - torch.tensor(task.start.disc)).norm(dim=1) > 1.5
            frames = torch.stack([TABLE.draw(way) for way in ways])
            rolled = told = model.start(TABLE.draw([task.start]).expand(16, 1, -1, -1, -1))
            off: dict[str, list[Tensor]] = {"rollout": [], "behind true frames": []}
            for index in range(8):
                rolled, far = model.step(rolled, actions[:, index])
                _, near = model.step(told, actions[:, index])
                for who, seen in zip(off, (far, near), strict=True):
                    assert seen.frame is not None
                    places = detect(seen.frame, DEFAULT_GOAL).positions[:, :2]
                    off[who].append((places - true[:, index]).norm(dim=2))
                with torch.inference_mode():
                    codes = model.tokenizer.encode_frames(frames[:, index, None], told.context)[:, 0]
                told, _ = read(model, told, codes, actions[:, index])
            assert far.frame is not None
            ends = detect(far.frame, DEFAULT_GOAL).positions[:, 1]
            moved.append((ends - torch.tensor(task.start.disc)).norm(dim=1)[~touched] > 1.5)
            for who, each in off.items():
                for part, those in (("touched", touched), ("untouched", ~touched)):
                    for thing, column in zip(
                        ("pusher", "disc"), torch.stack(each, dim=1)[those].unbind(2), strict=True
                    ):
                        apart.setdefault(f"{part}, {thing}, {who}", []).append(column)
        for part, parts in apart.items():
            found = torch.cat(parts)
            print(f"{name}, {part}, {len(found)}:", *(f"{value:.2f}" for value in found.nanmean(dim=0).tolist()))
        drifted = torch.cat(moved)
        print(f"{name}, untouched, but imagined to move by more than 1.5: {int(drifted.sum())} of {len(drifted)}")


def _near(goal: Tensor) -> Classified:
    place = detect(goal, DEFAULT_GOAL).positions[1]
    return Classified(
        lambda frames: -(detect(frames, DEFAULT_GOAL).positions[:, 1] - place).norm(dim=1).nan_to_num(64.0)
    )


def _both(pixels: GoalImage, penalty: Unlikely, weight: float) -> WeightedSum:
    return WeightedSum(parts=((1.0, pixels), (weight, penalty)))


def _ranks(values: Tensor) -> Tensor:
    return values.double().argsort().argsort().double()


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "contact":
        contact(sys.argv[2:])
    elif sys.argv[1] == "drift":
        drift(sys.argv[2:])
    else:
        loaded = ModelDynamics(model=WorldModel.from_pretrained("pushing_table"))
        {"agreement": agreement, "position": position}[sys.argv[1]](loaded, *map(int, sys.argv[2:]))
