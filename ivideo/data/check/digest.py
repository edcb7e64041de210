"""What a check keeps of an episode once its frames are let go: a few kilobytes, whatever its size."""

import hashlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.data.check.motion import Motion, observe, shrunk
from ivideo.episode import Episode

LOOK = 8
"""Side of an episode's look in pixels."""
FLAT = 8
"""Levels within which a frame counts as flat."""
_LOOKED_AT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Statistics of every action dimension of an episode, `[a]` each, and how many steps they are of."""

    steps: int
    lowest: Tensor
    highest: Tensor
    at_lowest: Tensor
    at_highest: Tensor
    distinct: Tensor
    total: Tensor
    squares: Tensor
    """Sums of values and of squares, in float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The longest run of frames that equal the frame before."""

    start: int
    frames: int
    jump: float
    """How much more changes on leaving it than in the episode's median step; 0 where it lasts to the end."""
    spread: Tensor | None
    """Standard deviation of every action dimension meanwhile; None without actions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """An episode without its frames."""

    place: int
    name: str
    file: str
    frames: int
    size: tuple[int, int]
    fps: float | None
    terminal: bool
    fingerprint: bytes
    brightest: int
    flat: tuple[int, ...]
    """Numbers of flat frames, the first hundred."""
    run: Run
    look: UInt8[Tensor, "3 8 8"]
    """What the episode looks like where nothing moves: the median over time, small."""
    actions: Columns | None
    rewards: tuple[float, float] | None
    """Smallest and largest."""
    motion: Motion | None
    """How the frames change, step by step; kept of a sample of episodes."""


def digest(episode: Episode, *, place: int, file: str, keep_motion: bool) -> Digest:
    """Return what is kept of an episode; every pixel of it is looked at once."""
    frames = episode.frames
    flat_pixels = frames.flatten(1)
    lowest, highest = flat_pixels.amin(1), flat_pixels.amax(1)
    small = shrunk(frames)
    chosen = torch.linspace(0, len(frames) - 1, min(len(frames), _LOOKED_AT)).round().long()
    rewards = episode.rewards
    return Digest(
        place=place,
        name=episode.name,
        file=file,
        frames=len(frames),
        size=(frames.shape[2], frames.shape[3]),
        fps=episode.fps,
        terminal=episode.terminal,
        fingerprint=_fingerprint(frames),
        brightest=int(highest.max()),
        flat=tuple(((highest - lowest) <= FLAT).nonzero()[:100, 0].tolist()),
        run=_longest_run(frames, small, episode.actions),
        look=F.adaptive_avg_pool2d(small[chosen], LOOK).median(0).values.round().to(torch.uint8),
        actions=None if episode.actions is None or not episode.actions.numel() else _columns(episode.actions),
        rewards=None if rewards is None or not len(rewards) else (float(rewards.min()), float(rewards.max())),
        motion=observe(small, episode.actions, rewards) if keep_motion else None,
    )


def _fingerprint(frames: UInt8[Tensor, "t 3 h w"]) -> bytes:
    hashed = hashlib.blake2b(str(tuple(frames.shape)).encode(), digest_size=16)
    hashed.update(frames.contiguous().numpy().data)
    return hashed.digest()


def _longest_run(
    frames: UInt8[Tensor, "t 3 h w"], small: Float[Tensor, "t 3 16 16"], actions: Float[Tensor, "t-1 a"] | None
) -> Run:
    equal = (frames[1:] == frames[:-1]).flatten(1).all(1).tolist()
    longest = start = length = 0
    for step, same in enumerate(equal):
        length = length + 1 if same else 0
        if length > longest:
            longest, start = length, step + 1 - length
    spread = None
    if actions is not None and longest:
        spread = actions[start : start + longest].std(0, correction=0)
    return Run(start=start, frames=longest, jump=_jump(small, start + longest) if longest else 0.0, spread=spread)


def _jump(small: Float[Tensor, "t 3 16 16"], last: int) -> float:
    steps = (small[1:] - small[:-1]).abs().mean((1, 2, 3))
    moving = steps[steps > 0]
    return float(steps[last] / moving.median()) if last < len(steps) else 0.0


def _columns(actions: Float[Tensor, "t a"]) -> Columns:
    lowest, highest, exact = actions.amin(0), actions.amax(0), actions.double()
    return Columns(
        steps=len(actions),
        lowest=lowest,
        highest=highest,
        at_lowest=(actions == lowest).sum(0),
        at_highest=(actions == highest).sum(0),
        distinct=torch.tensor([len(column.unique()) for column in actions.T]),
        total=exact.sum(0),
        squares=exact.square().sum(0),
    )
