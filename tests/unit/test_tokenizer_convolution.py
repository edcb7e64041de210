"""The fast 3x3 convolution gives what the direct one gives, and only where nothing is learned."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tokenizer import winograd
from tokenizer.convolution import Convolution


def direct(layer: Convolution, x: Tensor, *, doubled: bool = False) -> Tensor:
    x = x.double()
    x = F.interpolate(x, scale_factor=2.0, mode="nearest") if doubled else x
    assert layer.bias is not None
    return F.conv2d(x, layer.weight.double(), layer.bias.double(), padding=1)


@pytest.mark.parametrize("size", [(16, 16), (16, 32), (64, 4), (8, 132)])
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [64, 256])  # without and with packed products
def test_both_kinds_equal_the_direct_convolution(
    size: tuple[int, int], batch: int, memory_format: torch.memory_format, channels: int
) -> None:
    torch.manual_seed(0)
    layer, x = Convolution(channels, 72), torch.randn(batch, channels, *size).to(memory_format=memory_format)
    weight = layer.weight.detach()
    for kind, doubled in ((winograd.plain(), False), (winograd.doubling(), True)):
        fast = winograd.convolve(x, winograd.packed(kind.weight(weight)), layer.bias, kind)
        torch.testing.assert_close(fast.double(), direct(layer, x, doubled=doubled), rtol=0, atol=6e-5)


def test_a_filter_without_bias() -> None:
    x, weight = torch.randn(1, 3, 8, 8), torch.randn(5, 3, 3, 3)
    fast = winograd.convolve(x, winograd.packed(winograd.plain().weight(weight)), None, winograd.plain())
    torch.testing.assert_close(fast, F.conv2d(x, weight, padding=1), rtol=0, atol=1e-4)


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names what is convolved the fast way."""
    calls: list[str] = []
    convolve = winograd.convolve

    def recorded(x: Tensor, weight: tuple[Tensor, ...], bias: Tensor | None, transforms: winograd.Transforms) -> Tensor:
        calls.append("plain" if transforms is winograd.plain() else "doubling")
        return convolve(x, weight, bias, transforms)

    monkeypatch.setattr(winograd, "convolve", recorded)
    return calls


def test_layer_is_fast_where_nothing_is_learned(evaluated: list[str]) -> None:
    layer, x = Convolution(64, 64).eval(), torch.randn(1, 64, 16, 16)
    with torch.no_grad():
        plain, doubled = layer(x), layer.after_doubling(x)
    assert evaluated == ["plain", "doubling"]
    torch.testing.assert_close(plain.double(), direct(layer, x), rtol=0, atol=3e-5)
    torch.testing.assert_close(doubled.double(), direct(layer, x, doubled=True), rtol=0, atol=3e-5)


def test_layer_is_direct_where_that_is_faster_or_needed(evaluated: list[str]) -> None:
    layer = Convolution(64, 64).eval()
    assert layer(torch.randn(1, 64, 16, 16)).requires_grad
    assert layer.after_doubling(torch.randn(1, 64, 8, 8)).requires_grad
    with torch.no_grad():
        layer(torch.randn(1, 64, 8, 8))  # few windows
        layer(torch.randn(1, 64, 18, 18))  # no whole windows
        Convolution(8, 8).eval()(torch.randn(1, 8, 16, 16))  # few channels
        with torch.autocast("cpu", torch.bfloat16):
            layer(torch.randn(1, 64, 16, 16))
        layer.bfloat16()(torch.randn(1, 64, 16, 16, dtype=torch.bfloat16))
    assert evaluated == []


def test_layer_follows_its_weight() -> None:
    layer, x = Convolution(64, 64).eval(), torch.randn(1, 64, 16, 16)
    with torch.no_grad():
        layer(x)
        layer.weight.mul_(2)
        torch.testing.assert_close(layer(x).double(), direct(layer, x), rtol=0, atol=6e-5)
        layer.load_state_dict(Convolution(64, 64).state_dict())
        torch.testing.assert_close(layer(x).double(), direct(layer, x), rtol=0, atol=3e-5)
        other = copy.deepcopy(layer)
        other.weight.zero_()
        assert layer(x).abs().max() > 0.1
        torch.testing.assert_close(other(x).double(), direct(other, x), rtol=0, atol=1e-6)


def test_follows_an_optimizer_that_tells_nobody() -> None:
    layer, x = Convolution(64, 64).eval(), torch.randn(1, 64, 16, 16)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1.0, fused=True)  # leaves the weight's version as it was
    for _ in range(2):
        with torch.no_grad():
            torch.testing.assert_close(layer(x).double(), direct(layer, x), rtol=0, atol=2e-3)
        layer(x).sum().backward()
        optimizer.step()


def test_training_mode_keeps_nothing() -> None:
    layer, x = Convolution(64, 64).train(), torch.randn(1, 64, 16, 16)
    with torch.no_grad():
        layer(x)
    assert not layer._kept
