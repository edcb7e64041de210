"""One update of the weights: gradients of its batches, checked by all processes, then applied."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol, Self, TypeVar, cast

import torch
from jaxtyping import Float
from lightning.fabric import Fabric
from torch import Tensor, nn

from ivideo.training.feed import Feed
from ivideo.training.group import Group
from ivideo.training.optim import set_rates, trainable
from ivideo.training.sharding import compile_blocks, local, whole
from ivideo.training.state import TrainingState


class Movable(Protocol):
    """A batch: anything that can be moved to a device."""

    def to(self, device: Any, /) -> Self: ...


T = TypeVar("T", bound=Movable)
Logs = Mapping[str, Tensor]
Loss = Callable[[T], tuple[Float[Tensor, ""], Logs]]


class NotFiniteError(Exception):
    """An update was not made, for something in it is NaN or infinite."""

    def __init__(self, found: Mapping[int, Sequence[str]]) -> None:
        self.found = found
        """What is not finite, by process."""


class Updates:
    """Makes the updates of a run, `turns` batches of every process for each."""

    def __init__(
        self,
        fabric: Fabric,
        group: Group,
        module: nn.Module,
        loss: Loss[Any],
        feed: Feed[Any],
        turns: int,
        make_state: Callable[[], TrainingState],
        *,
        compiled: bool = False,
    ) -> None:
        """Set up the module on its device, then what `make_state` makes of it there."""
        self.fabric, self.group, self.feed, self.turns = fabric, group, feed, turns
        self._batch: Any = None
        if compiled:
            compile_blocks(module)
        self._objective = fabric.setup_module(_Objective(module, loss, lambda: self._batch))
        self.state = make_state()
        self._optimizers = [cast(Any, fabric.setup_optimizers(plain)) for plain in self.state.optimizers]

    def make(self, first: Any, rate: float) -> list[Logs]:
        """Update the weights with the batch `first` and those that follow it, at `rate` of the peak learning rates.

        Returns what there is to log. Raises `NotFiniteError` in all processes where one of them has found NaN or
        infinity; everything is then as before.
        """
        state = self.state
        set_rates(state.optimizers, rate)
        buffers = [(buffer, buffer.clone()) for buffer in state.module.buffers()]
        logs: list[Logs] = []
        losses: list[Tensor] = []
        for turn in range(self.turns):
            batch = first if turn == 0 else self.feed.get(state.step * self.turns + turn)
            self._batch = batch.to(self.fabric.device)
            with self.fabric.no_backward_sync(self._objective, enabled=True) if turn < self.turns - 1 else self._sync():
                loss, parts = self._objective()
                self.fabric.backward(loss / self.turns if self.turns > 1 else loss)
            losses.append(loss.detach())
            logs.append({"loss": loss.detach(), **parts})
        gradients = [weight.grad for weight in state.weights if weight.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        size = whole(norm)
        finite = bool(torch.stack([size, *losses]).isfinite().all()) and state.optimizer_is_finite()
        if not self.group.tell(finite).all():
            found = [json.loads(text) for text in self.group.tell_text(json.dumps(self._not_finite(logs)))]
            state.module.zero_grad(set_to_none=True)
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
            # Gradients are averaged, so that those of one process spoil all; its loss is its own.
            spoilt = [part["figures"] for part in found] if any(part["figures"] for part in found) else None
            names = spoilt or [part["gradients"] or part["memory"] or ["the gradient norm"] for part in found]
            raise NotFiniteError({rank: part[:3] for rank, part in enumerate(names) if part})
        if state.config.clip is not None:
            nn.utils.clip_grads_with_norm_(state.weights, state.config.clip, norm)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if state.average is not None:
            state.average.update()
        state.step += 1
        return [*logs, {"gradient_norm": size}]

    def _sync(self) -> Any:
        """The context of the turn after which gradients are shared."""
        return self.fabric.no_backward_sync(self._objective, enabled=False) if self.turns > 1 else nullcontext()

    def _not_finite(self, logs: Sequence[Logs]) -> dict[str, list[str]]:
        """What is not finite here: figures, gradients, and what the optimizer remembers."""

        def spoilt(value: Tensor) -> bool:
            return not bool(torch.isfinite(local(value)).all())

        names: dict[Tensor, str] = {weight: name for name, weight, _ in trainable(self.state.module)}
        return {
            "figures": sorted({name for part in logs for name, value in part.items() if spoilt(value)}),
            "gradients": [
                f"the gradient of {name}"
                for weight, name in names.items()
                if weight.grad is not None and spoilt(weight.grad)
            ],
            "memory": [
                f"the optimizer's {key} of {names[weight]}"
                for optimizer in self.state.optimizers
                for weight, memory in optimizer.state.items()
                for key, value in memory.items()
                if isinstance(value, Tensor) and spoilt(value)
            ],
        }


class _Objective(nn.Module):
    """What Fabric wraps: its forward pass is the loss, so that autocasting and gradient averaging cover all of it."""

    def __init__(self, module: nn.Module, loss: Loss[Any], batch: Callable[[], Any]) -> None:
        super().__init__()
        self.module = module
        self._loss = loss
        self._batch = batch

    def forward(self) -> tuple[Tensor, Logs]:
        return self._loss(self._batch())
