"""Shapes of a tokenizer: the released ones exactly, and a remedy for every combination that cannot be."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
import torch

from tokenizer import FSQ, TokenizerConfig, TokenizerLossConfig, VideoTokenizer
from tokenizer.adversarial import AdversarialConfig

RELEASED = TokenizerConfig.ivideogpt_64()

# Digests of "name [shape]" lines, sorted, of every tensor in the published 64 px and 256 px checkpoints.
NAMES_64 = "b0460117ced4bd77712d90eefa2d821beffd615c9a677ebf0e08a1c131c50985"
NAMES_256 = "568c929405222cfc37e4ee4a38266ccbd9dc0a29ccbd9d0167d88bedaad2c038"


@pytest.mark.parametrize(
    ("config", "parameters", "tensors", "digest"),
    [
        (TokenizerConfig.ivideogpt_64(), 114_159_174, 420, NAMES_64),
        (TokenizerConfig.ivideogpt_256(), 310_472_774, 624, NAMES_256),
    ],
)
def test_presets_have_the_published_tensors(
    config: TokenizerConfig, parameters: int, tensors: int, digest: str
) -> None:
    with torch.device("meta"):
        tokenizer = VideoTokenizer(config)
    assert sum(p.numel() for p in tokenizer.parameters()) == parameters
    lines = sorted(f"{name} {list(tensor.shape)}" for name, tensor in tokenizer.state_dict().items())
    assert len(lines) == tensors
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == digest


@pytest.mark.parametrize("config", [TokenizerConfig.ivideogpt_64(), TokenizerConfig.ivideogpt_256()])
def test_presets_have_the_published_token_counts(config: TokenizerConfig) -> None:
    assert (config.context_grid, config.dynamics_grid) == (16, 4)
    assert (config.context_tokens, config.dynamics_tokens) == (256, 16)


def test_a_patch_stem_divides_the_grid() -> None:
    config = TokenizerConfig(stem_stride=4, channels=(32, 64), patch_size=2)
    assert config.level_sides == (8, 8)
    assert (config.context_tokens, config.dynamics_tokens) == (64, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 62}, "resolution 62 is not a multiple of 4"),
        ({"patch_size": 3}, "patch_size 3 does not divide the context grid of 16; choose a divisor"),
        ({"max_attention_resolution": 8}, "below the context grid of 16.*raise it to 16"),
        ({"channels": (128, 256, 500)}, "holds 500"),
        ({"channels": ()}, "channels is empty"),
        ({"norm_groups": 48}, "norm_groups 48"),
        ({"attention_heads": 3}, "attention_heads 3"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"context_frames": 0}, "context_frames is 0; expected at least 1"),
        ({"code_dim": 0}, "code_dim is 0"),
        ({"mid_blocks": -1}, "mid_blocks is -1"),
        ({"max_attention_resolution": -1}, "max_attention_resolution is -1; expected 0 or more"),
        ({"max_attention_resolution": 0, "mask_blend": "decoded"}, "leave one of the two out"),
        (
            {"quantizer": FSQ(context_levels=(8, 8, 8))},
            "make 512 codes but context_codes is 8192; set context_codes=512",
        ),
    ],
)
def test_impossible_shapes_are_refused_with_a_remedy(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(RELEASED, **change)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"l1": -1.0}, "l1 is -1.0; expected 0 or more"),
        ({"adversarial": AdversarialConfig()}, "set lpips above 0"),
    ],
)
def test_impossible_losses_are_refused_with_a_remedy(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenizerLossConfig(**values)


def test_impossible_discriminators_are_refused() -> None:
    with pytest.raises(ValueError, match="adversarial layers is 0; expected at least 1"):
        AdversarialConfig(layers=0)
