"""A tokenizer's weights in other shapes: more or fewer context frames, other grids, larger codebooks.

::

    context_frames   rows of the position tables of keys: the last frames stay, further ones take the oldest's
    resolution       position tables are interpolated, frame by frame; everything else is a convolution
    stem_stride      pixel filters are spread over larger patches, or gathered to smaller ones
    patch_size       the projections of a patch of the latent map, likewise
    codebooks        a new code is the twin of an old one

Spreading keeps what a filter says of a map whose values were each repeated; gathering is its inverse.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isqrt

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from .config import TokenizerConfig

_ELASTIC = {
    "context_frames", "resolution", "stem_stride", "patch_size", "max_attention_resolution", "context_codes",
    "dynamics_codes", "dropout",
}  # fmt: skip
_CODES_AXIS = {"embedding.weight": 0, "cluster_size": 1, "embed_avg": 1, "embed": 1, "frozen_codebook": 0}
"""Which axis counts the codes in a quantizer's tensors, by the end of their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """A tensor for its new place."""

    tensor: Tensor
    how: str = ""
    """What was done to it; nothing where it is the old one."""
    elsewhere: bool = False
    """Whether it is made of a tensor of another name."""


def refit(tensors: Mapping[str, Tensor], old: TokenizerConfig, new: TokenizerConfig) -> dict[str, Refit]:
    """The tensors of a tokenizer of config `old` for one of config `new`, by name.

    ValueError, naming the setting and what could be instead, for a change that no tensor can follow.
    """
    check_change(old, new)
    return {name: _refit(name, tensor, old, new) for name, tensor in tensors.items()}


def twins(old: int, new: int) -> Tensor:
    """For each of `new` codes, the one of `old` codes whose vector it has."""
    return torch.arange(new) % old


def check_change(old: TokenizerConfig, new: TokenizerConfig) -> None:
    """Refuse a change of config that no tensor can follow."""
    for field in fields(TokenizerConfig):
        mine, theirs = getattr(new, field.name), getattr(old, field.name)
        if mine != theirs and field.name not in _ELASTIC:
            raise ValueError(f"{field.name} cannot change from {theirs} to {mine}: keep {theirs}, or train anew")
    for name in ("context_codes", "dynamics_codes"):
        before, after = getattr(old, name), getattr(new, name)
        if after < before:
            raise ValueError(f"{name} cannot shrink from {before} to {after}: any code may be in use; keep {before}")
    if old.stem_stride != new.stem_stride and 1 in (old.stem_stride, new.stem_stride):
        raise ValueError(
            f"stem_stride cannot change from {old.stem_stride} to {new.stem_stride}: at 1, pixels are read by 3x3 "
            f"windows that overlap; keep {old.stem_stride}, and change patch_size for as many tokens a frame"
        )
    for name in ("stem_stride", "patch_size"):
        before, after = getattr(old, name), getattr(new, name)
        if max(before, after) % min(before, after):
            near = sorted({max(1, after // before) * before, -(-after // before) * before})
            raise ValueError(
                f"{name} cannot change from {before} to {after}, of which neither divides the other; "
                f"take {' or '.join(map(str, near))}"
            )
    if _attending(old) != _attending(new):
        ratio = new.context_grid / old.context_grid
        raise ValueError(
            f"with max_attention_resolution {new.max_attention_resolution}, a tokenizer of {new.resolution} px attends "
            f"to the context at other levels than it did at {old.resolution} px; "
            f"set it to {int(old.max_attention_resolution * ratio)}"
        )


def _attending(config: TokenizerConfig) -> list[bool]:
    """Which levels look at the context, finest first; the decoder's have the same sides, and the stem's."""
    sides = [config.resolution // config.stem_stride, *config.level_sides]
    return [side <= config.max_attention_resolution for side in sides]


def _refit(name: str, tensor: Tensor, old: TokenizerConfig, new: TokenizerConfig) -> Refit:
    place, _, leaf = name.rpartition(".")
    if leaf == "kv_pos_emb":
        return _positions(tensor, old.context_frames, old, new)
    if leaf == "q_pos_emb":
        return _positions(tensor, None, old, new)
    if name.startswith(("quantize.", "dynamics_quantize.")):
        half = "dynamics_codes" if name.startswith("dynamics") else "context_codes"
        return _codes(name, tensor, getattr(old, half), getattr(new, half))
    if place in ("encoder.conv_in", "cond_encoder.conv_in") and leaf == "weight":
        return spread(tensor, "o c p q", "o c", old.stem_stride, new.stem_stride, shared=True)
    if place in ("decoder.conv_out", "cond_decoder.conv_out"):
        return spread(tensor, "(c p q) ...", "c ...", old.stem_stride, new.stem_stride, shared=False)
    if name == "quant_linear.weight":
        return spread(tensor, "o (p q c)", "o c", old.patch_size, new.patch_size, shared=True)
    if place == "post_quant_linear":
        return spread(tensor, "(p q c) ...", "c ...", old.patch_size, new.patch_size, shared=False)
    return Refit(tensor=tensor)


def _positions(table: Tensor, frames: int | None, old: TokenizerConfig, new: TokenizerConfig) -> Refit:
    """A position table of `frames` frames one after the other, or of a single frame."""
    stack = table.unflatten(0, (frames or 1, -1))
    how = []
    if frames is not None and new.context_frames < frames:
        stack = stack[frames - new.context_frames :]
        how.append(f"the last {new.context_frames} of {frames} frames")
    elif frames is not None and new.context_frames > frames:
        stack = torch.cat([stack[:1].expand(new.context_frames - frames, *stack.shape[1:]), stack])
        how.append("further frames are as the oldest")
    if old.context_grid != new.context_grid:
        side = isqrt(stack.shape[1])
        wanted = side * new.context_grid // old.context_grid
        grid = rearrange(stack, "t (h w) d -> t d h w", h=side)
        grid = F.interpolate(grid, (wanted, wanted), mode="bilinear", align_corners=False, antialias=wanted < side)
        stack = rearrange(grid, "t d h w -> t (h w) d")
        how.append(f"interpolated from {side}x{side} to {wanted}x{wanted}")
    return Refit(tensor=stack.flatten(0, 1).contiguous(), how=", ".join(how)) if how else Refit(tensor=table)


def _codes(name: str, tensor: Tensor, old: int, new: int) -> Refit:
    axis = _CODES_AXIS.get("embedding.weight" if name.endswith("embedding.weight") else name.rpartition(".")[2])
    if axis is None or old == new:
        return Refit(tensor=tensor)
    return Refit(
        tensor=tensor.index_select(axis, twins(old, new).to(tensor.device)), how="a new code is the twin of an old one"
    )


def spread(tensor: Tensor, pattern: str, rest: str, old: int, new: int, *, shared: bool) -> Refit:
    """Weights of `old` x `old` cells for `new` x `new`: a cell's weight is `shared` by its parts, or each part has it.

    `pattern` is einops' for the tensor, with `p` and `q` for the cells; `rest` are its other axes.
    """
    if old == new:
        return Refit(tensor=tensor)
    cells = rearrange(tensor, f"{pattern} -> p q {rest}", p=old, q=old)
    if new > old:
        k = new // old
        cells = cells.repeat_interleave(k, 0).repeat_interleave(k, 1)
        cells = cells / k**2 if shared else cells
        how = f"spread from {old}x{old} to {new}x{new} cells"
    else:
        k = old // new
        parts = cells.unflatten(1, (new, k)).unflatten(0, (new, k))
        cells = parts.sum((1, 3)) if shared else parts.mean((1, 3))
        how = f"gathered from {old}x{old} to {new}x{new} cells"
    return Refit(tensor=rearrange(cells, f"p q {rest} -> {pattern}").contiguous(), how=how)
