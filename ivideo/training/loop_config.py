"""How long a run lasts and how often it stops to look."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How long to train, on what, in what precision, how often to look and to save, and what to do in trouble."""

    steps: int | None = 100_000
    """Updates of the weights in the whole run; null leaves the end to `max_minutes`."""
    max_minutes: float | None = None
    """Minutes of the whole run, all its legs together; schedules then follow the clock where it is further."""
    batch_size: int = 16
    """Clips per batch and process."""
    accumulate: int = 1
    """Batches of each process whose gradients make one update; a resumed run changes it where it has more or fewer
    processes than before, so that an update stays what it was."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Number format of the computation; weights and optimizer stay in 32 bits."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """What to compute on."""
    devices: int | Literal["auto"] = 1
    """Processes per machine, each on its own device, or "auto" for one on every GPU; torchrun and Slurm start as many
    as they were told to."""
    nodes: int = 1
    """Machines; more than one are started by torchrun or Slurm."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """What several processes share: "ddp" averages gradients of whole models, "fsdp" cuts weights, gradients and
    optimizer into a part for each process; "auto" is "ddp"."""
    timeout_minutes: float = 10.0
    """How long processes wait for each other before the run ends; longer than an evaluation takes."""
    compile: bool = False
    """Compile the repeated blocks of the model: minutes at the start, faster steps afterwards."""
    seed: int = 0
    """Decides initial weights, dropout and the order of the data."""
    prefetch: bool = True
    """On an accelerator, prepare the next batch in a thread while the current one is computed."""
    log_every: int = 20
    """Steps averaged into one line of metrics."""
    evaluate_every: int | None = 5000
    """Steps between evaluations, of which there is one at the end in any case; null leaves them all out."""
    checkpoint_every: int = 5000
    """Steps between checkpoints, of which there is one at the end and at a stop in any case."""
    on_save_error: Literal["stop", "skip"] = "stop"
    """What to do when the disk does not take a checkpoint or figures: end the run, or say so and go on."""
    on_divergence: Literal["stop", "skip", "rewind"] = "stop"
    """What to do when a loss or gradient is not finite: end the run, leave that update out, or go back to the newest
    checkpoint and leave it out from there on."""
    max_divergences: int = 10
    """How many updates of a run may be left out before it ends after all."""

    def __post_init__(self) -> None:
        if self.steps is None and self.max_minutes is None:
            raise ValueError("neither steps nor max_minutes is set; set one, or both to stop at whichever comes first")
        for name in (
            "steps", "max_minutes", "batch_size", "accumulate", "devices", "nodes", "timeout_minutes", "log_every",
            "evaluate_every", "checkpoint_every", "max_divergences",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value != "auto" and not value > 0:
                raise ValueError(f"{name} is {value}; expected more than 0")
