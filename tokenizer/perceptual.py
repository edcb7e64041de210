"""LPIPS with a VGG16 backbone: how different two images look, rather than how far apart their pixels are.

Plain torch; the weights come from local files or from the Hub and are never part of a checkpoint.

Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, arXiv 1801.03924.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

logger = logging.getLogger(__name__)

# Position of every convolution in the backbone's `features`, stage by stage; a stage ends in a max pool.
STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
WIDTHS = (64, 128, 256, 512, 512)
# The statistics that the published linear heads were trained with, for images in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPS = 1e-8

# File of each kind in a Hub repository.
HUB_FILES = {"backbone": "model.safetensors", "heads": "vgg_lpips_linear.safetensors"}
LOCAL_SUFFIXES = (".safetensors", ".pth", ".pt")


class LPIPS(nn.Module):
    """Perceptual distance of image pairs in [0, 1], averaged over the pairs; gradients reach the first image only.

    `backbone` holds `features.N.weight` and `.bias` of a VGG16 trained on ImageNet, `heads` five tensors of shape
    [1, width, 1, 1]. Both are frozen, and stay out of `state_dict`.
    """

    def __init__(self, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        super().__init__()
        for layer in (layer for stage in STAGES for layer in stage):
            for part in ("weight", "bias"):
                self._freeze(f"conv{layer}_{part}", _pick(backbone, f"features.{layer}.{part}", "backbone"))
        for stage, head in enumerate(_sorted_heads(heads)):
            self._freeze(f"head{stage}", head)
        self._freeze("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self._freeze("scale", torch.tensor(SCALE).view(1, 3, 1, 1))

    def forward(self, images: Float[Tensor, "b 3 h w"], targets: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
        with torch.no_grad():
            wanted = self._features(targets)
        distances = [
            F.conv2d((_unit(made) - _unit(real)).square(), self.get_buffer(f"head{stage}")).mean(dim=(1, 2, 3))
            for stage, (made, real) in enumerate(zip(self._features(images), wanted, strict=True))
        ]
        return torch.stack(distances).sum(dim=0).mean()

    def _features(self, images: Tensor) -> list[Tensor]:
        """The map at the end of every stage."""
        x = (2 * images - 1 - self.get_buffer("shift")) / self.get_buffer("scale")
        maps: list[Tensor] = []
        for stage in STAGES:
            x = F.max_pool2d(x, 2) if maps else x
            for layer in stage:
                weight, bias = self.get_buffer(f"conv{layer}_weight"), self.get_buffer(f"conv{layer}_bias")
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            maps.append(x)
        return maps

    def _freeze(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor.detach().float(), persistent=False)


def load_lpips(backbone: str, heads: str) -> LPIPS | None:
    """LPIPS with weights from two local files or Hub repositories, or None when the Hub cannot provide them.

    A name that ends in .safetensors, .pth or .pt is a local file: `FileNotFoundError` if it is absent. Anything else
    is a Hub repository; when that cannot be reached and is not in the local cache, one warning says that LPIPS is off.
    """
    try:
        return LPIPS(_read(_locate(backbone, "backbone")), _read(_locate(heads, "heads")))
    except (_NotOnHubError, HfHubHTTPError, OfflineModeIsEnabled) as error:
        logger.warning(
            "The perceptual loss (LPIPS) is OFF: its weights are neither here nor on the Hub (%s). Pictures will be "
            "blurrier. Give local files for the backbone and the heads, or set the weight of LPIPS to 0.",
            str(error).splitlines()[0],
        )
        return None


class _NotOnHubError(Exception):
    """A Hub file that is neither cached nor reachable."""


def _locate(name: str, kind: str) -> Path:
    if name.endswith(LOCAL_SUFFIXES):
        path = Path(name).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; expected the LPIPS {kind} as safetensors or .pth")
        return path
    try:
        return Path(hf_hub_download(name, HUB_FILES[kind]))
    except FileNotFoundError as error:  # not cached, and the Hub is out of reach
        raise _NotOnHubError(f"{name}: {error}") from error


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors


def _pick(tensors: Mapping[str, Tensor], name: str, kind: str) -> Tensor:
    if name not in tensors:
        raise ValueError(f"the LPIPS {kind} has no tensor {name}; expected the weights of a plain VGG16 classifier")
    return tensors[name]


def _sorted_heads(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """The heads in the order of the first number in their names: published files name them lin0 to lin4, or 0 to 4."""
    numbered = {int(number.group()): tensor for name, tensor in tensors.items() if (number := re.search(r"\d", name))}
    heads = [numbered[key] for key in sorted(numbered)]
    shapes = [tuple(head.shape) for head in heads]
    if shapes != [(1, width, 1, 1) for width in WIDTHS]:
        raise ValueError(f"the LPIPS heads have shapes {shapes}; expected [1, width, 1, 1] for widths {WIDTHS}")
    return heads


def _unit(maps: Tensor) -> Tensor:
    """Scales every position's channels to length one."""
    return maps / (maps.square().sum(dim=1, keepdim=True) + EPS).sqrt()
