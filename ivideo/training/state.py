"""All that a run is between two steps, to be saved and taken up again."""

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


class TrainingState:
    """A module with its optimizers, the running average of its weights, and the counters of its run."""

    def __init__(self, module: nn.Module, config: OptimizerConfig) -> None:
        self.module = module
        self.config = config
        self.weights = [parameter for _, parameter, _ in trainable(module)]
        self.optimizers = build_optimizers(module, config)
        self.average = WeightAverage(module, config.ema_decay) if config.ema_decay else None
        self.step = 0
        """Updates done."""
        self.seconds = 0.0
        """Wall-clock time spent by earlier legs of the run."""

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return every tensor there is to save, grouped by file."""
        groups = {
            "model": self.module.state_dict(),
            "optimizer": optimizer_tensors(self.optimizers, self.module),
            "average": self.average.tensors() if self.average else {},
        }
        return {name: tensors for name, tensors in groups.items() if tensors}

    def document(self, seconds: float, random_states: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the rest as plain JSON; `random_states` holds one entry per process."""
        return {
            "step": self.step,
            "seconds": seconds,
            "average_updates": self.average.updates if self.average else 0,
            "random": random_states,
        }

    def load(self, checkpoint: Checkpoint, rank: int = 0) -> list[str]:
        """Become what was saved, random states included; return notes for people.

        Raises `ValueError`, naming the checkpoint, when it was saved from another model.
        """
        notes = []
        try:
            self.module.load_state_dict(checkpoint.tensors["model"])
            load_optimizer_tensors(self.optimizers, self.module, checkpoint.tensors.get("optimizer", {}))
            if self.average is not None:
                if "average" in checkpoint.tensors:
                    self.average.load(checkpoint.tensors["average"], checkpoint.state["average_updates"])
                else:
                    self.average.reset()
                    notes.append("the checkpoint holds no weight average; it starts from the weights of this step")
            self.step = int(checkpoint.state["step"])
            self.seconds = float(checkpoint.state["seconds"])
            saved = checkpoint.state["random"]
            if rank < len(saved):
                randomness.restore(saved[rank])
            else:
                notes.append(f"process {rank} was not there when the checkpoint was saved; its randomness starts anew")
        except (RuntimeError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"checkpoint {checkpoint.path} does not fit this run ({reason}); resume with the model settings that "
                "config.yaml beside it holds, or start another run"
            ) from error
        return notes

    @contextmanager
    def as_served(self) -> Iterator[None]:
        """Inside the block the module is what is exported: averaged weights, evaluation mode, no gradients.

        Afterwards everything, random states included, is as if the block had not been.
        """
        modes = [(part, part.training) for part in self.module.modules()]
        with ExitStack() as stack:
            stack.enter_context(randomness.untouched())
            stack.enter_context(torch.no_grad())
            if self.average is not None:
                stack.enter_context(self.average.in_place_of_weights())
            self.module.eval()
            try:
                yield
            finally:
                for part, training in modes:
                    part.training = training
