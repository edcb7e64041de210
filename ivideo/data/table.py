"""What there is to know of episodes without reading their frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ivideo.episode import Episode

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeTable:
    """One row per episode, and what all of them have in common."""

    names: Sequence[str]
    """The episodes' names: their paths below what was opened, without suffix."""
    lengths: Int64[Tensor, "e"]
    """Frames of each."""
    terminals: Bool[Tensor, "e"]
    """Whether each ends in a state without a future."""
    instructions: Sequence[str]
    """What was asked for in each, in words."""
    has_instructions: bool
    """Whether any is more than an empty text."""
    frame_size: tuple[int, int]
    """Height and width."""
    action_dim: int | None
    """Numbers in an action; None when the episodes hold no actions."""
    has_rewards: bool

    @staticmethod
    def of(episodes: Sequence[Episode]) -> "EpisodeTable":
        """The table of episodes at hand, which must be of one kind."""
        check_alike(episodes)
        size, action_dim, has_rewards = Kind.of(episodes[0])
        return EpisodeTable(
            names=[episode.name for episode in episodes],
            lengths=torch.tensor([len(episode) for episode in episodes]),
            terminals=torch.tensor([episode.terminal for episode in episodes]),
            instructions=[episode.instruction for episode in episodes],
            has_instructions=any(episode.instruction for episode in episodes),
            frame_size=size,
            action_dim=action_dim,
            has_rewards=has_rewards,
        )

    def rows(self, places: Int64[np.ndarray, "r"]) -> "EpisodeTable":
        """The table of some of the episodes."""
        return EpisodeTable(
            names=Chosen(self.names, places),
            lengths=self.lengths[torch.from_numpy(places)],
            terminals=self.terminals[torch.from_numpy(places)],
            instructions=Chosen(self.instructions, places),
            has_instructions=self.has_instructions,
            frame_size=self.frame_size,
            action_dim=self.action_dim,
            has_rewards=self.has_rewards,
        )


class Chosen(Sequence[T]):
    """Some entries of another sequence, each read when it is asked for."""

    _whole: Sequence[T]
    _places: Int64[np.ndarray, "r"]

    def __init__(self, whole: Sequence[T], places: Int64[np.ndarray, "r"]) -> None:
        self._whole, self._places = whole, places
        if isinstance(whole, Chosen):
            self._whole, self._places = whole._whole, whole._places[places]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Chosen(self._whole, self._places[index])
        return self._whole[int(self._places[index])]

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[T]:
        return (self._whole[int(place)] for place in self._places)


class Kind(NamedTuple):
    """What all episodes of a store have in common."""

    frame_size: tuple[int, int]
    action_dim: int | None
    has_rewards: bool

    @staticmethod
    def of(episode: Episode) -> "Kind":
        actions, (height, width) = episode.actions, episode.frames.shape[2:]
        return Kind((height, width), None if actions is None else actions.shape[1], episode.rewards is not None)


def check_alike(episodes: Sequence[Episode]) -> None:
    """Raise a ValueError naming the first episode whose frame size, action dimension or rewards are of another kind."""
    first = episodes[0]
    for episode in episodes:
        if problem := unlike(episode, Kind.of(first), repr(first.name)):
            raise ValueError(problem)


def unlike(episode: Episode, kind: Kind, whose: str) -> str:
    """Return in what an episode is of another kind than that of `whose`, and what to do; nothing where it is alike."""
    whats = ("frames of height and width", "action dimension", "rewards")
    for what, mine, theirs in zip(whats, kind, Kind.of(episode), strict=True):
        if mine != theirs:
            remedy = "give a size to resize to" if what.startswith("frames") else "open them separately"
            return (
                f"episode {episode.name!r} has {what} {theirs}, but {whose} has {mine}; expected episodes "
                f"of one kind: {remedy}"
            )
    return ""
