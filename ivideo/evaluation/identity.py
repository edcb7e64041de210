"""Which model, which software, which machine: what a result has to say of itself."""

import os
import platform
from typing import Any

import torch

from ivideo.cli import own_version
from ivideo.fingerprint import fingerprint
from ivideo.world_model import Precision, WorldModel


def model_identity(name: str, model: WorldModel, precision: Precision) -> dict[str, Any]:
    """A model's name, the hash of its settings and weights, its size, and in what its layers multiply."""
    return {
        "name": name,
        "sha256": fingerprint(model),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "precision": precision,
    }


def versions() -> dict[str, str]:
    """Of what computes."""
    return {"ivideo": own_version(), "torch": torch.__version__, "python": platform.python_version()}


def machine(device: torch.device) -> str:
    """The kind of machine, in words that name nobody's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    said = "one thread" if threads == 1 else f"{threads} threads"
    return f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores, {said}"
