"""Quantizers: the released semantics by hand, and what every way of learning a codebook has in common."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from tokenizer import EMAVQ, FSQ, GradientVQ, SimVQ
from tokenizer.quantize import EMAQuantizer, GradientQuantizer, QuantizerConfig, build_quantizer, nearest

CODES, WIDTH = 64, 3
KINDS = [GradientVQ(), EMAVQ(warmup_steps=0), FSQ(context_levels=(4, 4, 4)), SimVQ(), SimVQ(rotation_trick=False)]


def build(config: QuantizerConfig, half: Literal["context", "dynamics"] = "context") -> nn.Module:
    torch.manual_seed(0)
    return build_quantizer(config, codes=CODES, width=WIDTH, half=half)


def latents(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("config", KINDS, ids=repr)
@pytest.mark.parametrize("training", [False, True])
def test_vectors_are_rows_of_the_codebook(config: QuantizerConfig, training: bool) -> None:
    quantizer = build(config).train(training)
    z = latents(2, 5, 7)
    quantizer(latents(CODES))  # what a codebook does the first time is done
    before = quantizer.codebook.detach().clone()
    quantized = quantizer(z)
    assert quantized.indices.shape == (2, 5, 7)
    assert quantized.indices.dtype == torch.long
    torch.testing.assert_close(quantized.vectors, before[quantized.indices], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("config", KINDS, ids=repr)
def test_gradients_reach_the_latents(config: QuantizerConfig) -> None:
    z = latents(40).requires_grad_()
    build(config).train()(z).vectors.sum().backward()
    assert z.grad is not None
    assert z.grad.any()


@pytest.mark.parametrize("config", KINDS, ids=repr)
def test_half_precision_latents_are_quantized(config: QuantizerConfig) -> None:
    quantizer = build(config).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quantized = quantizer(latents(4, 9).bfloat16())
    assert quantized.vectors.shape == (4, 9, WIDTH)
    assert torch.isfinite(quantized.loss)


def test_nearest_is_nearest() -> None:
    z, codebook = latents(50), latents(CODES, seed=2)
    distances = (z[:, None] - codebook[None]).square().sum(dim=-1)
    assert torch.equal(nearest(z, codebook), distances.argmin(dim=1))


@pytest.mark.parametrize("beta", [1.0, 0.25])
@pytest.mark.parametrize("training", [False, True])
def test_the_released_loss_and_its_gradients(beta: float, training: bool) -> None:
    quantizer = GradientQuantizer(GradientVQ(beta=beta), codes=CODES, width=WIDTH).train(training)
    assert quantizer.codebook.abs().max() <= 1 / CODES
    z = latents(20).requires_grad_()
    quantized = quantizer(z)
    chosen = quantizer.codebook[quantized.indices].detach()
    gap = (chosen - z).detach()
    assert quantized.loss.item() == pytest.approx((1 + beta) * gap.square().mean().item())
    quantized.loss.backward()
    assert z.grad is not None
    torch.testing.assert_close(z.grad, -2 * beta * gap / z.numel())
    pull = torch.zeros(CODES, WIDTH).index_add_(0, quantized.indices, 2 * gap / z.numel())
    torch.testing.assert_close(quantizer.embedding.weight.grad, pull)


def test_straight_through_passes_the_gradient_unchanged() -> None:
    z = latents(6).requires_grad_()
    slope = latents(6, seed=3)
    (build(GradientVQ())(z).vectors * slope).sum().backward()
    torch.testing.assert_close(z.grad, slope)


def test_a_moving_average_codebook_first_watches_then_starts_on_its_latents() -> None:
    quantizer = build(EMAVQ(warmup_steps=2)).train()
    z = latents(4 * CODES) + 5
    untouched = quantizer.codebook.clone()
    for _ in range(2):
        quantized = quantizer(z)
        assert torch.equal(quantized.vectors, z)
        assert quantized.loss == 0
        assert torch.equal(quantizer.codebook, untouched)
    error = (quantizer(z).vectors - z).square().mean()
    assert error < 0.2 * z.var()  # k-means has placed the codes among the latents


def test_a_moving_average_codebook_follows_its_latents() -> None:
    quantizer = build(EMAVQ(decay=0.9, warmup_steps=0)).train()
    z = 10 * latents(CODES)  # as many latents as codes, far apart: every latent has its own code
    indices = quantizer(z).indices
    torch.testing.assert_close(quantizer.codebook[indices], z)
    quantizer(z + 0.1)
    torch.testing.assert_close(quantizer.codebook[indices], z + 0.01)


def test_evaluation_leaves_a_moving_average_codebook_alone() -> None:
    quantizer = build(EMAVQ(warmup_steps=0)).eval()
    before = {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}
    quantizer(latents(CODES))
    assert all(torch.equal(tensor, before[name]) for name, tensor in quantizer.state_dict().items())


@pytest.mark.parametrize(("threshold", "revived"), [(0.05, True), (0.0, False)])
def test_dead_codes_are_restarted_on_live_latents(threshold: float, revived: bool) -> None:
    quantizer = EMAQuantizer(EMAVQ(warmup_steps=0, dead_code_threshold=threshold), codes=CODES, width=WIDTH).train()
    z = latents(8 * CODES)
    quantizer(z)
    with torch.no_grad():
        quantizer.vq._codebook.embed[:, 0] = 1000.0  # nothing is ever near this code again
        quantizer.vq._codebook.embed_avg[:, 0] = 1000.0
        quantizer.vq._codebook.cluster_size[:, 0] = 1e-3
    quantizer(z)
    assert bool((quantizer.codebook[0].abs() < 10).all()) is revived


def test_few_latents_do_not_kill_a_large_codebook() -> None:
    quantizer = build(EMAVQ(warmup_steps=0)).train()
    for seed in range(5):
        quantizer(latents(8, seed=seed))
    before = quantizer.codebook.clone()
    quantizer(latents(8, seed=9))
    moved = (quantizer.codebook - before).abs().amax(dim=1) > 0.5
    assert moved.float().mean() < 0.25  # a code unused in one small batch keeps its place


def test_grids_of_the_two_halves_differ() -> None:
    config = FSQ(context_levels=(4, 4), dynamics_levels=(8, 8))
    assert build(config, "context").codebook.shape == (16, WIDTH)
    assert build(config, "dynamics").codebook.shape == (64, WIDTH)
    assert build(config)(latents(10)).loss == 0
