"""What docs/hierarchical_planning.md reports of the pushing table: run this file, see its --help.

consistency   R2 of actions read off true, decoded and imagined frames
teleports     how many planted jumps the filter catches, and how many videos without one it discards
search        success of a tree search over commands beside one-shot videos, on the task of `ivideo plan`
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ivideo.evaluation.clips import HELD_OUT
from ivideo.evaluation.statistics import bootstrap
from ivideo.planning import (
    ICEM,
    CommandedVideos,
    FrameDynamics,
    FrameSight,
    GoalImage,
    ImaginedVideos,
    InverseDynamics,
    ModelDynamics,
    PixelNearness,
    RandomShooting,
    StepsLeft,
    TableDynamics,
    TeleportFilter,
    TreeSearch,
    VideoPlanner,
    Words,
)
from ivideo.planning.table_task import instances
from ivideo.planning.tree import Heuristic, table_commands
from ivideo.planning.trial import TrueSight, run_trial
from ivideo.planning.videos import imagined
from ivideo.simulate.demonstrations import Demonstration, demonstrations
from ivideo.simulate.motion import DISC_RADIUS, TABLE, WALL, TableState
from ivideo.simulate.policies import Pusher
from ivideo.simulate.pushing_table import TOLERANCE, penetration
from ivideo.training.held_out import to_uint8
from ivideo.training.inverse_dynamics import explained
from ivideo.world_model import WorldModel

SEEDS = HELD_OUT + 30_000
"""Of demonstrations that neither training nor the planning task has seen."""
FRAMES = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("consistency", "teleports", "search"))
    parser.add_argument("--inverse", default="runs/inverse_dynamics/pushing_table")
    parser.add_argument("--steps", default=None, help="a network of pushing_table_steps; pixels without")
    parser.add_argument("--model", default="pushing_table")
    parser.add_argument("--count", type=int, default=100, help="videos, or instances of the task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--who", nargs="*", default=None, help="of the search's rows, these alone")
    given = parser.parse_args()
    dynamics = ModelDynamics(model=WorldModel.from_pretrained(given.model))
    inverse = InverseDynamics.from_pretrained(given.inverse)
    heuristic = (
        PixelNearness() if given.steps is None else StepsLeft(network=InverseDynamics.from_pretrained(given.steps))
    )
    if given.what == "consistency":
        consistency(dynamics, inverse, given.count, given.seed)
    elif given.what == "teleports":
        teleports(dynamics, heuristic, given.count, given.seed)
    else:
        search(dynamics, inverse, heuristic, given.count, given.seed, given.who)


def played(count: int, seed: int) -> list[Demonstration]:
    found = []
    for each in demonstrations(Pusher(), 10 * count, SEEDS + seed):
        if len(each.states) > FRAMES + 1:
            found.append(each)
        if len(found) == count:
            break
    return found


def futures(dynamics: ModelDynamics, found: list[Demonstration]) -> Tensor:
    """The first frames of demonstrations as the model imagines them, from the first one on."""
    videos = []
    for number, each in enumerate(found):
        actions = each.episode.actions
        assert actions is not None
        videos.append(imagined(dynamics, each.episode.frames[:1], actions[None, : FRAMES - 1], seed=number))
    return torch.cat(videos)


def consistency(dynamics: ModelDynamics, inverse: InverseDynamics, count: int, seed: int) -> None:
    found = played(count, seed)
    truth = torch.stack([each.episode.frames[:FRAMES] for each in found])
    actions = torch.stack([each.episode.actions[: FRAMES - 1] for each in found if each.episode.actions is not None])
    tokenizer = dynamics.model.tokenizer
    with torch.inference_mode():
        decoded = torch.cat([to_uint8(tokenizer.decode(tokenizer.encode(clip[None]))) for clip in truth])
    for name, video in (("true", truth), ("decoded", decoded), ("imagined", futures(dynamics, found))):
        print(f"{name:10s} R2 {explained(actions, inverse.recover(video)):.4f}")


def jumped(found: Demonstration, rng: np.random.Generator) -> Tensor:
    """The same video, true but for its disc, which is somewhere else from some frame on, 6 to 16 units away."""
    at = int(rng.integers(1, FRAMES))
    states = list(found.states[:FRAMES])
    low, high = WALL + DISC_RADIUS, TABLE - WALL - DISC_RADIUS
    while True:
        far, angle = rng.uniform(6, 16), rng.uniform(0, 2 * np.pi)
        x, y = far * np.cos(angle), far * np.sin(angle)
        moved: list[TableState] = []
        for state in states[at:]:
            disc = (state.disc[0] + x, state.disc[1] + y)
            moved.append(replace(state, disc=disc))
        inside = all(low <= value <= high for state in moved for value in state.disc)
        if inside and all(penetration(state) <= TOLERANCE for state in moved):
            return TableDynamics().draw(states[:at] + moved)


def teleports(dynamics: ModelDynamics, heuristic: Heuristic, count: int, seed: int) -> None:
    """Thresholds from one half of the videos, with 1% of false alarms each; rates on the other half.

    Imagined videos with a jump: the imagined frames up to it, and after it what the model's tokenizer makes of the
    jumped ones.
    """
    found = played(2 * count, seed)
    rng = np.random.default_rng(seed)
    goals = [each.states[min(len(each.states) - 1, FRAMES + 8)] for each in found]
    wanted = TableDynamics().draw(goals)
    true = torch.stack([each.episode.frames[:FRAMES] for each in found])
    jumps = torch.stack([jumped(each, rng) for each in found[count:]])
    tokenizer = dynamics.model.tokenizer
    dreamt = futures(dynamics, found)
    with torch.inference_mode():
        seen = torch.cat([to_uint8(tokenizer.decode(tokenizer.encode(clip[None]))) for clip in jumps])
    first = (jumps != true[count:]).flatten(2).any(dim=2).float().argmax(dim=1)
    later = (torch.arange(FRAMES)[None] >= first[:, None])[:, :, None, None, None]
    for name, clean, planted in (("true", true, jumps), ("imagined", dreamt, torch.where(later, seen, dreamt[count:]))):
        scored = torch.stack([heuristic(video, goal) for video, goal in zip(clean, wanted, strict=True)])
        rated = torch.stack([heuristic(video, goal) for video, goal in zip(planted, wanted[count:], strict=True)])
        both = TeleportFilter.calibrated(clean[:count], scored[:count])
        for kind, judge in (
            ("score", replace(both, unexplained=None)),
            ("pixels", replace(both, jump=None)),
            ("both", both),
        ):
            caught = 1 - float(judge.keeps(planted, rated).float().mean())
            alarms = 1 - float(judge.keeps(clean[count:], scored[count:]).float().mean())
            print(f"{name:9s} {kind:7s} caught {caught:.3f}  false alarms {alarms:.3f}")
        print(f"{name:9s} thresholds: jump {both.jump:.3f}, unexplained {both.unexplained:.4f}")


def search(
    dynamics: ModelDynamics,
    inverse: InverseDynamics,
    heuristic: Heuristic,
    count: int,
    seed: int,
    who: Sequence[str] | None,
) -> None:
    tasks = instances(count, goals="place", within=8, seed=seed)
    calm = futures(dynamics, played(40, seed + 1))
    judge = replace(TeleportFilter.calibrated(calm), jump=None)
    maker = CommandedVideos(dynamics=dynamics, commands=table_commands(), frames=2, noise=0.3)
    proposer = Words(sentences=tuple(table_commands()))
    rows: dict[str, VideoPlanner] = {}

    def tree(beams: int, subgoals: int, videos: int, *, checked: bool = True) -> TreeSearch:
        return TreeSearch(
            maker=maker,
            proposer=proposer,
            heuristic=heuristic,
            teleports=judge if checked else None,
            beams=beams,
            subgoals=subgoals,
            videos=videos,
            depth=4,
        )

    whole = replace(maker, frames=8)
    for name, made in (
        ("one video", tree(1, 1, 1)),
        ("best of 64 whole videos", replace(tree(1, 8, 8), maker=whole, depth=1)),
        ("1 beam, 8 commands, 1 video", tree(1, 8, 1)),
        ("2 beams, 8 commands, 4 videos", tree(2, 8, 4)),
        ("the same, unfiltered", tree(2, 8, 4, checked=False)),
        ("planner's video", ImaginedVideos(dynamics=dynamics, planner=PLANNER)),
    ):
        rows[name] = VideoPlanner(maker=made, inverse=inverse, horizon=8)
    rows["planner's own actions"] = replace(rows["planner's video"], known=True)
    how = {"steps": 15, "every": 3, "seed": seed}
    for name, planner in rows.items():
        if who and name not in who:
            continue
        sight = FrameSight(dynamics=FrameDynamics(dynamics=dynamics))
        trials = [run_trial(task, sight, planner, GoalImage, who=name, **how) for task in tasks]
        report(name, trials)
    table = TrueSight(dynamics=TableDynamics())
    if not who or "random" in who:
        chance = RandomShooting(horizon=8, samples=1)
        report("random", [run_trial(t, table, chance, GoalImage, who="random", **how | {"every": 1}) for t in tasks])


PLANNER = ICEM(horizon=8, samples=48, elites=6, iterations=3, std=1.0)


def report(name: str, trials: Sequence[object]) -> None:
    solved = torch.tensor([float(each.solved) for each in trials])  # type: ignore[attr-defined]
    final = torch.tensor([each.distances[-1] for each in trials])  # type: ignore[attr-defined]
    gained = torch.tensor([each.distances[0] - each.distances[-1] for each in trials])  # type: ignore[attr-defined]
    decisions = max(1, sum(each.decisions for each in trials))  # type: ignore[attr-defined]
    line = {
        "who": name,
        "solved": str(bootstrap(100 * solved)),
        "final": str(bootstrap(final)),
        "progress": str(bootstrap(gained)),
        "seconds": round(sum(each.seconds for each in trials) / decisions, 2),  # type: ignore[attr-defined]
        "frames": round(sum(each.imagined for each in trials) / decisions),  # type: ignore[attr-defined]
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
