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


@pytest.mark.parametrize(("start", "stop"), [(None, None), (8, 40), (640, None)])
@pytest.mark.parametrize("shape", [(512,), (0, 512), (1, 512), (7, 5, 512)])
def test_whole_numbers(layer: Linear, shape: tuple[int, ...], start: int | None, stop: int | None) -> None:
    x = torch.randn(shape)
    with torch.no_grad():
        exact = layer(x, start, stop)
        layer.quantize()
        rounded = layer(x, start, stop)
    assert rounded.dtype == torch.float32
    assert rounded.shape == exact.shape
    assert layer.weight.dtype == torch.int8
    if exact.numel():
        assert 0 < (rounded - exact).norm() / exact.norm() < 0.02


def test_whole_numbers_without_the_instructions_for_them(layer: Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(5, 512)
    with torch.no_grad():
        exact = layer(x)
        layer.quantize()
        fast = layer(x)
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
        plain = layer(x)
    assert 0 < (plain - exact).norm() / exact.norm() < 0.01
    torch.testing.assert_close(plain, fast, rtol=0, atol=0.05)


def test_rows_in_whole_numbers_do_not_depend_on_each_other(layer: Linear) -> None:
    x = torch.randn(9, 512) * torch.logspace(-3, 3, 9)[:, None]
    with torch.no_grad():
        layer.quantize()
        whole = layer(x)
        for row in range(9):
            torch.testing.assert_close(layer(x[row : row + 1])[0], whole[row], rtol=1e-6, atol=0)


def test_a_row_of_zeros_stays_zero(layer: Linear) -> None:
    with torch.no_grad():
        layer.weight[3] = 0
        layer.quantize()
        out = layer(torch.zeros(2, 512))
        assert torch.equal(out, torch.zeros(2, 1024))
        assert torch.equal(layer(torch.randn(2, 512))[:, 3], torch.zeros(2))
