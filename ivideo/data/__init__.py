"""Episodes from files and environments, windows of them, and batches."""

from ivideo.data.opening import open_episodes
from ivideo.data.recording import record
from ivideo.data.segments import SegmentSampler
from ivideo.data.store import EpisodeStore
from ivideo.data.transforms import Augmentation

__all__ = ["Augmentation", "EpisodeStore", "SegmentSampler", "open_episodes", "record"]
