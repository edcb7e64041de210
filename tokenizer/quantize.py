"""From latents to codebook indices and back: one small interface, four ways to learn a codebook.

`GradientVQ` is the released semantics. The other three wrap vector-quantize-pytorch, which is imported where it is
used: it takes seconds to import, and the released models do not need it.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientVQ:
    """A codebook trained by gradient, as in the released models: no moving average, no restart."""

    beta: float = 1.0
    """Weight of the term that pulls latents towards their code; the released models use 1.0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EMAVQ:
    """A codebook that follows its latents by moving average; unused codes are restarted on live latents."""

    decay: float = 0.98
    """Decay of the moving averages."""
    beta: float = 0.25
    """Weight of the term that pulls latents towards their code."""
    warmup_steps: int = 100
    """Training steps that pass latents through unquantised before k-means places the codebook on them."""
    kmeans_iterations: int = 10
    """Iterations of that k-means."""
    dead_code_threshold: float = 0.05
    """A code used less than this share of the mean use is restarted; 0 turns restarts off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FSQ:
    """Finite scalar quantization (arXiv 2309.15505): a fixed grid, no codebook to learn and no loss."""

    context_levels: tuple[int, ...] = (8, 8, 8)
    """Steps per dimension of the grid of context frames; their product is `context_codes`."""
    dynamics_levels: tuple[int, ...] = (8, 8, 8)
    """Steps per dimension of the grid of future frames; their product is `dynamics_codes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimVQ:
    """A frozen random codebook behind one learned linear map (arXiv 2411.02038)."""

    beta: float = 0.25
    """Weight of the term that pulls latents towards their code."""
    rotation_trick: bool = True
    """Pass gradients by rotation (arXiv 2410.06424) instead of straight through."""


QuantizerConfig = GradientVQ | EMAVQ | FSQ | SimVQ


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """What quantizing a set of latents gives; `vectors` carries gradients back to the latents."""

    vectors: Float[Tensor, "... v"]
    indices: Int[Tensor, "..."]
    loss: Float[Tensor, ""]


class Quantizer(Protocol):
    """Maps latents to the nearest of `codes` vectors; the rows of `codebook` are those vectors."""

    @property
    def codebook(self) -> Float[Tensor, "k v"]: ...

    def __call__(self, latents: Float[Tensor, "... v"]) -> Quantized: ...


def build_quantizer(
    config: QuantizerConfig, *, codes: int, width: int, half: Literal["context", "dynamics"]
) -> "GradientQuantizer | EMAQuantizer | FiniteScalarQuantizer | SimQuantizer":
    """Returns the quantizer that `config` describes, with `codes` vectors of `width` values."""
    match config:
        case GradientVQ():
            return GradientQuantizer(config, codes=codes, width=width)
        case EMAVQ():
            return EMAQuantizer(config, codes=codes, width=width)
        case FSQ():
            levels = config.context_levels if half == "context" else config.dynamics_levels
            return FiniteScalarQuantizer(levels, width=width)
        case SimVQ():
            return SimQuantizer(config, codes=codes, width=width)


def nearest(latents: Float[Tensor, "... v"], codebook: Float[Tensor, "k v"]) -> Int[Tensor, "..."]:
    """Index of the code at the least Euclidean distance, always decided in at least fp32."""
    with torch.autocast(latents.device.type, enabled=False):
        rows = latents.detach().reshape(-1, latents.shape[-1])
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        return torch.cdist(rows, codebook.detach().to(rows.dtype)).argmin(dim=1).view(latents.shape[:-1])


def straight_through(latents: Float[Tensor, "... v"], vectors: Float[Tensor, "... v"]) -> Float[Tensor, "... v"]:
    """`vectors` in value, `latents` in gradient."""
    return latents + (vectors - latents).detach()


class GradientQuantizer(nn.Module):
    """Loss ||z_q - sg(z)||^2 + beta ||sg(z_q) - z||^2, in training and in evaluation alike.

    vector-quantize-pytorch has a gradient-trained codebook too, but its loss is one undetached term, half as large,
    and absent in evaluation; hence these few lines.
    """

    def __init__(self, config: GradientVQ, *, codes: int, width: int) -> None:
        super().__init__()
        self.beta = config.beta
        self.embedding = nn.Embedding(codes, width)
        nn.init.uniform_(self.embedding.weight, -1 / codes, 1 / codes)

    @property
    def codebook(self) -> Float[Tensor, "k v"]:
        return self.embedding.weight

    def forward(self, latents: Float[Tensor, "... v"]) -> Quantized:
        indices = nearest(latents, self.codebook)
        vectors = self.embedding(indices).to(latents.dtype)
        loss = F.mse_loss(vectors, latents.detach()) + self.beta * F.mse_loss(vectors.detach(), latents)
        return Quantized(vectors=straight_through(latents, vectors), indices=indices, loss=loss)


class EMAQuantizer(nn.Module):
    """Moving-average codebook with an unquantised warm-up, a k-means start and restarts of dead codes.

    In evaluation nothing changes. In training every call moves the codebook, except during the warm-up, when the
    vectors handed back are the latents themselves and the loss is zero.
    """

    calls: Tensor

    def __init__(self, config: EMAVQ, *, codes: int, width: int) -> None:
        import vector_quantize_pytorch as library

        super().__init__()
        self.config = config
        self.vq = library.VectorQuantize(
            width,
            codes,
            decay=config.decay,
            commitment_weight=config.beta,
            kmeans_init=True,
            kmeans_iters=config.kmeans_iterations,
            threshold_ema_dead_code=1,  # replaced by a share of the mean use at every call
            rotation_trick=False,
        )
        nn.init.uniform_(self.vq._codebook.embed, -1 / codes, 1 / codes)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    @property
    def codebook(self) -> Float[Tensor, "k v"]:
        codes: Tensor = self.vq.codebook
        return codes

    def forward(self, latents: Float[Tensor, "... v"]) -> Quantized:
        if not self.training:
            indices = nearest(latents, self.codebook)
            vectors = self.codebook[indices]
            loss = self.config.beta * F.mse_loss(vectors, latents)
            return Quantized(vectors=straight_through(latents, vectors), indices=indices, loss=loss)
        self.calls += 1
        if self.calls <= self.config.warmup_steps:
            indices = nearest(latents, self.codebook)
            return Quantized(vectors=latents, indices=indices, loss=latents.new_zeros(()))
        return self._quantize_and_update(latents)

    def _quantize_and_update(self, latents: Tensor) -> Quantized:
        rows = latents.reshape(1, -1, latents.shape[-1])
        codebook = self.vq._codebook
        # A use count per batch means little by itself: judge it, and restart it, relative to the mean use.
        codebook.reset_cluster_size = rows.shape[1] / codebook.codebook_size
        codebook.threshold_ema_dead_code = self.config.dead_code_threshold * codebook.reset_cluster_size
        codebook.has_dead_code_replacement = self.config.dead_code_threshold > 0
        self._follow_all_processes()
        with torch.autocast(latents.device.type, enabled=False):
            vectors, indices, loss = self.vq(rows.float())
        vectors = vectors.view(latents.shape).to(latents.dtype)
        return Quantized(vectors=vectors, indices=indices.view(latents.shape[:-1]), loss=loss.sum())

    def _follow_all_processes(self) -> None:
        """Where several processes train, the codebook follows the latents of all of them.

        The library can do this too, but only for a codebook that is made after the processes have met.
        """
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return
        from vector_quantize_pytorch.vector_quantize_pytorch import sample_vectors_distributed

        codebook = self.vq._codebook
        codebook.all_reduce_fn = codebook.kmeans_all_reduce_fn = dist.all_reduce
        codebook.sample_fn = codebook.replace_sample_fn = sample_vectors_distributed
        # Uses are counted over all processes.
        codebook.reset_cluster_size *= dist.get_world_size()
        codebook.threshold_ema_dead_code *= dist.get_world_size()


class FiniteScalarQuantizer(nn.Module):
    """Rounds a low-dimensional projection of the latents to a fixed grid."""

    def __init__(self, levels: tuple[int, ...], *, width: int) -> None:
        import vector_quantize_pytorch as library

        super().__init__()
        self.fsq = library.FSQ(list(levels), dim=width)

    @property
    def codebook(self) -> Float[Tensor, "k v"]:
        codes: Tensor = self.fsq.project_out(self.fsq.implicit_codebook)
        return codes

    def forward(self, latents: Float[Tensor, "... v"]) -> Quantized:
        rows = latents.reshape(1, -1, latents.shape[-1])
        vectors, indices = self.fsq(rows)
        return Quantized(
            vectors=vectors.view(latents.shape),
            indices=indices.view(latents.shape[:-1]).long(),
            loss=latents.new_zeros(()),
        )


class SimQuantizer(nn.Module):
    """Nearest vector of a frozen random codebook seen through a learned linear map."""

    def __init__(self, config: SimVQ, *, codes: int, width: int) -> None:
        import vector_quantize_pytorch as library

        super().__init__()
        self.vq = library.SimVQ(
            width,
            codes,
            rotation_trick=config.rotation_trick,
            input_to_quantize_commit_loss_weight=config.beta,
        )

    @property
    def codebook(self) -> Float[Tensor, "k v"]:
        codes: Tensor = self.vq.codebook
        return codes

    def forward(self, latents: Float[Tensor, "... v"]) -> Quantized:
        with torch.autocast(latents.device.type, enabled=False):
            vectors, indices, loss = self.vq(rearrange(latents.float(), "... v -> 1 (...) v"))
        return Quantized(
            vectors=vectors.view(latents.shape).to(latents.dtype), indices=indices.view(latents.shape[:-1]), loss=loss
        )
