"""LPIPS with random weights: the networks whose weights are published, without their half a gigabyte."""

import torch
from torch import Tensor

from tokenizer.perceptual import BACKBONES, Network

KERNELS = {("alex", 0): 11, ("alex", 3): 5}


def random_backbone(network: Network) -> dict[str, Tensor]:
    """The convolutions of a classifier, under their published names, and a tensor that nobody needs."""
    generator = torch.Generator().manual_seed(0)
    weights = {"classifier.0.weight": torch.zeros(1)}
    width = 3
    for stage in BACKBONES[network].stages:
        for layer in (convolution.layer for convolution in stage.convolutions):
            kernel = KERNELS.get((network, layer), 3)
            scale = (2 / (kernel**2 * width)) ** 0.5
            shape = (stage.width, width, kernel, kernel)
            weights[f"features.{layer}.weight"] = scale * torch.randn(shape, generator=generator)
            weights[f"features.{layer}.bias"] = 0.1 * torch.randn(stage.width, generator=generator)
            width = stage.width
    return weights


def random_heads(network: Network) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        f"lin{place}.model.1.weight": torch.rand(1, stage.width, 1, 1, generator=generator)
        for place, stage in enumerate(BACKBONES[network].stages)
    }
