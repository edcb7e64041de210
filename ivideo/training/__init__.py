"""Training runs: one loop for every model, and the recipes of the tokenizer and the world model.

::

    tokenizer, world_model          recipes: config -> data, model, loss, evaluation -> fit
              |
             fit (loop)             updates, evaluations, checkpoints, resuming, stopping
       /      |       |      \\
    updates state  records  group   one step; all there is to save; what is written; what processes agree on
       |      |       |
     feed   optim    run            batches; rates and averages; what stays on disk
                      |
                 checkpoints        all-or-nothing folders with a manifest

    engine, sharding   devices, processes, strategies      divergence   updates that are not finite
    share              who computes which batches          signals      stopping from outside
    progress           what a person sees                  lora         adapters on a frozen transformer
    resumable          how a recipe starts its run
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
