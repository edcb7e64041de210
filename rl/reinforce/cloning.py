"""`ivideo rl clone`: a policy that does what demonstrators did, and how many steps they needed from there."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ivideo import Episode
from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.training.loop import fit
from ivideo.training.loop_config import LoopConfig
from ivideo.training.optim import OptimizerConfig
from ivideo.training.outcome import Evaluation, FitResult
from ivideo.training.resumable import Resumable
from ivideo.training.run import RunConfig
from rl.reinforce.lessons import Lessons
from rl.reinforce.network import SightConfig
from rl.reinforce.policy import Policy, PolicyConfig
from rl.reinforce.steps import StepsToGo, StepsToGoConfig, agreement
from rl.reinforce.truth import success_of
from rl.tasks import Task, TaskOptions, demonstrations, open_task, read_demonstrations

HEADLINE = ("loss", "eval/success", "steps_to_go/rank_correlation")
ASTRAY = 25
"""Steps by which a demonstrator may be led astray."""
_HELD_OUT = 1 << 20
"""Added to the seed of demonstrations: those are not learned from."""
_LED = 1 << 21
"""The same of those that begin astray."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneTraining(Resumable):
    """Imitate demonstrations that succeed, and learn how many steps they had left."""

    task: str = "pushing_table"
    """What is to be done, as `ivideo rl drqv2` takes it."""
    options: TaskOptions = field(default_factory=TaskOptions)
    """How the task is set up; null leaves it to the task."""
    scripted: int = 100
    """So many episodes of the task's scripted demonstrator are imitated."""
    steps_scripted: int = 300
    """So many more are learned from by what reads the steps to go, which has to know more than one way."""
    astray_scripted: int = 0
    """So many more, for the same, begin where things were pushed about before, up to `ASTRAY` steps long."""
    folder: str | None = None
    """Recorded episodes to learn from instead: any data set that `ivideo data show` opens, all of which succeed."""
    held_out: int = 50
    """Episodes more that steps to go are measured on."""
    size: int = 64
    """Side of the frames in pixels; a world model to go on in has to show as large ones."""
    shrink: int = 2
    """What is seen are means over squares of this side, in pixels."""
    stack: int = 2
    """Frames that the policy sees at once (UniSim: 2)."""
    sight: SightConfig = field(default_factory=SightConfig)
    """Both networks."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How weights are updated."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How long, how often to look."""
    evaluation_episodes: int = 50
    """Episodes in the task in an evaluation, the same in every one."""
    run: RunConfig = field(default_factory=lambda: RunConfig(folder=Path("runs/rl/clone")))

    def __post_init__(self) -> None:
        check_least(
            self,
            scripted=1,
            steps_scripted=0,
            astray_scripted=0,
            held_out=2,
            size=8,
            shrink=1,
            stack=1,
            evaluation_episodes=1,
        )


def main(argv: list[str]) -> int:
    """`ivideo rl clone`: 0 when the run is complete, 130 or 143 when a signal stopped it."""
    settings = parse(
        CloneTraining,
        argv,
        prog="ivideo rl clone",
        description="Imitate demonstrations from pixels. Ctrl-C saves; --resume goes on.",
        config_folder="rl",
    )
    result = clone(settings)
    if result.exit_code == 0:
        folder = settings.run.folder
        print(f"the policy is in {folder / 'model'}; next: ivideo rl reinforce --policy {folder}")
    return result.exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Homework:
    """A batch for the policy, and one for the steps."""

    policy: Lessons
    steps: Lessons

    def to(self, device: Any, /) -> "Homework":
        """The same on another device."""
        return Homework(policy=self.policy.to(device), steps=self.steps.to(device))


class Student(nn.Module):
    """What learns: the policy, and how many steps are left."""

    def __init__(self, policy: Policy, steps: StepsToGo) -> None:
        super().__init__()
        self.policy, self.steps = policy, steps

    def loss(self, batch: Homework) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Nats of the actions, and the squared error of the steps."""
        shown = batch.policy
        likely = self.policy.log_probability(self.policy(shown.observations), shown.actions)
        imitated = -(likely * shown.acted).sum() / shown.acted.sum().clamp(min=1)
        missed = self.steps.loss(batch.steps.observations[:, -3:], batch.steps.left)
        value = imitated + missed
        return value, {"loss": value.detach(), "clone": imitated.detach(), "steps": missed.detach()}

    def save(self, folder: Path) -> None:
        """Write both networks into a folder that exists."""
        self.policy.save(folder)
        self.steps.save(folder)


def clone(settings: CloneTraining) -> FitResult:
    """Train as the settings say."""
    settings.start(settings.loop.seed)
    task = open_task(settings.task, size=settings.size, options=settings.options)
    shown, further, held = shown_episodes(settings, task)
    seen, seed = settings.size // settings.shrink, settings.loop.seed
    longest = max(len(episode) - 1 for episode in (*shown, *further))
    student = Student(
        Policy(PolicyConfig(size=seen, stack=settings.stack, action_dim=task.action_dim, sight=settings.sight)),
        StepsToGo(StepsToGoConfig(size=seen, most=float(longest), sight=settings.sight)),
    )
    lessons = Lessons.of(shown, stack=settings.stack, shrink=settings.shrink)
    steps = Lessons.of([*shown, *further], stack=1, shrink=settings.shrink)

    def batch(index: int) -> Homework:
        count = settings.loop.batch_size
        return Homework(policy=lessons.drawn(count, seed, index), steps=steps.drawn(count, seed, -1 - index))

    def evaluate(step: int) -> Evaluation:
        figures = success_of(student.policy, task, settings.evaluation_episodes)
        told = agreement(student.steps, held, settings.shrink)
        figures |= {
            "steps_to_go/rank_correlation": told.network.value,
            "steps_to_go/rank_correlation_low": told.network.low,
            "steps_to_go/rank_correlation_of_pixels": told.pixels.value,
            "steps_to_go/error": told.error,
        }
        return Evaluation(figures=figures)

    with settings.open() as run:
        result = fit(
            student,
            student.loss,
            batch,
            loop=settings.loop,
            optimizer=settings.optimizer,
            run=run,
            evaluate=evaluate,
            export=student.save,
            headline=HEADLINE,
        )
    task.env.close()
    return result


def shown_episodes(settings: CloneTraining, task: Task) -> tuple[list[Episode], list[Episode], list[Episode]]:
    """What is imitated, what only the steps are learned from, and what is held out of both."""
    if settings.folder is not None:
        found = read_demonstrations(settings.folder, task)
        if len(found) <= settings.held_out:
            raise ValueError(
                f"{settings.folder} holds {len(found)} episodes and held_out is {settings.held_out}; record more, or "
                "hold out fewer"
            )
        return found[: -settings.held_out], [], found[-settings.held_out :]
    seed, count = settings.loop.seed, settings.scripted
    # A longer list begins with a shorter one.
    played = demonstrations(settings.task, count + settings.steps_scripted, seed, settings.options, size=settings.size)
    held = demonstrations(settings.task, settings.held_out, seed + _HELD_OUT, settings.options, size=settings.size)
    further = played[count:]
    if settings.astray_scripted:
        further += demonstrations(
            settings.task,
            settings.astray_scripted,
            seed + _LED,
            settings.options,
            size=settings.size,
            astray=ASTRAY,
        )
    return played[:count], further, held
