"""What a run of reinforcement learning is asked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ivideo.config.limits import check_least
from ivideo.training.resumable import Resumable
from ivideo.training.run import RunConfig
from rl.drqv2 import DrQv2Settings
from rl.imagination.learner import ModelLearnerConfig
from rl.imagination.rollouts import ImaginationConfig
from rl.tasks import TaskOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig(DrQv2Settings):
    """DrQ-v2's settings, as published where nothing else is said."""

    shrink: int = 1
    """Frames are first averaged over squares of this side, in pixels; above 1, less is seen at less cost."""
    gamma: float = 0.99
    """Discount of a step of the agent."""
    nstep: int = 3
    """Rewards that are summed."""
    batch_size: int = 256
    """Transitions in an update."""
    update_every: int = 2
    """Steps of the agent between updates."""
    updates: int = 1
    """Updates each time."""

    def __post_init__(self) -> None:
        check_least(
            self, stack=1, shrink=1, channels=1, trunk=1, hidden=1, nstep=1, batch_size=2, update_every=1, updates=1
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """How long, and when what happens; in environment steps, of which an action takes `action_repeat`."""

    steps: int = 100_000
    """Environment steps in all, those of demonstrations not counted."""
    seed_steps: int = 4000
    """Steps at first whose actions are drawn at random, before anything is learned."""
    max_minutes: float | None = None
    """Stop after so many minutes of all legs together, if the steps are not done by then."""
    evaluate_every: int = 5000
    """Steps between evaluations, of which there is one at the end in any case."""
    evaluation_episodes: int = 10
    """Episodes of an evaluation, the same in every one; actions are not explored in them."""
    films: int = 2
    """Episodes of an evaluation that are drawn; with a world model beside what it imagines of them."""
    checkpoint_every: int = 5000
    """Steps between checkpoints, which are written where an episode ends; there is one at the end in any case."""
    seed: int = 0
    """Decides weights, exploration, batches and how episodes begin."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """What to compute on."""

    def __post_init__(self) -> None:
        check_least(self, steps=1, evaluate_every=1, evaluation_episodes=1, checkpoint_every=1)
        if min(self.seed_steps, self.films) < 0:
            raise ValueError(f"seed_steps is {self.seed_steps} and films {self.films}; expected 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemonstrationConfig:
    """Episodes of somebody who can do it, from which is learned from the beginning."""

    scripted: int = 0
    """So many successful episodes of the task's scripted demonstrator."""
    folder: str | None = None
    """Recorded episodes: any data set that `ivideo data show` opens, with actions and rewards."""

    def __post_init__(self) -> None:
        if self.scripted < 0:
            raise ValueError(f"scripted is {self.scripted}; expected 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrQv2Training(Resumable):
    """Learn a task from pixels, model-free."""

    task: str = "pushing_table"
    """metaworld/hammer-v3, pushing_table, dm_control/cartpole-balance, or the id of any Gymnasium environment."""
    options: TaskOptions = field(default_factory=TaskOptions)
    """How the task is set up; null leaves it to the task."""
    agent: AgentConfig = field(default_factory=AgentConfig)
    """The learner."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """How long, and when what happens."""
    capacity: int = 1_000_000
    """Transitions that are kept."""
    demonstrations: DemonstrationConfig = field(default_factory=DemonstrationConfig)
    """Episodes of somebody who can do it."""
    run: RunConfig = field(default_factory=lambda: RunConfig(folder=Path("runs/rl")))

    def __post_init__(self) -> None:
        check_least(self, capacity=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MBPOTraining(DrQv2Training):
    """Learn a task from pixels, half of it in a world model that learns along (MBPO; iVideoGPT, section 4.3)."""

    world_model: str = "pushing_table"
    """The model to begin with: a folder, a Hub id or "pushing_table". It may lack actions and the reward head."""
    fresh: bool = False
    """Forget what its transformer and heads have learned: no pre-training but the tokenizer's."""
    harmonious: bool = False
    """Weigh the losses of tokens and rewards by learned scales (HarmonyDream) instead of equally."""
    learner: ModelLearnerConfig = field(default_factory=ModelLearnerConfig)
    """How the model learns along."""
    imagination: ImaginationConfig = field(default_factory=ImaginationConfig)
    """How it is rolled out."""
    rollout_every: int = 200
    """Environment steps between rollouts."""
    first_rollouts: int = 640
    """Rollouts at once, when the random steps are over."""
    imagined_share: float = 0.5
    """Part of every batch that is imagined."""
    imagined_capacity: int = 1_000_000
    """Imagined transitions that are kept."""
    imagined_as: Literal["frames", "codes"] = "frames"
    """Keep imagined frames, in memory and on disk, or in memory their codes beside the real frames they start from: a
    quarter of the bytes, decoded whenever a batch is drawn."""

    def __post_init__(self) -> None:
        super(MBPOTraining, self).__post_init__()
        check_least(self, rollout_every=1, first_rollouts=1, imagined_capacity=1)
        if not 0 < self.imagined_share < 1:
            raise ValueError(f"imagined_share is {self.imagined_share}; expected more than 0 and less than 1")
