"""A DrQ-v2 agent as a policy of `ivideo judge`: `drqv2:FOLDER`, or `rl.judged:drqv2:FOLDER` where no entry says so."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.judge.acting import Actor, Briefing
from rl.drqv2.agent import DrQv2
from rl.play import stacked
from rl.sight import shrunken


@dataclass(frozen=True, slots=True, eq=False)
class AgentPolicy:
    """What an agent does without exploring: its latest frames, made as small as it knows them, in; the mean out."""

    agent: DrQv2

    def begin(self, briefing: Briefing) -> Actor:
        """Begin with the first frame alone, repeated, as in the agent's own environment."""
        size, side = self.agent.config.size, briefing.frames.shape[-1]
        if side % size:
            raise ValueError(
                f"this agent sees {size}x{size} pixels and the frames have {side}, which is no multiple of that; take "
                "a model whose frames are"
            )
        seen: list[UInt8[Tensor, "b 3 s s"]] = []

        def act(frames: UInt8[Tensor, "b 3 s s"]) -> Float[Tensor, "b a"]:
            seen.append(shrunken(frames, side // size))
            del seen[: -self.agent.config.stack]
            rows = [stacked(list(row), self.agent.config.stack) for row in torch.stack(seen, dim=1)]
            return self.agent.act(torch.stack(rows), 0, explore=False)

        return act


def drqv2(folder: str) -> AgentPolicy:
    """The agent of a run of `ivideo rl`; raises as `DrQv2.from_folder` does."""
    if not folder:
        raise ValueError("drqv2 stands without a folder; expected drqv2:FOLDER, a run of `ivideo rl`")
    return AgentPolicy(DrQv2.from_folder(Path(folder).expanduser()))
