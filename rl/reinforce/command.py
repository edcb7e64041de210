"""`ivideo rl reinforce`: a cloned policy goes on learning in the world model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ivideo import Episode, WorldModel, WorldModelEnv, open_episodes
from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.files import staged_folder
from ivideo.training.checkpoints import Checkpoint
from ivideo.training.resumable import Resumable
from ivideo.training.run import RunConfig, RunFolder
from ivideo.training.signals import StopSignals
from rl.reinforce.imagined import first_frames, imagine, lived, world
from rl.reinforce.learner import Learner, LearnerConfig
from rl.reinforce.policy import Policy
from rl.reinforce.steps import WORTH, StepsToGo
from rl.reinforce.truth import played, share_of
from rl.report.records import RunRecords
from rl.tasks import Task, TaskOptions, demonstrations, open_task

HEADLINE = ("imagined/reward", "imagined/reached", "eval/success", "eval/reward")
_LEARNING, _EVALUATION = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforceTraining(Resumable):
    """Go on learning in a world model, from the fall of the steps to go. Published settings where nothing is said."""

    policy: Path = Path("runs/rl/clone")
    """A run of `ivideo rl clone`: the policy to begin with, and what reads the steps to go, which stays as it is."""
    world_model: str = "pushing_table"
    """A folder, a run, a Hub id or "pushing_table"."""
    task: str = "pushing_table"
    """The true task, in which nothing is learned: it is there to evaluate."""
    options: TaskOptions = field(default_factory=TaskOptions)
    """How the task is set up; null leaves it to the task."""
    starts: str | None = None
    """Episodes that imagined ones begin in, as `open_episodes` takes them; null: `scripted` demonstrations."""
    scripted: int = 100
    """Demonstrations to begin in, where `starts` names no others."""
    begin: Literal["anywhere", "first"] = "anywhere"
    """Where in an episode: anywhere, or at its first frame."""
    actors: int = 64
    """Episodes that are imagined side by side."""
    horizon: int = 100
    """Steps of an imagined episode at most."""
    worth: float = WORTH
    """Reward of a step nearer."""
    reached: float = 0.5
    """Steps to go below which an imagined episode is over."""
    jump: float | None = None
    """Change of the steps to go in one step that ends an imagined episode before it: no action does that, so the model
    has lost an object or moved it by itself (after VLP's filter, arXiv 2310.10625); null, as published, ends none."""
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    """The updates."""
    rounds: int = 100
    """Times that all actors live an episode and the policy learns from them."""
    evaluate_every: int = 10
    """Rounds between evaluations; there is one before the first round and one after the last in any case."""
    evaluation_episodes: int = 50
    """Episodes in the task in an evaluation, the same in every one."""
    checkpoint_every: int = 10
    """Rounds between checkpoints; there is one at the end in any case."""
    seed: int = 0
    """Decides beginnings, tokens, actions and batches."""
    run: RunConfig = field(default_factory=lambda: RunConfig(folder=Path("runs/rl/reinforce")))

    def __post_init__(self) -> None:
        least = dict.fromkeys(("scripted", "actors", "horizon", "evaluate_every", "evaluation_episodes"), 1)
        check_least(self, **least, rounds=1, checkpoint_every=1, seed=0)
        if self.jump is not None and not self.jump > 1:
            raise ValueError(f"jump is {self.jump}; expected more than 1 step, which is what an action may change")
        if not self.worth > 0:
            raise ValueError(f"worth is {self.worth}; expected more than 0, for nearer is better")


def main(argv: list[str]) -> int:
    """`ivideo rl reinforce`: 0 when the run is complete, 130 or 143 when a signal stopped it."""
    return reinforce(
        parse(
            ReinforceTraining,
            argv,
            prog="ivideo rl reinforce",
            description="Improve a cloned policy in the world model with REINFORCE. Ctrl-C saves; --resume goes on.",
            config_folder="rl",
        )
    )


def reinforce(settings: ReinforceTraining) -> int:
    """Train as the settings say; the exit status."""
    settings.start(settings.seed)
    policy, steps = Policy.from_folder(settings.policy), StepsToGo.from_folder(settings.policy)
    model = WorldModel.from_pretrained(settings.world_model)
    size = model.tokenizer.config.resolution
    task = open_task(settings.task, size=size, options=settings.options)
    check_fits(settings, policy, steps, model, task)
    starts = beginnings(settings, size)
    if settings.begin == "first":
        starts = first_frames(starts, model.context_frames)
    env = world(model, starts, actors=settings.actors, horizon=settings.horizon)
    learner = Learner(policy, settings.learner, seed=settings.seed)
    with settings.open() as run:
        training = _Run(settings, env, learner, steps, task, run)
        found, notes = run.latest()
        if found is not None:
            training.load(found)
            notes.append(f"resumed at round {found.step} from {found.path}")
        run.begin(training.round)
        records = RunRecords(
            run, steps=settings.rounds, start=training.round, seconds=training.seconds, headline=HEADLINE
        )
        for note in notes:
            records.say(note)
        status = training.go(records)
    task.env.close()
    if status == 0:
        print(f"the policy is in {settings.run.folder / 'model'}")
    return status


class _Run:
    """A run from where it stands to its end or to a stop."""

    def __init__(
        self,
        settings: ReinforceTraining,
        env: WorldModelEnv,
        learner: Learner,
        steps: StepsToGo,
        task: Task,
        run: RunFolder,
    ) -> None:
        self.settings, self.env, self.learner, self.steps, self.task, self.run = (
            settings,
            env,
            learner,
            steps,
            task,
            run,
        )
        self.round, self.frames, self.seconds = 0, 0, 0.0
        self.signals = StopSignals()

    def go(self, records: RunRecords) -> int:
        """The exit status: 0 when all rounds are done, else that of the signal that stopped it."""
        settings = self.settings
        with self.signals, records:
            if not self.round:
                records.figures(0, self.evaluate())
            while self.round < settings.rounds and self.signals.received is None:
                figures = self.learn()
                self.seconds = records.seconds
                records.figures(self.round, figures)
                records.progress(self.round, self.seconds)
                over = self.round == settings.rounds
                if over or self.round % settings.evaluate_every == 0:
                    records.figures(self.round, self.evaluate())
                if over or self.round % settings.checkpoint_every == 0:
                    self.save()
            if self.round < settings.rounds:
                self.save()
                records.say(f"stopped after {self.round} rounds; the same command with --resume goes on")
        return 0 if self.round == settings.rounds else self.signals.exit_code

    def learn(self) -> dict[str, float]:
        """One round: all actors live an episode, then the policy learns from them."""
        settings = self.settings
        rollouts = imagine(
            self.env,
            self.learner.policy,
            self.steps,
            seed=_seed(_LEARNING, settings.seed, self.round),
            spread=settings.learner.spread,
            worth=settings.worth,
            reached=settings.reached,
            jump=settings.jump,
        )
        self.frames += int(rollouts.going.sum())
        self.round += 1
        figures = self.learner.update(rollouts)
        self.learner.average(self.round)
        return {
            "imagined/reward": rollouts.earned,
            "imagined/reached": rollouts.reached,
            "imagined/broken": rollouts.broken,
            "imagined/steps_to_go": float(rollouts.left[:, -1].mean()),
            "imagined/log_likelihood": rollouts.log_likelihood,
            "imagined/frames": float(self.frames),
            **figures,
        }

    def evaluate(self) -> dict[str, float]:
        """Mean actions in the task, and in the model from the same first frames: what either of them says of it."""
        settings, policy = self.settings, self.learner.kept
        found = played(policy, self.task, settings.evaluation_episodes)
        share, shrink = share_of(found), self.task.size // policy.config.size
        left = [lived(each.episode, self.steps, settings.horizon, shrink) for each in found]
        model = self.env.worlds.model
        begun = first_frames([each.episode for each in found], model.context_frames)
        dreamt = imagine(
            world(model, begun, actors=settings.actors, horizon=settings.horizon),
            policy,
            self.steps,
            seed=_seed(_EVALUATION),
            spread=0.0,
            worth=settings.worth,
            reached=settings.reached,
            jump=settings.jump,
        )
        return {
            "eval/success": share.value,
            "eval/success_low": share.low,
            "eval/success_high": share.high,
            "eval/return": float(np.mean([each.earned for each in found])),
            "eval/episodes": float(len(found)),
            "eval/reward": settings.worth * float(np.mean([float(each[0] - each[-1]) for each in left])),
            "eval/reached": float(np.mean([float(each[1:].min()) < settings.reached for each in left])),
            "eval/imagined_reward": dreamt.earned,
            "eval/imagined_reached": dreamt.reached,
        }

    def save(self) -> None:
        """Publish a checkpoint, and the networks as people load them."""
        document: dict[str, Any] = {"frames": self.frames, "seconds": self.seconds}
        self.run.save(self.round, self.learner.tensors(), document)
        with staged_folder(self.run.model, overwrite=True) as stage:
            self.learner.kept.save(stage)
            self.steps.save(stage)

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        try:
            self.learner.load(checkpoint.tensors)
            self.frames, self.seconds = int(checkpoint.state["frames"]), float(checkpoint.state["seconds"])
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"checkpoint {checkpoint.path} does not fit this run ({' '.join(str(error).split())}); resume with the "
                "settings that config.yaml beside it holds, or start another run"
            ) from error
        self.round = checkpoint.step


def check_fits(settings: ReinforceTraining, policy: Policy, steps: StepsToGo, model: WorldModel, task: Task) -> None:
    """ValueError where policy, model and task are not of one kind."""
    size, seen = model.tokenizer.config.resolution, policy.config.size
    if steps.config.goal:
        raise ValueError(f"the steps to go of {settings.policy} want a goal; take a run of ivideo rl clone")
    if size % seen or steps.config.size != seen:
        raise ValueError(
            f"{settings.world_model} shows frames of {size} px and the policy of {settings.policy} sees {seen} px; "
            "expected a whole multiple: clone with another size or shrink"
        )
    for name, number in ((settings.world_model, model.action_dim), (task.name, task.action_dim)):
        if number != policy.config.action_dim:
            raise ValueError(
                f"{name} takes {number} numbers as an action and the policy gives {policy.config.action_dim}; "
                "expected as many: clone in the task of this model"
            )


def beginnings(settings: ReinforceTraining, size: int) -> list[Episode]:
    """Episodes that imagined ones begin in."""
    if settings.starts is not None:
        return list(open_episodes(settings.starts, size=size))
    return demonstrations(settings.task, settings.scripted, settings.seed, settings.options, size=size)


def _seed(*words: int) -> int:
    return int(np.random.SeedSequence(words).generate_state(1)[0]) // 2
