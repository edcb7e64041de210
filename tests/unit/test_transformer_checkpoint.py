import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from transformer import Transformer, TransformerConfig
from transformer.checkpoint import (
    llama_state_dict,
    load_llama_state_dict,
    load_transformer,
    read_config,
    read_tensors,
    save_transformer,
    write_tensors,
)

CONFIG = TransformerConfig(vocab_size=23, width=16, layers=2, heads=2, ffn_width=24, max_positions=32)


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(CONFIG).eval()


@pytest.fixture
def folder(model: Transformer, tmp_path: Path) -> Path:
    save_transformer(model, tmp_path / "model")
    return tmp_path / "model"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_save_load_save_is_byte_equal(model: Transformer, tmp_path: Path, dtype: torch.dtype | None) -> None:
    save_transformer(model, tmp_path / "first", dtype=dtype)
    save_transformer(load_transformer(tmp_path / "first"), tmp_path / "second", dtype=dtype)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert contents(tmp_path / "first").keys() == {"config.json", "model.safetensors"}


def test_a_loaded_model_computes_the_same(model: Transformer, folder: Path) -> None:
    loaded, ids = load_transformer(folder), torch.arange(12).view(2, 6)
    assert not loaded.training
    assert loaded.config == model.config
    assert torch.equal(loaded(loaded.embed(ids)), model(model.embed(ids)))


def test_storage_in_fewer_bits_is_read_back_as_float32(model: Transformer, tmp_path: Path) -> None:
    save_transformer(model, tmp_path, dtype=torch.float16)
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.float16}
    loaded = load_transformer(tmp_path)
    assert loaded.head.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.head.weight, model.head.weight, atol=1e-4, rtol=1e-3)


def test_a_value_too_large_for_the_storage_type_is_named_and_nothing_is_damaged(
    model: Transformer, folder: Path
) -> None:
    before = contents(folder)
    with torch.no_grad():
        model.head.weight[3, 3] = 1e5
    with pytest.raises(ValueError, match=r"lm_head\.weight holds 100000, too large for torch\.float16"):
        save_transformer(model, folder, dtype=torch.float16)
    assert contents(folder) == before


def test_a_failed_write_leaves_the_earlier_file_and_no_remains(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    before = contents(folder)
    monkeypatch.setattr("transformer.checkpoint.save_file", fail)
    with pytest.raises(OSError, match="no space"):
        write_tensors({"a": torch.zeros(1)}, folder)
    assert contents(folder) == before


def test_weights_are_as_readable_as_any_new_file(folder: Path) -> None:
    assert (folder / "model.safetensors").stat().st_mode == (folder / "config.json").stat().st_mode


def test_state_dict_shares_no_memory_with_the_model(model: Transformer) -> None:
    tensors = llama_state_dict(model)
    tensors["model.layers.0.self_attn.k_proj.weight"].zero_()
    assert model.blocks[0].get_submodule("attention.qkv").get_parameter("weight").all()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("model.layers.1.mlp.up_proj.weight", None, r"model\.layers\.1\.mlp\.up_proj\.weight is missing"),
        ("model.layers.2.mlp.up_proj.weight", (24, 16), r"model\.layers\.2\.mlp\.up_proj\.weight is not part"),
        ("lm_head.weight", (24, 16), r"lm_head\.weight is \[24, 16\] where \[23, 16\] is expected"),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_loaded(
    model: Transformer, name: str, shape: tuple[int, ...] | None, message: str
) -> None:
    before = llama_state_dict(model)
    tensors = {key: torch.zeros_like(tensor) for key, tensor in before.items()}
    if shape is None:
        del tensors[name]
    else:
        tensors[name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        load_llama_state_dict(model, tensors)
    assert all(torch.equal(tensor, before[key]) for key, tensor in llama_state_dict(model).items())


def test_many_faults_are_counted(model: Transformer) -> None:
    with pytest.raises(ValueError, match=r"embed_tokens.* is missing.*and 15 more"):
        load_llama_state_dict(model, {})


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt"])
def test_pickled_weights_are_refused_unopened(folder: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(ValueError, match=rf"pickled weights \({name}\), which are refused"):
        load_transformer(folder)


def test_a_pickle_under_the_right_name_is_refused_unopened(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(ValueError, match="no complete safetensors file"):
        load_transformer(folder)


@pytest.mark.parametrize("keep", [0, 7, 500, -1])
def test_a_truncated_file_is_refused(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="no complete safetensors file"):
        read_tensors(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_transformer(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "holds a list"),
        ("{}", "lacks vocab_size"),
        (json.dumps(CONFIG.to_llama() | {"tie_word_embeddings": True}), "tie_word_embeddings=True"),
    ],
)
def test_a_config_that_is_none_is_refused_with_its_path(folder: Path, text: str, message: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=rf"config\.json.*{message}"):
        read_config(folder)


def test_fields_can_be_replaced_while_loading(folder: Path) -> None:
    assert load_transformer(folder, attention_dropout=0.1, max_positions=8).config.max_positions == 8


class _Trap:
    """Fails the test that unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was opened",))
