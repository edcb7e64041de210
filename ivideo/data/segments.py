"""Windows of episodes, drawn so that a run can be repeated, resumed and shared: sample i depends on the seed and i."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from ivideo.data.draws import Order, Stream, uniform
from ivideo.data.sampler import numbered
from ivideo.data.store import EpisodeStore
from ivideo.data.transforms import DRAWS, Augmentation
from ivideo.episode import Batch, Episode, Segment

FrameOrder = Literal["time", "goal_first", "shuffled", "random_context"]
History = Literal["recent", "distant"]


class SegmentSampler:
    """Deals out every window of every episode once per epoch, in an order that depends on the seed and epoch alone.

    A window is `frames` frames, `stride` apart. An episode too short for one is taken with a stride of
    `max(1, len // frames)` and, where that is still too short, padded by repeating its last frame: the batch's mask is
    False there, and actions and rewards are 0 (the iVideoGPT paper, appendix A.2, draws its segments this way). Windows
    of one episode start at every frame, so a long episode is drawn more often than a short one.

    Sample i is window `order(i)`, with frames and augmentation drawn from hashes of (seed, i): a pure function of the
    two. `batch(step, batch_size)` holds the samples from `step * batch_size` on, so two batches of half the size are
    one of the whole. To share work between `world` processes, process `rank` asks for
    `batch(step * world + rank, batch_size)`.

    The order of frames within a clip:

    ==================  =================================================================================
    "time"              as they happened
    "goal_first"        the window's last frame in front of the others, `(o_T, o_1, ..., o_T-1)`: the
                        context frames are then the goal and the present; the step from one to the other
                        has action and reward 0
    "shuffled"          at random, so that the context frames are any of them; actions and rewards are
                        left out
    "random_context"    the context frames show any frames of the window, in their order; those after the
                        context are as they happened, with the actions that led to them (ContextWM,
                        section 4: its context is one random frame of the segment)
    ==================  =================================================================================

    `history="distant"` spaces the context frames exponentially, at 1, 2, 4, ... strides before the first frame after
    them (UniSim, section 4.1), where "recent" takes the frames just before it::

        recent, context=4                o o o o x x x
        distant, context=4     o . . . o . o o x x x

    With `targets=k` only the `context` first frames and `k` others (at random, in their order) remain, without actions
    and rewards: what a tokenizer, which sees no order among predicted frames, is trained on.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        frames: int,
        stride: int = 1,
        seed: int = 0,
        *,
        order: FrameOrder = "time",
        context: int = 1,
        targets: int | None = None,
        history: History = "recent",
        augmentation: Augmentation | None = None,
    ) -> None:
        """Prepare to draw; nothing is read or copied.

        Args:
            episodes: where windows come from; all of one frame size and action dimension.
            frames: frames in a window, 2 or more.
            stride: episode frames from one frame of a window to the next.
            seed: names the order in which windows are drawn.
            order: the order of frames within a clip.
            context: frames that `targets` always keeps, `history` spaces and "random_context" draws.
            targets: how many of the frames after the context to keep; None keeps all.
            history: how far back the context frames lie.
            augmentation: changes to colours and framing, one draw per clip; None for none.
        """
        if frames < 2:
            raise ValueError(f"frames is {frames}; a segment needs at least 2, one to start from and one to predict")
        if stride < 1:
            raise ValueError(f"stride is {stride}; it counts frames and is at least 1")
        if order not in ("time", "goal_first", "shuffled", "random_context"):
            raise ValueError(f'order is {order!r}; expected "time", "goal_first", "shuffled" or "random_context"')
        if not 1 <= context < frames:
            raise ValueError(
                f"{frames} frames, {context} of them context, leave none to predict; expected frames over context"
            )
        if targets is not None and not 1 <= targets <= frames - context:
            raise ValueError(
                f"targets is {targets}; {frames} frames, {context} of them context, leave 1 to "
                f"{frames - context} to choose"
            )
        if not len(episodes):
            raise ValueError("there are no episodes to sample from; expected at least one: check the data folder")
        self.episodes = episodes if isinstance(episodes, EpisodeStore) else EpisodeStore(episodes)
        self.frames = frames
        self.stride = stride
        self.seed = seed
        self.order: FrameOrder = order
        self.context = context
        self.targets = targets
        self.augmentation = augmentation

        table = self.episodes.table
        self._lengths = table.lengths.numpy()
        if int(self._lengths.min()) < 2:
            place = int(self._lengths.argmin())
            raise ValueError(
                f"episode {table.names[place]!r} has {self._lengths[place]} frames; expected at least 2: drop it, "
                "or open the data with min_frames=2"
            )
        self._offsets = _offsets(frames, context, history)
        span = int(self._offsets[-1])
        fits = self._lengths >= span * stride + 1
        self._strides = np.where(fits, stride, np.maximum(self._lengths // (span + 1), 1))
        self._ends = np.maximum(self._lengths - span * self._strides, 1).cumsum()
        self._has_ends = table.has_rewards or bool(table.terminals.any())
        self._deal = Order(self.windows, seed, Stream.WINDOW)

    @property
    def windows(self) -> int:
        """How many different windows there are: an epoch's length in samples."""
        return int(self._ends[-1])

    def batches_per_epoch(self, batch_size: int) -> int:
        """Return after how many batches every window has been seen."""
        return math.ceil(self.windows / batch_size)

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return the batch number `step`: frames `[b t 3 h w]`, or `[b context+targets 3 h w]` with `targets` set."""
        return self.samples(numbered(step, batch_size))

    def samples(self, samples: Int64[np.ndarray, "b"]) -> Batch:
        """Return the samples of these numbers, in their order."""
        numbers, places, real = self._cut(self._deal(samples))
        shown = self._shown(samples, real)
        segments = [
            self._segment(int(number), places[row], real[row], None if shown is None else shown[row])
            for row, number in enumerate(numbers)
        ]
        batch = stacked(segments)
        frames = batch.frames
        if self.augmentation is not None:
            frames = self.augmentation(frames, uniform(samples, DRAWS, self.seed, Stream.AUGMENTATION))
        steps = {name: getattr(batch, name) for name in ("actions", "rewards", "terminals")}
        if self.order == "goal_first":
            steps = {name: _goal_shift(value) for name, value in steps.items()}
        table = self.episodes.table
        told = tuple(table.instructions[int(number)] for number in numbers) if table.has_instructions else None
        return Batch(frames=frames, mask=batch.mask, instructions=told, **steps)

    def names(self, samples: Int64[np.ndarray, "b"]) -> list[str]:
        """Return the episode and the first frame of these samples, in words."""
        numbers, places, _ = self._cut(self._deal(samples))
        named = self.episodes.table.names
        return [
            f"{named[number] or number} from frame {place[0]}" for number, place in zip(numbers, places, strict=True)
        ]

    def segment(self, window: int) -> Segment:
        """Return a window by its number, in [0, windows): windows are numbered by episode, then by first frame."""
        if not 0 <= window < self.windows:
            raise ValueError(f"window is {window}; expected 0 to {self.windows - 1}")
        numbers, places, real = self._cut(np.array([window]))
        return self._segment(int(numbers[0]), places[0], real[0], None)

    def _cut(
        self, windows: Int64[np.ndarray, "b"]
    ) -> tuple[Int64[np.ndarray, "b"], Int64[np.ndarray, "b t"], Bool[np.ndarray, "b t"]]:
        """The episode of each window, the place in it of each of its frames, and which of those are no repetitions."""
        numbers = np.searchsorted(self._ends, windows, side="right")
        starts = windows - np.where(numbers, self._ends[numbers - 1], 0)
        places = starts[:, None] + self._offsets * self._strides[numbers, None]
        real = places < self._lengths[numbers, None]
        last = np.where(real, places, 0).max(axis=1, keepdims=True)
        return numbers, np.where(real, places, last), real

    def _shown(self, samples: Int64[np.ndarray, "b"], real: Bool[np.ndarray, "b t"]) -> Int64[np.ndarray, "b k"] | None:
        """Which frames of its window each clip shows, in order; None for all of them as they happened."""
        if self.order == "time" and self.targets is None:
            return None
        size, length, context = len(samples), self.frames, self.context
        shown = np.tile(np.arange(length), (size, 1))
        draws = uniform(samples, 2 * length, self.seed, Stream.FRAMES).numpy()
        if self.order == "goal_first":
            shown = np.roll(shown, 1, axis=1)
        elif self.order == "shuffled":
            shown = draws[:, :length].argsort(axis=1)
        elif self.order == "random_context":
            # Repetitions come last, so that they are context only where there are too few real frames.
            anywhere = (draws[:, :length] + ~real).argsort(axis=1)[:, :context]
            shown[:, :context] = np.sort(anywhere, axis=1)
        if self.targets is not None:
            chosen = draws[:, length : 2 * length - context].argsort(axis=1)[:, : self.targets]
            shown = np.concatenate(
                [shown[:, :context], np.take_along_axis(shown, np.sort(chosen, axis=1) + context, axis=1)], axis=1
            )
        return shown

    def _segment(
        self,
        number: int,
        places: Int64[np.ndarray, "t"],
        real: Bool[np.ndarray, "t"],
        shown: Int64[np.ndarray, "k"] | None,
    ) -> Segment:
        """The window of one episode with the frames that are shown of it."""
        episode = self.episodes[number]
        steps = int(real.sum()) - 1
        actions = rewards = terminals = None
        # Steps between frames mean nothing where the frames are not those that the steps led to.
        told = shown is None or (self.targets is None and self.order != "shuffled")
        if told and episode.actions is not None:
            actions = _padded(episode.actions[torch.from_numpy(places[:steps])], self.frames - 1)
        if told and episode.rewards is not None:
            earned = episode.rewards[: places[steps]].numpy()
            # What is earned on the way from one frame of the window to the next belongs to the next.
            rewards = _padded(torch.from_numpy(np.add.reduceat(earned, places[:steps])), self.frames - 1)
        if told and self._has_ends:
            terminals = torch.zeros(self.frames - 1)
            if episode.terminal and steps and places[steps] == len(episode) - 1:
                terminals[steps - 1] = 1.0
        seen = slice(None) if shown is None else shown
        return Segment(
            episode=number,
            start=int(places[0]),
            stride=int(self._strides[number]),
            frames=_pictures(episode.frames, places[seen]),
            actions=actions,
            rewards=rewards,
            terminals=terminals,
            mask=torch.from_numpy(real[seen]),
        )


def window_indices(length: int, frames: int, stride: int = 1) -> Int64[Tensor, "n"]:
    """Return the first frames of the non-overlapping windows of an episode: what an evaluation walks through."""
    span = (frames - 1) * stride + 1
    return torch.arange(0, max(length - span, 0) + 1, span)


def frames_back(context: int, history: History) -> Int64[np.ndarray, "c"]:
    """How many strides before the first frame after them the context frames lie, the furthest first."""
    if history not in ("recent", "distant"):
        raise ValueError(f'history is {history!r}; expected "recent" or "distant"')
    places = np.arange(context - 1, -1, -1)
    back: Int64[np.ndarray, c] = 2**places if history == "distant" else places + 1
    return back


def _offsets(frames: int, context: int, history: History) -> Int64[np.ndarray, "t"]:
    """Where the frames of a window lie, in strides from its first."""
    back = frames_back(context, history)
    return np.concatenate([back[0] - back, back[0] + np.arange(frames - context)])


def _pictures(frames: UInt8[Tensor, "t 3 h w"], places: Int64[np.ndarray, "k"]) -> UInt8[Tensor, "k 3 h w"]:
    """The frames at some places, without a copy where these are evenly spaced."""
    step = int(places[1] - places[0])
    if step > 0 and (np.diff(places) == step).all():
        return frames[int(places[0]) : int(places[-1]) + 1 : step]
    return frames[torch.from_numpy(places)]


def _padded(values: Tensor, length: int) -> Tensor:
    if len(values) == length:
        return values
    return torch.cat([values, values.new_zeros(length - len(values), *values.shape[1:])])


def _goal_shift(values: Tensor | None) -> Tensor | None:
    """Put a zero step, from the goal to the present, in front; the step that led to the goal is no longer there."""
    if values is None:
        return None
    return torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], dim=1)


def stacked(segments: list[Segment]) -> Batch:
    """The windows as a batch, in their order."""

    def stack(values: list[Tensor | None]) -> Tensor | None:
        present = [value for value in values if value is not None]
        return torch.stack(present) if present else None

    return Batch(
        frames=torch.stack([segment.frames for segment in segments]),
        actions=stack([segment.actions for segment in segments]),
        rewards=stack([segment.rewards for segment in segments]),
        terminals=stack([segment.terminals for segment in segments]),
        mask=torch.stack([segment.mask for segment in segments]),
    )
