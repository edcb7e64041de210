"""Layers that compute in fewer bits give nearly what they give in full, and only where nothing is learned."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tokenizer import FrameCodes, TokenizerConfig, VideoTokenizer
from tokenizer.blocks import Projections
from tokenizer.convolution import Convolution
from tokenizer.reduced import Reducible, ReducibleConv2d, ReducibleLinear

pytestmark = pytest.mark.skipif(
    not (torch.cpu._is_vnni_supported() and torch.cpu._is_avx512_bf16_supported()),
    reason="this processor multiplies in neither bfloat16 nor int8; everything stays in float32 on it",
)


def direct(layer: Convolution, x: Tensor, *, doubled: bool = False) -> Tensor:
    x = F.interpolate(x, scale_factor=2.0, mode="nearest") if doubled else x
    return F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1).float()


@pytest.mark.parametrize(("dtype", "apart"), [(torch.bfloat16, 0.005), (torch.int8, 0.015)])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (32, 16)])
def test_fewer_bits_give_nearly_the_same(dtype: torch.dtype, apart: float, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer, x = Convolution(16, 24).eval(), torch.randn(3, 16, *size)
    strided, shortcut = ReducibleConv2d(16, 24, 3, stride=2).eval(), ReducibleConv2d(16, 24, 1).eval()
    with torch.no_grad():
        exact = [layer(x), layer.after_doubling(x), strided(x), shortcut(x)]
        for each in (layer, strided, shortcut):
            each.reduced = dtype
        rounded = [layer(x), layer.after_doubling(x), strided(x), shortcut(x)]
        for one, other in zip(exact, rounded, strict=True):
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            assert 0 < ((one - other).norm() / one.norm()).item() < apart


@pytest.mark.parametrize(("dtype", "apart"), [(torch.bfloat16, 0.005), (torch.int8, 0.015)])
def test_linear_layers_too(dtype: torch.dtype, apart: float) -> None:
    torch.manual_seed(0)
    layer, pair, x = ReducibleLinear(32, 24).eval(), Projections(32).eval(), torch.randn(2, 5, 32)
    x[0, 0] *= 1000  # a token of its own size
    with torch.no_grad():
        exact = [layer(x), pair.query(x), *pair.key_value(x)]
        layer.reduced = pair.reduced = dtype
        for _ in range(2):  # the second time from what was kept
            for one, other in zip(exact, [layer(x), pair.query(x), *pair.key_value(x)], strict=True):
                assert one.shape == other.shape
                distance = (one - other).norm(dim=-1) / one.norm(dim=-1)
                assert distance.min() > 0
                assert distance.max() < 2 * apart
        assert torch.equal(layer(x)[1], layer(x[1]))


def test_whole_numbers_are_exact_where_nothing_is_rounded() -> None:
    layer = Convolution(16, 24).eval()
    x = torch.randint(-127, 128, (2, 16, 6, 6)).float()
    x[:, 0, 0, 0] = 127
    layer.reduced = torch.int8
    with torch.no_grad():
        layer.weight.random_(-127, 128)
        layer.weight[:, 0, 1] = 127  # so that the filters of the doubled map have whole units too
        layer.weight[:, :, 1] = layer.weight[:, :, :, 1] = 0
        layer.weight[:, 0, 0, 0] = 127
        assert torch.equal(layer(x), direct(layer, x))
        assert torch.equal(layer.after_doubling(x), direct(layer, x, doubled=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
def test_in_fewer_bits_no_row_depends_on_another(dtype: torch.dtype) -> None:
    layer, x = (
        Convolution(64, 64).eval(),
        torch.randn(4, 64, 16, 16) * torch.tensor([1, 100, 0.01, 0])[:, None, None, None],
    )
    layer.reduced = dtype
    with torch.no_grad():
        for way in (layer.forward, layer.after_doubling):
            assert torch.equal(way(x)[2:3], way(x[2:3]))
            assert way(x)[3].std(dim=(1, 2)).max() < 1e-6  # zeros make no noise
        x[1, 0, 0, 0] = torch.nan
        assert layer(x)[1].isnan().any()
        assert layer(x)[[0, 2, 3]].isfinite().all()


def test_fewer_bits_are_for_evaluation_on_a_cpu_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Convolution(16, 16).eval(), torch.randn(1, 16, 8, 8)
    exact = layer(x)
    layer.reduced = torch.int8
    assert torch.equal(layer(x), exact)  # with gradients
    with torch.no_grad():
        assert not torch.equal(layer(x), exact)
        copied = copy.deepcopy(layer)
        assert torch.equal(copied(x), layer(x))
        assert torch.equal(layer.train()(x), exact)
        layer.eval()
        layer.weight.mul_(2)  # what was made of the old weight is made anew
        torch.testing.assert_close(layer(x), 2 * copied(x) - layer.bias[:, None, None])
        layer.bias.add_(1)
        torch.testing.assert_close(layer(x), 2 * copied(x) - (layer.bias - 2)[:, None, None])
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
        assert torch.equal(copied(x), exact)
        layer.direct = True
        torch.testing.assert_close(layer(x), direct(layer, x), rtol=0, atol=1e-5)


def test_a_tokenizer_reduces_all_its_parts_and_keeps_its_weights() -> None:
    torch.manual_seed(0)
    config = TokenizerConfig(
        resolution=32, channels=(16, 32), blocks_per_level=1, latent_channels=8, context_codes=16, dynamics_codes=16,
        context_frames=1, max_attention_resolution=16, attention_heads=2, norm_groups=8,
    )  # fmt: skip
    model = VideoTokenizer(config).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    clip = torch.randint(256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        codes = model.encode(clip)
        exact = model.decode(codes)
        for dtype in (torch.bfloat16, torch.int8):
            model.reduce(dtype)
            assert all(each.reduced == dtype for each in model.modules() if isinstance(each, Reducible))
            rounded = model.decode(codes)
            assert 0 < ((rounded - exact).norm() / exact.norm()).item() < 0.1
            assert (model.encode(clip).dynamics == codes.dynamics).float().mean() > 0.5
            alone = model.decode(FrameCodes(context=codes.context[1:], dynamics=codes.dynamics[1:]))
            torch.testing.assert_close(alone[0], rounded[1], rtol=0, atol=0.01)  # full layers round by batch
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
