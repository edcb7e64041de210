"""Windows of episodes, drawn so that a run can be repeated and resumed: batch i depends on the seed and i alone."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from ivideo.data.store import check_alike
from ivideo.data.transforms import Augmentation
from ivideo.episode import Batch, Episode, Segment

Order = Literal["time", "goal_first", "shuffled"]

_MIX = 0x9E3779B97F4A7C15
_ORDER_STREAM, _FRAME_STREAM, _AUGMENTATION_STREAM = 1, 2, 3


class SegmentSampler:
    """Deals out every window of every episode once per epoch, in an order that depends on the seed and epoch alone.

    A window is `frames` frames, `stride` apart. An episode too short for one is taken with a stride of
    `max(1, len // frames)` and, where that is still too short, padded by repeating its last frame: the batch's mask is
    False there, and actions and rewards are 0 (the iVideoGPT paper, appendix A.2, draws its segments this way). Windows
    of one episode start at every frame, so a long episode is drawn more often than a short one.

    `batch(step, batch_size)` is a pure function of its arguments and the seed: sample `i = step * batch_size + row` is
    entry `i % windows` of the permutation of epoch `i // windows`. To share work between `world` processes, process
    `rank` asks for `batch(step * world + rank, batch_size)`.

    The order of frames within a clip:

    ===============  ====================================================================================
    "time"           as they happened
    "goal_first"     the window's last frame in front of the others, `(o_T, o_1, ..., o_T-1)`: the context
                     frames are then the goal and the present; the step from one to the other has
                     action and reward 0
    "shuffled"       at random, so that the context frames are any two; actions and rewards are left out
    ===============  ====================================================================================

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
        order: Order = "time",
        context: int = 1,
        targets: int | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        """Prepare to draw; nothing is copied.

        Args:
            episodes: where windows come from; all of one frame size and action dimension.
            frames: frames in a window, 2 or more.
            stride: episode frames from one frame of a window to the next.
            seed: names the order in which windows are drawn.
            order: the order of frames within a clip.
            context: frames that `targets` always keeps.
            targets: how many of the frames after the context to keep; None keeps all.
            augmentation: changes to colours and framing, one draw per clip; None for none.
        """
        if frames < 2:
            raise ValueError(f"frames is {frames}; a segment needs at least 2, one to start from and one to predict")
        if stride < 1:
            raise ValueError(f"stride is {stride}; it counts frames and is at least 1")
        if order not in ("time", "goal_first", "shuffled"):
            raise ValueError(f'order is {order!r}; expected "time", "goal_first" or "shuffled"')
        if targets is not None and not 1 <= targets <= frames - context:
            raise ValueError(
                f"targets is {targets}; {frames} frames, {context} of them context, leave 1 to "
                f"{frames - context} to choose"
            )
        if not len(episodes):
            raise ValueError("there are no episodes to sample from; expected at least one: check the data folder")
        check_alike(episodes)
        self.episodes = episodes
        self.frames = frames
        self.stride = stride
        self.seed = seed
        self.order: Order = order
        self.context = context
        self.targets = targets
        self.augmentation = augmentation

        lengths = torch.tensor([len(episode) for episode in episodes])
        if int(lengths.min()) < 2:
            shortest = episodes[int(lengths.argmin())]
            raise ValueError(
                f"episode {shortest.name!r} has {len(shortest)} frames; expected at least 2: drop it, "
                "or open the data with min_frames=2"
            )
        fits = lengths >= (frames - 1) * stride + 1
        self._strides = torch.where(fits, stride, (lengths // frames).clamp(min=1))
        starts = (lengths - (frames - 1) * self._strides).clamp(min=1)
        self._ends = starts.cumsum(0)
        self._has_actions = episodes[0].actions is not None
        self._has_rewards = episodes[0].rewards is not None
        self._has_ends = self._has_rewards or any(episode.terminal for episode in episodes)
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64)

    @property
    def windows(self) -> int:
        """How many different windows there are: an epoch's length in samples."""
        return int(self._ends[-1])

    def batches_per_epoch(self, batch_size: int) -> int:
        """Return after how many batches every window has been seen."""
        return math.ceil(self.windows / batch_size)

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return the batch number `step`: frames `[b t 3 h w]`, or `[b context+targets 3 h w]` with `targets` set."""
        if step < 0 or batch_size < 1:
            raise ValueError(f"step is {step} and batch_size {batch_size}; expected step >= 0 and batch_size >= 1")
        first = step * batch_size
        segments = [self.segment(self._window(first + row)) for row in range(batch_size)]
        batch = _stack(segments)
        batch = self._reorder(batch, step)
        if self.augmentation is not None:
            generator = self._generator(_AUGMENTATION_STREAM, step)
            batch = Batch(
                frames=self.augmentation(batch.frames, generator),
                actions=batch.actions,
                rewards=batch.rewards,
                terminals=batch.terminals,
                mask=batch.mask,
            )
        return batch

    def names(self, step: int, batch_size: int) -> list[str]:
        """Return the episode and the first frame of every row of a batch, in words."""
        segments = [self.segment(self._window(step * batch_size + row)) for row in range(batch_size)]
        return [f"{self.episodes[part.episode].name or part.episode} from frame {part.start}" for part in segments]

    def segment(self, window: int) -> Segment:
        """Return a window by its number, in [0, windows): windows are numbered by episode, then by first frame."""
        if not 0 <= window < self.windows:
            raise ValueError(f"window is {window}; expected 0 to {self.windows - 1}")
        number = int(torch.searchsorted(self._ends, window, right=True))
        start = window - (int(self._ends[number - 1]) if number else 0)
        return cut(self.episodes[number], number, start, self.frames, int(self._strides[number]), self._has_ends)

    def _window(self, sample: int) -> int:
        epoch, place = divmod(sample, self.windows)
        if epoch != self._epoch:
            generator = self._generator(_ORDER_STREAM, epoch)
            self._permutation = torch.randperm(self.windows, generator=generator)
            self._epoch = epoch
        return int(self._permutation[place])

    def _generator(self, stream: int, counter: int) -> torch.Generator:
        # Streams and counters land far apart, so that no two of them share a sequence.
        mixed = ((self.seed * 4 + stream) * _MIX + counter * 0xD1B54A32D192ED03) % 2**63
        return torch.Generator().manual_seed(mixed)

    def _reorder(self, batch: Batch, step: int) -> Batch:
        if self.order == "time" and self.targets is None:
            return batch
        assert batch.mask is not None
        size, length = batch.mask.shape
        keep = torch.arange(length).expand(size, length)
        generator = self._generator(_FRAME_STREAM, step)
        if self.order == "goal_first":
            keep = keep.roll(1, dims=1)
        elif self.order == "shuffled":
            keep = torch.rand(size, length, generator=generator).argsort(dim=1)
        if self.targets is not None:
            draws = torch.rand(size, length - self.context, generator=generator).argsort(dim=1)
            chosen = draws[:, : self.targets].sort(dim=1).values + self.context
            keep = keep.gather(1, torch.cat([torch.arange(self.context).expand(size, -1), chosen], dim=1))
        rows = torch.arange(size)[:, None]
        keeps_steps = self.order == "goal_first" and self.targets is None
        return Batch(
            frames=batch.frames[rows, keep],
            actions=_goal_shift(batch.actions) if keeps_steps else None,
            rewards=_goal_shift(batch.rewards) if keeps_steps else None,
            terminals=_goal_shift(batch.terminals) if keeps_steps else None,
            mask=batch.mask[rows, keep],
        )


def cut(episode: Episode, number: int, start: int, frames: int, stride: int, with_ends: bool) -> Segment:
    """Return `frames` frames of an episode, `stride` apart from `start`, repeating the last frame past its end."""
    stop = min(start + (frames - 1) * stride + 1, len(episode))
    picture = episode.frames[start:stop:stride]
    real = len(picture)
    steps = real - 1
    last = start + steps * stride
    mask = torch.arange(frames) < real
    if real < frames:
        picture = torch.cat([picture, picture[-1:].expand(frames - real, -1, -1, -1)])
    actions = rewards = terminals = None
    if episode.actions is not None:
        actions = _pad(episode.actions[start:last:stride], frames - 1)
    if episode.rewards is not None:
        rewards = _pad(episode.rewards[start:last].reshape(steps, stride).sum(1), frames - 1)
    if with_ends:
        terminals = torch.zeros(frames - 1)
        if episode.terminal and steps and last == len(episode) - 1:
            terminals[steps - 1] = 1.0
    return Segment(
        episode=number,
        start=start,
        stride=stride,
        frames=picture,
        actions=actions,
        rewards=rewards,
        terminals=terminals,
        mask=mask,
    )


def window_indices(length: int, frames: int, stride: int = 1) -> Int64[Tensor, "n"]:
    """Return the first frames of the non-overlapping windows of an episode: what an evaluation walks through."""
    span = (frames - 1) * stride + 1
    return torch.arange(0, max(length - span, 0) + 1, span)


def _pad(values: Tensor, length: int) -> Tensor:
    if len(values) == length:
        return values
    return torch.cat([values, values.new_zeros(length - len(values), *values.shape[1:])])


def _goal_shift(values: Tensor | None) -> Tensor | None:
    """Put a zero step, from the goal to the present, in front; the step that led to the goal is no longer there."""
    if values is None:
        return None
    return torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], dim=1)


def _stack(segments: list[Segment]) -> Batch:
    def stack(values: list[Tensor | None]) -> Tensor | None:
        present = [value for value in values if value is not None]
        assert len(present) in (0, len(values)), "check_alike lets no mixture through"
        return torch.stack(present) if present else None

    return Batch(
        frames=torch.stack([segment.frames for segment in segments]),
        actions=stack([segment.actions for segment in segments]),
        rewards=stack([segment.rewards for segment in segments]),
        terminals=stack([segment.terminals for segment in segments]),
        mask=torch.stack([segment.mask for segment in segments]),
    )
