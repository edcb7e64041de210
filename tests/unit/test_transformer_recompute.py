"""Blocks that are computed twice compute the same, dropout included."""

from dataclasses import replace

import pytest
import torch
from tiny import TINY_TRANSFORMER

from transformer import Transformer


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_outputs_and_gradients_are_the_same_when_blocks_are_recomputed(dropout: float) -> None:
    config = replace(TINY_TRANSFORMER, layers=3, attention_dropout=dropout)
    plain, sparing = Transformer(config), Transformer(replace(config, recompute=True))
    sparing.load_state_dict(plain.state_dict())
    results = []
    for model in (plain.train(), sparing.train()):
        torch.manual_seed(0)
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        model.blocks[1].register_forward_pre_hook(count)
        embeddings = torch.randn(2, 9, config.width, requires_grad=True)
        hidden = model(embeddings)
        hidden.square().sum().backward()
        results.append([hidden, embeddings.grad, *(weight.grad for weight in model.blocks.parameters())])
        assert calls == (2 if model is sparing else 1)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*results, strict=True))
