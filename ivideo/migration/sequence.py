"""The weights of what reads sequences, transformer, embedding and heads, in other shapes.

Whatever is new enters through a layer that is zero at first, so that nothing that was there changes. Further layers
are copies of those before them whose outputs are zero (LLaMA Pro, Wu et al. 2024, arXiv 2401.02415).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ivideo.layout import TokenLayout
from ivideo.world_model import WorldModel
from tokenizer.elastic import Refit, spread, twins

PARTS = ("transformer", "embedding", "heads")
_VOCABULARY = ("embedding.weight", "head.weight")
_OUTPUTS = ("attention.out.weight", "ffn.down.weight")
"""Through these a block adds to what came in."""
_SILENT = (
    "action.", "text.", "domain.", "guide.action.", "guide.out.",
    "context_vector.", "dynamics_vector.", "score_vector.",
)  # fmt: skip
"""What of the embedding adds to the old sums and starts at zero; behind these layers anything may be drawn anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """The parts of a world model that read sequences, and how frames lie in them."""

    layout: TokenLayout
    fold: int
    """How many cells of a context frame, along a side, make one of an imagined frame."""
    layers: int
    tensors: Mapping[str, Mapping[str, Tensor]]

    @classmethod
    def of(cls, model: WorldModel) -> "Sequence":
        config = model.tokenizer.config
        return cls(
            layout=model.layout,
            fold=config.context_grid // config.dynamics_grid,
            layers=model.config.transformer.layers,
            tensors={part: getattr(model, part).state_dict() for part in PARTS},
        )


def refit(old: Sequence, new: Sequence) -> dict[str, dict[str, Refit]]:
    """The tensors for `new`, part by part: from `old` what is there, its own where nothing is.

    ValueError for fewer layers, and for a tensor, naming it, that has another shape for no reason that is known.
    """
    if new.layers < old.layers:
        raise ValueError(f"layers is {new.layers}, and {old.layers} are there to start from; keep them, or take more")
    return {
        part: {name: _refit(part, name, old, new, fresh) for name, fresh in new.tensors[part].items()} for part in PARTS
    }


def _refit(part: str, name: str, old: Sequence, new: Sequence, fresh: Tensor) -> Refit:
    if part == "transformer" and name.startswith("blocks.") and old.layers < new.layers:
        return _deepened(name, old, new, fresh)
    before = old.tensors[part].get(name)
    if before is None:
        behind = name.startswith("guide.action.") and "guide.out.weight" not in old.tensors[part]
        if part == "heads" or (name.startswith(_SILENT) and not behind):
            return Refit(tensor=torch.zeros_like(fresh), how="zero")
        return Refit(tensor=fresh, how="drawn anew" if fresh.is_meta or bool(fresh.any()) else "zero")
    made = Refit(tensor=before)
    if part == "transformer" and name in _VOCABULARY:
        made = _vocabulary(before, old.layout, new.layout)
    elif part == "embedding" and name == "guide.from_context.weight":
        made = spread(before, "o (p q v)", "o v", old.fold, new.fold, shared=True)
    elif before.shape != fresh.shape and name.rpartition(".")[0] in ("action", "guide.action"):
        made = _resized(before, fresh, axis=0 if part == "heads" else 1)
    _check_shape(part, name, made.tensor, fresh)
    return made


def _deepened(name: str, old: Sequence, new: Sequence, fresh: Tensor) -> Refit:
    """A tensor of one of more layers: each old layer is followed by its silent copies, spread evenly."""
    _, place, rest = name.split(".", 2)
    number = int(place)
    layer = number * old.layers // new.layers
    before = old.tensors["transformer"][f"blocks.{layer}.{rest}"]
    _check_shape("transformer", name, before, fresh)
    copied = number > 0 and (number - 1) * old.layers // new.layers == layer
    if not copied:
        moved = layer != number
        return Refit(tensor=before, how=f"that of layer {layer}" if moved else "", elsewhere=moved)
    if rest in _OUTPUTS:
        return Refit(tensor=torch.zeros_like(before), how="zero", elsewhere=True)
    return Refit(tensor=before, how=f"a copy of layer {layer}'s", elsewhere=True)


def _check_shape(part: str, name: str, made: Tensor, fresh: Tensor) -> None:
    if made.shape != fresh.shape:
        raise ValueError(f"{part} has {name} {list(made.shape)}; here it is {list(fresh.shape)}")


def _vocabulary(table: Tensor, old: TokenLayout, new: TokenLayout) -> Refit:
    """Rows of a table by token id: ids move where codebooks grow, and a new code has its twin's row."""
    if (old.context_codes, old.dynamics_codes) == (new.context_codes, new.dynamics_codes):
        return Refit(tensor=table)
    rows = torch.cat([
        twins(old.context_codes, new.context_codes),
        old.dynamics_ids[0] + twins(old.dynamics_codes, new.dynamics_codes),
        torch.tensor([old.context_marker, old.dynamics_marker]),
    ])  # fmt: skip
    return Refit(tensor=table[rows.to(table.device)], how="rows follow their codes; a new code has its twin's row")


def _resized(before: Tensor, fresh: Tensor, axis: int) -> Refit:
    """The numbers of an action along an axis: the first ones as they were, further ones zero."""
    size, wanted = before.shape[axis], fresh.shape[axis]
    if wanted <= size:
        return Refit(tensor=before.narrow(axis, 0, wanted).contiguous(), how=f"the first {wanted} of {size} numbers")
    zeros = torch.zeros_like(before).narrow(axis, 0, 1).repeat_interleave(wanted - size, axis)
    return Refit(tensor=torch.cat([before, zeros], axis), how=f"{wanted - size} further numbers are zero")
