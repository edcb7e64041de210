"""Episodes in memory, all alike, with names: what samplers, evaluations and planners draw from."""

from collections.abc import Iterator, Sequence
from typing import overload

from ivideo.episode import Episode


class EpisodeStore(Sequence[Episode]):
    """A sequence of episodes of one frame size and one action dimension.

    Frames are uint8 at the size they were opened with: a 64 px frame takes 12 KiB, a million of them 12 GiB.
    """

    def __init__(self, episodes: Sequence[Episode], *, source: str = "") -> None:
        """Keep the episodes, in order.

        Args:
            episodes: at least one; refused when frame sizes or action dimensions differ.
            source: where they come from, for people.
        """
        if not episodes:
            raise ValueError(f"{source or 'the store'} holds no episodes; expected at least one")
        check_alike(episodes)
        self._episodes = tuple(episodes)
        self.source = source

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> "EpisodeStore": ...
    def __getitem__(self, index: int | slice) -> "Episode | EpisodeStore":
        if isinstance(index, slice):
            return EpisodeStore(self._episodes[index], source=self.source)
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
        return [episode.name for episode in self]

    @property
    def total_frames(self) -> int:
        return sum(len(episode) for episode in self)

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width."""
        return self[0].frames.shape[2], self[0].frames.shape[3]

    @property
    def action_dim(self) -> int | None:
        """Numbers in an action; None when the episodes hold no actions."""
        actions = self[0].actions
        return None if actions is None else actions.shape[1]

    @property
    def has_rewards(self) -> bool:
        return self[0].rewards is not None

    def split(self, held_out: int | str = 10) -> "tuple[EpisodeStore, EpisodeStore]":
        """Return the episodes to train on and those held out; the same ones every time.

        Args:
            held_out: n holds out every n-th episode, the first included (100 gives the 1% of the iVideoGPT paper);
                "last" holds out the last episode of every folder, such as one demonstration of every task.
        """
        if held_out == "last":
            last = {_folder(episode): place for place, episode in enumerate(self)}
            chosen = set(last.values())
        elif isinstance(held_out, int) and held_out >= 2:
            chosen = set(range(0, len(self), held_out))
        else:
            raise ValueError(f'held_out is {held_out!r}; expected a whole number from 2 up, or "last"')
        train = [episode for place, episode in enumerate(self) if place not in chosen]
        held = [episode for place, episode in enumerate(self) if place in chosen]
        if not train:
            raise ValueError(
                f"{self.source or 'the store'} has {len(self)} episodes and held_out={held_out!r} takes them all; "
                "expected some to train on: add episodes or hold out fewer"
            )
        return EpisodeStore(train, source=self.source), EpisodeStore(held, source=self.source)


def check_alike(episodes: Sequence[Episode]) -> None:
    """Raise a ValueError naming the first episode whose frame size, action dimension or rewards are of another kind."""
    first = episodes[0]
    for episode in episodes:
        for what, mine, theirs in (
            ("frames of height and width", tuple(first.frames.shape[2:]), tuple(episode.frames.shape[2:])),
            ("action dimension", _width(first), _width(episode)),
            ("rewards", first.rewards is not None, episode.rewards is not None),
        ):
            if mine != theirs:
                remedy = "give a size to resize to" if what.startswith("frames") else "open them separately"
                raise ValueError(
                    f"episode {episode.name!r} has {what} {theirs}, but {first.name!r} has {mine}; expected episodes "
                    f"of one kind: {remedy}"
                )


def _width(episode: Episode) -> int | None:
    return None if episode.actions is None else episode.actions.shape[1]


def _folder(episode: Episode) -> str:
    return episode.name.rpartition("/")[0]
