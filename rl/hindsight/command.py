"""`ivideo rl hindsight`: goals that take several instructions, learned from what the world model imagines of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ivideo import WorldModel
from ivideo.config import parse, save_config
from ivideo.config.limits import check_least
from ivideo.evaluation.statistics import Interval
from ivideo.files import replace_file
from ivideo.simulate.skills import SKILL_STEPS, SKILLS
from ivideo.training import randomness
from ivideo.training.loop import fit
from ivideo.training.loop_config import LoopConfig
from ivideo.training.optim import OptimizerConfig
from ivideo.training.resumable import Resumable
from ivideo.training.run import RunConfig
from rl.hindsight.chains import Chain, imagined, recorded
from rl.hindsight.distance import Reductions
from rl.hindsight.eyes import EyesConfig
from rl.hindsight.follower import Follower, FollowerConfig
from rl.hindsight.lessons import Hindsight, Told
from rl.hindsight.planner import Planner, PlannerConfig
from rl.hindsight.trial import (
    Act,
    Trial,
    attempt,
    demonstrated,
    guessing,
    idling,
    instructing,
    planning,
    summary,
    telling,
    trials,
)
from rl.reinforce.imagined import first_frames, world

_LONG = 1 << 22
"""Added to the seed of recorded chains, apart from single instructions."""
_ACTIONS = 2
"""Numbers in an action of the table."""
Results = dict[str, dict[str, Interval]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HindsightTraining(Resumable):
    """Chain instructions in the world model, and learn to reach what they came to; beside it, single ones alone."""

    world_model: str = "pushing_table"
    """A model of the pushing table: a folder, a run, a Hub id or "pushing_table"."""
    short: int = 2000
    """Recorded episodes of one instruction: what the skills are learned from, and the baseline."""
    long: int = 512
    """Imagined chains, which take the place of episodes with as many instructions."""
    recorded: bool = False
    """Learn from as many chains of the scripted demonstrator on the true table as well, to compare."""
    least: int = 3
    """Instructions of a chain, at least (UniSim: 3)."""
    most: int = 5
    """Instructions of a chain, at most (UniSim: 5)."""
    actors: int = 64
    """Chains that are imagined side by side."""
    noise: float = 0.6
    """How unsteady the hand is in recorded chains, at most: standard deviation of what is added to actions."""
    imagined_noise: float = 0.3
    """The same in imagined chains."""
    size: int = 64
    """Side of the frames in pixels, as the model shows them."""
    shrink: int = 2
    """What is seen are means over squares of this side, in pixels."""
    eyes: EyesConfig = field(default_factory=EyesConfig)
    """All networks."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How weights are updated."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How long each of the networks learns."""
    trials: int = 50
    """Goals on the true table to measure on, of chains and of single instructions; the same in every run."""
    trial_seed: int = 0
    """Draws these goals; choose settings by another one than you report."""
    run: RunConfig = field(default_factory=lambda: RunConfig(folder=Path("runs/rl/hindsight")))
    """Where the run lives: skills/, short/, imagined/ and recorded/ are runs in it."""

    def __post_init__(self) -> None:
        check_least(self, short=1, long=1, least=1, most=self.least, actors=1, shrink=1, trials=1)
        check_least(self, noise=0, imagined_noise=0)


def main(argv: list[str]) -> int:
    """`ivideo rl hindsight`: 0 when the run is complete, 130 or 143 when a signal stopped it."""
    return hindsight(
        parse(
            HindsightTraining,
            argv,
            prog="ivideo rl hindsight",
            description="Learn to reach goals from chains of instructions that the world model imagines.",
            config_folder="rl",
        )
    )


def hindsight(settings: HindsightTraining) -> int:
    """Do all that the settings say; the exit status."""
    settings.start(settings.loop.seed)
    model = WorldModel.from_pretrained(settings.world_model)
    check_fits(settings, model)
    folder, seed = settings.run.folder, settings.loop.seed
    folder.mkdir(parents=True, exist_ok=True)
    save_config(settings.stored(), folder / "config.yaml")
    short = recorded(settings.short, least=1, most=1, seed=seed, size=settings.size, noise=settings.noise)
    shape: dict[str, Any] = {"size": settings.size // settings.shrink, "eyes": settings.eyes}
    randomness.seed_all(seed)
    skills = Follower(FollowerConfig(**shape))
    status = _fit("skills", skills, settings, lambda: Told.of(short, shrink=settings.shrink))
    planners: dict[str, Planner] = {}
    for name, make in _makers(settings, model, short, skills.eval()).items():
        if status:
            return status
        randomness.seed_all(seed)
        planners[name] = Planner(PlannerConfig(**shape), skills.eyes)
        status = _fit(name, planners[name], settings, partial(_pairs, settings, make, skills))
    if status:
        return status
    results = measure(settings, skills, {name: planner.eval() for name, planner in planners.items()})
    document = {name: {of: asdict(interval) for of, interval in row.items()} for name, row in results.items()}
    replace_file(folder / "results.json", lambda path: path.write_text(json.dumps(document, indent=1) + "\n"))
    print("\n".join(table(results)))
    print(f"the networks are in {folder}; results.json holds these figures")
    return 0


def measure(settings: HindsightTraining, skills: Follower, planners: dict[str, Planner]) -> Results:
    """RDG of everyone who acts, over the same goals, with 95% intervals over goals.

    Every row holds that of goals that chains lead to, and `single`: of goals of one instruction, with the steps of one.
    """
    chains = _measured(settings, skills, planners, settings.least, settings.most)
    single = _measured(settings, skills, planners, 1, 1)
    return {name: row | {"single": single[name]["moved"]} for name, row in chains.items()}


def table(results: Results) -> list[str]:
    """Lines for people."""
    lines = [f"{'who':<26}  {'RDG, moved':<22}  {'disc and square':<22}  {'with the pusher':<22}  one instruction"]
    return lines + [
        f"{name:<26}  {row['moved']!s:<22}  {row['objects']!s:<22}  {row['everything']!s:<22}  {row['single']!s}"
        for name, row in results.items()
    ]


def check_fits(settings: HindsightTraining, model: WorldModel) -> None:
    """ValueError for a model that is not of the pushing table, or shows it at another size."""
    if model.action_dim != _ACTIONS:
        raise ValueError(
            f"{settings.world_model} takes {model.action_dim} numbers as an action and the pushing table {_ACTIONS}; "
            "instructions are those of the table: take a model of it"
        )
    if model.tokenizer.config.resolution != settings.size:
        raise ValueError(
            f"{settings.world_model} shows {model.tokenizer.config.resolution} px and size is {settings.size}; set "
            "size to what the model shows"
        )


def instead(short: Sequence[Chain], long: Sequence[Chain]) -> list[Chain]:
    """Chains, and as many of the single instructions as make all instructions as many as the single ones were."""
    taken = sum(len(each.said) for each in long) // SKILL_STEPS
    return [*long, *short[: max(0, len(short) - taken)]]


def _measured(
    settings: HindsightTraining, skills: Follower, planners: dict[str, Planner], least: int, most: int
) -> Results:
    given = trials(settings.trials, least=least, most=most, seed=settings.trial_seed)
    found = {"random actions": _attempted(settings, given, idling(0), most)}
    says = {"random instructions": guessing(0)} | {name: planning(each) for name, each in planners.items()}
    for name, say in (says | {"what led there": telling(given)}).items():
        found[name] = _attempted(settings, given, instructing(say, skills), most)
    found["what led there, scripted"] = demonstrated(given, settings.trial_seed)
    rows = {name: summary(each) for name, each in found.items()}
    return rows | {
        f"{name} above short": summary(found[name], beside=found["short"]) for name in planners if name != "short"
    }


def _attempted(settings: HindsightTraining, given: Sequence[Trial], act: Act, most: int) -> list[Reductions]:
    size = settings.size // settings.shrink
    return attempt(given, act, steps=SKILL_STEPS * most, size=settings.size, seen=size)


def _makers(
    settings: HindsightTraining, model: WorldModel, short: Sequence[Chain], skills: Follower
) -> dict[str, Callable[[], Sequence[Chain]]]:
    """What every planner learns from, made when it is its turn."""
    seed = settings.loop.seed
    bounds = {"least": settings.least, "most": settings.most}

    def dreamt() -> Sequence[Chain]:
        starts = first_frames([each.episode for each in short], model.context_frames)
        env = world(model, starts, actors=settings.actors, horizon=SKILL_STEPS * settings.most)
        return imagined(env, skills, settings.long, **bounds, seed=seed, noise=settings.imagined_noise)

    def lived() -> Sequence[Chain]:
        return recorded(settings.long, **bounds, seed=seed + _LONG, size=settings.size, noise=settings.imagined_noise)

    makers: dict[str, Callable[[], Sequence[Chain]]] = {
        "short": lambda: short,
        "imagined": lambda: instead(short, dreamt()),
    }
    return makers | ({"recorded": lambda: instead(short, lived())} if settings.recorded else {})


def _pairs(settings: HindsightTraining, make: Callable[[], Sequence[Chain]], skills: Follower) -> Hindsight:
    return Hindsight.of(make(), skills.eyes, shrink=settings.shrink, sentences=len(SKILLS))


def _fit(
    name: str,
    learner: Follower | Planner,
    settings: HindsightTraining,
    make: Callable[[], Told | Hindsight],
) -> int:
    """Train one of the networks in a run of its own; the exit status. Nothing is made for a run that is complete."""
    lessons, loop = cache(make), settings.loop

    def loss(batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        value: tuple[torch.Tensor, dict[str, torch.Tensor]] = batch.loss(learner)
        return value

    with settings.open(name) as run:
        assert isinstance(learner, nn.Module)
        result = fit(
            learner,
            loss,
            lambda index: lessons().drawn(loop.batch_size, loop.seed, index),
            loop=loop,
            optimizer=settings.optimizer,
            run=run,
            export=learner.save,
        )
    return result.exit_code
