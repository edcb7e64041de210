import importlib.machinery
import sys
import types
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from transformer import Transformer, TransformerConfig
from transformer.attention import _written_out_attention, sdpa_attention
from transformer.layers import RotaryTable, rotate

CONFIG = TransformerConfig(vocab_size=23, width=16, layers=2, heads=2, ffn_width=24, max_positions=32, init_std=0.3)


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(CONFIG).eval()


def embeddings(batch: int = 2, length: int = 9) -> Tensor:
    return torch.randn(batch, length, CONFIG.width, generator=torch.Generator().manual_seed(1))


def test_a_state_sees_its_own_token_and_those_before_it(model: Transformer) -> None:
    before = embeddings()
    after = before.clone()
    after[:, 5] += 1
    same = torch.isclose(model(before), model(after), atol=1e-6).all(dim=(0, 2))
    assert same.tolist() == [True] * 5 + [False] * 4


def test_positions_matter(model: Transformer) -> None:
    one = embeddings(length=1)
    hidden = model(torch.cat([embeddings(), one], dim=1))[:, -1]
    moved = model(torch.cat([embeddings().flip(1), one], dim=1))[:, -1]
    assert not torch.allclose(hidden, moved, atol=1e-3)


def test_rotary_scores_depend_on_distance_only() -> None:
    table = RotaryTable(32, 8, 100.0)
    query, key = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0)).unbind()
    scores = [
        float(rotate(query, *table(at, at + 1)) @ rotate(key, *table(at + shift, at + shift + 1)).T)
        for at, shift in ((0, 5), (7, 5), (20, 5), (7, 6))
    ]
    assert scores[1:3] == pytest.approx([scores[0]] * 2, abs=1e-4)
    assert scores[3] != pytest.approx(scores[0], abs=1e-3)


def test_rotary_table_keeps_float32_when_the_model_does_not(model: Transformer) -> None:
    table = model.rotary.table.clone()
    model.bfloat16()
    assert model.head.weight.dtype == torch.bfloat16
    assert torch.equal(model.rotary.table, table)
    assert "rotary.table" not in model.state_dict()


def test_a_model_built_without_memory_gets_its_table_with_its_memory() -> None:
    with torch.device("meta"):
        empty = Transformer(CONFIG)
    assert torch.equal(empty.to_empty(device="cpu").rotary.table, Transformer(CONFIG).rotary.table)


def test_logits_of_a_range_are_a_slice_of_all(model: Transformer) -> None:
    hidden = model(embeddings())
    torch.testing.assert_close(model.logits(hidden, 3, 11), model.logits(hidden)[..., 3:11])
    torch.testing.assert_close(model.logits(hidden[:, -1], 20), model.logits(hidden)[:, -1, 20:])


def test_every_parameter_is_trained(model: Transformer) -> None:
    ids = torch.arange(10)[None]
    model.logits(model(model.embed(ids))).logsumexp(-1).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_fresh_weights_have_the_standard_deviation_asked_for() -> None:
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(vocab_size=500, width=128, layers=1, heads=2, ffn_width=256, init_std=0.05))
    for name, parameter in model.named_parameters():
        if "norm" in name:
            assert (parameter == 1).all()
        else:
            assert parameter.std().item() == pytest.approx(0.05, rel=0.03), name


@pytest.mark.parametrize("length", [33, 40])
def test_too_long_a_sequence_is_refused_with_both_numbers(model: Transformer, length: int) -> None:
    with pytest.raises(ValueError, match=rf"{length} positions .* 32"):
        model(embeddings(length=length))


def test_extending_past_the_limit_is_refused_and_the_cache_stays_usable(model: Transformer) -> None:
    _, cache = model.extend(embeddings(length=30), model.empty_cache(2))
    with pytest.raises(ValueError, match=r"30 cached positions and 3 more .* 32"):
        model.extend(embeddings(length=3), cache)
    hidden, cache = model.extend(embeddings(length=2), cache)
    torch.testing.assert_close(hidden, model(torch.cat([embeddings(length=30), embeddings(length=2)], 1))[:, 30:])
    assert cache.length == 32


def test_a_batch_that_does_not_fit_the_cache_is_refused(model: Transformer) -> None:
    with pytest.raises(ValueError, match="2 sequences cannot extend a cache of 3"):
        model.extend(embeddings(), model.empty_cache(3))


def test_attention_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    model = Transformer(replace(CONFIG, attention_dropout=0.5))
    inputs = embeddings()
    assert not torch.equal(model(inputs), model(inputs))
    cached, _ = model.extend(inputs, model.empty_cache(2))  # a rollout from a model in training drops nothing
    model.eval()
    assert torch.equal(model(inputs), model(inputs))
    torch.testing.assert_close(cached, model(inputs))


@pytest.mark.parametrize("autocast", [False, True])
def test_cache_follows_the_precision_of_the_model(model: Transformer, autocast: bool) -> None:
    if not autocast:
        model.bfloat16()
    inputs = embeddings().to(model.head.weight.dtype)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        hidden, cache = model.extend(inputs[:, :6], model.empty_cache(2))
        later, _ = model.extend(inputs[:, 6:], cache)
        expected = model(inputs)
    assert cache.keys.dtype == torch.bfloat16
    torch.testing.assert_close(torch.cat([hidden, later], 1), expected, atol=0.06, rtol=0.06)


def test_attention_written_out_for_training_on_a_cpu_is_the_same() -> None:
    query, key, value = torch.randn(3, 2, 4, 7, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_written_out_attention(query, key, value), sdpa_attention(query, key, value, 0.0))


def test_flash_attention_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    with pytest.raises(ValueError, match="flash-attn package, which is not installed"):
        Transformer(replace(CONFIG, attention="flash"))


def test_flash_attention_is_called_in_its_own_layout(monkeypatch: pytest.MonkeyPatch, model: Transformer) -> None:
    # Shows the call alone: a stand-in with flash-attn's signature computes on the CPU; the real kernel is not run.
    def flash_attn_func(q: Tensor, k: Tensor, v: Tensor, dropout_p: float, causal: bool) -> Tensor:
        assert causal
        return sdpa_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), dropout_p).transpose(1, 2)

    module = types.ModuleType("flash_attn")
    module.__spec__ = importlib.machinery.ModuleSpec("flash_attn", None)
    module.flash_attn_func = flash_attn_func  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    flash = Transformer(replace(CONFIG, attention="flash")).eval()
    flash.load_state_dict(model.state_dict())
    torch.testing.assert_close(flash(embeddings()), model(embeddings()))


def test_a_long_limit_takes_memory_only_where_it_is_used() -> None:
    table = RotaryTable(10**12, 8, 10000.0)
    assert table.table.numel() < 10**5
    whole = RotaryTable(10_000, 8, 10000.0)
    with torch.inference_mode():
        grown = table(5000, 6000)
    expected = torch.outer(torch.arange(5000.0, 6000.0), 1 / 10000.0 ** (torch.arange(0, 8, 2) / 8))
    torch.testing.assert_close(grown, (expected.cos(), expected.sin()), rtol=0, atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(whole(0, 10), table(0, 10), strict=True))
    assert not table.table.is_inference()
