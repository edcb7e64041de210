"""The packed linear layer gives what the plain one gives, and only where nothing is learned."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from transformer.linear import Linear


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(0)
    return Linear(512, 1024).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(512,), (0, 512), (1, 512), (3, 512), (2, 1, 512), (7, 5, 512), (4, 0, 512)])
@pytest.mark.parametrize(("start", "stop"), [(None, None), (8, 40), (640, None)])
def test_equals_the_plain_product(
    layer: Linear, shape: tuple[int, ...], start: int | None, stop: int | None, dtype: torch.dtype
) -> None:
    layer, x = layer.to(dtype), torch.randn(shape, dtype=dtype)
    with torch.no_grad():
        packed = layer(x, start, stop)
    assert layer._packed
    plain = F.linear(x, layer.weight[start:stop])
    torch.testing.assert_close(packed, plain, rtol=0, atol=1e-5 if dtype == torch.float32 else 2e-2)


@pytest.mark.parametrize(("inputs", "outputs", "rows"), [(128, 512, 32), (512, 512, 3)])
def test_small_weights_are_not_worth_a_copy(inputs: int, outputs: int, rows: int) -> None:
    layer, x = Linear(inputs, outputs).eval(), torch.randn(rows, inputs)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight), rtol=0, atol=0)
    assert not layer._packed


def test_gradients_flow(layer: Linear) -> None:
    layer(torch.ones(2, 512)).sum().backward()
    assert layer.weight.grad is not None
    assert not layer._packed


def test_strided_input(layer: Linear) -> None:
    x = torch.randn(512, 6).t()
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight), rtol=0, atol=1e-5)


def test_follows_its_weight(layer: Linear) -> None:
    x = torch.randn(5, 512)
    with torch.inference_mode():
        layer(x)
    with torch.no_grad():
        layer.weight.mul_(2)
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight), rtol=0, atol=1e-5)
        layer.load_state_dict(Linear(512, 1024).state_dict())
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight), rtol=0, atol=1e-5)
        layer.bfloat16().float()
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight), rtol=0, atol=1e-5)


def test_weights_made_in_inference_mode() -> None:
    with torch.inference_mode():
        layer, x = Linear(512, 1024).eval(), torch.randn(5, 512)
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight), rtol=0, atol=1e-5)
        layer.weight = torch.nn.Parameter(torch.randn(1024, 512))
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight), rtol=0, atol=2e-4)


def test_can_be_copied_and_pickled_after_use(layer: Linear) -> None:
    x = torch.randn(5, 512)
    with torch.no_grad():
        wanted = layer(x)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            torch.testing.assert_close(other(x), wanted)


def test_autocast_rules_where_it_is_on(layer: Linear) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(5, 512)).dtype == torch.bfloat16
    assert not layer._packed


def test_follows_an_optimizer_that_tells_nobody() -> None:
    layer, x = Linear(512, 1024).eval(), torch.randn(5, 512)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1.0, fused=True)  # leaves the weight's version as it was
    for _ in range(2):
        with torch.no_grad():
            torch.testing.assert_close(layer(x), F.linear(x, layer.weight), rtol=0, atol=1e-3)
        layer(x).sum().backward()
        optimizer.step()


def test_training_mode_keeps_nothing() -> None:
    layer, x = Linear(512, 1024).train(), torch.randn(5, 512)
    with torch.no_grad():
        layer(x)
    assert not layer._packed


@pytest.mark.parametrize("rows", [1, 5])
def test_a_weight_of_another_type_rounds_what_comes_in(layer: Linear, rows: int) -> None:
    x = torch.randn(rows, 512)
    with torch.no_grad():
        exact = layer(x)
        rounded = layer.bfloat16()(x)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < 0.02
