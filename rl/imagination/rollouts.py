"""Episodes that go on in the world model, from real frames, under the policy that learns from them."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ivideo import Episode, Sampling, WorldModel
from ivideo.config.limits import check_least
from rl.imagination.horizon import Adaptive, Fixed
from rl.imagination.starts import Start, begin, check_imagines, draw, evaluating, side_by_side
from rl.replay import Replay

Policy: TypeAlias = Callable[[UInt8[Tensor, "b c h w"]], Float[Tensor, "b a"]]
"""Answers stacked frames, as they are in the replay, with actions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imagined:
    """An episode whose frames after `lead` were imagined."""

    episode: Episode
    lead: int
    """Index of the real frame that it starts from. What is before was given, and is there to be stacked only."""
    log_likelihood: Float[Tensor, " k"]
    """How sure the model was of each imagined frame, in nats per token."""
    codes: Int[Tensor, "k m"]
    """What the imagined frames were decoded from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginationConfig:
    """How rollouts are made; the defaults are the published ones."""

    starts: int = 32
    """Rollouts at a time."""
    horizon: Fixed | Adaptive = field(default_factory=Fixed)
    """How far they go."""
    sampling: Sampling | None = None
    """How tokens are drawn; null: as the model says."""
    parallel: int = 128
    """Rollouts side by side at most; fewer where they would take more than half of the free memory."""

    def __post_init__(self) -> None:
        check_least(self, starts=1, parallel=1)


class Imagination:
    """Rolls a policy out in a world model, from frames that were really seen.

    All randomness but the policy's is that of one generator. The model computes with its weights as they are at each
    call.
    """

    def __init__(self, model: WorldModel, config: ImaginationConfig, *, stack: int, seed: int) -> None:
        """Prepare to imagine for a policy that sees `stack` frames; ValueError for a model that cannot."""
        check_imagines(model)
        if stack < 1:
            raise ValueError(f"stack is {stack}; expected at least 1 frame in an observation")
        self.model, self.config, self.stack = model, config, stack
        self.frames = 0
        """Frames imagined so far."""
        self.seconds = 0.0
        """Wall-clock time spent on them, the policy's included."""
        self.spoilt = 0
        """Rollouts that were cut because a reward was not a finite number."""
        self._generator = np.random.default_rng(seed)
        self._first: deque[float] = deque(maxlen=config.horizon.recent)

    def rollouts(self, replay: Replay, policy: Policy, count: int) -> list[Imagined]:
        """`count` rollouts, each from a frame that is drawn uniformly of an episode that is drawn uniformly.

        Fewer where one is spoilt in its first step.
        """
        began = time.perf_counter()
        given = max(self.stack, self.model.context_frames)
        starts, _ = draw(replay.episodes, self._generator, count=count, frames=given)
        with evaluating(self.model):
            made = [
                each
                for part in side_by_side(self.model, starts, self.config.horizon.max_steps, most=self.config.parallel)
                for each in self._imagine(part, policy)
            ]
        self.seconds += time.perf_counter() - began
        return made

    def document(self) -> dict[str, Any]:
        """What it takes to go on alike, as plain JSON."""
        return {
            "frames": self.frames,
            "seconds": self.seconds,
            "spoilt": self.spoilt,
            "first": list(self._first),
            "generator": self._generator.bit_generator.state,
        }

    def load(self, document: Mapping[str, Any]) -> None:
        """Go on where another stood whose `document` this is."""
        self.frames, self.seconds = int(document["frames"]), float(document["seconds"])
        self.spoilt = int(document["spoilt"])
        self._first = deque(document["first"], maxlen=self.config.horizon.recent)
        self._generator.bit_generator.state = document["generator"]

    def _imagine(self, starts: Sequence[Start], policy: Policy) -> list[Imagined]:
        model, horizon, tokens = self.model, self.config.horizon, self.model.layout.dynamics_tokens
        paths = [_Path(start) for start in starts]
        going = list(paths)
        state = begin(model, starts, room=horizon.max_steps)
        for step in range(horizon.max_steps):
            actions = policy(torch.stack([path.observation(self.stack) for path in going])).float().cpu()
            state, made = model.step(state, actions, sampling=self.config.sampling)
            self.frames += len(going)
            assert made.frame is not None
            assert made.reward is not None
            frames, codes, rewards = made.frame.cpu().clone(), made.codes.cpu().clone(), made.reward.float().cpu()
            likelihoods = (made.log_likelihood.float() / tokens).tolist()
            ends = torch.zeros(len(going)) if made.terminal is None else made.terminal.float().cpu()
            if not step:
                self._first.extend(likelihoods)
            bar = horizon.bar(self._first)
            left = []
            for row, path in enumerate(going):
                finite, trusted = bool(rewards[row].isfinite()), likelihoods[row] >= bar
                self.spoilt += not finite
                if not finite or not (trusted or step < horizon.min_steps):
                    continue
                path.add(frames[row], codes[row], actions[row], rewards[row], likelihoods[row])
                path.terminal = bool(ends[row] > 0.5)
                if not path.terminal and (trusted or step + 1 < horizon.min_steps):
                    left.append(row)
            if not left:
                break
            if len(left) < len(going):
                going = [going[row] for row in left]
                state = state.select(torch.tensor(left))
        return [path.imagined() for path in paths if path.likelihoods]


class _Path:
    """A rollout as it grows."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.frames = list(start.frames)
        self.actions = list(start.actions)
        self.rewards = list(start.rewards)
        self.codes: list[Tensor] = []
        self.likelihoods: list[float] = []
        self.terminal = False

    def observation(self, stack: int) -> UInt8[Tensor, "c h w"]:
        """The latest frames along the channels, the oldest first."""
        return torch.cat(self.frames[-stack:])

    def add(self, frame: Tensor, codes: Tensor, action: Tensor, reward: Tensor, likelihood: float) -> None:
        """Go on by one step."""
        self.frames.append(frame)
        self.codes.append(codes)
        self.actions.append(action)
        self.rewards.append(reward)
        self.likelihoods.append(likelihood)

    def imagined(self) -> Imagined:
        episode = Episode(
            frames=torch.stack(self.frames),
            actions=torch.stack(self.actions),
            rewards=torch.stack(self.rewards),
            terminal=self.terminal,
            name="imagined",
        )
        return Imagined(
            episode=episode,
            lead=len(self.start.frames) - 1,
            log_likelihood=torch.tensor(self.likelihoods),
            codes=torch.stack(self.codes),
        )
