"""The episodes of a run, and the windows it sees of them."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ivideo.data import Augmentation, EpisodeStore, SegmentSampler
from ivideo.data.mixture import MixedStore, load_mixture, open_mixture
from ivideo.data.mixture_sampler import MixtureSampler
from ivideo.data.opening import read_episodes
from ivideo.data.sampler import Sampler
from ivideo.data.segments import FrameOrder
from ivideo.data.sources.source import OPTIONAL, Options, SourceOptions
from ivideo.episode import Batch
from ivideo.training.process import is_first
from ivideo.world_model import WorldModel

Episodes = EpisodeStore | MixedStore
"""What a run is about: episodes of one kind, or of a mixture's many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig(SourceOptions):
    """Where episodes come from and how windows are cut out of them."""

    source: str = "pushing_table"
    """A file or folder of episodes, or the embedded "pushing_table"; see `ivideo data show`."""
    mixture: str | None = None
    """Train on a mixture of data sets instead: a packaged one, such as oxe_ssv2, or a YAML file."""
    root: str = "data"
    """The folder that the sources of a mixture lie in."""
    skip_missing: bool = False
    """Do without the sets of a mixture that are not there, and say what remains."""
    size: int | None = None
    """Side of the square frames in pixels; null takes the model's resolution."""
    crop: bool = True
    """Cut frames that are not square to their centre square; false squeezes them."""
    limit: int | None = None
    """Episodes to open at most; of the pushing table, how many to record; of a mixture, of each set."""
    max_damaged: float = 0.01
    """Share of the episodes that may be unusable; they are left out and listed. More is an error."""
    held_out: int | Literal["last"] = 100
    """n: every n-th episode is never trained on; "last": the last episode of every folder."""
    held_out_source: str | None = None
    """Hold out these episodes instead, and train on all of `source`."""
    frames: int = 16
    """Frames of a window, context included."""
    stride: int = 1
    """Frames of the episode from one frame of a window to the next."""
    history: Literal["recent", "distant"] = "recent"
    """Context frames just before the first predicted one, or 1, 2, 4, ... strides before it."""
    subset: int | None = None
    """Train on so many of the episodes, drawn without replacement: 10 are among 100; null trains on all."""
    subset_seed: int = 0
    """Decides which episodes a subset holds."""
    augmentation: Augmentation | None = None
    """Changes of framing and colour, one draw per window; null for none."""

    def __post_init__(self) -> None:
        if self.mixture is not None:
            for name in (*OPTIONAL, "held_out_source", "subset"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for one source, and a mixture has many; leave one of the two out")
            if self.stride != 1:
                raise ValueError(f"stride is {self.stride}, but every set of a mixture has its own; leave it out")

    def open(self, resolution: int, *, transformer: bool = False) -> tuple[Episodes, Episodes]:
        """Return the episodes to train on and those held out; raises as `open_episodes` and `open_mixture` do.

        With `transformer`, the sets of a mixture that are for tokenizers only are left out.
        """
        size = self.size or resolution
        if size != resolution:
            raise ValueError(f"data.size is {size}, but the model sees {resolution}x{resolution}; leave data.size out")
        if self.mixture is not None:
            return self._open_mixture(self.mixture, size, transformer=transformer)
        store = self._read(self.source, size, self.limit)
        held = None if self.held_out_source is None else self._read(self.held_out_source, size, None)
        train, held = (store, held) if held is not None else self._split(store)
        return train if self.subset is None else train.few(self.subset, self.subset_seed), held

    def sampler(
        self,
        episodes: Episodes,
        seed: int,
        *,
        context: int = 1,
        order: FrameOrder = "time",
        targets: int | None = None,
    ) -> Sampler:
        """Return windows of these episodes, cut and changed as the settings say; see `SegmentSampler`."""
        how: dict[str, Any] = {
            "order": order,
            "context": context,
            "targets": targets,
            "history": self.history,
            "augmentation": self.augmentation,
        }
        if isinstance(episodes, MixedStore):
            return MixtureSampler(episodes, self.frames, seed, **how)
        return SegmentSampler(episodes, self.frames, self.stride, seed, **how)

    def clips(self, episodes: Episodes, count: int, *, context: int = 1, order: FrameOrder = "time") -> Batch:
        """Return up to `count` fixed windows, spread over the episodes and unchanged: what evaluations look at."""
        windows = replace(self, augmentation=None).sampler(episodes, seed=0, context=context, order=order)
        return windows.batch(0, min(count, windows.windows))

    def _read(self, source: str, size: int, limit: int | None) -> EpisodeStore:
        store = read_episodes(
            source, Options.of(self, size=size, crop=self.crop), limit=limit, max_damaged=self.max_damaged
        )
        _tell(f"left out {damaged.name}: {damaged.reason}" for damaged in store.damaged)
        return store

    def _open_mixture(self, name: str, size: int, *, transformer: bool) -> tuple[MixedStore, MixedStore]:
        train, held = open_mixture(
            load_mixture(name),
            Path(self.root).expanduser(),
            size=size,
            held_out=self.held_out,
            transformer=transformer,
            skip_missing=self.skip_missing,
            limit=self.limit,
            max_damaged=self.max_damaged,
            source=name,
        )
        _tell(train.describe())
        return train, held

    def _split(self, store: EpisodeStore) -> tuple[EpisodeStore, EpisodeStore]:
        if self.held_out == "last" or len(store) > self.held_out:
            return store.split(self.held_out)
        # Too few episodes for that share: one is held out all the same.
        if len(store) < 2:
            raise ValueError(
                f"{self.source} holds a single episode, and one must be held out; add episodes, or name others with "
                "data.held_out_source"
            )
        return store.split(len(store))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """How closely evaluations during training look."""

    clips: int = 16
    """Held-out windows to measure on."""
    pictures: int = 4
    """How many of them are drawn, truth beside prediction."""

    def __post_init__(self) -> None:
        if self.clips < 1 or self.pictures < 0:
            raise ValueError(f"clips is {self.clips} and pictures {self.pictures}; expected at least 1 and 0")


def _tell(lines: Iterable[str]) -> None:
    """Say it once, on the terminal of the first process."""
    if is_first():
        for line in lines:
            print(line, file=sys.stderr)


def model_inputs(batch: Batch, model: WorldModel) -> Batch:
    """Return the batch without actions where the model takes none."""
    return batch if model.action_dim else replace(batch, actions=None)
