"""Imagined worlds side by side: each begins somewhere, goes on under its own actions, and can begin anew on its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ivideo.episode import Episode
from ivideo.state import RolloutState
from ivideo.world_model import WorldModel
from transformer import Sampling

Rewarder: TypeAlias = Callable[[UInt8[Tensor, "b 3 h w"]], Float[Tensor, " b"]]
"""Rewards of imagined frames, where a model has no head for them."""
_SEEDS = 2**31
"""Seeds of tokens lie below this: what draws them reads 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Worlds that began together, and so have imagined equally many frames: row i is world `members[i]`."""

    members: tuple[int, ...]
    state: RolloutState


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What some worlds show; on the CPU's memory, a row for each in the order that was asked for."""

    frames: UInt8[Tensor, "b 3 h w"] | None
    """None where nobody wants pixels."""
    codes: Int[Tensor, "b m"]
    """Of the latest frame, as later frames are encoded."""
    rewards: Float[Tensor, " b"]
    terminals: Float[Tensor, " b"]
    """Probability that the episode ends here; 0 without a termination head."""
    log_likelihood: Float[Tensor, " b"]
    """Of the frame's tokens, in nats: how sure the model was; 0 of a beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Where all environments stand; as often as it is restored, the same actions lead to the same futures."""

    groups: tuple[Group, ...]
    shown: UInt8[Tensor, "n 3 h w"]
    """The frame each began with, or its latest where frames are decoded."""
    observations: NDArray[Any]
    """The latest."""
    steps: tuple[int, ...]
    over: tuple[bool, ...]
    """Which begin anew with the next step."""
    generators: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worlds:
    """How worlds begin and go on. Where they stand is a tuple of `Group`s: an argument and a result.

    World i is the same alone and beside any others: its beginning comes from its own generator, its tokens from a seed
    drawn from that.
    """

    model: WorldModel
    starts: Sequence[Episode]
    """Where worlds begin: anywhere in these episodes, at the frames that a model is shown."""
    pixels: bool = True
    """Whether frames are decoded, which costs most."""
    reward: Rewarder | None = None
    """Rewards of frames; None takes the model's own."""
    sampling: Sampling | None = None
    domain: str | None = None

    def __post_init__(self) -> None:
        model, config = self.model, self.model.tokenizer.config
        if model.config.goal_conditioned:
            raise ValueError("this model starts from a goal, which no environment has; take one that needs none")
        if not model.action_dim:
            raise ValueError("this model takes no actions, so it is no environment; take one that takes some")
        if self.reward is None and not model.config.heads.reward:
            raise ValueError("this model has no reward head; pass reward=, a function of its frames")
        if self.reward is not None and not self.pixels:
            raise ValueError("rewards are a function of frames here, so pixels are needed; leave pixels at True")
        if not any(len(episode) >= model.context_frames for episode in self.starts):
            raise ValueError(
                f"none of the {len(self.starts)} episodes has the {model.context_frames} frames that this model starts "
                "from; give longer ones"
            )
        size = tuple(self.starts[0].frames.shape[-2:])
        if size != (config.resolution, config.resolution):
            raise ValueError(
                f"the episodes have frames of {size[1]}x{size[0]} pixels and this model sees {config.resolution}x"
                f"{config.resolution}; open them with size={config.resolution}"
            )

    def begin(self, members: Sequence[int], generators: Sequence[np.random.Generator]) -> tuple[Group, Seen]:
        """Begin worlds, each where its generator says."""
        places = [self._place(generator) for generator in generators]
        seeds = [int(generator.integers(_SEEDS)) for generator in generators]
        context = self.model.context_frames
        frames = torch.stack([episode.frames[start : start + context] for episode, start in places])
        told = [episode.instruction for episode, _ in places] if self.model.read_instructions is not None else None
        state = self.model.start(frames, domain=self.domain, instruction=told)
        state = replace(state, seeds=torch.tensor(seeds, dtype=torch.int64))
        with torch.inference_mode():
            latest = frames[:, -1:].to(self.model.device)
            codes = self.model.tokenizer.encode_frames(latest, state.context)[:, 0].cpu()
        nothing = torch.zeros(len(places))
        seen = Seen(
            frames=frames[:, -1].clone() if self.pixels else None,
            codes=codes,
            rewards=nothing,
            terminals=nothing,
            log_likelihood=nothing,
        )
        return Group(members=tuple(members), state=state), seen

    def advance(self, group: Group, actions: Float[Tensor, "b a"]) -> tuple[Group, Seen]:
        """Let all worlds of a group go on by one frame."""
        actions = actions.to(self.model.device)
        state, made = self.model.step(group.state, actions, decode=self.pixels, sampling=self.sampling)
        frames = None if made.frame is None else made.frame.cpu()
        if self.reward is not None:
            assert frames is not None
            rewards = self.reward(frames)
        else:
            assert made.reward is not None
            rewards = made.reward
        terminals = torch.zeros(len(made.codes)) if made.terminal is None else made.terminal
        seen = Seen(
            frames=frames,
            codes=made.codes.cpu(),
            rewards=rewards.float().cpu(),
            terminals=terminals.float().cpu(),
            log_likelihood=made.log_likelihood.float().cpu(),
        )
        return replace(group, state=state), seen

    def without(self, groups: Sequence[Group], gone: Sequence[int]) -> tuple[Group, ...]:
        """The groups without some worlds."""
        left = []
        for group in groups:
            rows = [row for row, member in enumerate(group.members) if member not in gone]
            if len(rows) == len(group.members):
                left.append(group)
            elif rows:
                members = tuple(group.members[row] for row in rows)
                left.append(Group(members=members, state=group.state.select(torch.tensor(rows))))
        return tuple(left)

    def latest(self, groups: Sequence[Group], shown: UInt8[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n 3 h w"]:
        """The latest frame of every world; of one that has imagined none yet, that in `shown`."""
        frames = shown.clone()
        for group in groups:
            if group.state.frames:
                frames[list(group.members)] = self.model.frames(group.state, slice(-1, None))[:, 0].cpu()
        return frames

    def _place(self, generator: np.random.Generator) -> tuple[Episode, int]:
        while True:
            episode = self.starts[int(generator.integers(len(self.starts)))]
            room = len(episode) - self.model.context_frames
            if room >= 0:
                return episode, int(generator.integers(room + 1))
