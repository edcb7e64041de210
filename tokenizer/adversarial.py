"""The adversarial term: a patch discriminator, hinge losses, and a weight that balances them against LPIPS.

Source: Esser et al., Taming Transformers for High-Resolution Image Synthesis, arXiv 2012.09841, equations 5 and 7.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

MAX_RATIO = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialConfig:
    """A discriminator that joins after `start_step`; needs the `taming` extra and LPIPS."""

    start_step: int = 250_000
    """First step at which frames are judged."""
    weight: float = 0.8
    """Share of the LPIPS gradient, at the last layer of the dynamics decoder, that the adversarial one may have."""
    width: int = 64
    """Channels of the discriminator's first layer."""
    layers: int = 3
    """Strided layers of the discriminator; each doubles the patch that one verdict covers."""

    def __post_init__(self) -> None:
        for name in ("start_step", "weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"adversarial {name} is {getattr(self, name)}; expected 0 or more")
        for name in ("width", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"adversarial {name} is {getattr(self, name)}; expected at least 1")


def build_discriminator(config: AdversarialConfig) -> nn.Module:
    """The patch discriminator of taming-transformers: images in, one verdict per patch out."""
    try:
        from taming.modules.discriminator.model import NLayerDiscriminator, weights_init
    except ImportError as error:
        raise ValueError(
            f"the adversarial loss needs taming-transformers, which cannot be imported ({error}); install it with "
            "`pip install --no-deps taming-transformers`, or set adversarial to null"
        ) from error
    discriminator: nn.Module = NLayerDiscriminator(input_nc=3, ndf=config.width, n_layers=config.layers)
    return discriminator.apply(weights_init)


def generator_loss(verdicts: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Falls as the discriminator takes made frames for real ones."""
    return -verdicts.mean()


def discriminator_loss(real: Float[Tensor, "..."], made: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Hinge loss: verdicts above 1 on real frames and below -1 on made ones cost nothing."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + made).mean())


def adaptive_weight(
    perceptual: Float[Tensor, ""], adversarial: Float[Tensor, ""], last_layer: Float[Tensor, "..."]
) -> Float[Tensor, ""]:
    """Ratio of the two losses' gradient norms at `last_layer`, without gradient, at most 10,000."""
    (wanted,) = torch.autograd.grad(perceptual, last_layer, retain_graph=True)
    (judged,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    ratio: Tensor = wanted.norm() / judged.norm().clamp(min=1e-8)
    return ratio.clamp(max=MAX_RATIO).detach()
