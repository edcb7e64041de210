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
from ivideo.joining import settled, together, uniform
from ivideo.simulate import tiles
from ivideo.state import RolloutState
from ivideo.window import frames_kept
from ivideo.world_model import WorldModel
from transformer import Sampling

Rewarder: TypeAlias = Callable[[UInt8[Tensor, "b 3 h w"]], Float[Tensor, " b"]]
"""Rewards of imagined frames, where a model has no head for them."""
_SEEDS = 2**31
"""Seeds of tokens lie below this: what draws them reads 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Worlds that go on together: row i is world `members[i]`. They may have begun at different times."""

    members: tuple[int, ...]
    state: RolloutState
    more: tuple[RolloutState, ...] = ()
    """Where worlds are computed in tiles, the further tiles; the last has rows that are no world's."""


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

    @classmethod
    def together(cls, parts: "Sequence[Seen]", count: int) -> "Seen":
        """The first `count` rows of several, one after the other."""
        frames = [part.frames for part in parts if part.frames is not None]
        return cls(
            frames=torch.cat(frames)[:count] if frames else None,
            codes=torch.cat([part.codes for part in parts])[:count],
            rewards=torch.cat([part.rewards for part in parts])[:count],
            terminals=torch.cat([part.terminals for part in parts])[:count],
            log_likelihood=torch.cat([part.log_likelihood for part in parts])[:count],
        )


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
    drawn from that. Sums are rounded in another order, though, so that log-likelihoods differ in their last digits,
    pixels by a level, and a token where two are as likely to within that. With a `tile` nothing differs, not by a bit.
    """

    model: WorldModel
    starts: Sequence[Episode]
    """Where worlds begin: anywhere in these episodes, at the frames that a model is shown."""
    pixels: bool = True
    """Whether frames are decoded, which costs most."""
    reward: Rewarder | None = None
    """Rewards of frames; None takes the model's own, or 0 where it has no reward head."""
    sampling: Sampling | None = None
    domain: str | None = None
    tile: int = 0
    """Compute always so many worlds at once, missing ones filled in: slower, and every world bit for bit the same in
    any company, on one machine with one number of threads. 0 computes all that go on together at once."""

    def __post_init__(self) -> None:
        model, config = self.model, self.model.tokenizer.config
        if self.tile < 0:
            raise ValueError(f"tile is {self.tile}; expected a number of worlds, or 0 to compute all at once")
        if model.config.goal_conditioned:
            raise ValueError("this model starts from a goal, which no environment has; take one that needs none")
        if not model.action_dim:
            raise ValueError("this model takes no actions, so it is no environment; take one that takes some")
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
        if self.tile:
            tiles.check(model, self.tile)

    @property
    def rewarded(self) -> bool:
        """Whether anything is earned here; else every reward is 0."""
        return self.reward is not None or self.model.config.heads.reward

    def begin(self, members: Sequence[int], generators: Sequence[np.random.Generator]) -> tuple[Group, Seen]:
        """Begin worlds, each where its generator says."""
        places = [self._place(generator) for generator in generators]
        seeds = [int(generator.integers(_SEEDS)) for generator in generators]
        context = self.model.context_frames
        frames = torch.stack([episode.frames[start : start + context] for episode, start in places])
        told = [episode.instruction for episode, _ in places] if self.model.read_instructions is not None else None
        if not self.tile:
            state, codes = self._start(frames, told, seeds)
            group = Group(members=tuple(members), state=state)
        else:
            each = [
                self._start(frames[row : row + 1], None if told is None else told[row : row + 1], seeds[row : row + 1])
                for row in range(len(seeds))
            ]
            group, codes = self._tiled(members, [state for state, _ in each]), torch.cat([codes for _, codes in each])
        nothing = torch.zeros(len(places))
        seen = Seen(
            frames=frames[:, -1].clone() if self.pixels else None,
            codes=codes,
            rewards=nothing,
            terminals=nothing,
            log_likelihood=nothing,
        )
        return group, seen

    def advance(self, group: Group, actions: Float[Tensor, "b a"]) -> tuple[Group, Seen]:
        """Let all worlds of a group go on by one frame."""
        actions = actions.to(self.model.device)
        if not self.tile:
            state, seen = self._step(settled(group.state), actions)
            return replace(group, state=state), seen
        states = [group.state, *group.more]
        missing = self.tile * len(states) - len(actions)
        given = torch.cat([actions, actions[-1:].expand(missing, -1)]).split(self.tile)
        stepped = [
            self._step(tiles.rested(self.model, tile, len(actions) - index * self.tile), given[index])
            for index, tile in enumerate(states)
        ]
        first, *more = [state for state, _ in stepped]
        seen = Seen.together([seen for _, seen in stepped], len(actions))
        return replace(group, state=first, more=tuple(more)), seen

    def together(self, groups: Sequence[Group]) -> Group:
        """All worlds of some groups as one, computed in one pass from then on; each goes on as it would have alone.

        Nothing is copied now; worlds of equal length are, once, when they first go on together. A group that is kept
        is therefore cheaper than one that is put together anew for every frame.
        """
        if not groups:
            raise ValueError("no groups of worlds are given to bring together; give at least one")
        if len(groups) == 1:
            return groups[0]
        members = tuple(member for group in groups for member in group.members)
        if len(set(members)) < len(members):
            twice = next(member for member in members if members.count(member) > 1)
            raise ValueError(f"world {twice} is in more than one of the groups; give each world once")
        if self.tile:
            return self._tiled(members, [row for group in groups for row in self._rows(group)])
        state = together(self.model, [group.state for group in groups])
        return Group(members=members, state=uniform(self.model, state))

    def only(self, group: Group, members: Sequence[int]) -> Group:
        """Some worlds of a group, in that order; the group stays as it is."""
        if not members:
            raise ValueError("no worlds are asked for; name at least one of the group's")
        place = {member: row for row, member in enumerate(group.members)}
        if unknown := [member for member in members if member not in place]:
            raise ValueError(f"world {unknown[0]} is not in this group, which has {list(group.members)}")
        if tuple(members) == group.members:
            return group
        wanted = [place[member] for member in members]
        if self.tile:
            rows = self._rows(group)
            return self._tiled(members, [rows[row] for row in wanted])
        state = group.state.select(torch.tensor(wanted))
        return Group(members=tuple(members), state=uniform(self.model, state))

    def fork(self, group: Group, n: int) -> Group:
        """`n` worlds for each: world i becomes worlds i*n to i*n + n-1, of which the first goes on as i would."""
        members = tuple(member * n + branch for member in group.members for branch in range(n))
        if not self.tile:
            return replace(group, members=members, state=group.state.fork(n))
        rows = [
            replace(row, seeds=seed[None]) for row in self._rows(group) for seed in row.fork(n).seeds
        ]  # a shared prefix would be read in other sums
        return self._tiled(members, rows)

    def without(self, groups: Sequence[Group], gone: Sequence[int]) -> tuple[Group, ...]:
        """The groups without some worlds."""
        left = []
        for group in groups:
            staying = [member for member in group.members if member not in gone]
            if staying:
                left.append(self.only(group, staying))
        return tuple(left)

    def latest(self, groups: Sequence[Group], shown: UInt8[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n 3 h w"]:
        """The latest frame of every world; of one that has imagined none yet, that in `shown`."""
        frames = shown.clone()
        for group in groups:
            members = iter(group.members)
            for state in (group.state, *group.more):
                ages = [state.frames] * state.batch if state.ages is None else state.ages.tolist()
                begun = [(row, member) for row, member in zip(range(state.batch), members, strict=False) if ages[row]]
                if begun:
                    seen = state.select(torch.tensor([row for row, _ in begun]))
                    latest = self.model.frames(seen, slice(-1, None))[:, 0].cpu()
                    frames[[member for _, member in begun]] = latest
        return frames

    def _start(
        self, frames: UInt8[Tensor, "b c 3 h w"], told: list[str] | None, seeds: list[int]
    ) -> tuple[RolloutState, Int[Tensor, "b m"]]:
        """Rollouts from these frames, and the latest frame's codes as later frames are encoded."""
        state = self.model.start(frames, domain=self.domain, instruction=told)
        state = replace(state, seeds=torch.tensor(seeds, dtype=torch.int64))
        with torch.inference_mode():
            latest = frames[:, -1:].to(self.model.device)
            return state, self.model.tokenizer.encode_frames(latest, state.context)[:, 0].cpu()

    def _step(self, state: RolloutState, actions: Float[Tensor, "b a"]) -> tuple[RolloutState, Seen]:
        state, made = self.model.step(state, actions, decode=self.pixels, sampling=self.sampling)
        frames = None if made.frame is None else made.frame.cpu()
        if self.reward is not None:
            assert frames is not None
            rewards = self.reward(frames)
        else:
            rewards = torch.zeros(len(made.codes)) if made.reward is None else made.reward
        terminals = torch.zeros(len(made.codes)) if made.terminal is None else made.terminal
        # Nobody asks for frames of before: without this, an episode's memory would grow with its steps.
        return state.latest(frames_kept(self.model) + 1), Seen(
            frames=frames,
            codes=made.codes.cpu(),
            rewards=rewards.float().cpu(),
            terminals=terminals.float().cpu(),
            log_likelihood=made.log_likelihood.float().cpu(),
        )

    def _tiled(self, members: Sequence[int], rows: Sequence[RolloutState]) -> Group:
        first, *more = tiles.tiled(self.model, rows, self.tile)
        return Group(members=tuple(members), state=first, more=tuple(more))

    def _rows(self, group: Group) -> list[RolloutState]:
        return tiles.rows_of((group.state, *group.more), len(group.members))

    def _place(self, generator: np.random.Generator) -> tuple[Episode, int]:
        while True:
            episode = self.starts[int(generator.integers(len(self.starts)))]
            room = len(episode) - self.model.context_frames
            if room >= 0:
                return episode, int(generator.integers(room + 1))
