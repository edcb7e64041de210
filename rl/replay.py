"""Played episodes, in memory to learn from and on disk to outlive the process.

::

    FOLDER/episode-000000.npz     frames [t 3 h w], actions [t-1 a], rewards [t-1], terminal, lead
           episode-000001.npz     ...

A file appears in one step when its episode is over, so that a process that is killed leaves whole ones, and perhaps a
hidden one that goes when the folder is opened again; one process at a time may write there. Files of other names are
nobody's business here; damaged ones are named, left where they are and done without. Only episodes that were written
here are ever removed, the oldest first, when there are more transitions than may be kept: demonstrations are read from
wherever they are and stay as they are.
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
from ivideo.files import remove_unfinished, replace_file
from rl.drqv2.agent import Transitions
from rl.sight import shrunken

_NAME = re.compile(r"episode-(\d{6,})\.npz")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """An episode in the buffer, and where it is written, if it was written here."""

    episode: Episode
    lead: int
    seen: UInt8[Tensor, "t 3 r r"]
    """The frames as the agent sees them."""
    file: Path | None

    @property
    def transitions(self) -> int:
        return len(self.episode) - 1 - self.lead


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
        shrink: int = 1,
        upto: int | None = None,
    ) -> None:
        """Open a buffer with the episodes that an earlier process wrote to `folder`; None writes nothing.

        Args:
            folder: where episodes are written.
            capacity: transitions to keep, demonstrations not counted.
            stack: frames in an observation; before the first one, that is repeated.
            nstep: rewards that are summed; fewer in shorter episodes.
            gamma: discount of a step.
            shrink: transitions show frames that are this much smaller.
            upto: take up the first so many episodes alone, and write the next one in the place of the one that
                follows: a run that goes on from a checkpoint plays again what came after it. Files of episodes that
                are too old then stay until `settle`, since an older checkpoint may need them.
        """
        if min(capacity, stack, nstep, shrink) < 1 or not 0 <= gamma <= 1:
            raise ValueError(
                f"capacity is {capacity}, stack {stack}, nstep {nstep}, shrink {shrink} and gamma {gamma}; expected at "
                "least 1 of the first four, and a gamma in 0..1"
            )
        self.folder, self.capacity, self.stack, self.nstep, self.gamma = folder, capacity, stack, nstep, gamma
        self.shrink = shrink
        self.damaged: list[tuple[str, str]] = []
        """Files that could not be read, each with the reason."""
        self._demonstrations: list[_Kept] = []
        self._own: list[_Kept] = []
        self._outlived: list[Path] = []
        self._settles, self._next = upto is not None, 0
        if folder is not None:
            if folder.exists() and not folder.is_dir():
                raise FileExistsError(f"{folder} is a file; expected a folder for played episodes")
            self._open(folder, upto)

    def __len__(self) -> int:
        """Transitions to draw from."""
        return sum(kept.transitions for kept in self._all)

    @property
    def episodes(self) -> list[Episode]:
        """What is in the buffer, demonstrations first."""
        return [kept.episode for kept in self._all]

    @property
    def written(self) -> int:
        """Episodes ever added, those that are gone included: the number that `upto` takes."""
        return self._next

    def add(self, episode: Episode, *, lead: int = 0) -> None:
        """Take up an episode that was just played, and write it; the oldest ones go when there are too many.

        Its first `lead` frames are seen in observations, but nothing is learned from what was done there.
        """
        self._check(episode, lead)
        file = None
        if self.folder is not None:
            file = self.folder / f"episode-{self._next:06}.npz"
            replace_file(file, lambda path: _write(path, episode, lead))
        self._next += 1
        self._own.append(self._kept(episode, lead, file))
        self._make_room()

    def settle(self) -> None:
        """Remove the files of episodes that are too old: no checkpoint needs them any more."""
        for file in self._outlived:
            file.unlink(missing_ok=True)
        self._outlived = []

    def preload(self, demonstrations: Iterable[Episode]) -> None:
        """Take up demonstrations, which are never written nor removed."""
        for episode in demonstrations:
            self._check(episode)
            self._demonstrations.append(self._kept(episode, 0, None))

    def sample(self, batch: int, generator: np.random.Generator) -> Transitions:
        """Draw transitions; the same generator gives the same ones."""
        kept = self._all
        if not kept:
            raise ValueError("there is nothing to draw from yet; add an episode first")
        drawn = [kept[int(each)] for each in generator.integers(len(kept), size=batch)]
        rows = [
            self._transition(each, float(share)) for each, share in zip(drawn, generator.random(batch), strict=True)
        ]
        before, actions, rewards, discounts, after = zip(*rows, strict=True)
        return Transitions(
            observations=torch.stack(before),
            actions=torch.stack(actions),
            rewards=torch.tensor(rewards, dtype=torch.float32),
            discounts=torch.tensor(discounts, dtype=torch.float32),
            next_observations=torch.stack(after),
        )

    def _transition(self, kept: _Kept, share: float) -> tuple[Tensor, Tensor, float, float, Tensor]:
        """One transition; `share` says where among the possible beginnings."""
        episode = kept.episode
        assert episode.actions is not None
        assert episode.rewards is not None
        steps = len(episode) - 1
        start = kept.lead + int(share * (max(kept.transitions - self.nstep, 0) + 1))
        count = min(self.nstep, steps - start)
        powers = self.gamma ** np.arange(count)
        reward = float(powers @ episode.rewards[start : start + count].numpy())
        ended = episode.terminal and start + count == steps
        discount = 0.0 if ended else self.gamma**count
        return (
            self._stacked(kept, start),
            episode.actions[start],
            reward,
            discount,
            self._stacked(kept, start + count),
        )

    def _stacked(self, kept: _Kept, place: int) -> UInt8[Tensor, "c h w"]:
        places = [max(place - back, 0) for back in range(self.stack - 1, -1, -1)]
        return kept.seen[places].flatten(0, 1)

    def _kept(self, episode: Episode, lead: int, file: Path | None) -> _Kept:
        return _Kept(episode=episode, lead=lead, seen=shrunken(episode.frames, self.shrink), file=file)

    @property
    def _all(self) -> Sequence[_Kept]:
        return [*self._demonstrations, *self._own]

    def _check(self, episode: Episode, lead: int = 0) -> None:
        """ValueError for what cannot be learned from, or is unlike the rest."""
        name = episode.name or "the episode"
        if episode.actions is None or episode.rewards is None:
            raise ValueError(f"{name} has no {'actions' if episode.actions is None else 'rewards'}; expected both")
        if len(episode) < 2:
            raise ValueError(f"{name} has {len(episode)} frame; expected at least 2, one to leave and one to arrive at")
        if not 0 <= lead < len(episode) - 1:
            raise ValueError(f"lead is {lead} in {len(episode)} frames; expected 0 or more, and two frames behind it")
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
                self._outlived.append(oldest.file)
        if not self._settles:
            self.settle()

    def _open(self, folder: Path, upto: int | None) -> None:
        remove_unfinished(folder, _NAME)
        found = sorted((int(match[1]), path) for path in folder.glob("*.npz") if (match := _NAME.fullmatch(path.name)))
        for number, path in found:
            if upto is not None and number >= upto:
                break
            self._next = max(self._next, number + 1)
            try:
                episode, lead = _read(path)
                self._check(episode, lead)
            except (ValueError, OSError, KeyError, BadZipFile, EOFError) as error:
                self.damaged.append((path.name, " ".join(str(error).split()) or type(error).__name__))
                continue
            self._own.append(self._kept(episode, lead, path))
        self._next = self._next if upto is None else upto
        self._make_room()


def _write(path: Path, episode: Episode, lead: int) -> None:
    assert episode.actions is not None
    assert episode.rewards is not None
    with path.open("wb") as file:
        np.savez(
            file,
            frames=episode.frames.numpy(),
            actions=episode.actions.numpy(),
            rewards=episode.rewards.numpy(),
            terminal=np.array(episode.terminal),
            lead=np.array(lead),
        )


def _read(path: Path) -> tuple[Episode, int]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        episode = Episode(
            frames=torch.from_numpy(arrays["frames"]),
            actions=torch.from_numpy(arrays["actions"]),
            rewards=torch.from_numpy(arrays["rewards"]),
            terminal=bool(arrays["terminal"]),
            name=path.stem,
        )
        return episode, int(arrays["lead"])
