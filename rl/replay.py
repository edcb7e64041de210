"""Played episodes, in memory to learn from and on disk to outlive the process.

::

    FOLDER/episode-000000.npz     frames [t 3 h w], actions [t-1 a], rewards [t-1], terminal
           episode-000001.npz     ...

A file appears in one step when its episode is over, so that a process that is killed leaves whole ones. Files of other
names are nobody's business here; damaged ones are named, left where they are and done without. Only episodes that were
written here are ever removed, the oldest first, when there are more transitions than may be kept: demonstrations
are read from wherever they are and stay as they are.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo import Episode
from ivideo.files import replace_file
from rl.drqv2.agent import Transitions

_NAME = re.compile(r"episode-(\d{6,})\.npz")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """An episode in the buffer, and where it is written, if it was written here."""

    episode: Episode
    file: Path | None

    @property
    def transitions(self) -> int:
        return len(self.episode) - 1


class Replay:
    """Episodes to draw n-step transitions from: an episode uniformly, then where to begin in it.

    A time limit is no end of the world: the value behind the last frame counts, unless the episode is `terminal`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        capacity: int = 1_000_000,
        stack: int = 3,
        nstep: int = 3,
        gamma: float = 0.99,
    ) -> None:
        """Open a buffer with the episodes that an earlier process wrote to `folder`; None writes nothing.

        Args:
            folder: where episodes are written.
            capacity: transitions to keep, demonstrations not counted.
            stack: frames in an observation; before the first one, that is repeated.
            nstep: rewards that are summed; fewer in shorter episodes.
            gamma: discount of a step.
        """
        if min(capacity, stack, nstep) < 1 or not 0 <= gamma <= 1:
            raise ValueError(
                f"capacity is {capacity}, stack {stack}, nstep {nstep} and gamma {gamma}; expected at least 1 of the "
                "first three, and a gamma in 0..1"
            )
        self.folder, self.capacity, self.stack, self.nstep, self.gamma = folder, capacity, stack, nstep, gamma
        self.damaged: list[tuple[str, str]] = []
        """Files that could not be read, each with the reason."""
        self._demonstrations: list[_Kept] = []
        self._own: list[_Kept] = []
        self._next = 0
        if folder is not None:
            if folder.exists() and not folder.is_dir():
                raise FileExistsError(f"{folder} is a file; expected a folder for played episodes")
            self._open(folder)

    def __len__(self) -> int:
        """Transitions to draw from."""
        return sum(kept.transitions for kept in self._all)

    @property
    def episodes(self) -> list[Episode]:
        """What is in the buffer, demonstrations first."""
        return [kept.episode for kept in self._all]

    def add(self, episode: Episode) -> None:
        """Take up an episode that was just played, and write it; the oldest ones go when there are too many."""
        self._check(episode)
        file = None
        if self.folder is not None:
            file = self.folder / f"episode-{self._next:06}.npz"
            replace_file(file, lambda path: _write(path, episode))
        self._next += 1
        self._own.append(_Kept(episode=episode, file=file))
        self._make_room()

    def preload(self, demonstrations: Iterable[Episode]) -> None:
        """Take up demonstrations, which are never written nor removed."""
        for episode in demonstrations:
            self._check(episode)
            self._demonstrations.append(_Kept(episode=episode, file=None))

    def sample(self, batch: int, generator: np.random.Generator) -> Transitions:
        """Draw transitions; the same generator gives the same ones."""
        kept = self._all
        if not kept:
            raise ValueError("there is nothing to draw from yet; add an episode first")
        drawn = [kept[int(each)].episode for each in generator.integers(len(kept), size=batch)]
        rows = [
            self._transition(episode, float(share))
            for episode, share in zip(drawn, generator.random(batch), strict=True)
        ]
        before, actions, rewards, discounts, after = zip(*rows, strict=True)
        return Transitions(
            observations=torch.stack(before),
            actions=torch.stack(actions),
            rewards=torch.tensor(rewards, dtype=torch.float32),
            discounts=torch.tensor(discounts, dtype=torch.float32),
            next_observations=torch.stack(after),
        )

    def _transition(self, episode: Episode, share: float) -> tuple[Tensor, Tensor, float, float, Tensor]:
        """One transition; `share` says where among the possible beginnings."""
        assert episode.actions is not None
        assert episode.rewards is not None
        steps = len(episode) - 1
        start = int(share * (max(steps - self.nstep, 0) + 1))
        count = min(self.nstep, steps - start)
        powers = self.gamma ** np.arange(count)
        reward = float(powers @ episode.rewards[start : start + count].numpy())
        ended = episode.terminal and start + count == steps
        discount = 0.0 if ended else self.gamma**count
        return (
            self._stacked(episode, start),
            episode.actions[start],
            reward,
            discount,
            self._stacked(episode, start + count),
        )

    def _stacked(self, episode: Episode, place: int) -> UInt8[Tensor, "c h w"]:
        places = [max(place - back, 0) for back in range(self.stack - 1, -1, -1)]
        return episode.frames[places].flatten(0, 1)

    @property
    def _all(self) -> Sequence[_Kept]:
        return [*self._demonstrations, *self._own]

    def _check(self, episode: Episode) -> None:
        """ValueError for what cannot be learned from, or is unlike the rest."""
        name = episode.name or "the episode"
        if episode.actions is None or episode.rewards is None:
            raise ValueError(f"{name} has no {'actions' if episode.actions is None else 'rewards'}; expected both")
        if len(episode) < 2:
            raise ValueError(f"{name} has {len(episode)} frame; expected at least 2, one to leave and one to arrive at")
        if not bool(episode.rewards.isfinite().all()) or not bool(episode.actions.isfinite().all()):
            raise ValueError(f"{name} holds rewards or actions that are NaN or infinite; expected numbers")
        for other in self._all[:1]:
            assert other.episode.actions is not None
            kinds = [
                (tuple(e.frames.shape[1:]), a.shape[1])
                for e, a in ((episode, episode.actions), (other.episode, other.episode.actions))
            ]
            if kinds[0] != kinds[1]:
                raise ValueError(
                    f"{name} has frames {list(kinds[0][0])} and {kinds[0][1]} controls, and the others "
                    f"{list(kinds[1][0])} and {kinds[1][1]}; expected episodes of one kind"
                )

    def _make_room(self) -> None:
        while sum(kept.transitions for kept in self._own) > self.capacity and len(self._own) > 1:
            oldest = self._own.pop(0)
            if oldest.file is not None:
                oldest.file.unlink(missing_ok=True)

    def _open(self, folder: Path) -> None:
        found = sorted((int(match[1]), path) for path in folder.glob("*.npz") if (match := _NAME.fullmatch(path.name)))
        for number, path in found:
            self._next = max(self._next, number + 1)
            try:
                episode = _read(path)
                self._check(episode)
            except (ValueError, OSError, KeyError, BadZipFile, EOFError) as error:
                self.damaged.append((path.name, " ".join(str(error).split()) or type(error).__name__))
                continue
            self._own.append(_Kept(episode=episode, file=path))
        self._make_room()


def _write(path: Path, episode: Episode) -> None:
    assert episode.actions is not None
    assert episode.rewards is not None
    with path.open("wb") as file:
        np.savez(
            file,
            frames=episode.frames.numpy(),
            actions=episode.actions.numpy(),
            rewards=episode.rewards.numpy(),
            terminal=np.array(episode.terminal),
        )


def _read(path: Path) -> Episode:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Episode(
            frames=torch.from_numpy(arrays["frames"]),
            actions=torch.from_numpy(arrays["actions"]),
            rewards=torch.from_numpy(arrays["rewards"]),
            terminal=bool(arrays["terminal"]),
            name=path.stem,
        )
