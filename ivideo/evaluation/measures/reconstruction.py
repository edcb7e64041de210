"""The tokenizer's ceiling: what is left of the true frames once they have been codes."""

from dataclasses import replace

import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo.evaluation.measures.truth import Truth
from ivideo.memory import decoded_at_once
from ivideo.rollout import pixels
from ivideo.world_model import WorldModel

CEILING = "tokenizer's ceiling"
"""The source of figures that no world model on this tokenizer can be expected to surpass by much."""


@torch.inference_mode()
def ceiling(model: WorldModel, truth: Truth) -> UInt8[Tensor, "n t 3 h w"]:
    """The clips encoded and decoded, context frames included, to be scored as a prediction is; on the CPU's memory.

    Later frames are decoded beside the same context as imagined ones. A context frame is decoded from its own codes.
    """
    future = model.frames(replace(truth.start, ids=truth.codes + model.layout.dynamics_ids[0])).cpu()
    return torch.cat([_context(model, truth), future], dim=1)


def _context(model: WorldModel, truth: Truth) -> UInt8[Tensor, "n c 3 h w"]:
    """The context frames as their codes describe them, the goal left out."""
    context, shown = truth.start.context, slice(int(model.config.goal_conditioned), None)
    rows = torch.arange(context.batch).split(max(1, decoded_at_once(model.device) // model.context_frames))
    return torch.cat([pixels(model.tokenizer.decode_context(context.select(part))).cpu() for part in rows])[:, shown]
