"""The world model's part in a run: it learns along, is rolled out, and what it imagines is learned from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo import Episode, WorldModel
from rl.drqv2 import Transitions
from rl.imagination.fidelity import returns
from rl.imagination.frame_replay import ImaginedReplay
from rl.imagination.learner import ModelLearner
from rl.imagination.rollouts import Imagination
from rl.replay import Replay
from rl.report.films import dream
from rl.train.settings import MBPOTraining

Policy = Callable[[UInt8[Tensor, "b c h w"]], Float[Tensor, "b a"]]
_WINDOWS = 64
"""Pieces of evaluation episodes that are imagined to compare returns."""


class Dreams:
    """A model with its learner, its rollouts, and the buffer of what was imagined."""

    def __init__(self, settings: MBPOTraining, model: WorldModel, real: Replay, replay: ImaginedReplay) -> None:
        """Dream from the frames of `real`, into `replay`."""
        seed, stack = settings.schedule.seed, settings.agent.stack
        self.settings, self.model, self.real, self.replay = settings, model, real, replay
        self.learner = ModelLearner(model, settings.learner, seed=seed)
        self.imagination = Imagination(model, settings.imagination, stack=stack, seed=seed)
        self._begun = self._rolled = False

    def learn(self, step: int, repeat: int) -> dict[str, float]:
        """The updates of the model that are due at an environment step; the first time a thousand at once."""
        config, learner = self.settings.learner, self.learner
        figures: dict[str, float] = {}
        count = 1
        if not self._begun:
            self._begun, count = True, config.first_updates
            tokenizer, transformer = config.tokenizer_every is not None, True
        else:
            tokenizer = config.tokenizer_every is not None and due(step, config.tokenizer_every, repeat)
            transformer = due(step, config.every, repeat)
        for _ in range(count):
            if tokenizer:
                figures |= learner.update_tokenizer(self.real)
            if transformer:
                figures |= learner.update(self.real)
        return figures

    def roll(self, step: int, repeat: int, policy: Policy) -> dict[str, float]:
        """The rollouts that are due at an environment step."""
        if self._rolled and not due(step, self.settings.rollout_every, repeat):
            return {}
        count = self.settings.imagination.starts if self._rolled else self.settings.first_rollouts
        self._rolled = True
        made = self.imagination.rollouts(self.real, policy, count)
        if not made:
            return {}
        for each in made:
            self.replay.keep(each)
        lengths = [len(each.episode) - 1 - each.lead for each in made]
        rewards = [float(each.episode.rewards[each.lead :].sum()) for each in made if each.episode.rewards is not None]
        return {
            "imagined/length": float(np.mean(lengths)),
            "imagined/reward": sum(rewards) / sum(lengths),
            "imagined/log_likelihood": float(np.mean([float(each.log_likelihood.mean()) for each in made])),
            "imagined/frames": float(self.imagination.frames),
            "time/imagined_frame": self.imagination.seconds / self.imagination.frames,
        }

    def share_of(self, batch: int) -> int:
        """How many transitions of a batch are imagined."""
        return round(self.settings.imagined_share * batch) if len(self.replay) else 0

    def sample(self, batch: int, generator: np.random.Generator) -> Transitions:
        """Imagined transitions, as the agent sees them."""
        return self.replay.sample(batch, generator)

    def settle(self) -> None:
        """Remove files that no checkpoint needs any more."""
        self.replay.settle()

    def compare(self, episodes: Sequence[Episode]) -> dict[str, float]:
        """Imagined against real return of the same actions in pieces of episodes that were not learned from."""
        steps = self.settings.imagination.horizon.max_steps
        if not any(len(episode) > steps + 1 for episode in episodes):
            return {}
        found = returns(self.model, episodes, horizon=steps, windows=_WINDOWS, seed=0)
        return {
            "imagined/return": float(found.imagined.mean()),
            "imagined/real_return": float(found.real.mean()),
            "imagined/return_correlation": found.correlation().value,
            "imagined/change_correlation": found.change().value,
        }

    def of(self, episode: Episode) -> Episode:
        """What is imagined from an episode's beginning under its actions."""
        return dream(self.model, episode)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Weights, optimizers, and what is kept in memory alone, to go on from."""
        kept = self.replay.tensors()
        return self.learner.tensors() | ({"imagined": kept} if kept else {})

    def document(self) -> dict[str, Any]:
        """The rest of what goes on."""
        return {
            "learner": self.learner.document(),
            "imagination": self.imagination.document(),
            "written": self.replay.written,
            "begun": self._begun,
            "rolled": self._rolled,
        }

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]], document: Mapping[str, Any]) -> None:
        """Go on where it stood; a buffer on disk has been opened up to there."""
        self.replay.load(tensors.get("imagined", {}), document["written"])
        self.learner.load(tensors, document["learner"])
        self.imagination.load(document["imagination"])
        self._begun, self._rolled = document["begun"], document["rolled"]


def due(step: int, every: int, repeat: int) -> bool:
    """Whether a multiple of `every` lies in the environment steps of the action that ended at `step`."""
    return step // every > (step - repeat) // every
