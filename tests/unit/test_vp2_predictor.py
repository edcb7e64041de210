"""VP2's call: two frames and 1 + 10 actions in, eleven frames out, channels last, in [0, 1]."""

from dataclasses import replace
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from tiny_rollouts import build

import ivideo
from ivideo.embedding import EmbeddingConfig
from ivideo.planning.vp2 import Predictor
from ivideo.world_model import WorldModel
from transformer import Transformer

ROWS, FRAMES = 5, 3


@pytest.fixture(scope="module")
def model() -> WorldModel:
    made = build(EmbeddingConfig(action_dim=2), full=False)
    made.config = replace(made.config, sampling=ivideo.Sampling(temperature=1.0))
    return made


def batch(rows: int = ROWS, frames: int = FRAMES, *, same: bool = True) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    video = rng.integers(256, size=(1 if same else rows, 2, 32, 32, 3)) / 255
    return {
        "video": np.tile(video, (rows if same else 1, 1, 1, 1, 1)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (rows, 1 + frames, 2)),
        "state_obs": [None, None],
    }


def test_frames_are_those_of_the_model(model: WorldModel) -> None:
    given = batch()
    predictor = Predictor(model, seed=7)
    found = predictor(given, grad_enabled=False)["rgb"]
    assert (found.shape, found.dtype) == ((ROWS, 1 + FRAMES, 32, 32, 3), np.float32)
    np.testing.assert_allclose(found[:, 0], given["video"][:, 1], atol=1e-6)
    assert 0 <= found.min() <= found.max() <= 1
    clip = torch.from_numpy((given["video"][0] * 255).round().astype(np.uint8)).permute(0, 3, 1, 2)
    for row in range(ROWS):
        # The action between the context frames is left out; that at t leads to frame t + 1.
        own = torch.from_numpy(given["actions"][row, 1:]).float()
        wanted = model.predict(clip, own, seed=7 + row)[0, 2:].permute(0, 2, 3, 1).numpy() / 255
        np.testing.assert_allclose(found[row, 1:], wanted, atol=1.01 / 255)


def test_what_vp2s_runner_asks_for(model: WorldModel) -> None:
    predictor = Predictor(model)
    assert (predictor.num_context, predictor.base_prediction_modality) == (2, "rgb")
    predictor.close()


def test_equal_contexts_are_read_once_and_others_each(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    read, extend = [], Transformer.extend

    def extended(self: Transformer, embedded: torch.Tensor, cache: Any, *counts: Any) -> Any:
        read.append(embedded.shape[0] * embedded.shape[1])
        return extend(self, embedded, cache, *counts)

    monkeypatch.setattr(Transformer, "extend", extended)
    predictor = Predictor(model)
    own = ROWS * (FRAMES * (model.layout.dynamics_tokens + 1) - 1)
    predictor(batch())
    assert sum(read) == model.layout.context_length + own
    read.clear()
    found = predictor(batch(same=False))["rgb"]
    assert sum(read) == ROWS * model.layout.context_length + own
    assert found.shape[0] == ROWS


def test_batches_of_any_size_give_the_same_and_calls_draw_anew(model: WorldModel) -> None:
    whole, cut = Predictor(model), Predictor(model, max_batch_size=2)
    first = whole(batch())["rgb"]
    np.testing.assert_allclose(cut(batch())["rgb"], first, atol=1.01 / 255)
    assert not np.array_equal(whole(batch())["rgb"], first)
    np.testing.assert_array_equal(Predictor(model)(batch())["rgb"], first)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"video": np.zeros((5, 3, 32, 32, 3))}, r"video has shape \[5, 3, 32, 32, 3\]; expected \[b, 2, 32, 32, 3\]"),
        ({"video": np.zeros((5, 2, 64, 64, 3))}, r"expected \[b, 2, 32, 32, 3\]"),
        ({"video": np.full((5, 2, 32, 32, 3), 200.0)}, r"from 200 to 200; expected floats in \[0, 1\]"),
        ({"actions": np.zeros((5, 11, 4))}, r"actions have shape \[5, 11, 4\]; expected \[5, 1 \+ horizon, 2\]"),
        ({"actions": np.zeros((4, 11, 2))}, r"actions have shape \[4, 11, 2\]; expected \[5"),
    ],
)
def test_other_batches_are_refused(model: WorldModel, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Predictor(model)(batch() | change)


def test_what_cannot_serve_is_refused(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="tokens are drawn, through which no gradients flow"):
        Predictor(model)(batch(), grad_enabled=True)
    with pytest.raises(ValueError, match="predicts rgb alone"):
        Predictor(model, planning_modalities=["rgb", "depth"])
    with pytest.raises(ValueError, match="a goal among them"):
        Predictor(build(EmbeddingConfig(action_dim=2), goal=True))
    with pytest.raises(FileNotFoundError, match="there is no model 'nothing'"):
        Predictor("nothing", device="cpu")
