import json
from typing import Any

import pytest
import torch

from transformer import Transformer, TransformerConfig

LLAMA = TransformerConfig(vocab_size=50, width=32, layers=2, heads=4, ffn_width=48, max_positions=64).to_llama()


@pytest.mark.parametrize(
    ("config", "parameters"),
    [(TransformerConfig.small(), 138_434_304), (TransformerConfig.medium(), 436_261_888)],
)
def test_presets_have_the_published_number_of_parameters(config: TransformerConfig, parameters: int) -> None:
    with torch.device("meta"):
        model = Transformer(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_presets_take_changes() -> None:
    config = TransformerConfig.medium(vocab_size=130, layers=2)
    assert (config.vocab_size, config.layers, config.width) == (130, 2, 1024)


def test_llama_config_round_trips_through_json() -> None:
    config = TransformerConfig(
        vocab_size=51,
        width=24,
        layers=3,
        heads=2,
        ffn_width=40,
        max_positions=77,
        rope_theta=500.0,
        norm_eps=1e-5,
        init_std=0.1,
        attention_dropout=0.2,
    )
    assert TransformerConfig.from_llama(json.loads(json.dumps(config.to_llama()))) == config


def test_llama_config_never_stops_generation_at_a_code() -> None:
    assert LLAMA["bos_token_id"] is None
    assert LLAMA["eos_token_id"] is None


@pytest.mark.parametrize(
    ("spelling", "theta"),
    [
        ({"rope_theta": 123.0}, 123.0),
        ({"rope_theta": 123.0, "rope_scaling": None}, 123.0),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 123.0}}, 123.0),
        ({}, 10000.0),
    ],
)
def test_rotary_base_is_read_from_old_and_new_files(spelling: dict[str, Any], theta: float) -> None:
    plain = {key: value for key, value in LLAMA.items() if not key.startswith("rope")}
    assert TransformerConfig.from_llama(plain | spelling).rope_theta == theta


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tie_word_embeddings": True}, "tie_word_embeddings=True"),
        ({"num_key_value_heads": 2}, "num_key_value_heads=2"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type='linear'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0}}, "rope_type='llama3'"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"mlp_bias": True}, "mlp_bias=True"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"model_type": "mistral"}, "model_type='mistral'"),
        ({"head_dim": 16}, "head_dim=16"),
        ({"hidden_size": None}, "lacks hidden_size"),
    ],
)
def test_what_the_architecture_has_not_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    llama = LLAMA | ({"rope_parameters": None} if "rope_scaling" in change else {}) | change
    with pytest.raises(ValueError, match=named):
        TransformerConfig.from_llama(llama)


def test_scaling_beside_new_style_rope_parameters_is_refused_too() -> None:
    with pytest.raises(ValueError, match="rope_type='linear'"):
        TransformerConfig.from_llama(LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.0}})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"layers": 0}, "layers=0"),
        ({"width": 36, "heads": 4}, "width=36"),
        ({"attention_dropout": 1.0}, r"attention_dropout=1\.0"),
        ({"rope_theta": 0.0}, r"rope_theta=0\.0"),
    ],
)
def test_impossible_fields_are_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TransformerConfig(**fields)
