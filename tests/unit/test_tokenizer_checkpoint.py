"""Tokenizers on disk: what is written comes back, and whatever does not fit is named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tokenizer import EMAVQ, FSQ, SimVQ, TokenizerConfig, VideoTokenizer
from tokenizer.checkpoint import (
    CONFIG_FILE,
    config_from_json,
    config_to_json,
    load_tokenizer,
    save_tokenizer,
)
from tokenizer.weights import WEIGHTS_FILE

SMALL = TokenizerConfig(
    resolution=16, channels=(8, 16), blocks_per_level=1, latent_channels=8, code_dim=4, context_codes=32,
    dynamics_codes=64, patch_size=2, max_attention_resolution=8, norm_groups=4,
)  # fmt: skip
EXTENDED = replace(
    SMALL, resolution=32, stem_stride=4, max_attention_resolution=4, mask_blend="decoded", mid_blocks=1, dropout=0.0,
    attention_heads=2, dynamics_mid_attention=False, code_dim=None, context_frames=1, quantizer=EMAVQ(decay=0.9),
)  # fmt: skip
CONFIGS = [
    SMALL,
    EXTENDED,
    replace(SMALL, quantizer=FSQ(context_levels=(4, 8), dynamics_levels=(4, 4, 4))),
    replace(SMALL, quantizer=SimVQ(beta=0.5)),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_tokenizer(VideoTokenizer(SMALL), tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / CONFIG_FILE
    document = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in document.items() if value != "absent"}))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config.quantizer).__name__)
def test_saving_loading_and_saving_gives_the_same_bytes(config: TokenizerConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(config).train()
    tokenizer(torch.zeros(1, 4, 3, config.resolution, config.resolution, dtype=torch.uint8))  # moves running averages
    save_tokenizer(tokenizer, tmp_path / "a")
    loaded = load_tokenizer(tmp_path / "a")
    assert loaded.config == config
    assert not loaded.training
    save_tokenizer(loaded, tmp_path / "b")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_keys_beyond_the_released_ones_appear_only_when_switched_on() -> None:
    plain, extended = config_to_json(SMALL), config_to_json(EXTENDED)
    assert extended.keys() - plain.keys() == {
        "attention_heads", "dropout", "dynamics_mid_attention", "mask_blend", "mid_blocks", "quantizer", "stem_stride",
    }  # fmt: skip
    assert plain["_class_name"] == "CompressiveVQModel"
    assert config_to_json(TokenizerConfig.ivideogpt_256())["block_out_channels"] == [128, 256, 256, 512, 768]


def test_a_published_configuration_is_understood() -> None:
    """The 256 px configuration as published: defaults left out, an early design's keys left in."""
    document = config_to_json(TokenizerConfig.ivideogpt_256())
    for key in ("resolution", "max_att_resolution", "patch_size"):
        del document[key]
    document |= {"_name_or_path": "somewhere", "vq_embed_dim": None, "dyn_dim": 256, "num_dyn_tokens": 8}
    assert config_from_json(document) == replace(TokenizerConfig.ivideogpt_256(), code_dim=None)


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(replace(SMALL, quantizer=EMAVQ()))
    save_tokenizer(tokenizer, tmp_path / "whole")
    save_tokenizer(tokenizer, tmp_path / "half", dtype=torch.float16)
    sizes = [(tmp_path / name / WEIGHTS_FILE).stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    stored = load_file(tmp_path / "half" / WEIGHTS_FILE)
    assert stored["quant_conv.weight"].dtype == torch.float16
    assert stored["quantize.calls"].dtype == torch.int64
    loaded = load_tokenizer(tmp_path / "half")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.quant_conv.weight, tokenizer.quant_conv.weight, atol=1e-3, rtol=1e-3)
    save_tokenizer(loaded, tmp_path / "again", dtype=torch.float16)
    assert (tmp_path / "again" / WEIGHTS_FILE).read_bytes() == (tmp_path / "half" / WEIGHTS_FILE).read_bytes()


def test_tensors_that_do_not_fit_are_all_named(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    del tensors["quant_conv.bias"]
    tensors["stranger"] = torch.zeros(2)
    tensors["quant_linear.weight"] = torch.zeros(4, 4)
    save_file(tensors, folder / WEIGHTS_FILE)
    with pytest.raises(ValueError, match=r"does not fit its config\.json") as caught:
        load_tokenizer(folder)
    assert "quant_conv.bias is missing" in str(caught.value)
    assert "stranger is unknown" in str(caught.value)
    assert "quant_linear.weight has shape (4, 4), expected (4, 32)" in str(caught.value)


def test_pickles_are_refused(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    torch.save({}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pickled weights only.*diffusion_pytorch_model\.bin.*can run code"):
        load_tokenizer(folder)


def test_files_that_are_absent_or_damaged_are_named(folder: Path) -> None:
    whole = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        load_tokenizer(folder)
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=f"{WEIGHTS_FILE} does not exist"):
        load_tokenizer(folder)
    (folder / CONFIG_FILE).write_text("{")
    with pytest.raises(ValueError, match="is not valid JSON"):
        load_tokenizer(folder)
    (folder / CONFIG_FILE).write_text("[]")
    with pytest.raises(ValueError, match="holds a list; expected a JSON object"):
        load_tokenizer(folder)
    (folder / CONFIG_FILE).unlink()
    with pytest.raises(FileNotFoundError, match="expected the folder of a saved tokenizer"):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context_lenght": 2}, "has keys that no tokenizer knows: context_lenght"),
        ({"block_out_channels": "absent"}, "has no key 'block_out_channels'"),
        ({"act_fn": "gelu"}, "sets act_fn to 'gelu'; only 'silu' is supported"),
        ({"up_block_types": ["AttnUpDecoderBlock2D"]}, "lists .* under up_block_types; only 'UpDecoderBlock2D'"),
        ({"quantizer": {"kind": "LFQ"}}, "'LFQ'} for a quantizer; expected a kind, one of GradientVQ, EMAVQ"),
        ({"quantizer": {"kind": "EMAVQ", "decai": 1}}, "gives EMAVQ unknown options: decai"),
        ({"patch_size": 3}, "patch_size 3 does not divide"),
    ],
)
def test_configurations_that_cannot_be_used_are_named(changes: dict[str, Any], message: str, folder: Path) -> None:
    edit_config(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load_tokenizer(folder)
