"""The one loop of reinforcement learning: episodes are played, and with every step something is learned.

::

    at every step of the agent, in this order (environment steps in brackets, as published):
      world model    first 1000 updates once (4000), then the transformer (every 10) and the tokenizer (every 40)
      agent          updates from real and imagined transitions
      rollouts       640 once (4000), then 32 (every 200)
      action         random at first, then the agent's, with noise

A run goes on from a checkpoint as if it had not been interrupted: those are written where an episode ends, how an
episode begins is decided by its number, and whatever draws has a generator of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.training.checkpoints import Checkpoint
from ivideo.training.run import RunFolder
from ivideo.training.signals import StopSignals
from rl.drqv2 import DrQv2, Transitions
from rl.play import Played, play
from rl.replay import Replay
from rl.report.records import RunRecords
from rl.sight import shrunken
from rl.tasks import Task
from rl.train.clock import Clock
from rl.train.dreams import Dreams
from rl.train.settings import DrQv2Training

_TRAINING, _EVALUATION = 0, 1
"""What an episode is for; each has its own seeds."""


@dataclass(slots=True, kw_only=True)
class Counters:
    """How far a run is."""

    steps: int = 0
    """Of the environment."""
    episodes: int = 0
    agent_steps: int = 0
    evaluated: int = 0
    """Step up to which there was an evaluation."""


class Trainer:
    """A run from where it stands to its end or to a stop."""

    def __init__(
        self,
        settings: DrQv2Training,
        task: Task,
        agent: DrQv2,
        replay: Replay,
        run: RunFolder,
        dreams: Dreams | None = None,
    ) -> None:
        """`dreams` is the world model's part; None learns from what was played alone."""
        self.settings, self.task, self.agent, self.replay, self.run = settings, task, agent, replay, run
        self.dreams = dreams
        self.counters = Counters()
        self.clock = Clock()
        self.draws = np.random.default_rng([settings.schedule.seed, 2])
        self.signals = StopSignals()
        self._losses: list[dict[str, float]] = []

    # ------------------------------------------------------------------------------------------------ the loop

    def go(self, records: RunRecords) -> int:
        """Play and learn; the exit status: 0 when all steps are done, else that of the signal that stopped it."""
        schedule, counters = self.settings.schedule, self.counters
        saved = counters.steps
        with self.signals, records:
            while not self._is_over():
                if self.signals.received is not None:
                    break
                figures = self._episode()
                records.figures(counters.steps, figures)
                records.progress(counters.steps, self.clock.total)
                if counters.steps // schedule.evaluate_every > counters.evaluated // schedule.evaluate_every:
                    self._evaluate(records)
                if counters.steps - saved >= schedule.checkpoint_every and not self._is_over():
                    self._save()
                    saved = counters.steps
            if self._is_over() and counters.evaluated < counters.steps:
                self._evaluate(records)
            self._save()
            records.curves()
            if not self._is_over():
                records.say(f"stopped after {counters.steps} steps; the same command with --resume goes on")
        return 0 if self._is_over() else self.signals.exit_code

    def _is_over(self) -> bool:
        schedule = self.settings.schedule
        late = schedule.max_minutes is not None and self.clock.total > 60 * schedule.max_minutes
        return late or self.counters.steps >= schedule.steps

    def _episode(self) -> dict[str, float]:
        counters, before = self.counters, self.clock.total
        with self.clock.on("simulator"):
            played = play(self.task, self._act, seed=self._seed(_TRAINING, counters.episodes), stack=self._stack)
            self.replay.add(played.episode)
        counters.episodes += 1
        steps = (len(played.episode) - 1) * self.task.action_repeat
        figures = {
            "train/return": played.earned,
            "train/success": float(played.success),
            "train/length": float(len(played.episode) - 1),
            "frames_per_second": steps / (self.clock.total - before),
            **self.clock.figures(),
            **_means(self._losses),
        }
        self._losses = []
        return figures

    def _act(self, observation: UInt8[Tensor, "c h w"]) -> Float[Tensor, " a"]:
        """What the agent does, after whatever is learned at this step."""
        counters = self.counters
        if counters.steps >= self.settings.schedule.seed_steps and len(self.replay):
            if self.dreams is not None:
                with self.clock.on("model"):
                    self._losses.append(self.dreams.learn(counters.steps, self.task.action_repeat))
            with self.clock.on("agent"):
                self._learn()
            if self.dreams is not None:
                with self.clock.on("imagination"):
                    self._losses.append(self.dreams.roll(counters.steps, self.task.action_repeat, self._explore))
        with self.clock.on("agent"):
            action = self._explore(observation[None])[0]
        counters.agent_steps += 1
        counters.steps += self.task.action_repeat
        return action

    def _explore(self, observations: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b a"]:
        return self.agent.act(self._seen(observations), self.counters.agent_steps)

    def _learn(self) -> None:
        config = self.settings.agent
        if self.counters.agent_steps % config.update_every:
            return
        for _ in range(config.updates):
            figures = self.agent.update(self._batch(config.batch_size), self.counters.agent_steps)
            self._losses.append({f"agent/{name}": value for name, value in figures.items()})

    def _batch(self, size: int) -> Transitions:
        imagined = 0 if self.dreams is None else self.dreams.share_of(size)
        real = self.replay.sample(size - imagined, self.draws)
        if not imagined:
            return real
        assert self.dreams is not None
        return real.beside(self.dreams.sample(imagined, self.draws))

    # -------------------------------------------------------------------------------------- evaluations, checkpoints

    def _evaluate(self, records: RunRecords) -> None:
        """Episodes without exploration; with a world model also what it makes of the same actions."""
        counters, schedule = self.counters, self.settings.schedule
        with self.clock.on("evaluation"):
            played = [
                play(self.task, self._settled, seed=self._seed(_EVALUATION, number), stack=self._stack)
                for number in range(schedule.evaluation_episodes)
            ]
            figures = {
                "eval/return": float(np.mean([each.earned for each in played])),
                "eval/success": float(np.mean([each.success for each in played])),
                "eval/episodes": float(len(played)),
            }
            if self.dreams is not None:
                figures |= self.dreams.compare([each.episode for each in played])
            records.figures(counters.steps, figures)
            self._film(records, played[: schedule.films])
            records.curves()
        counters.evaluated = counters.steps

    def _film(self, records: RunRecords, played: list[Played]) -> None:
        for number, each in enumerate(played):
            dreamt = None if self.dreams is None else self.dreams.of(each.episode)
            records.film(self.counters.steps, f"episode-{number}", each.episode, dreamt)

    def _settled(self, observation: UInt8[Tensor, "c h w"]) -> Float[Tensor, " a"]:
        return self.agent.act(self._seen(observation[None]), self.counters.agent_steps, explore=False)[0]

    def _save(self) -> None:
        tensors = self.agent.tensors()
        document: dict[str, Any] = {
            "counters": {name: getattr(self.counters, name) for name in Counters.__slots__},
            "written": self.replay.written,
            "draws": self.draws.bit_generator.state,
            "spent": self.clock.spent,
        }
        if self.dreams is not None:
            tensors |= self.dreams.tensors()
            document["dreams"] = self.dreams.document()
        self.run.save(self.counters.steps, tensors, document)
        self.replay.settle()
        if self.dreams is not None:
            self.dreams.settle()

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; buffers have been opened up to it."""
        try:
            state: Mapping[str, Any] = checkpoint.state
            self.agent.load(checkpoint.tensors)
            self.counters = Counters(**state["counters"])
            self.draws.bit_generator.state = state["draws"]
            self.clock = Clock(state["spent"])
            if self.dreams is not None:
                self.dreams.load(checkpoint.tensors, state["dreams"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"checkpoint {checkpoint.path} does not fit this run ({' '.join(str(error).split())}); resume with the "
                "task and the settings that config.yaml beside it holds, or start another run"
            ) from error

    # ------------------------------------------------------------------------------------------------- within

    def _seen(self, observations: UInt8[Tensor, "b c h w"]) -> UInt8[Tensor, "b c r r"]:
        return shrunken(observations, self.settings.agent.shrink)

    @property
    def _stack(self) -> int:
        return self.settings.agent.stack

    def _seed(self, purpose: int, number: int) -> int:
        """Seeds of evaluations are the same in every run, and none of them is a training episode's."""
        words = [purpose, number] if purpose == _EVALUATION else [purpose, number, self.settings.schedule.seed]
        return int(np.random.SeedSequence(words).generate_state(1)[0]) // 2 * 2 + purpose


def _means(figures: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for each in figures for name in each)
    return {name: float(np.mean([each[name] for each in figures if name in each])) for name in names}


def device_of(name: str) -> torch.device:
    """The device of a name; "auto" takes a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(name, True):
        raise ValueError(f"device is {name}, and this installation of PyTorch sees none; use auto or cpu")
    return torch.device(name)
