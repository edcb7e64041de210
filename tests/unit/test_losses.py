"""Learned loss weights: where they settle, and what they are for."""

import math
from pathlib import Path

import pytest
import torch
from tiny_rollouts import actions_for, build, clip

from ivideo.embedding import EmbeddingConfig
from ivideo.episode import Batch
from ivideo.losses import HarmoniousWeights
from ivideo.training.optim import OptimizerConfig, build_optimizers


@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0, 50.0])
def test_scales_settle_where_the_objective_is_least(size: float) -> None:
    weights = HarmoniousWeights(["only"])
    adam = torch.optim.Adam(weights.parameters(), lr=0.02, betas=(0.9, 0.95))
    for _ in range(800):
        adam.zero_grad()
        weights({"only": torch.tensor(size)}).backward()
        adam.step()
    settled = (size + (size**2 + 4 * size) ** 0.5) / 2
    assert float(weights.sigmas()["only"]) == pytest.approx(settled, rel=0.02)


def test_all_losses_weigh_one_at_first() -> None:
    weights = HarmoniousWeights(["large", "small"])
    losses = {"large": torch.tensor(30.0, requires_grad=True), "small": torch.tensor(0.1, requires_grad=True)}
    total = weights(losses)
    assert float(total.detach()) == pytest.approx(30.1 + 2 * math.log(2))
    total.backward()
    assert [float(loss.grad) for loss in losses.values()] == [1.0, 1.0]


def test_a_small_loss_beside_a_large_one_falls_faster_than_with_fixed_weights() -> None:
    """Two regressions on one layer; one is a hundred times the other and mostly noise, as tokens are beside rewards."""

    def small_loss_after(harmonious: bool) -> float:
        torch.manual_seed(0)
        shared, large, small = torch.nn.Linear(8, 8), torch.nn.Linear(8, 4), torch.nn.Linear(8, 1)
        weights = HarmoniousWeights(["large", "small"])
        adam = torch.optim.Adam([p for part in (shared, large, small, weights) for p in part.parameters()], lr=0.02)
        for _ in range(300):
            inputs = torch.randn(16, 8)
            hidden = shared(inputs).tanh()
            losses = {
                "large": (large(hidden) - 10 * torch.randn(16, 4)).square().mean(),
                "small": (small(hidden)[:, 0] - inputs[:, 0]).square().mean(),
            }
            adam.zero_grad()
            (weights(losses) if harmonious else losses["large"] + losses["small"]).backward()
            adam.step()
        with torch.no_grad():
            inputs = torch.randn(1000, 8)
            return float((small(shared(inputs).tanh())[:, 0] - inputs[:, 0]).square().mean())

    assert small_loss_after(harmonious=True) < 0.7 * small_loss_after(harmonious=False)


def test_a_world_model_learns_its_scales_without_decay_and_is_saved_without_them(tmp_path: Path) -> None:
    plain = build(EmbeddingConfig(action_dim=2), heads=True)
    model = build(EmbeddingConfig(action_dim=2), heads=True, loss_weights="harmonious").train()
    batch = Batch(frames=clip(4), actions=actions_for(model, 3), rewards=torch.randn(2, 3), terminals=torch.zeros(2, 3))
    total, parts = model.loss(batch)
    assert {"sigma/cross_entropy", "sigma/reward", "sigma/termination"} <= parts.keys()
    per_frame = {name: float(parts[name]) for name in ("reward", "termination")}
    per_frame["cross_entropy"] = float(parts["cross_entropy"]) * model.layout.frame_length
    expected = sum(
        value / float(parts[f"sigma/{name}"]) + float(parts[f"sigma/{name}"].log1p())
        for name, value in per_frame.items()
    )
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    total.backward()
    assert all(scale.grad is not None for scale in model.harmony.parameters())
    (adamw,) = build_optimizers(model, OptimizerConfig(weight_decay=0.1))
    decays = {id(p): group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    assert {decays[id(scale)] for scale in model.harmony.parameters()} == {0.0}

    model.save_pretrained(tmp_path / "model")
    plain.save_pretrained(tmp_path / "plain")
    names = [sorted(path.name for path in (tmp_path / which).rglob("*")) for which in ("model", "plain")]
    assert names[0] == names[1]
    assert type(model).from_pretrained(tmp_path / "model").harmony is None
    assert "sigma/reward" not in model.eval().loss(batch)[1]
