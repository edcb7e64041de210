"""Which parameter is updated by which rule and at which rate, and running averages of the weights."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ivideo.training.sharding import cut_like


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """The learning rate over a run, as a factor between 0 and 1 on every rate.

    Everything but the warm-up is placed by the fraction of the run that is done, of its steps or of its minutes.
    """

    shape: Literal["constant", "cosine", "linear"] = "constant"
    """How the rate falls once it does: not at all, along half a cosine, or along a line."""
    warmup_steps: int = 0
    """Steps over which the rate rises linearly from nothing."""
    decay_from: float = 0.0
    """Fraction of the run after which the rate falls; before it the rate is flat."""
    final: float = 0.0
    """What is left of the rate at the end, as a factor."""

    def __post_init__(self) -> None:
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps is {self.warmup_steps}; expected 0 (no warm-up) or more")
        if not 0 <= self.decay_from < 1:
            raise ValueError(f"decay_from is {self.decay_from}; expected a fraction of the run, 0 <= decay_from < 1")
        if not 0 <= self.final <= 1:
            raise ValueError(f"final is {self.final}; expected a factor on the rate from 0 to 1")

    def factor(self, step: int, fraction: float) -> float:
        """Return the factor for update number `step` (from 0), when `fraction` of the run is done."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        fallen = min(1.0, max(0.0, fraction - self.decay_from) / (1.0 - self.decay_from))
        left = {"constant": 1.0, "linear": 1.0 - fallen, "cosine": 0.5 * (1.0 + math.cos(math.pi * fallen))}[self.shape]
        return warm * (self.final + (1.0 - self.final) * left if self.shape != "constant" else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """How weights are updated: by AdamW, or by Muon where the matrices are and AdamW elsewhere."""

    lr: float = 1e-4
    """Learning rate of AdamW."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decays of AdamW's two moments."""
    eps: float = 1e-8
    """Added to AdamW's denominator."""
    weight_decay: float = 0.0
    """Decoupled decay of weights; embeddings, norms, biases and position tables are left out."""
    muon_lr: float | None = None
    """Learning rate of Muon on the matrices of repeated blocks; null trains them with AdamW like the rest."""
    muon_momentum: float = 0.95
    """Momentum of Muon."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """How the rates change over the run."""
    clip: float | None = 1.0
    """Gradients are scaled down to this norm over all parameters; null leaves them as they are."""
    ema_decay: float = 0.0
    """Decay of a running average of the weights that evaluations and exports use; 0 uses the weights themselves."""

    def __post_init__(self) -> None:
        for name in ("lr", "muon_lr", "clip"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; expected more than 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas is {self.betas}; expected two decays, 0 <= beta < 1")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay is {self.weight_decay}; expected 0 (none) or more")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; expected 0 (off) or a decay below 1, such as 0.999")


def build_optimizers(module: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """Return the optimizers of a module's trainable parameters; each parameter belongs to exactly one of them."""
    matrices: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter, owner in trainable(module):
        if config.muon_lr is not None and is_hidden_matrix(name, parameter, owner):
            matrices.append(parameter)
        elif parameter.ndim >= 2 and isinstance(owner, nn.Linear | _ConvNd):
            decayed.append(parameter)
        else:
            others.append(parameter)
    if not (matrices or decayed or others):
        raise ValueError("no parameter is trainable; unfreeze some of the model")
    optimizers: list[torch.optim.Optimizer] = []
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if groups:
        optimizers.append(torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True))
    if matrices:
        assert config.muon_lr is not None
        optimizers.append(
            torch.optim.Muon(
                matrices, lr=config.muon_lr, momentum=config.muon_momentum, weight_decay=config.weight_decay
            )
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def trainable(module: nn.Module) -> Iterator[tuple[str, nn.Parameter, nn.Module]]:
    """Yield the name, the parameter and its owner for everything that gradients reach, each parameter once."""
    owners = dict(module.named_modules())
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            yield name, parameter, owners[name.rpartition(".")[0]]


def is_hidden_matrix(name: str, parameter: nn.Parameter, owner: nn.Module) -> bool:
    """Whether Muon may have it: a linear layer's matrix inside a numbered block, so no embedding, no input, no head."""
    return parameter.ndim == 2 and isinstance(owner, nn.Linear) and any(part.isdecimal() for part in name.split("."))


def set_rates(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every learning rate to `factor` of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor


def optimizer_tensors(optimizers: list[torch.optim.Optimizer], module: nn.Module) -> dict[str, Tensor]:
    """Return all that the optimizers remember, as tensors named after their parameters."""
    names: dict[Tensor, str] = {parameter: name for name, parameter, _ in trainable(module)}
    return {
        f"{names[parameter]}::{key}": torch.as_tensor(value)
        for optimizer in optimizers
        for parameter, memory in optimizer.state.items()
        for key, value in memory.items()
    }


def load_optimizer_tensors(
    optimizers: list[torch.optim.Optimizer], module: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Give the optimizers back what `optimizer_tensors` returned; a ValueError names what does not fit."""
    memory: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, _, key = name.partition("::")
        memory.setdefault(parameter, {})[key] = tensor
    names = {parameter: name for name, parameter, _ in trainable(module)}
    if unknown := memory.keys() - names.values():
        raise ValueError(f"the optimizer state holds {sorted(unknown)[0]}, which this model does not train")
    for optimizer in optimizers:
        groups = optimizer.state_dict()["param_groups"]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state: dict[int, Any] = {
            # What has the shape of the parameter is cut as it is; the count of updates is not.
            index: cut_like(
                memory[names[parameter]], {key: parameter for key in memory[names[parameter]] if key != "step"}
            )
            for index, parameter in enumerate(parameters)
            if names[parameter] in memory
        }
        optimizer.load_state_dict({"state": state, "param_groups": groups})


class WeightAverage:
    """An exponential running average of a module's trainable weights.

    The decay rises towards its full value over the first updates, so that the average forgets the initial weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._names = [name for name, _, _ in trainable(module)]
        self._live = [parameter for _, parameter, _ in trainable(module)]
        self._average = [parameter.detach().clone() for parameter in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._average, [parameter.detach() for parameter in self._live], 1.0 - decay)

    @contextmanager
    def in_place_of_weights(self) -> Iterator[None]:
        """The module computes with the average inside the block, and with its own weights again after it."""
        kept = [parameter.detach().clone() for parameter in self._live]
        self._copy(self._average)
        try:
            yield
        finally:
            self._copy(kept)

    def tensors(self) -> dict[str, Tensor]:
        """Return the average by parameter name."""
        return dict(zip(self._names, self._average, strict=True))

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Take up an average that `tensors` returned after so many `updates`."""
        if tensors.keys() != set(self._names):
            raise ValueError("the saved weight average belongs to other parameters than this model trains")
        tensors = cut_like(tensors, self.tensors())
        for name, average in zip(self._names, self._average, strict=True):
            average.copy_(tensors[name])
        self.updates = updates

    @torch.no_grad()
    def reset(self) -> None:
        """Start over from the weights as they are now."""
        self.updates = 0
        for average, parameter in zip(self._average, self._live, strict=True):
            average.copy_(parameter)

    @torch.no_grad()
    def _copy(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self._live, values, strict=True):
            parameter.copy_(value)
