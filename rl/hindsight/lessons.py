"""What is learned from chains: to do what was told, and, in hindsight, what to tell somebody for them to end so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ivideo.simulate.skills import SKILL_STEPS
from rl.hindsight.chains import Chain
from rl.hindsight.eyes import Eyes
from rl.hindsight.follower import Follower
from rl.hindsight.planner import Planner
from rl.sight import shrunken


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Steps of chains: what was seen, then and when it was told, what that was, and what was meant to be done."""

    frames: UInt8[Tensor, "n 3 s s"]
    asked: UInt8[Tensor, "n 3 s s"]
    said: Int[Tensor, " n"]
    meant: Float[Tensor, "n a"]

    @staticmethod
    def of(chains: Sequence[Chain], *, shrink: int) -> "Told":
        """Every step of chains; what was seen are means over squares of `shrink` pixels."""
        frames, asked = [], []
        for chain in chains:
            seen = shrunken(chain.episode.frames[:-1], shrink)
            steps = torch.arange(len(seen))
            frames.append(seen)
            asked.append(seen[steps - steps % SKILL_STEPS])
        return Told(
            frames=torch.cat(frames),
            asked=torch.cat(asked),
            said=torch.cat([each.said for each in chains]),
            meant=torch.cat([each.meant for each in chains]),
        )

    def drawn(self, count: int, seed: int, index: int) -> "Told":
        """Batch number `index`: `count` steps, drawn evenly; a function of the seed and the number."""
        rows = _rows(len(self.said), count, seed, index)
        return Told(frames=self.frames[rows], asked=self.asked[rows], said=self.said[rows], meant=self.meant[rows])

    def to(self, device: Any, /) -> "Told":
        """The same on another device."""
        return Told(
            frames=self.frames.to(device),
            asked=self.asked.to(device),
            said=self.said.to(device),
            meant=self.meant.to(device),
        )

    def loss(self, follower: Follower) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Mean square by which a follower misses what was meant, of a batch."""
        value = F.mse_loss(follower(self.frames, self.asked, self.said), self.meant)
        return value, {"loss": value.detach()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindsight:
    """Pairs of frames between which instructions lie, and the first of those.

    The frames are those in which an instruction begins and the last one, and each of them is what the ones before it
    and itself were for: a chain of five has 15 pairs with an instruction, and six beside themselves, where nothing is
    left to do.
    """

    now: Float[Tensor, "n k"]
    """What eyes see."""
    goals: Float[Tensor, "n k"]
    said: Int[Tensor, " n"]

    @staticmethod
    def of(chains: Sequence[Chain], eyes: Eyes, *, shrink: int, sentences: int) -> "Hindsight":
        """The pairs of chains; `sentences` is the number that stands for nothing."""
        now, goals, said = [], [], []
        for chain in chains:
            with torch.no_grad():
                seen = eyes(shrunken(chain.episode.frames[::SKILL_STEPS], shrink))
            told = F.pad(chain.said[::SKILL_STEPS], (0, 1), value=sentences)
            first, last = torch.triu_indices(len(seen), len(seen))
            now.append(seen[first])
            goals.append(seen[last])
            said.append(torch.where(first == last, sentences, told[first]))
        return Hindsight(now=torch.cat(now), goals=torch.cat(goals), said=torch.cat(said))

    def drawn(self, count: int, seed: int, index: int) -> "Hindsight":
        """Batch number `index`: `count` pairs, drawn evenly; a function of the seed and the number."""
        rows = _rows(len(self.said), count, seed, index)
        return Hindsight(now=self.now[rows], goals=self.goals[rows], said=self.said[rows])

    def to(self, device: Any, /) -> "Hindsight":
        """The same on another device."""
        return Hindsight(now=self.now.to(device), goals=self.goals.to(device), said=self.said.to(device))

    def loss(self, planner: Planner) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Nats of what was said, of a batch."""
        value = F.cross_entropy(planner.weighed(self.now, self.goals), self.said)
        return value, {"loss": value.detach()}


def _rows(rows: int, count: int, seed: int, index: int) -> Int[Tensor, " m"]:
    words = [seed, abs(index), int(index < 0)]  # numbers below 0 are another series
    return torch.from_numpy(np.random.default_rng(words).integers(rows, size=count))
