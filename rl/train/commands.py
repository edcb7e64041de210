"""`ivideo rl drqv2` and `ivideo rl mbpo`."""

from dataclasses import fields, replace
from pathlib import Path

import torch

from ivideo import Changes, Episode, WorldModel, adapt
from ivideo.checkpoint import save
from ivideo.config import parse
from rl.drqv2 import DrQv2, DrQv2Config, DrQv2Settings
from rl.drqv2.augmentation import PAD
from rl.imagination.frame_replay import FrameReplay, ImaginedReplay
from rl.imagination.learner import check_learns
from rl.imagination.token_replay import TokenReplay
from rl.replay import Replay
from rl.report.records import RunRecords
from rl.tasks import Task, demonstrations, open_task, read_demonstrations
from rl.train.dreams import Dreams
from rl.train.settings import DrQv2Training, MBPOTraining
from rl.train.trainer import Trainer, device_of

_FURTHER = ("episodes", "imagined", "curves.png", "agent")
_HEADLINE = ("train/return", "eval/return", "eval/success", "imagined/return_correlation")


def drqv2(argv: list[str]) -> int:
    """`ivideo rl drqv2`: 0 when the run is complete, 130 or 143 when a signal stopped it."""
    return train(
        parse(
            DrQv2Training,
            argv,
            prog="ivideo rl drqv2",
            description="Learn a task from pixels with DrQ-v2, without a model. Ctrl-C saves; --resume goes on.",
            config_folder="rl",
        )
    )


def mbpo(argv: list[str]) -> int:
    """`ivideo rl mbpo`: likewise."""
    return train(
        parse(
            MBPOTraining,
            argv,
            prog="ivideo rl mbpo",
            description="Learn a task from pixels, half of it in a world model. Ctrl-C saves; --resume goes on.",
            config_folder="rl",
        )
    )


def train(settings: DrQv2Training) -> int:
    """Train as the settings say; the exit status."""
    settings.start(settings.schedule.seed)
    schedule, device = settings.schedule, device_of(settings.schedule.device)
    model = None
    size = 64
    if isinstance(settings, MBPOTraining):
        model = begin_model(settings, device)
        size = model.tokenizer.config.resolution
    task = open_task(settings.task, size=size, options=settings.options)
    if model is not None and isinstance(settings, MBPOTraining):
        model = fit_model(model, task, settings)
        check_learns(model, settings.learner)
    agent = DrQv2(agent_config(settings, task), device=device, seed=schedule.seed)
    shown = _shown(settings, task)
    with settings.open(further=_FURTHER) as run:
        found, notes = run.latest()
        state = {} if found is None else found.state
        replay = _buffer(settings, run.path / "episodes", settings.capacity, int(state.get("written", 0)))
        replay.preload(shown)
        dreams = None
        if model is not None and isinstance(settings, MBPOTraining):
            written = int(state.get("dreams", {}).get("written", 0))
            dreams = Dreams(settings, model, replay, _imagined(settings, model, run.path / "imagined", written))
        trainer = Trainer(settings, task, agent, replay, run, dreams)
        if found is not None:
            trainer.load(found)
            notes.append(f"resumed at step {found.step} from {found.path}")
        run.begin(trainer.counters.steps)
        records = RunRecords(
            run,
            steps=schedule.steps,
            start=trainer.counters.steps,
            seconds=trainer.clock.total,
            headline=_HEADLINE,
        )
        for note in [*notes, *(f"{name} is damaged ({reason}) and left out" for name, reason in replay.damaged)]:
            records.say(note)
        status = trainer.go(records)
        agent.save(run.path / "agent")
        if model is not None:
            save(model, run.model, overwrite=True)
    task.env.close()
    if status == 0:
        print(f"the run is in {settings.run.folder}; next: ivideo rl report {settings.run.folder}")
    return status


def agent_config(settings: DrQv2Training, task: Task) -> DrQv2Config:
    """The agent's settings for a task."""
    own = settings.agent
    return DrQv2Config(
        **{each.name: getattr(own, each.name) for each in fields(DrQv2Settings)},
        size=task.size // own.shrink,
        action_dim=task.action_dim,
        pad=max(1, PAD // own.shrink),
        random_steps=settings.schedule.seed_steps // task.action_repeat,
    )


def begin_model(settings: MBPOTraining, device: torch.device) -> WorldModel:
    """The world model as it is before it sees the task."""
    return WorldModel.from_pretrained(settings.world_model, device=device)


def fit_model(model: WorldModel, task: Task, settings: MBPOTraining) -> WorldModel:
    """The model with the task's actions and a reward head, as the settings want it."""
    device = model.device
    if model.action_dim not in (0, task.action_dim):
        raise ValueError(
            f"{settings.world_model} takes {model.action_dim} numbers as an action, {task.name} {task.action_dim}; "
            "take a model of this task's actions, or one without any"
        )
    model, _ = adapt(model, Changes(action_dim=task.action_dim, reward=True), source=settings.world_model)
    if settings.harmonious or settings.fresh:
        config = replace(model.config, loss_weights="harmonious" if settings.harmonious else model.config.loss_weights)
        other = WorldModel(model.tokenizer, config)
        if not settings.fresh:
            other.load_state_dict(model.state_dict(), strict=False)
        model = other
    return model.to(device).eval()


def _buffer(settings: DrQv2Training, folder: Path, capacity: int, written: int) -> Replay:
    agent = settings.agent
    return Replay(
        folder,
        capacity=capacity,
        stack=agent.stack,
        nstep=agent.nstep,
        gamma=agent.gamma,
        shrink=agent.shrink,
        upto=written,
    )


def _imagined(settings: MBPOTraining, model: WorldModel, folder: Path, written: int) -> ImaginedReplay:
    if settings.imagined_as == "frames":
        return FrameReplay(_buffer(settings, folder, settings.imagined_capacity, written))
    agent = settings.agent
    return TokenReplay(
        model,
        max_steps=settings.imagination.horizon.max_steps,
        capacity=settings.imagined_capacity,
        stack=agent.stack,
        nstep=agent.nstep,
        gamma=agent.gamma,
        shrink=agent.shrink,
    )


def _shown(settings: DrQv2Training, task: Task) -> list[Episode]:
    wanted = settings.demonstrations
    shown: list[Episode] = []
    if wanted.scripted:
        shown += demonstrations(
            settings.task, wanted.scripted, seed=settings.schedule.seed, options=settings.options, size=task.size
        )
    if wanted.folder is not None:
        shown += read_demonstrations(wanted.folder, task)
    return shown
