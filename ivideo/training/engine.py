"""Lightning Fabric, set up for a run: devices, precision, processes and loggers."""

import atexit
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from subprocess import Popen
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.strategies.model_parallel import ModelParallelStrategy
from lightning.fabric.strategies.strategy import Strategy

from ivideo.training.loop_config import LoopConfig
from ivideo.training.process import processes
from ivideo.training.run import RunFolder
from ivideo.training.sharding import shard


def start_fabric(loop: LoopConfig, run: RunFolder | None, resumed_step: int | None) -> Fabric:
    """Return Fabric on its devices; with several of them, the other processes have been started."""
    there = processes(loop)
    with _quiet():
        fabric = Fabric(
            accelerator=loop.accelerator,
            devices=there.devices,
            num_nodes=there.nodes,
            strategy=_strategy(loop, there.world),
            precision=loop.precision,
            loggers=cast(Any, _loggers(run, resumed_step)),
        )
        if there.world > 1:
            fabric.launch()
            atexit.register(_leave)
    return fabric


def _leave() -> None:
    """Take leave of the other processes: gloo's threads abort a process that ends while they run."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def children(fabric: Fabric) -> list[Popen[bytes]]:
    """The processes that this one has started."""
    return getattr(fabric.strategy.launcher, "procs", [])


def _strategy(loop: LoopConfig, world: int) -> Strategy | str:
    if world == 1:
        return "auto"
    timeout = timedelta(minutes=loop.timeout_minutes)
    if loop.strategy == "fsdp":
        return ModelParallelStrategy(shard, data_parallel_size=world, tensor_parallel_size=1, timeout=timeout)
    # Which weights a batch reaches may differ between steps, as with an adversarial term that starts later.
    return DDPStrategy(timeout=timeout, find_unused_parameters=True)


def check_accelerator(loop: LoopConfig) -> None:
    """Refuse, before anything is written, to compute on a device that is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(loop.accelerator, True):
        raise ValueError(
            f"loop.accelerator is {loop.accelerator}, and this installation of PyTorch sees no such device; "
            "use auto or cpu, or install a PyTorch built for it"
        )
    processes(loop)


def _loggers(run: RunFolder | None, resumed_step: int | None) -> list[TensorBoardLogger]:
    if run is None or not run.config.tensorboard:
        return []
    # Events that lie after the checkpoint are measured again.
    options: dict[str, Any] = {} if resumed_step is None else {"purge_step": resumed_step + 1}
    return [TensorBoardLogger(run.path, name="", version="tensorboard", **options)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from announcing the precision and the device; its warnings still come."""
    loggers = [logging.getLogger(name) for name in ("lightning.fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
