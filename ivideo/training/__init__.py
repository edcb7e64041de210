"""Training runs: one loop for every model, and the recipes of the tokenizer and the world model.

::

    tokenizer, world_model     recipes: config -> data, model, loss, evaluation -> fit
              |
             fit (loop)        updates, evaluations, checkpoints, resuming, stopping
       /      |      \\
    optim  progress   run      rates and averages; what a person sees; what stays on disk
                       |
                  checkpoints  all-or-nothing folders with a manifest
"""

from ivideo.training.loop import fit
from ivideo.training.loop_config import LoopConfig
from ivideo.training.optim import OptimizerConfig, ScheduleConfig
from ivideo.training.outcome import DivergenceError, Evaluation, FitResult
from ivideo.training.run import RunConfig, RunFolder

__all__ = [
    "DivergenceError",
    "Evaluation",
    "FitResult",
    "LoopConfig",
    "OptimizerConfig",
    "RunConfig",
    "RunFolder",
    "ScheduleConfig",
    "fit",
]
