"""The network that looks at frames for a policy, for steps to go, and for whoever says what to do next.

::

    frames along the channels --conv--> residual blocks --pool--> [+ what was said] --MLP--> numbers

Pooling keeps the mean of every channel and the place in which it is strongest (the expected place under a softmax over
the picture, Levine et al. 2016, arXiv 1504.00702), from which positions can be read off after few examples.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ivideo.config import save_config
from ivideo.config.limits import check_least
from ivideo.spatial import Residual, places


@dataclass(frozen=True, slots=True, kw_only=True)
class SightConfig:
    """The architecture."""

    width: int = 16
    """Channels."""
    stride: int = 2
    """Of the first convolution."""
    blocks: int = 2
    """Residual blocks of two 3x3 convolutions."""
    hidden: int = 128
    """Width of the MLP's two hidden layers."""

    def __post_init__(self) -> None:
        check_least(self, width=1, stride=1, blocks=0, hidden=1)


class Sight(nn.Module):
    """Frames in, numbers out."""

    def __init__(self, config: SightConfig, *, planes: int, out: int) -> None:
        super().__init__()
        width, stride = config.width, config.stride
        self.stem = nn.Conv2d(planes, width, 2 * stride + 1, stride=stride, padding=stride)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(config.blocks)))
        self.first = nn.Linear(3 * width, config.hidden)
        self.rest = nn.Sequential(
            nn.GELU(), nn.Linear(config.hidden, config.hidden), nn.GELU(), nn.Linear(config.hidden, out)
        )

    def forward(self, frames: UInt8[Tensor, "b c s s"]) -> Float[Tensor, "b n"]:
        maps = self.blocks(self.stem(frames.float() / 127.5 - 1.0))
        out: Tensor = self.rest(self.first(torch.cat([maps.mean(dim=(2, 3)), places(maps)], dim=1)))
        return out


def write_network(network: nn.Module, config: object, folder: Path, name: str) -> None:
    """Write NAME.yaml and NAME.safetensors into a folder that exists."""
    save_config(config, folder / f"{name}.yaml")
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    save_file(tensors, folder / f"{name}.safetensors")


def find_network(folder: Path, name: str, *, made_by: str) -> Path:
    """The folder that holds NAME: this one, or the model/ of a run; FileNotFoundError says what makes one."""
    for place in (folder / "model", folder):
        if (place / f"{name}.safetensors").is_file() and (place / f"{name}.yaml").is_file():
            return place
    raise FileNotFoundError(f"{folder} holds no {name}; expected a run of `{made_by}`, or the model/ in one")


def read_weights(network: nn.Module, file: Path) -> None:
    """Take weights from a file; ValueError where they are damaged or of another network."""
    try:
        network.load_state_dict(load_file(file))
    except (RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{file} is damaged or of another network ({reason[:200]}); train it anew") from error
