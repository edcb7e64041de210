"""Episodes of one kind, with names, in memory or on disk: what samplers, evaluations and planners draw from."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np
from jaxtyping import Bool, Int64

from ivideo.data.draws import Order, Stream
from ivideo.data.table import Chosen, EpisodeTable
from ivideo.episode import Episode


class Damaged(NamedTuple):
    """An episode that was left out."""

    name: str
    reason: str


class EpisodeStore(Sequence[Episode]):
    """A sequence of episodes of one frame size and one action dimension.

    Frames are uint8 at the size they were opened with: a 64 px frame takes 12 KiB, a million of them 12 GiB. Those of a
    stored folder stay on disk and are read when asked for.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        *,
        source: str = "",
        table: EpisodeTable | None = None,
        damaged: Sequence[Damaged] = (),
    ) -> None:
        """Keep the episodes, in order.

        Args:
            episodes: at least one; refused when frame sizes or action dimensions differ.
            source: where they come from, for people.
            table: what is known of the episodes without reading them; None looks at every one.
            damaged: those that could not be used.
        """
        if not len(episodes):
            raise ValueError(f"{source or 'the store'} holds no episodes; expected at least one")
        self._episodes: Sequence[Episode] = episodes if table is not None else tuple(episodes)
        self.table = EpisodeTable.of(self._episodes) if table is None else table
        self.source = source
        self.damaged = tuple(damaged)

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> "EpisodeStore": ...
    def __getitem__(self, index: int | slice) -> "Episode | EpisodeStore":
        if isinstance(index, slice):
            return self.subset(np.arange(len(self))[index])
        return self._episodes[index]

    def __len__(self) -> int:
        return len(self._episodes)

    def __iter__(self) -> Iterator[Episode]:
        return iter(self._episodes)

    def __repr__(self) -> str:
        height, width = self.frame_size
        actions = "no actions" if self.action_dim is None else f"{self.action_dim}-dimensional actions"
        rewards = "rewards" if self.has_rewards else "no rewards"
        return (
            f"EpisodeStore({self.source}: {len(self)} episodes, {self.total_frames} frames of {height}x{width}, "
            f"{actions}, {rewards})"
        )

    @property
    def names(self) -> list[str]:
        """The episodes' names: their paths below what was opened, without suffix."""
        return list(self.table.names)

    @property
    def total_frames(self) -> int:
        return int(self.table.lengths.sum())

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width."""
        return self.table.frame_size

    @property
    def action_dim(self) -> int | None:
        """Numbers in an action; None when the episodes hold no actions."""
        return self.table.action_dim

    @property
    def has_rewards(self) -> bool:
        return self.table.has_rewards

    def subset(self, places: Int64[np.ndarray, "r"]) -> "EpisodeStore":
        """Return the episodes at some places, in the order of `places`; nothing is read or copied."""
        chosen = Chosen(self._episodes, places)
        return EpisodeStore(chosen, source=self.source, table=self.table.rows(places), damaged=self.damaged)

    def few(self, count: int, seed: int = 0) -> "EpisodeStore":
        """Return `count` episodes drawn without replacement, in their old order; fewer are always among more."""
        if not 1 <= count <= len(self):
            raise ValueError(f"a subset of {count} episodes is wanted of the {len(self)} there are; expected 1 to that")
        order = Order(len(self), seed, Stream.SUBSET)
        return self.subset(np.sort(order(np.arange(count))))

    def split(self, held_out: int | str = 10) -> "tuple[EpisodeStore, EpisodeStore]":
        """Return the episodes to train on and those held out; the same ones every time.

        Args:
            held_out: n holds out every n-th episode, the first included (100 gives the 1% of the iVideoGPT paper);
                "last" holds out the last episode of every folder, such as one demonstration of every task.
        """
        held = held_out_places(self.table.names, held_out, self.source)
        return self.subset(np.flatnonzero(~held)), self.subset(np.flatnonzero(held))


def held_out_places(names: Sequence[str], held_out: int | str, source: str = "") -> Bool[np.ndarray, "r"]:
    """Say of every episode whether it is held out, by its place and name; see `EpisodeStore.split`."""
    held = np.zeros(len(names), bool)
    if held_out == "last":
        held[list({name.rpartition("/")[0]: place for place, name in enumerate(names)}.values())] = True
    elif isinstance(held_out, int) and held_out >= 2:
        held[::held_out] = True
    else:
        raise ValueError(f'held_out is {held_out!r}; expected a whole number from 2 up, or "last"')
    if held.all():
        raise ValueError(
            f"{source or 'the store'} has {len(names)} episodes and held_out={held_out!r} takes them all; "
            "expected some to train on: add episodes or hold out fewer"
        )
    return held
