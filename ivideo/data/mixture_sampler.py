"""Samples of a mixture: every block of them holds exactly the mixture's shares, every set is walked without repeats."""

import zlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from ivideo.data.draws import Order, Stream, hashed
from ivideo.data.mixture import MixedStore
from ivideo.data.sampler import numbered
from ivideo.data.segments import SegmentSampler
from ivideo.data.transforms import Augmentation
from ivideo.episode import Batch


class MixtureSampler:
    """Deals out windows of several data sets in their shares; sample i is a pure function of the seed and i.

    Samples come in blocks of `block`. Each block holds a fixed number of samples of every set, its share rounded such
    that all add up, in an order of its own; the n-th sample of a set, counted through all blocks, is sample n of that
    set's own sampler, so that a set is dealt out whole before any of its windows comes again::

        block 0                     block 1
        a a b a c a a b a a   ...   b a a a a c a b a a
        0 1 0 2 0 3 4 1 5 6         2 7 8 ...      which sample of its own set each is

    Actions are padded with zeros to the widest domain's; rows of a domain without actions are all zeros. Rewards and
    terminals come along where every domain has them.
    """

    def __init__(
        self,
        mixed: MixedStore,
        frames: int,
        seed: int = 0,
        *,
        augmentation: Augmentation | None = None,
        **how: Any,
    ) -> None:
        """Prepare to draw.

        Args:
            mixed: the domains.
            frames: frames in a window.
            seed: names the order of sets and windows.
            augmentation: for the domains that want it.
            how: what else `SegmentSampler` takes; strides are the domains' own.
        """
        self.mixed = mixed
        self.samplers = [
            SegmentSampler(
                domain.episodes,
                frames,
                domain.settings.stride,
                # By name, so that a set's own order stays when others join or leave.
                int(hashed(seed, Stream.DOMAIN, zlib.crc32(domain.settings.name.encode()))[0]),
                augmentation=augmentation if domain.settings.augment else None,
                **how,
            )
            for domain in mixed.domains
        ]
        self.counts = _rounded(mixed.shares, mixed.block)
        self._ends = self.counts.cumsum()
        self._numbers = np.array([domain.number for domain in mixed.domains])
        self._deal = Order(mixed.block, seed, Stream.DOMAIN)

    @property
    def windows(self) -> int:
        """How many different windows all sets have."""
        return sum(sampler.windows for sampler in self.samplers)

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return the batch number `step`, as `SegmentSampler.batch` does, with `domains` and `instructions`."""
        return self.samples(numbered(step, batch_size))

    def samples(self, samples: Int64[np.ndarray, "b"]) -> Batch:
        """Return the samples of these numbers, in their order."""
        places, own = self._dealt(samples)
        parts = [
            (torch.from_numpy(np.flatnonzero(places == place)), self.samplers[place].samples(own[places == place]))
            for place in np.unique(places)
        ]
        size, first = len(samples), parts[0][1]
        assert first.mask is not None
        whole: dict[str, Any] = {
            "frames": first.frames.new_empty(size, *first.frames.shape[1:]),
            "mask": first.mask.new_empty(size, first.mask.shape[1]),
        }
        for name, shape in self._steps(parts):
            whole[name] = torch.zeros(size, *shape)
        told = [""] * size
        for rows, part in parts:
            for name, values in whole.items():
                mine = getattr(part, name)
                if name == "actions" and mine is not None:
                    values[rows, :, : mine.shape[2]] = mine
                elif mine is not None:
                    values[rows] = mine
            for row, text in zip(rows.tolist(), part.instructions or (), strict=False):
                told[row] = text
        return Batch(domains=torch.from_numpy(self._numbers[places]), instructions=tuple(told), **whole)

    def names(self, samples: Int64[np.ndarray, "b"]) -> list[str]:
        """Return the set, the episode and the first frame of these samples, in words."""
        dealt = zip(*self._dealt(samples), strict=True)
        return [
            f"{self.mixed.domains[place].settings.name}: {self.samplers[place].names(own[None])[0]}"
            for place, own in dealt
        ]

    def _dealt(self, samples: Int64[np.ndarray, "b"]) -> tuple[Int64[np.ndarray, "b"], Int64[np.ndarray, "b"]]:
        """The set of each sample, and which of its set's samples it is."""
        slots = self._deal(samples)
        places = np.searchsorted(self._ends, slots, side="right")
        return places, samples // self.mixed.block * self.counts[places] + slots - (self._ends - self.counts)[places]

    def _steps(self, parts: list[tuple[torch.Tensor, Batch]]) -> list[tuple[str, tuple[int, ...]]]:
        """Which values of steps a batch of this mixture has, and their shape in a row: alike for every batch."""
        shown, sampler = parts[0][1], self.samplers[0]
        if sampler.targets is not None or sampler.order == "shuffled":
            return []
        length, width = shown.frames.shape[1] - 1, self.mixed.action_dim
        named: list[tuple[str, tuple[int, ...]]] = [] if width is None else [("actions", (length, width))]
        if self.mixed.has_rewards:
            named += [("rewards", (length,)), ("terminals", (length,))]
        return named


def _rounded(shares: list[float], block: int) -> Int64[np.ndarray, "d"]:
    """Return whole numbers that add up to `block`, at least one each, as near to the shares as such can be."""
    exact = np.array(shares) * block
    counts: Int64[np.ndarray, d] = np.maximum(np.floor(exact).astype(np.int64), 1)
    while counts.sum() < block:
        counts[(exact - counts).argmax()] += 1
    while counts.sum() > block:
        counts[np.where(counts > 1, exact - counts, np.inf).argmin()] -= 1
    return counts
