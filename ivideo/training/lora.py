"""Fine-tuning by small additions: low-rank adapters (LoRA, arXiv 2106.09685) on a frozen transformer, through peft."""

import copy
from dataclasses import dataclass

from torch import nn

from ivideo.world_model import WorldModel
from transformer.model import Block

TARGETS = ("qkv", "out", "gate_up", "down")
"""The linear layers of a block, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoRAConfig:
    """Adapters on every linear layer of every block."""

    rank: int = 8
    """Rank of what is added to a weight."""
    alpha: float = 16.0
    """What is added is scaled by alpha / rank."""
    dropout: float = 0.0
    """Probability of dropping an input of an adapter in training."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"lora.rank is {self.rank}; expected at least 1")
        if not self.alpha > 0:
            raise ValueError(f"lora.alpha is {self.alpha}; expected more than 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora.dropout is {self.dropout}; expected a probability below 1")


def adapt(model: WorldModel, config: LoRAConfig) -> None:
    """Freeze the transformer and put adapters on it, which add nothing yet; the rest of the model trains as before."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError("lora needs the package peft: pip install 'ivideo[lora]'") from error
    model.transformer.requires_grad_(False)
    inject_adapter_in_model(
        LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,  # type: ignore[arg-type]  # peft says int and takes any number
            lora_dropout=config.dropout,
            target_modules=list(TARGETS),
        ),
        model.transformer,
    )


def merged(model: WorldModel) -> WorldModel:
    """Return a copy of an adapted model with its adapters in its weights: a model as any other."""
    from peft.tuners.lora import LoraLayer

    plain = copy.deepcopy(model)
    for block in plain.transformer.modules():
        if not isinstance(block, Block):
            continue
        for part in list(block.children()):
            for name, layer in list(part.named_children()):
                if isinstance(layer, LoraLayer):
                    layer.merge()
                    base: nn.Module = layer.get_base_layer()
                    setattr(part, name, base)
    return plain
