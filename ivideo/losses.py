"""What losses of tokens and of heads have in common, and how they are weighed against each other."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ivideo.tokens import TokenBatch

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel


def token_loss(
    model: "WorldModel", tokens: TokenBatch, generator: torch.Generator | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """See `WorldModel.token_loss`."""
    told = tokens.controls
    if model.training:
        told = told.dropped(model.config.embedding.action_dropout, generator)
    hidden = model(tokens.codes, told)
    losses = {"cross_entropy": cross_entropy(model, hidden, tokens)}
    losses |= model.heads.losses(
        model.layout.split_frames(hidden),
        actions=tokens.actions,
        rewards=tokens.rewards,
        terminals=tokens.terminals,
        mask=tokens.mask,
        sizes=None if tokens.domains is None else model.embodiments.sizes(tokens.domains),
    )
    parts = {name: value.detach() for name, value in losses.items()}
    clipped = model.embedding.share_clipped(told)
    if clipped is not None:
        parts["clipped_controls"] = clipped
    if model.harmony is None:
        return torch.stack(list(losses.values())).sum(), parts
    dynamics, layout = model.config.vocabulary == "dynamics", model.layout
    per_frame = layout.dynamics_tokens if dynamics else layout.frame_length
    total = model.harmony(losses | {"cross_entropy": losses["cross_entropy"] * per_frame})
    if model.training:
        parts |= {f"sigma/{name}": value for name, value in model.harmony.sigmas().items()}
    return total, parts


def cross_entropy(model: "WorldModel", hidden: Float[Tensor, "b s d"], tokens: TokenBatch) -> Float[Tensor, ""]:
    """Mean over the targets of real frames, in nats: dynamics codes, and the markers where all ids are scored."""
    layout = model.layout
    if model.config.vocabulary == "dynamics":
        predicting, targets = layout.split_frames(hidden)[:, :, :-1], tokens.codes.dynamics
        logits, spread = model.logits(predicting).flatten(0, 2), model.config.code_smoothing
        labels = targets.flatten()
        aim = soft_targets(model.tokenizer.dynamics_codebook.detach(), spread)[labels] if spread else labels
        entropy = F.cross_entropy(logits, aim, reduction="none")
        return masked_mean(entropy.view_as(targets), tokens.mask)
    ids = layout.pack(tokens.codes)
    predicting, targets = layout.predicting(hidden), layout.targets(ids)
    entropy = F.cross_entropy(model.logits(predicting).flatten(0, 1), targets.flatten(), reduction="none")
    if tokens.mask is None:
        return entropy.mean()
    real = tokens.mask.repeat_interleave(layout.frame_length, dim=1)[:, 1:]  # a marker goes with its frame
    return masked_mean(entropy.view_as(targets), real)


class HarmoniousWeights(nn.Module):
    """Weighs losses of very different sizes by scales that are learned with everything else.

    Each loss L enters as `L / sigma + log(1 + sigma)` with `sigma = exp(s)`, `s` a parameter that starts at 0, where
    all losses weigh 1. For a steady L the scale settles where that is least, at `(L + sqrt(L^2 + 4 L)) / 2`: a large
    loss is scaled down to about 1, a small one up, by no more than about `1 / sqrt(L)`. Losses must not be negative.
    Source: HarmonyDream (Ma et al., arXiv 2310.00344), its rectified loss.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.s = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})

    def forward(self, losses: Mapping[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """The scalar to descend; a loss that no scale was made for is a KeyError."""
        terms = [F.softplus(self.s[name]) + loss * torch.exp(-self.s[name]) for name, loss in losses.items()]
        return torch.stack(terms).sum()

    def sigmas(self) -> dict[str, Float[Tensor, ""]]:
        """The scale of each loss as it is now."""
        return {name: s.detach().exp() for name, s in self.s.items()}


def masked_mean(value: Tensor, mask: Bool[Tensor, "b f"] | None) -> Tensor:
    """Mean over frames that are real; `mask` None means all of them."""
    if mask is None:
        return value.mean()
    weight = mask.to(value.dtype).reshape(*mask.shape, *[1] * (value.ndim - 2)).expand_as(value)
    return (value * weight).sum() / weight.sum().clamp(min=1)


def soft_targets(codebook: Float[Tensor, "k v"], temperature: float) -> Float[Tensor, "k k"]:
    """For every code a distribution over all of them that falls with the squared distance between their vectors."""
    squared = torch.cdist(codebook.float(), codebook.float()).square()
    neighbour = squared.clone().fill_diagonal_(torch.inf).amin(dim=1).median()
    return (-squared / (temperature * neighbour.clamp(min=1e-12))).softmax(dim=1)
