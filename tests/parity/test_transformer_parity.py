"""The transformer computes what the released reference and Hugging Face's Llama compute.

`data/tiny64` holds a small random checkpoint in the released layout and an excerpt of the reference's outputs on it.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from transformer import Sampling, Transformer, TransformerConfig, choose
from transformer.checkpoint import llama_state_dict, load_transformer, save_transformer

DATA = Path(__file__).parent / "data" / "tiny64"
GREEDY = Sampling(temperature=0.0)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(DATA / "io.safetensors")


@pytest.fixture
def model() -> Transformer:
    return load_transformer(DATA / "transformer")


def test_states_and_logits(model: Transformer, golden: dict[str, Tensor]) -> None:
    at = golden["logit_positions"]
    with torch.no_grad():
        hidden = model(model.embed(golden["tok.ids"]))
        logits = model.logits(hidden)
    torch.testing.assert_close(hidden[:1, at], golden["af.hidden"], atol=1e-4, rtol=0)
    torch.testing.assert_close(logits[:, at], golden["af.logits"], atol=1e-4, rtol=0)


def test_loss_and_gradient_norms(model: Transformer, golden: dict[str, Tensor]) -> None:
    logits = model.logits(model(model.embed(golden["tok.ids"])))
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), golden["tok.labels"][:, 1:].flatten(), ignore_index=-100)
    assert loss.item() == pytest.approx(golden["af.loss"].item(), rel=1e-5)
    loss.backward()
    with torch.no_grad():  # the gradients take the weights' place, so that they are cut up and named like them
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.copy_(parameter.grad)
    norms = {name: gradient.norm().item() for name, gradient in llama_state_dict(model).items()}
    expected = json.loads((DATA / "meta.json").read_text())["af_grad_norm"]
    assert norms == pytest.approx(expected, rel=1e-3)


def test_greedy_generation_through_the_cache(model: Transformer, golden: dict[str, Tensor]) -> None:
    expected, prefix = golden["af.greedy"], golden["ro.init_tokens"].shape[1]
    ids, uniform = [golden["tok.ids"][:, :prefix]], torch.zeros(len(expected))
    cache = model.empty_cache(len(expected), expected.shape[1])
    while cache.length + ids[-1].shape[1] < expected.shape[1]:
        hidden, cache = model.extend(model.embed(ids[-1]), cache)
        ids.append(choose(model.logits(hidden[:, -1]), GREEDY, uniform)[:, None])
    assert torch.equal(torch.cat(ids, dim=1), expected)


def test_saving_the_released_checkpoint_gives_its_bytes_back(model: Transformer, tmp_path: Path) -> None:
    save_transformer(model, tmp_path)
    released = DATA / "transformer" / "model.safetensors"
    assert (tmp_path / "model.safetensors").read_bytes() == released.read_bytes()


@pytest.fixture(scope="module")
def hugging_face() -> Any:
    return importlib.import_module("transformers")  # takes a second, so only where it is needed


CONFIG = TransformerConfig(
    vocab_size=50, width=32, layers=2, heads=4, ffn_width=48, max_positions=64, rope_theta=500.0, init_std=0.1
)
IDS = torch.arange(48).view(2, 24)


@torch.no_grad()
def test_hugging_face_loads_what_is_saved(hugging_face: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = Transformer(CONFIG).eval()
    save_transformer(ours, tmp_path)
    theirs, report = hugging_face.LlamaForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    torch.testing.assert_close(ours.logits(ours(ours.embed(IDS))), theirs(IDS).logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_what_hugging_face_saves_is_loaded(hugging_face: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    llama = hugging_face.LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        initializer_range=0.1,
    )
    theirs = hugging_face.LlamaForCausalLM(llama).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_transformer(tmp_path / "theirs")
    assert ours.config == CONFIG
    torch.testing.assert_close(ours.logits(ours(ours.embed(IDS))), theirs(IDS).logits, atol=1e-5, rtol=0)
    save_transformer(ours, tmp_path / "ours")
    files = [tmp_path / name / "model.safetensors" for name in ("theirs", "ours")]
    assert files[0].read_bytes() == files[1].read_bytes()
