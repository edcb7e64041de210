"""The tokenizer's losses by hand, its logs, and the discriminator's turn."""

import math
import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokenizer import EMAVQ, FrameCodes, TokenizerConfig, TokenizerLoss, TokenizerLossConfig, TokenizerOutput, losses
from tokenizer.adversarial import AdversarialConfig, adaptive_weight, discriminator_loss
from tokenizer.losses import CodebookMeter, changed
from tokenizer.model import VideoTokenizer

CONFIG = TokenizerConfig(
    resolution=16, channels=(8, 16), blocks_per_level=1, latent_channels=8, code_dim=4, context_codes=32,
    dynamics_codes=64, patch_size=2, context_frames=2, max_attention_resolution=8, attention_heads=2, norm_groups=4,
    dropout=0.0,
)  # fmt: skip


def noise(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def frames() -> Tensor:
    return (noise(2, 5, 3, 16, 16, seed=0) * 256).byte()


@pytest.fixture
def output() -> TokenizerOutput:
    return TokenizerOutput(
        context=noise(2, 2, 3, 16, 16, seed=1),
        frames=noise(2, 3, 3, 16, 16, seed=2),
        codes=FrameCodes(context=torch.zeros(2, 2, 64).long(), dynamics=torch.arange(16).expand(2, 3, 16)),
        context_vq_loss=torch.tensor(0.5),
        dynamics_vq_loss=torch.tensor(0.25),
    )


@pytest.fixture
def tokenizer() -> VideoTokenizer:
    torch.manual_seed(0)
    return VideoTokenizer(CONFIG)


def test_every_term_is_what_its_field_says(tokenizer: VideoTokenizer, frames: Tensor, output: TokenizerOutput) -> None:
    config = TokenizerLossConfig(l1=2.0, mse=10.0, changed_weight=3.0, vq=0.5)
    loss, logs = TokenizerLoss(config).generator_loss(tokenizer, frames, output)
    context, later = (frames.float() / 255).split([2, 3], dim=1)
    mask = (later - context[:, 1:]).abs().amax(dim=2, keepdim=True) > config.changed_threshold
    weighted = ((1 + 3.0 * mask) * (output.frames - later).square()).mean()
    expected = 2 * (F.l1_loss(output.context, context) + F.l1_loss(output.frames, later))
    expected += 10 * (F.mse_loss(output.context, context) + weighted) + 0.5 * (0.5 + 0.25)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert logs["loss"].item() == loss.item()
    mse = F.mse_loss(output.frames, later).item()
    assert logs["dynamics/psnr"].item() == pytest.approx(-10 * math.log10(mse), rel=1e-4)
    assert logs["context/usage"].item() == pytest.approx(1 / 32)
    assert logs["context/perplexity"].item() == pytest.approx(1)
    assert logs["dynamics/usage"].item() == pytest.approx(16 / 64)
    assert logs["dynamics/perplexity"].item() == pytest.approx(16)


def test_a_term_of_weight_zero_is_left_out(tokenizer: VideoTokenizer, frames: Tensor, output: TokenizerOutput) -> None:
    _, logs = TokenizerLoss().generator_loss(tokenizer, frames, output)
    assert {"context/l1", "dynamics/l1", "context/vq", "dynamics/vq"} <= logs.keys()
    assert not {"context/mse", "dynamics/mse", "dynamics/changed", "dynamics/lpips", "adversarial"} & logs.keys()


def test_changed_pixels_are_those_of_any_channel() -> None:
    last = torch.full((1, 3, 2, 2), 0.5)
    later = last[:, None].clone()
    later[0, 0, 1, 0, 1] += 0.1
    later[0, 0, 2, 1, 1] += 0.01
    assert torch.equal(changed(later, last, 0.05)[0, 0, 0], torch.tensor([[0.0, 1.0], [0.0, 0.0]]))


def test_the_meter_forgets_codes_that_are_no_longer_used() -> None:
    meter = CodebookMeter(decay=0.5)
    everything, one = torch.arange(8), torch.zeros(8, dtype=torch.long)
    figures = meter(everything, 8)
    assert (figures["usage"].item(), figures["perplexity"].item()) == (1, pytest.approx(8))
    for _ in range(20):
        figures = meter(one, 8)
    assert figures["usage"].item() == pytest.approx(1 / 8)
    assert figures["perplexity"].item() == pytest.approx(1, abs=1e-3)
    assert not meter.state_dict()


@pytest.mark.parametrize("quantizer", [CONFIG.quantizer, EMAVQ(warmup_steps=3)], ids=repr)
def test_training_lowers_the_loss(quantizer: object, frames: Tensor) -> None:
    torch.manual_seed(0)
    tokenizer, criterion = VideoTokenizer(replace(CONFIG, quantizer=quantizer)), TokenizerLoss()
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=3e-3)
    history = []
    for _ in range(25):
        loss, logs = criterion(tokenizer, frames)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(logs["dynamics/l1"].item())
    assert history[-1] < 0.9 * history[0]


def test_losses_are_exact_under_mixed_precision(tokenizer: VideoTokenizer, frames: Tensor) -> None:
    tokenizer.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = tokenizer(frames)
        loss, logs = TokenizerLoss().generator_loss(tokenizer, frames, output)
    assert output.frames.dtype == torch.bfloat16
    assert logs["dynamics/l1"].dtype == torch.float32
    expected = F.l1_loss(output.frames.float(), frames[:, 2:] / 255)
    assert logs["dynamics/l1"].item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()


def test_the_hinge_is_satisfied_beyond_one() -> None:
    real, made = torch.tensor([2.0, 1.0]), torch.tensor([-1.0, -3.0])
    assert discriminator_loss(real, made) == 0
    assert discriminator_loss(torch.zeros(2), torch.zeros(2)) == 1


def test_the_adaptive_weight_is_a_ratio_of_gradient_norms() -> None:
    layer = torch.ones(4, requires_grad=True)
    assert adaptive_weight((3 * layer).sum(), (0.5 * layer).sum(), layer).item() == pytest.approx(6)
    assert adaptive_weight((3 * layer).sum(), (0 * layer).sum(), layer).item() == 1e4


class Blur(nn.Module):
    """Stands in for LPIPS."""

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        return F.mse_loss(F.avg_pool2d(made, 4), F.avg_pool2d(real, 4))


@pytest.fixture
def criterion(monkeypatch: pytest.MonkeyPatch) -> TokenizerLoss:
    """A loss with stand-ins for the weights of LPIPS and for taming-transformers."""
    model = ModuleType("taming.modules.discriminator.model")
    model.NLayerDiscriminator = lambda input_nc, ndf, n_layers: nn.Conv2d(input_nc, 1, 4, stride=2)  # type: ignore[attr-defined]
    model.weights_init = lambda module: None  # type: ignore[attr-defined]
    for name in ("taming", "taming.modules", "taming.modules.discriminator"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, model.__name__, model)
    monkeypatch.setattr(losses, "load_lpips", lambda backbone, heads: Blur())
    torch.manual_seed(0)
    return TokenizerLoss(TokenizerLossConfig(lpips=1.0, adversarial=AdversarialConfig(start_step=5)))


def test_the_discriminator_joins_at_its_step(
    criterion: TokenizerLoss, tokenizer: VideoTokenizer, frames: Tensor
) -> None:
    output = tokenizer(frames)
    loss, logs = criterion.generator_loss(tokenizer, frames, output, step=4)
    assert "adversarial" not in logs
    assert criterion.discriminator_loss(frames, output, step=4)[0] == 0
    judged, logs = criterion.generator_loss(tokenizer, frames, output, step=5)
    assert judged.item() == pytest.approx((loss + logs["adversarial"]).item())
    with pytest.raises(ValueError, match="pass the training step"):
        criterion(tokenizer, frames)


def test_the_adversarial_gradient_has_its_share(
    criterion: TokenizerLoss, tokenizer: VideoTokenizer, frames: Tensor
) -> None:
    output, layer = tokenizer(frames), tokenizer.cond_decoder.conv_out.weight
    made = torch.cat([output.context, output.frames], dim=1)
    assert criterion.discriminator is not None
    raw = -criterion.discriminator(2 * made.flatten(0, 1) - 1).mean()
    _, logs = criterion.generator_loss(tokenizer, frames, output, step=5)
    blur = Blur()(output.frames.flatten(0, 1), frames[:, 2:].flatten(0, 1) / 255)
    norms = [torch.autograd.grad(term, layer, retain_graph=True)[0].norm() for term in (blur, raw)]
    assert logs["adversarial"].item() == pytest.approx((0.8 * norms[0] / norms[1] * raw).item(), rel=1e-4)


def test_each_turn_trains_its_own_network(criterion: TokenizerLoss, tokenizer: VideoTokenizer, frames: Tensor) -> None:
    assert criterion.discriminator is not None
    output = tokenizer(frames)
    loss, logs = criterion.discriminator_loss(frames, output, step=5)
    loss.backward()
    assert all(p.grad is None for p in tokenizer.parameters())
    assert all(p.grad is not None and p.grad.any() for p in criterion.discriminator.parameters())
    assert logs.keys() == {"discriminator/loss", "discriminator/real", "discriminator/made"}


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("taming", "taming.modules.discriminator.model"):  # the latter where another test has imported it
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(losses, "load_lpips", lambda backbone, heads: Blur())
    with pytest.raises(ValueError, match="pip install --no-deps taming-transformers"):
        TokenizerLoss(TokenizerLossConfig(lpips=1.0, adversarial=AdversarialConfig()))


def test_the_patch_discriminator_of_taming(monkeypatch: pytest.MonkeyPatch, frames: Tensor) -> None:
    pytest.importorskip("taming.modules.discriminator.model", reason="the taming extra is not installed")
    monkeypatch.setattr(losses, "load_lpips", lambda backbone, heads: Blur())
    criterion = TokenizerLoss(TokenizerLossConfig(lpips=1.0, adversarial=AdversarialConfig(layers=1)))
    assert criterion.discriminator is not None
    verdicts = criterion.discriminator(frames.flatten(0, 1) / 127.5 - 1)
    assert verdicts.shape[:2] == (10, 1)
    assert verdicts.shape[2] > 1
