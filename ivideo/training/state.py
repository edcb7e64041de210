"""All that a run is between two steps, to be saved and taken up again."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ivideo.training import randomness
from ivideo.training.checkpoints import Checkpoint
from ivideo.training.optim import (
    OptimizerConfig,
    WeightAverage,
    build_optimizers,
    load_optimizer_tensors,
    optimizer_tensors,
    trainable,
)
from ivideo.training.sharding import cut_like, in_one_piece, local, uncompiled, whole


class TrainingState:
    """A module with its optimizers, the running average of its weights, and the counters of its run."""

    def __init__(self, module: nn.Module, config: OptimizerConfig, meters: nn.Module | None = None) -> None:
        self.module = module
        self.meters = meters
        self.config = config
        self.weights = [parameter for _, parameter, _ in trainable(module)]
        self.optimizers = build_optimizers(module, config)
        self.average = WeightAverage(module, config.ema_decay) if config.ema_decay else None
        self.step = 0
        """Updates done."""
        self.seconds = 0.0
        """Wall-clock time spent by earlier legs of the run."""
        self.left_out: list[int] = []
        """Steps whose updates are not made, for they diverged."""

    def tensors(self, *, keep: bool = True) -> dict[str, dict[str, Tensor]]:
        """Return every tensor there is to save, in one piece and grouped by file.

        All processes call it together; those that do not `keep` what they get hold one tensor at a time.
        """
        groups = {
            "model": self.module.state_dict(),
            "optimizer": optimizer_tensors(self.optimizers, self.module),
            "average": self.average.tensors() if self.average else {},
            "meters": dict(self.meters.named_buffers()) if self.meters else {},
        }
        pieces = ((group, name, whole(tensor)) for group, tensors in groups.items() for name, tensor in tensors.items())
        found: dict[str, dict[str, Tensor]] = {}
        for group, name, tensor in pieces:
            if keep:
                found.setdefault(group, {})[name] = tensor
        return found

    def document(self, seconds: float, random_states: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the rest as plain JSON; `random_states` holds one entry per process."""
        return {
            "step": self.step,
            "seconds": seconds,
            "average_updates": self.average.updates if self.average else 0,
            "left_out": self.left_out,
            "random": random_states,
        }

    def optimizer_is_finite(self) -> bool:
        """Whether what the optimizers remember holds neither NaN nor infinity."""
        memory = [
            value
            for optimizer in self.optimizers
            for remembered in optimizer.state.values()
            for value in remembered.values()
            if isinstance(value, Tensor) and value.ndim
        ]
        largest = torch._foreach_norm([local(value) for value in memory], math.inf) if memory else []
        return all(torch.stack(list(largest)).isfinite().tolist()) if memory else True

    def load(self, checkpoint: Checkpoint, rank: int = 0) -> list[str]:
        """Become what was saved, random states included; return notes for people.

        Raises `ValueError`, naming the checkpoint, when it was saved from another model.
        """
        notes = []
        try:
            self.module.load_state_dict(cut_like(checkpoint.tensors["model"], self.module.state_dict()))
            load_optimizer_tensors(self.optimizers, self.module, checkpoint.tensors.get("optimizer", {}))
            if self.average is not None:
                if "average" in checkpoint.tensors:
                    self.average.load(checkpoint.tensors["average"], checkpoint.state["average_updates"])
                else:
                    self.average.reset()
                    notes.append("the checkpoint holds no weight average; it starts from the weights of this step")
            if self.meters is not None:
                for name, value in checkpoint.tensors.get("meters", {}).items():
                    owner, _, buffer = name.rpartition(".")
                    part = self.meters.get_submodule(owner)
                    setattr(part, buffer, value.to(part.get_buffer(buffer).device))
            self.step = int(checkpoint.state["step"])
            self.seconds = float(checkpoint.state["seconds"])
            self.left_out = sorted({*self.left_out, *checkpoint.state.get("left_out", [])})
            saved = checkpoint.state["random"]
            if rank < len(saved):
                randomness.restore(saved[rank])
            else:
                notes.append(f"process {rank} was not there when the checkpoint was saved; its randomness starts anew")
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"checkpoint {checkpoint.path} does not fit this run ({reason}); resume with the model settings that "
                "config.yaml beside it holds, or start another run"
            ) from error
        return notes

    @contextmanager
    def as_served(self) -> Iterator[None]:
        """Inside the block the module is what is exported: averaged weights, evaluation mode, no gradients.

        All processes enter together. Afterwards everything, random states included, is as if the block had not been.
        """
        modes = [(part, part.training) for part in self.module.modules()]
        with ExitStack() as stack:
            stack.enter_context(randomness.untouched())
            stack.enter_context(torch.no_grad())
            stack.enter_context(uncompiled(self.module))
            if self.average is not None:
                stack.enter_context(self.average.in_place_of_weights())
            stack.enter_context(in_one_piece(self.module))
            self.module.eval()
            try:
                yield
            finally:
                for part, training in modes:
                    part.training = training
