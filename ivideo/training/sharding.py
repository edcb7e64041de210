"""Weights cut into a part for each process (FSDP2), and the same weights in one piece where that is needed.

Checkpoints, evaluations and exports know nothing of the cut: they see tensors in one piece (`whole`, `in_one_piece`).
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tokenizer.blocks import ResidualBlock
from transformer.model import Block

BLOCKS = (Block, ResidualBlock)
"""The repeated parts: compiled one by one."""


def shard(module: nn.Module, mesh: Any) -> nn.Module:
    """Cut the weights of a module along the processes of a mesh: each transformer block by itself, then the rest.

    A block's weights are brought together while it computes; the rest stays together through a forward pass.
    """
    for part in module.modules():
        if isinstance(part, Block):
            fully_shard(part, mesh=mesh["data_parallel"])
    fully_shard(module, mesh=mesh["data_parallel"], reshard_after_forward=False)
    return module


def compile_blocks(module: nn.Module) -> None:
    """Have the repeated parts compiled when they are first called."""
    for part in module.modules():
        if isinstance(part, BLOCKS):
            part.compile()


@contextmanager
def uncompiled(module: nn.Module) -> Iterator[None]:
    """Inside the block compiled parts run as written, since a rollout takes steps of every length."""
    if all(part._compiled_call_impl is None for part in module.modules()):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor in one piece; all processes call it together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def cut_like(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors in one piece cut as those of the same name are; the others as they are."""

    def cut(tensor: Tensor, pattern: Tensor | None) -> Tensor:
        if not isinstance(pattern, DTensor):
            return tensor
        # Every process has read the same file, so that none needs to send its tensor to the others.
        return distribute_tensor(tensor.to(pattern.device), pattern.device_mesh, pattern.placements, src_data_rank=None)

    return {name: cut(tensor, like.get(name)) for name, tensor in tensors.items()}


@contextmanager
def in_one_piece(module: nn.Module) -> Iterator[None]:
    """Inside the block a sharded module is the plain one it was made from, with all of its weights.

    All processes enter together; what they do inside needs none of the others. The weights' memory is taken once more
    on each of them.
    """
    before = put_together(module)
    try:
        yield
    finally:
        for part, kind, attributes in before:
            part.__class__ = kind
            part.__dict__.update(attributes)


def put_together(module: nn.Module) -> list[tuple[nn.Module, type, dict[str, Any]]]:
    """Make a sharded module the plain one again; return what its parts were: module, class, attributes."""
    before: list[tuple[nn.Module, type, dict[str, Any]]] = []
    for part in module.modules():
        attributes: dict[str, Any] = {}
        parameters: dict[str, Any] = dict(part._parameters)
        for name, parameter in parameters.items():
            if isinstance(parameter, DTensor):
                parameters[name] = nn.Parameter(whole(parameter.detach()), parameter.requires_grad)
                attributes["_parameters"] = parameters
        if isinstance(part, FSDPModule):  # what calls upon the other processes
            attributes |= {hooks: OrderedDict() for hooks in _HOOKS}
        if attributes:
            before.append((part, type(part), {name: part.__dict__[name] for name in attributes}))
            part.__dict__.update(attributes)
        if isinstance(part, FSDPModule):
            part.__class__ = type(part).__mro__[FSDPModule._orig_cls_mro_index]
    return before


_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks")
