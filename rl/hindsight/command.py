"""`ivideo rl hindsight`: goals that take several instructions, learned from what the world model imagines of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

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
from ivideo.training.run import RunConfig, RunFolder, check_vacant
from rl.hindsight.chains import Chain, imagined, recorded
from rl.hindsight.learner import Apprentice, GoalLearner, lessons_of
from rl.hindsight.trial import Act, acting, attempt, guessing, idling, instructing, summary, trials
from rl.reinforce.imagined import first_frames, world
from rl.reinforce.lessons import Lessons
from rl.reinforce.network import SightConfig
from rl.reinforce.policy import Policy, PolicyConfig

_LONG = 1 << 22
"""Added to the seed of recorded chains, apart from single instructions."""
_ACTIONS = 2
"""Numbers in an action of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HindsightTraining:
    """Chain instructions in the world model, and learn to reach what they came to; beside it, single ones alone."""

    world_model: str = "pushing_table"
    """A model of the pushing table: a folder, a run, a Hub id or "pushing_table"."""
    short: int = 400
    """Recorded episodes of one instruction: what the skills are learned from, and the baseline."""
    long: int = 256
    """Imagined chains."""
    recorded: bool = False
    """Learn from as many chains of the scripted demonstrator on the true table as well, to compare."""
    least: int = 3
    """Instructions of a chain, at least (UniSim: 3)."""
    most: int = 5
    """Instructions of a chain, at most (UniSim: 5)."""
    actors: int = 64
    """Chains that are imagined side by side."""
    size: int = 64
    """Side of the frames in pixels, as the model shows them."""
    shrink: int = 2
    """What is seen are means over squares of this side, in pixels."""
    stack: int = 2
    """Frames that are seen at once."""
    sight: SightConfig = field(default_factory=SightConfig)
    """All networks."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How weights are updated."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How long each of the networks learns."""
    trials: int = 50
    """Goals on the true table to measure on, the same in every run."""
    run: RunConfig = field(default_factory=lambda: RunConfig(folder=Path("runs/rl/hindsight")))
    """Where the run lives: skills/, short/, imagined/ and recorded/ are runs in it."""
    resume: bool = False
    """Go on with the run in the run's folder."""
    overwrite: bool = False
    """Delete the runs in the run's folder and start anew."""

    def __post_init__(self) -> None:
        check_least(self, short=1, long=1, least=1, most=self.least, actors=1, shrink=1, stack=1, trials=1)


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
    check_vacant(settings.run, resume=settings.resume, overwrite=settings.overwrite)
    model = WorldModel.from_pretrained(settings.world_model)
    check_fits(settings, model)
    folder, seed = settings.run.folder, settings.loop.seed
    folder.mkdir(parents=True, exist_ok=True)
    save_config(replace(settings, resume=False, overwrite=False), folder / "config.yaml")
    short = recorded(settings.short, least=1, most=1, seed=seed, size=settings.size)
    sight: dict[str, Any] = {"size": settings.size // settings.shrink, "stack": settings.stack, "action_dim": _ACTIONS}
    randomness.seed_all(seed)
    apprentice = Apprentice(Policy(PolicyConfig(**sight, sentences=SKILLS, sight=settings.sight)))
    status = _fit("skills", apprentice, settings, lambda: short, goals=False)
    skills, learners, makers = apprentice.policy.eval(), {}, _makers(settings, model, short, apprentice.policy)
    for name, make in makers.items():
        if status:
            return status
        randomness.seed_all(seed)
        learners[name] = GoalLearner.fresh(**sight, sight=settings.sight)
        status = _fit(name, learners[name], settings, make, goals=True)
    if status:
        return status
    acts = {"random actions": idling(0), "random instructions": guessing(skills, 0)}
    for name, learner in learners.items():
        acts[f"{name}, actions"] = acting(learner.eval().policy)
        acts[f"{name}, instructions"] = instructing(learner.planner, skills)
    results = measure(settings, acts)
    document = {name: {of: asdict(interval) for of, interval in row.items()} for name, row in results.items()}
    replace_file(folder / "results.json", lambda path: path.write_text(json.dumps(document, indent=1) + "\n"))
    print("\n".join(table(results)))
    print(f"the networks are in {folder}; results.json holds these figures")
    return 0


def measure(settings: HindsightTraining, acts: dict[str, Act]) -> dict[str, dict[str, Interval]]:
    """RDG of everyone who acts, over the same goals, with 95% intervals over goals."""
    given = trials(settings.trials, least=settings.least, most=settings.most)
    size, steps = settings.size // settings.shrink, SKILL_STEPS * settings.most
    return {
        name: summary(attempt(given, act, steps=steps, size=settings.size, seen=size, stack=settings.stack))
        for name, act in acts.items()
    }


def table(results: dict[str, dict[str, Interval]]) -> list[str]:
    """Lines for people."""
    lines = [f"{'learned from, by':<26}  {'RDG, moved':<22}  {'disc and square':<22}  with the pusher"]
    return lines + [
        f"{name:<26}  {row['moved']!s:<22}  {row['objects']!s:<22}  {row['everything']!s}"
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


def _makers(
    settings: HindsightTraining, model: WorldModel, short: Sequence[Chain], skills: Policy
) -> dict[str, Callable[[], Sequence[Chain]]]:
    """What every learner learns from, made when it is its turn."""
    seed = settings.loop.seed
    bounds = {"least": settings.least, "most": settings.most}

    def dreamt() -> Sequence[Chain]:
        starts = first_frames([each.episode for each in short], model.context_frames)
        env = world(model, starts, actors=settings.actors, horizon=SKILL_STEPS * settings.most)
        return imagined(env, skills.eval(), settings.long, **bounds, seed=seed)

    def lived() -> Sequence[Chain]:
        return recorded(settings.long, **bounds, seed=seed + _LONG, size=settings.size)

    makers: dict[str, Callable[[], Sequence[Chain]]] = {"short": lambda: short, "imagined": dreamt}
    return makers | ({"recorded": lived} if settings.recorded else {})


def _fit(
    name: str,
    learner: Apprentice | GoalLearner,
    settings: HindsightTraining,
    make: Callable[[], Sequence[Chain]],
    *,
    goals: bool,
) -> int:
    """Train one of the networks in a run of its own; the exit status. Nothing is made for a run that is complete."""

    @cache
    def lessons() -> Lessons:
        return lessons_of(make(), stack=settings.stack, shrink=settings.shrink, goals=goals)

    config = replace(settings.run, folder=settings.run.folder / name)
    loop = settings.loop
    with RunFolder(config, settings, resume=settings.resume, overwrite=settings.overwrite) as run:
        assert isinstance(learner, nn.Module)
        result = fit(
            learner,
            learner.loss,
            lambda index: lessons().drawn(loop.batch_size, loop.seed, index),
            loop=loop,
            optimizer=settings.optimizer,
            run=run,
            export=learner.save,
        )
    return result.exit_code
