"""Which of a run's processes this is, and how many there are."""

import os
from typing import NamedTuple

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only

from ivideo.training.loop_config import LoopConfig


class Processes(NamedTuple):
    """How many processes there are on each of how many machines."""

    devices: int
    nodes: int

    @property
    def world(self) -> int:
        """All of them."""
        return self.devices * self.nodes


def is_first() -> bool:
    """Whether this process writes files and talks to people: the first of a run's processes, or its only one."""
    return rank_zero_only.rank == 0  # type: ignore[attr-defined,no-any-return]


def processes(loop: LoopConfig) -> Processes:
    """Return how many processes train: as torchrun or Slurm have started them, else as the settings say."""
    started, starter = None, ""
    if TorchElasticEnvironment.detect():
        started, starter = Processes(_number("LOCAL_WORLD_SIZE"), _number("GROUP_WORLD_SIZE")), "torchrun"
    elif SLURMEnvironment.detect():
        nodes = _number("SLURM_NNODES")
        started, starter = Processes(_number("SLURM_NTASKS") // nodes, nodes), "Slurm"
    if started is None:
        if loop.nodes > 1:
            raise ValueError(
                f"loop.nodes is {loop.nodes}, but one machine cannot start processes on another; start the same "
                "command on each with torchrun, or on all with srun"
            )
        return Processes(_all_devices(loop) if loop.devices == "auto" else loop.devices, 1)
    for name, asked, there in zip(("devices", "nodes"), (loop.devices, loop.nodes), started, strict=True):
        if asked not in (1, "auto", there):
            raise ValueError(
                f"loop.{name} is {asked}, but {starter} has started {there}; leave it out, or start as many"
            )
    return started


def _all_devices(loop: LoopConfig) -> int:
    return torch.cuda.device_count() if loop.accelerator in ("auto", "cuda") and torch.cuda.is_available() else 1


def _number(variable: str) -> int:
    return int(os.environ.get(variable, "1"))
