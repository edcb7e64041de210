"""Actions other than those that were taken, by name. What led to the context frames always stays.

::

    true      a0 a1 a2 | a3 a4 a5 a6        | the first imagined frame is reached by a3
    zero      a0 a1 a2 | 0  0  0  0
    held      a0 a1 a2 | a3 a3 a3 a3        the first imagined frame is the same
    late      a0 a1 a2 | a2 a3 a4 a5        with a single context frame, the first action stays too
    tripled   a0 a1 a2 | 3 a3 ...           outside of what a model was trained on
    random    a0 a1 a2 | uniform in a range, each step anew

Zero is the number 0 in every control: standing still where controls are displacements or velocities. Where they are
places in the world it is some place, perhaps one that never occurs, and the held action is the better comparison. The
actions of other clips are exchanged elsewhere, between all clips of a batch.
"""

from collections.abc import Sequence
from zlib import crc32

import torch
from jaxtyping import Float
from torch import Tensor

ZERO = "zero actions"
HELD = "held actions"
LATE = "late actions"
TRIPLED = "tripled actions"
RANDOM = "random actions"
OUTLIERS = (TRIPLED, RANDOM)
"""What a model was not trained on."""


def variants(actions: Float[Tensor, "n s a"], context: int) -> dict[str, Float[Tensor, "n s a"]]:
    """Zero, held and late actions, to ask whether a prediction follows its actions; `context` frames are shown."""
    first = context - 1
    late = torch.cat([actions[:, max(first - 1, 0) : first or 1], actions[:, first:-1]], dim=1)
    return {
        ZERO: _later(actions, torch.zeros_like(actions[:, first:]), first),
        HELD: _later(actions, actions[:, first : first + 1].expand_as(actions[:, first:]), first),
        LATE: _later(actions, late, first),
    }


def outliers(
    actions: Float[Tensor, "n s a"],
    context: int,
    *,
    names: Sequence[str],
    low: Float[Tensor, " a"],
    high: Float[Tensor, " a"],
    seed: int = 0,
) -> dict[str, Float[Tensor, "n s a"]]:
    """Tripled and random actions, to ask whether a model notices what it does not know.

    Random ones lie between `low` and `high`, the range of each control in the data; those of a clip depend on its name
    and the seed alone.
    """
    first = context - 1
    drawn = []
    for name in names:
        generator = torch.Generator().manual_seed(crc32(f"{seed} {name}".encode()))  # of larger seeds it reads 32 bits
        drawn.append(torch.rand(actions.shape[1] - first, actions.shape[2], generator=generator))
    random = low + torch.stack(drawn).to(actions) * (high - low)
    return {TRIPLED: _later(actions, 3.0 * actions[:, first:], first), RANDOM: _later(actions, random, first)}


def _later(actions: Float[Tensor, "n s a"], others: Float[Tensor, "n f a"], first: int) -> Float[Tensor, "n s a"]:
    return torch.cat([actions[:, :first], others], dim=1)
