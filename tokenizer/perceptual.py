"""LPIPS with a VGG16 or AlexNet backbone: how different two images look, rather than how far apart their pixels are.

Plain torch; the weights come from local files or from the Hub and are never part of a checkpoint.

Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, arXiv 1801.03924, and the
heads of its version 0.1.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .published import NotOnHub, PublishedFile, locate, tensors_sha256
from .weights import read_weights

logger = logging.getLogger(__name__)

Network: TypeAlias = Literal["vgg", "alex"]

# The statistics that the published linear heads were trained with, for images in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPS = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """One convolution of a backbone, followed by a ReLU."""

    layer: int
    """Its position in the backbone's `features`."""
    stride: int = 1
    padding: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The part of a backbone up to the next map that LPIPS looks at."""

    convolutions: tuple[Convolution, ...]
    width: int
    """Channels of the map."""
    pool: int = 0
    """Window of the max pool, of stride 2, that the stage begins with; 0 is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A classifier's convolutions, and the files that hold its weights and those of LPIPS's heads."""

    title: str
    stages: tuple[Stage, ...]
    smallest: int
    """Side in pixels of the smallest images of which every stage makes something."""
    weights: PublishedFile
    heads: PublishedFile


def _vgg_stage(width: int, *layers: int) -> Stage:
    convolutions = tuple(Convolution(layer=layer) for layer in layers)
    return Stage(convolutions=convolutions, width=width, pool=2 if layers[0] else 0)


BACKBONES: dict[Network, Backbone] = {
    "vgg": Backbone(
        title="VGG16",
        stages=(
            _vgg_stage(64, 0, 2),
            _vgg_stage(128, 5, 7),
            _vgg_stage(256, 10, 12, 14),
            _vgg_stage(512, 17, 19, 21),
            _vgg_stage(512, 24, 26, 28),
        ),
        smallest=16,
        weights=PublishedFile(
            what="the LPIPS backbone VGG16",
            repository="timm/vgg16.tv_in1k",
            file="model.safetensors",
            sha256=(
                "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
                "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",  # torchvision's vgg16-397923af.pth
            ),
        ),
        heads=PublishedFile(
            what="the LPIPS heads for VGG16",
            repository="vivym/lpips",
            file="vgg_lpips_linear.safetensors",
            sha256=(
                "0c6387bf2e51e434dedbc0ca4c5894f605c415b8d128bfe720e13456eb4333ac",
                "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",  # the authors' v0.1/vgg.pth
            ),
        ),
    ),
    "alex": Backbone(
        title="AlexNet",
        stages=(
            Stage(convolutions=(Convolution(layer=0, stride=4, padding=2),), width=64),
            Stage(convolutions=(Convolution(layer=3, padding=2),), width=192, pool=3),
            Stage(convolutions=(Convolution(layer=6),), width=384, pool=3),
            Stage(convolutions=(Convolution(layer=8),), width=256),
            Stage(convolutions=(Convolution(layer=10),), width=256),
        ),
        smallest=31,
        weights=PublishedFile(
            what="the LPIPS backbone AlexNet",
            url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            file="alexnet-owt-7be5be79.pth",
            sha256=("7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",),
        ),
        heads=PublishedFile(
            what="the LPIPS heads for AlexNet",
            repository="chaofengc/IQA-PyTorch-Weights",
            file="LPIPS_v0.1_alex-df73285e.pth",
            sha256=("df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",),  # the authors' v0.1/alex.pth
        ),
    ),
}


class LPIPS(nn.Module):
    """Perceptual distance of image pairs in [0, 1]; gradients reach the first image only.

    `backbone` holds `features.N.weight` and `.bias` of a VGG16 or AlexNet trained on ImageNet, `heads` five tensors of
    shape [1, width, 1, 1]. Both are frozen, and stay out of `state_dict`.
    """

    def __init__(self, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor], network: Network = "vgg") -> None:
        super().__init__()
        self.name: Network = network
        self._stages = BACKBONES[network].stages
        for layer in (convolution.layer for stage in self._stages for convolution in stage.convolutions):
            for part in ("weight", "bias"):
                self._freeze(f"conv{layer}_{part}", _pick(backbone, f"features.{layer}.{part}", network))
        for place, head in enumerate(_sorted_heads(heads, network)):
            self._freeze(f"head{place}", head)
        self._freeze("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self._freeze("scale", torch.tensor(SCALE).view(1, 3, 1, 1))

    @property
    def sha256(self) -> str:
        """Over the weights of backbone and heads, whichever files they came in."""
        return tensors_sha256(self.buffers())

    def forward(self, images: Float[Tensor, "b 3 h w"], targets: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
        """The distance, averaged over the pairs: a loss."""
        return self.distances(images, targets).mean()

    def distances(self, images: Float[Tensor, "b 3 h w"], targets: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b"]:
        """The distance of every pair."""
        with torch.no_grad():
            wanted = self._features(targets)
        distances = [
            F.conv2d((_unit(made) - _unit(real)).square(), self.get_buffer(f"head{place}")).mean(dim=(1, 2, 3))
            for place, (made, real) in enumerate(zip(self._features(images), wanted, strict=True))
        ]
        total: Tensor = torch.stack(distances).sum(dim=0)
        return total

    def _features(self, images: Tensor) -> list[Tensor]:
        """The map at the end of every stage."""
        x = (2 * images - 1 - self.get_buffer("shift")) / self.get_buffer("scale")
        maps: list[Tensor] = []
        for stage in self._stages:
            x = F.max_pool2d(x, stage.pool, stride=2) if stage.pool else x
            for layer in stage.convolutions:
                weight, bias = (self.get_buffer(f"conv{layer.layer}_{part}") for part in ("weight", "bias"))
                x = F.relu(F.conv2d(x, weight, bias, stride=layer.stride, padding=layer.padding))
            maps.append(x)
        return maps

    def _freeze(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor.detach().float(), persistent=False)


def load_lpips(backbone: str, heads: str) -> LPIPS | None:
    """LPIPS (VGG16) with weights from two local files or Hub repositories, or None when the Hub cannot provide them.

    A name that ends in .safetensors, .pth or .pt is a local file: `FileNotFoundError` if it is absent. Anything else
    is a Hub repository; when that cannot be reached and is not in the local cache, one warning says that LPIPS is off.
    """
    published = BACKBONES["vgg"]
    try:
        weights = locate(published.weights, backbone, option="loss.lpips_backbone")
        return LPIPS(read_tensors(weights), read_tensors(locate(published.heads, heads, option="loss.lpips_heads")))
    except NotOnHub as error:
        logger.warning(
            "The perceptual loss (LPIPS) is OFF: its weights are neither here nor on the Hub (%s). Pictures will be "
            "blurrier. Give local files for the backbone and the heads, or set the weight of LPIPS to 0.",
            error,
        )
        return None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, or of a .pth or .pt file that holds nothing else; ValueError for any other."""
    if path.suffix == ".safetensors":
        return read_weights(path)
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, LookupError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise ValueError(
            f"{path} cannot be read as weights ({reason}): it is truncated or damaged, or holds more than tensors; "
            "fetch it again"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError(f"{path} holds a {type(tensors).__name__}; expected tensors by their names")
    return tensors


def _pick(tensors: Mapping[str, Tensor], name: str, network: Network) -> Tensor:
    if name not in tensors:
        title = BACKBONES[network].title
        raise ValueError(f"the LPIPS backbone has no tensor {name}; expected the weights of a plain {title} classifier")
    return tensors[name]


def _sorted_heads(tensors: Mapping[str, Tensor], network: Network) -> list[Tensor]:
    """The heads in the order of the first number in their names: published files name them lin0 to lin4, or 0 to 4."""
    numbered = {int(number.group()): tensor for name, tensor in tensors.items() if (number := re.search(r"\d", name))}
    heads = [numbered[key] for key in sorted(numbered)]
    shapes = [tuple(head.shape) for head in heads]
    widths = tuple(stage.width for stage in BACKBONES[network].stages)
    if shapes != [(1, width, 1, 1) for width in widths]:
        raise ValueError(f"the LPIPS heads have shapes {shapes}; expected [1, width, 1, 1] for widths {widths}")
    return heads


def _unit(maps: Tensor) -> Tensor:
    """Scales every position's channels to length one."""
    return maps / (maps.square().sum(dim=1, keepdim=True) + EPS).sqrt()
