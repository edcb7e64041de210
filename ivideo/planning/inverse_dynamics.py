"""What was done between two frames: the network that turns an imagined video into actions (UniPi, arXiv 2302.00111).

::

    two frames, stacked --conv--> 3 residual blocks --pool--> MLP --> the actions that lead from one to the other

UniPi's is a 3x3 convolution, three residual ones, the mean over the picture and an MLP. Here the first convolution has
a stride, for speed, and pooling is a setting: "mean" is UniPi's and knows no positions, so that it can tell motion
only from what a neighbourhood shows of it; "where" adds, for every channel, the place in which it is strongest (the
expected place under a softmax over the picture), from which displacements can be read off (Levine et al. 2016, arXiv
1504.00702). A probe for figures alone, which needs no training, is `ivideo.evaluation.measures.inverse_dynamics`.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ivideo.config.limits import check_least
from ivideo.files import nearby, read_json
from ivideo.spatial import Residual, places
from transformer.checkpoint import read_tensors, write_tensors

CONFIG_FILE = "inverse_dynamics.json"
CHUNK = 64
"""Pairs that are computed at once."""
_MOST_BYTES = 1 << 16
_REMEDY = "give the folder that `ivideo train inverse-dynamics` wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class InverseDynamicsConfig:
    """The architecture."""

    resolution: int = 64
    """Side of the frames in pixels."""
    span: int = 1
    """Steps from one frame of a pair to the other; so many actions are recovered from it."""
    width: int = 32
    """Channels."""
    blocks: int = 3
    """Residual blocks of two 3x3 convolutions."""
    stride: int = 2
    """Of the first convolution; 1 is UniPi's."""
    hidden: int = 128
    """Width of the MLP."""
    pooling: Literal["mean", "where"] = "where"
    """What is kept of the picture: the mean of every channel (UniPi), or where it is strongest as well."""

    def __post_init__(self) -> None:
        check_least(self, resolution=8, span=1, width=1, blocks=0, stride=1, hidden=1)


class InverseDynamics(nn.Module):
    """Recovers actions from frames; made by `ivideo train inverse-dynamics`, loaded with `from_pretrained`."""

    mean: Tensor
    scale: Tensor

    def __init__(self, config: InverseDynamicsConfig, action_dim: int) -> None:
        super().__init__()
        if action_dim < 1:
            raise ValueError(f"action_dim is {action_dim}; expected at least 1, for actions are what is recovered")
        self.config, self.action_dim = config, action_dim
        width, stride = config.width, config.stride
        self.stem = nn.Conv2d(6, width, 2 * stride + 1, stride=stride, padding=stride)
        self.blocks = nn.ModuleList(Residual(width) for _ in range(config.blocks))
        pooled = width if config.pooling == "mean" else 3 * width
        self.head = nn.Sequential(
            nn.Linear(pooled, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.span * action_dim)
        )
        # What the network says is in units of the actions' spread, so that components of any unit weigh the same.
        self.register_buffer("mean", torch.zeros(action_dim))
        self.register_buffer("scale", torch.ones(action_dim))

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def normalised(self, actions: Float[Tensor, "*b a"]) -> Float[Tensor, "*b a"]:
        """Actions in units of their spread."""
        return (actions - self.mean) / self.scale

    def forward(self, before: UInt8[Tensor, "b 3 h w"], after: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b span a"]:
        """The actions from one frame to the other, in units of their spread."""
        pair = torch.cat([before, after], dim=1).float() / 127.5 - 1.0
        hidden = self.stem(pair)
        for block in self.blocks:
            hidden = block(hidden)
        pooled = hidden.mean(dim=(2, 3))
        if self.config.pooling == "where":
            pooled = torch.cat([pooled, places(hidden)], dim=1)
        said: Tensor = rearrange(self.head(F.gelu(pooled)), "b (span a) -> b span a", a=self.action_dim)
        return said

    @torch.inference_mode()
    def recover(self, video: UInt8[Tensor, "*b t 3 h w"]) -> Float[Tensor, "*b s a"]:
        """The actions that lead through videos whose frames are `span` steps apart: `s = (t - 1) * span`.

        In the units of the actions that were trained on, on the CPU.
        """
        size = self.config.resolution
        if video.shape[-4] < 2 or video.shape[-3:] != (3, size, size):
            raise ValueError(
                f"the video is {list(video.shape)}; expected at least two RGB frames of {size}x{size}, which this "
                "network reads actions from: resize it, or train one for its size"
            )
        clips = video.reshape(-1, *video.shape[-4:])
        before, after = clips[:, :-1].flatten(0, 1), clips[:, 1:].flatten(0, 1)
        found = torch.cat(
            [
                self(first.to(self.device), second.to(self.device)) * self.scale + self.mean
                for first, second in zip(before.split(CHUNK), after.split(CHUNK), strict=True)
            ]
        ).cpu()
        return found.reshape(*video.shape[:-4], -1, self.action_dim)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the network to a folder: its architecture as JSON, its weights as safetensors."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        document = {"action_dim": self.action_dim, **asdict(self.config)}
        (folder / CONFIG_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        write_tensors(self.state_dict(), folder)

    @classmethod
    def from_pretrained(cls, source: Path | str, device: str = "cpu") -> "InverseDynamics":
        """The network in a folder, or that of a run, ready to recover actions.

        FileNotFoundError where there is none, ValueError where it is damaged or of another kind.
        """
        given = Path(source).expanduser()
        folder = given / "model" if (given / "model" / CONFIG_FILE).is_file() else given
        file = folder / CONFIG_FILE
        if not given.exists():
            raise FileNotFoundError(f"{given}: {nearby(given)}")
        if not file.is_file():
            raise FileNotFoundError(f"{given} holds no {CONFIG_FILE}, so it is no inverse dynamics: {_REMEDY}")
        document = read_json(file, what="an inverse dynamics' architecture", most=_MOST_BYTES, remedy=_REMEDY)
        network = _build(cls, document, file)
        tensors, expected = read_tensors(folder), network.state_dict()
        for name, value in expected.items():
            if name not in tensors or tensors[name].shape != value.shape:
                got = list(tensors[name].shape) if name in tensors else "missing"
                raise ValueError(
                    f"{folder} cannot be loaded: {name} is {got} where {list(value.shape)} is expected; {_REMEDY}"
                )
        if unknown := sorted(tensors.keys() - expected.keys()):
            raise ValueError(f"{folder} cannot be loaded: {unknown[0]} is not part of this network; {_REMEDY}")
        network.load_state_dict(tensors)
        return network.eval().to(device)


def _build(cls: type[InverseDynamics], document: dict[str, Any], file: Path) -> InverseDynamics:
    settings = dict(document)
    try:
        action_dim = int(settings.pop("action_dim"))
        network = cls(InverseDynamicsConfig(**settings), action_dim)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{file} describes no inverse dynamics ({error}): {_REMEDY}") from error
    return network
