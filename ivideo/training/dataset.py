"""The episodes of a run, and the windows it sees of them."""

from dataclasses import dataclass, replace
from typing import Literal

from ivideo.data import Augmentation, EpisodeStore, SegmentSampler, open_episodes
from ivideo.data.segments import FrameOrder
from ivideo.episode import Batch
from ivideo.world_model import WorldModel


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where episodes come from and how windows are cut out of them."""

    source: str = "pushing_table"
    """A file or folder of episodes, or the embedded "pushing_table"; see `ivideo data show`."""
    size: int | None = None
    """Side of the square frames in pixels; null takes the model's resolution."""
    camera: str | None = None
    """Which view, in layouts that have several."""
    key: str | None = None
    """Which array of an .npz holds the frames."""
    crop: bool = True
    """Cut frames that are not square to their centre square; false squeezes them."""
    limit: int | None = None
    """Episodes to open at most; of the pushing table, how many to record."""
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

    def open(self, resolution: int) -> tuple[EpisodeStore, EpisodeStore]:
        """Return the episodes to train on and those held out; raises as `open_episodes` does."""
        size = self.size or resolution
        if size != resolution:
            raise ValueError(f"data.size is {size}, but the model sees {resolution}x{resolution}; leave data.size out")

        def read(source: str, limit: int | None) -> EpisodeStore:
            return open_episodes(source, size=size, camera=self.camera, key=self.key, crop=self.crop, limit=limit)

        store = read(self.source, self.limit)
        train, held = store, read(self.held_out_source, None) if self.held_out_source is not None else None
        if held is None:
            train, held = self._split(store)
        return train if self.subset is None else train.few(self.subset, self.subset_seed), held

    def sampler(
        self,
        episodes: EpisodeStore,
        seed: int,
        *,
        context: int = 1,
        order: FrameOrder = "time",
        targets: int | None = None,
    ) -> SegmentSampler:
        """Return windows of these episodes, cut and changed as the settings say; see `SegmentSampler`."""
        return SegmentSampler(
            episodes,
            self.frames,
            self.stride,
            seed,
            order=order,
            context=context,
            targets=targets,
            history=self.history,
            augmentation=self.augmentation,
        )

    def clips(self, episodes: EpisodeStore, count: int, *, context: int = 1, order: FrameOrder = "time") -> Batch:
        """Return up to `count` fixed windows, spread over the episodes and unchanged: what evaluations look at."""
        windows = replace(self, augmentation=None).sampler(episodes, seed=0, context=context, order=order)
        return windows.batch(0, min(count, windows.windows))

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


def model_inputs(batch: Batch, model: WorldModel) -> Batch:
    """Return the batch without actions where the model takes none."""
    return batch if model.action_dim else replace(batch, actions=None)
