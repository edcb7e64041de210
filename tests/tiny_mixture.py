"""Several data sets in one batch, dealt out in turn: what models of several domains are tested on."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from ivideo.data import SegmentSampler
from ivideo.episode import Batch, Episode


class Mixture:
    """Row i of the stream is from data set `i % k`; its actions are padded with zeros to the widest."""

    def __init__(self, sources: Sequence[Sequence[Episode]], frames: int, seed: int = 0) -> None:
        self.samplers = [SegmentSampler(source, frames, seed=seed) for source in sources]
        self.widest = max(0 if source[0].actions is None else source[0].actions.shape[1] for source in sources)

    def batch(self, step: int, batch_size: int) -> Batch:
        return join([self.row(step * batch_size + row) for row in range(batch_size)])

    def row(self, sample: int) -> Batch:
        turn, number = divmod(sample, len(self.samplers))
        sampler = self.samplers[number]
        segment = sampler.segment(turn % sampler.windows)
        steps = len(segment.frames) - 1
        actions = torch.zeros(steps, 0) if segment.actions is None else segment.actions
        return Batch(
            frames=segment.frames[None],
            actions=F.pad(actions, (0, self.widest - actions.shape[1]))[None],
            mask=segment.mask[None],
            domains=torch.tensor([number]),
            instructions=(sampler.episodes[segment.episode].instruction,),
        )


def join(rows: Sequence[Batch]) -> Batch:
    """One batch of several."""

    def cat(name: str) -> torch.Tensor:
        return torch.cat([getattr(row, name) for row in rows])

    return Batch(
        frames=cat("frames"),
        actions=cat("actions"),
        mask=cat("mask"),
        domains=cat("domains"),
        instructions=tuple(text for row in rows for text in row.instructions or ("",)),
    )
