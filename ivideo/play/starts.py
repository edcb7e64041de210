"""Where dreams can begin: scenes of the pushing table, episodes of a data set, or a picture that somebody brings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo.data import open_episodes
from ivideo.episode import Episode
from ivideo.evaluation.clips import HELD_OUT
from ivideo.play.timeline import Start
from ivideo.simulate.pushing_table import random_state, render

TABLE = "pushing_table"
SCENES = 10_000
"""Scenes of the table that can be chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """Numbered beginnings for a model of so many context frames."""

    side: int
    context: int
    episodes: Sequence[Episode] | None = None
    """None for the pushing table, which has a true environment."""

    @staticmethod
    def of(source: str, *, side: int, context: int) -> "Starts":
        """Beginnings from "pushing_table", or from episodes anywhere that `open_episodes` knows."""
        if source == TABLE:
            return Starts(side=side, context=context)
        episodes = open_episodes(source, size=side, min_frames=context)
        return Starts(side=side, context=context, episodes=episodes)

    def __len__(self) -> int:
        return SCENES if self.episodes is None else len(self.episodes)

    def __getitem__(self, scene: int) -> Start:
        """A beginning by its number; ValueError where there is none."""
        if not 0 <= scene < len(self):
            raise ValueError(f"scene is {scene}; expected 0 to {len(self) - 1}")
        if self.episodes is not None:
            episode = self.episodes[scene]
            return Start(name=episode.name or f"episode {scene}", frames=episode.frames[: self.context].clone())
        table = random_state(np.random.default_rng(HELD_OUT + scene))
        frame = torch.from_numpy(render(table, self.side)).permute(2, 0, 1)
        return Start(name=f"scene {scene}", frames=self.repeated(frame), table=table)

    def repeated(self, frame: UInt8[Tensor, "3 h w"]) -> UInt8[Tensor, "c 3 h w"]:
        """One picture for all the frames that the model is shown, as if nothing had moved."""
        return frame.expand(self.context, *frame.shape).clone()
