"""Who updates which parameter, at what rate, and what the running average is."""

import math

import pytest
import torch
from torch import nn

from ivideo.training.optim import (
    OptimizerConfig,
    ScheduleConfig,
    WeightAverage,
    build_optimizers,
    load_optimizer_tensors,
    optimizer_tensors,
    set_rates,
)


class Model(nn.Module):
    """Every kind of parameter there is."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.inward = nn.Linear(4, 6)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6)) for _ in range(2))
        self.conv = nn.Conv2d(2, 2, 3)
        self.positions = nn.Parameter(torch.zeros(5, 6))
        self.head = nn.Linear(6, 7, bias=False)
        self.frozen = nn.Linear(6, 6).requires_grad_(False)


def names_of(model: nn.Module, group: dict[str, object]) -> set[str]:
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    parameters = group["params"]
    assert isinstance(parameters, list)
    return {by_id[id(parameter)] for parameter in parameters}


def test_muon_takes_the_matrices_of_blocks_and_adamw_the_rest() -> None:
    model = Model()
    adamw, muon = build_optimizers(model, OptimizerConfig(weight_decay=0.1, muon_lr=0.02))
    decayed, others = adamw.param_groups
    assert isinstance(muon, torch.optim.Muon)
    assert names_of(model, muon.param_groups[0]) == {"blocks.0.0.weight", "blocks.1.0.weight"}
    assert names_of(model, decayed) == {"inward.weight", "conv.weight", "head.weight"}
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    everything = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert names_of(model, others) == everything - names_of(model, decayed) - names_of(model, muon.param_groups[0])
    assert "frozen.weight" not in everything
    assert {"embedding.weight", "positions", "blocks.0.1.weight", "inward.bias"} <= names_of(model, others)


def test_without_muon_there_is_adamw_alone() -> None:
    (adamw,) = build_optimizers(Model(), OptimizerConfig())
    assert isinstance(adamw, torch.optim.AdamW)


def test_a_frozen_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameter is trainable"):
        build_optimizers(Model().requires_grad_(False), OptimizerConfig())


@pytest.mark.parametrize(
    ("schedule", "points"),
    [
        (ScheduleConfig(), {0.0: 1.0, 1.0: 1.0}),
        (ScheduleConfig(shape="cosine"), {0.0: 1.0, 0.5: 0.5, 1.0: 0.0}),
        (ScheduleConfig(shape="linear", final=0.2), {0.0: 1.0, 0.5: 0.6, 1.0: 0.2}),
        (ScheduleConfig(shape="linear", decay_from=0.4), {0.2: 1.0, 0.4: 1.0, 0.7: 0.5, 1.0: 0.0, 1.1: 0.0}),
        (ScheduleConfig(shape="cosine", decay_from=0.5), {0.5: 1.0, 0.75: 0.5, 1.0: 0.0}),
    ],
)
def test_the_rate_over_a_run(schedule: ScheduleConfig, points: dict[float, float]) -> None:
    for fraction, factor in points.items():
        assert schedule.factor(10**6, fraction) == pytest.approx(factor, abs=1e-12)


def test_the_rate_warms_up_by_steps() -> None:
    schedule = ScheduleConfig(shape="cosine", warmup_steps=4)
    assert [schedule.factor(step, 0.0) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule.factor(1, 0.5) == pytest.approx(0.25)


def test_each_optimizer_keeps_its_own_peak() -> None:
    optimizers = build_optimizers(Model(), OptimizerConfig(lr=2e-3, muon_lr=0.02))
    for factor in (0.5, 0.25):
        set_rates(optimizers, factor)
        rates = {group["lr"] for optimizer in optimizers for group in optimizer.param_groups}
        assert rates == {2e-3 * factor, 0.02 * factor}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptimizerConfig(lr=0.0), "lr is 0.0"),
        (lambda: OptimizerConfig(lr=math.nan), "lr is nan"),
        (lambda: OptimizerConfig(betas=(0.9, 1.0)), "betas"),
        (lambda: OptimizerConfig(ema_decay=1.0), "ema_decay is 1.0"),
        (lambda: ScheduleConfig(decay_from=1.0), "decay_from is 1.0"),
        (lambda: ScheduleConfig(warmup_steps=-1), "warmup_steps is -1"),
    ],
)
def test_values_out_of_range_are_named(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()


def train(model: nn.Module, optimizers: list[torch.optim.Optimizer], steps: int) -> None:
    for step in range(steps):
        torch.manual_seed(step)
        sum(parameter.mul(torch.randn_like(parameter)).sum() for parameter in model.parameters()).backward()  # type: ignore[union-attr]
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def test_optimizers_go_on_from_their_tensors_as_if_never_interrupted() -> None:
    config = OptimizerConfig(lr=0.01, muon_lr=0.02, weight_decay=0.1)
    torch.manual_seed(0)
    whole, broken = Model(), Model()
    broken.load_state_dict(whole.state_dict())
    optimizers, first = build_optimizers(whole, config), build_optimizers(broken, config)
    train(whole, optimizers, 3)
    train(broken, first, 3)
    second = build_optimizers(broken, config)
    load_optimizer_tensors(second, broken, optimizer_tensors(first, broken))
    train(whole, optimizers, 3)
    train(broken, second, 3)
    for mine, theirs in zip(whole.parameters(), broken.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_optimizer_tensors_of_another_model_are_refused() -> None:
    model = nn.Linear(2, 2)
    (optimizer,) = build_optimizers(model, OptimizerConfig())
    with pytest.raises(ValueError, match=r"other\.weight"):
        load_optimizer_tensors([optimizer], model, {"other.weight::exp_avg": torch.zeros(2, 2)})


def test_the_average_lags_behind_the_weights_and_steps_in_for_them() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = WeightAverage(model, 0.5)
    model.weight.data.fill_(1.0)
    for _ in range(20):
        average.update()
    model.weight.data.fill_(3.0)
    average.update()
    with average.in_place_of_weights():
        assert model.weight.item() == pytest.approx(2.0, abs=1e-4)
    assert model.weight.item() == 3.0


def test_the_average_forgets_the_initial_weights_at_once() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = WeightAverage(model, 0.999)
    model.weight.data.fill_(1.0)
    for _ in range(20):
        average.update()
    with average.in_place_of_weights():
        assert model.weight.item() > 0.99
