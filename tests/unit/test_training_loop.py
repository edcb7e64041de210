"""The loop: it learns, stops when it must, and a run in pieces is the run in one piece."""

import copy
import io
import json
import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ivideo.progress import Progress
from ivideo.training import (
    DivergenceError,
    Evaluation,
    FitResult,
    LoopConfig,
    OptimizerConfig,
    RunConfig,
    RunFolder,
    ScheduleConfig,
    checkpoints,
    fit,
    randomness,
)
from ivideo.training.feed import Feed


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "sync", lambda path: None)


LOOP = LoopConfig(steps=20, log_every=5, evaluate_every=10, checkpoint_every=5, accelerator="cpu")
OPTIMIZER = OptimizerConfig(
    lr=0.01, muon_lr=0.02, ema_decay=0.9, schedule=ScheduleConfig(shape="cosine", warmup_steps=3, decay_from=0.5)
)


class Model(nn.Module):
    """Small, but with dropout, a buffer that moves, and matrices for both optimizers."""

    moved: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inward = nn.Linear(4, 8)
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(8, 1)
        self.register_buffer("moved", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.moved += float(np.random.rand())  # noqa: NPY002  (the global state is the point)
        for block in self.blocks:
            x = self.dropout(block(torch.relu(self.inward(x))))
        out: Tensor = self.head(x)
        return out


def batches(index: int) -> Tensor:
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(index))


def loss_of(model: nn.Module) -> Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]:
    def loss(batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        error = (model(batch)[:, 0] - batch.sum(1)).square().mean()
        return error, {"error": error.detach()}

    return loss


def run_to(
    steps: int,
    folder: Path | None = None,
    *,
    resume: bool = False,
    loop: LoopConfig = LOOP,
    optimizer: OptimizerConfig = OPTIMIZER,
    source: Callable[[int], Tensor] = batches,
    evaluate: Callable[[int], Evaluation] | None = None,
    model: nn.Module | None = None,
) -> tuple[nn.Module, FitResult]:
    model = Model() if model is None else model
    run = None if folder is None else RunFolder(RunConfig(folder=folder, tensorboard=False), resume=resume)
    try:
        result = fit(
            model,
            loss_of(model),
            source,
            loop=replace(loop, steps=steps),
            optimizer=optimizer,
            run=run,
            evaluate=evaluate,
            export=lambda path: (path / "weights").write_text("exported") and None,
        )
    finally:
        if run is not None:
            run.close()
    return model, result


def checkpoint_bytes(folder: Path, step: int) -> dict[str, bytes]:
    path = folder / "checkpoints" / f"step-{step:08d}"
    state = json.loads((path / "state.json").read_text())
    state.pop("seconds")
    for states in state["random"]:
        del states["python"]  # beartype, which judges shapes in tests, draws from Python's generator
    tensors = {file.name: file.read_bytes() for file in path.glob("*.safetensors")}
    return tensors | {"state": json.dumps(state).encode()}


def metrics(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "minutes"} for line in lines]


def stopping_at(step: int) -> Callable[[int], Tensor]:
    """The batches, with a Ctrl-C while that of a step is fetched."""

    def source(index: int) -> Tensor:
        if index == step:
            os.kill(os.getpid(), signal.SIGINT)
        return batches(index)

    return source


def test_it_learns_and_writes_everything_down(tmp_path: Path) -> None:
    _, result = run_to(200, tmp_path / "run", loop=replace(LOOP, checkpoint_every=100))
    lines = metrics(tmp_path / "run")
    assert lines[-1]["error"] < 0.3 * lines[0]["error"]
    assert {"step", "loss", "error", "gradient_norm", "lr"} == lines[0].keys()
    assert (result.step, result.exit_code) == (200, 0)
    assert result.figures["error"] == lines[-1]["error"]
    assert (tmp_path / "run" / "model" / "weights").read_text() == "exported"
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())] == [
        "step-00000100",
        "step-00000200",
    ]


def test_a_run_resumed_twice_is_the_run_never_stopped(tmp_path: Path) -> None:
    loop = replace(LOOP, prefetch=False)
    run_to(20, tmp_path / "whole", loop=loop)
    _, first = run_to(20, tmp_path / "parts", loop=loop, source=stopping_at(7))
    _, second = run_to(20, tmp_path / "parts", loop=loop, source=stopping_at(13), resume=True)
    _, third = run_to(20, tmp_path / "parts", loop=loop, resume=True)
    assert [(leg.step, leg.exit_code) for leg in (first, second, third)] == [(7, 130), (13, 130), (20, 0)]
    assert checkpoint_bytes(tmp_path / "parts", 20) == checkpoint_bytes(tmp_path / "whole", 20)


def test_random_states_come_back_through_json() -> None:
    def draw() -> list[object]:
        drawn = [random.gauss(0, 1), float(np.random.standard_normal()), torch.rand(2).tolist()]  # noqa: NPY002
        return [*drawn, random.random(), float(np.random.rand())]  # noqa: NPY002

    random.gauss(0, 1), np.random.standard_normal()  # noqa: NPY002  (both keep a second number for later)
    states = json.loads(json.dumps(randomness.capture()))
    first = draw()
    randomness.restore(states)
    assert draw() == first
    with randomness.untouched():
        second = draw()
    assert draw() == second


def test_preparing_batches_ahead_changes_nothing() -> None:
    def batch(index: int) -> int:
        if index == 7:
            raise OSError("cannot read it")
        return index

    for ahead in (True, False):
        feed = Feed(batch, ahead=ahead, rank=1, world=2)
        assert [feed.get(index) for index in (0, 1, 2, 2, 0)] == [1, 3, 5, 5, 1]
        with pytest.raises(OSError, match="cannot read it"):
            feed.get(3)
        assert feed.get(4) == 9


def test_evaluation_sees_the_average_in_evaluation_mode_and_leaves_no_trace(tmp_path: Path) -> None:
    model = Model()
    seen = []

    def evaluate(step: int) -> Evaluation:
        assert not model.training
        assert not torch.is_grad_enabled()
        seen.append((step, model.head.bias.item()))
        torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
        return Evaluation(
            figures={"held_out/x": 1.5}, videos={"clips": torch.zeros(1, 2, 2, 3, 8, 8, dtype=torch.uint8)}
        )

    run_to(25, tmp_path / "looked", evaluate=evaluate, model=model)
    run_to(25, tmp_path / "blind")
    assert checkpoint_bytes(tmp_path / "looked", 25) == checkpoint_bytes(tmp_path / "blind", 25)
    assert [step for step, _ in seen] == [10, 20, 25]  # at the end in any case
    assert seen[-1][1] != model.head.bias.item()
    assert model.training
    assert len(list((tmp_path / "looked" / "media").iterdir())) == 6
    assert {"step": 25, "held_out/x": 1.5} in metrics(tmp_path / "looked")


def test_accumulated_batches_are_one_large_batch() -> None:
    plain = OptimizerConfig(lr=0.01)

    def double(index: int) -> Tensor:
        return torch.cat([batches(2 * index), batches(2 * index + 1)])

    torch.manual_seed(0)
    first = nn.Linear(4, 1)
    second = copy.deepcopy(first)
    run_to(10, optimizer=plain, source=double, model=first)
    run_to(10, loop=replace(LOOP, accumulate=2), optimizer=plain, model=second)
    for mine, theirs in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_divergence_stops_before_the_update_and_keeps_the_checkpoint(tmp_path: Path, where: str) -> None:
    model = Model()

    def poisoned(index: int) -> Tensor:
        return batches(index) * (float("nan") if where == "loss" and index == 7 else 1.0)

    if where == "gradient":
        updates = iter(range(100))
        model.head.weight.register_hook(lambda g: g * (float("inf") if next(updates) == 7 else 1.0))
    with pytest.raises(DivergenceError, match=r"diverged at step 7 \(batch 7\)") as caught:
        run_to(20, tmp_path / "run", source=poisoned, model=model)
    assert ("error, loss" if where == "loss" else "gradient of head.weight") in str(caught.value)
    assert "\n" not in str(caught.value)
    good, _ = run_to(20, source=stopping_at(7), loop=replace(LOOP, prefetch=False))
    for mine, theirs in zip(model.parameters(), good.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    (kept,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert kept.name == "step-00000005"
    _, result = run_to(20, tmp_path / "run", resume=True)
    assert result.step == 20


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_an_evaluation_breaks_it_off_and_saves(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    before = signal.getsignal(number)

    def evaluate(step: int) -> Evaluation:
        os.kill(os.getpid(), number)
        raise AssertionError("the evaluation went on after the signal")

    _, result = run_to(20, tmp_path / "run", evaluate=evaluate)
    assert (result.step, result.exit_code) == (10, code)
    assert (tmp_path / "run" / "checkpoints" / "step-00000010").is_dir()
    assert signal.getsignal(number) is before


def test_a_second_signal_is_not_caught(tmp_path: Path) -> None:
    handlers, before = [], signal.getsignal(signal.SIGINT)  # which is no default where the tests run in the background

    def evaluate(step: int) -> Evaluation:
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError

    class Watched(Model):
        def state_dict(self, *arguments: object, **options: object) -> dict[str, Tensor]:  # type: ignore[override]
            handlers.append(signal.getsignal(signal.SIGINT))  # while the checkpoint is being made
            return super().state_dict(*arguments, **options)  # type: ignore[call-overload,no-any-return]

    run_to(20, tmp_path / "run", evaluate=evaluate, model=Watched())
    assert handlers[-1] is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_may_be_bounded_by_time_alone() -> None:
    model = Model()
    loop = replace(LOOP, max_minutes=0.003, evaluate_every=None)
    result = fit(model, loss_of(model), batches, loop=replace(loop, steps=None), optimizer=OPTIMIZER)
    assert 0.003 <= result.minutes < 0.1
    assert result.step > 0
    assert result.figures["lr"] < 0.5 * OPTIMIZER.lr  # the schedule followed the clock to its end


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run_to(5, tmp_path / "run")
    with pytest.raises(ValueError, match="does not fit this run"):
        run_to(10, tmp_path / "run", resume=True, model=nn.Linear(4, 1))


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_to(20, tmp_path / "run")
    whole = checkpoint_bytes(tmp_path / "run", 20)
    newest = tmp_path / "run" / "checkpoints" / "step-00000020"
    (newest / "model.safetensors").write_bytes(b"")
    capsys.readouterr()
    run_to(20, tmp_path / "run", resume=True)
    shown = capsys.readouterr().err
    assert "step-00000020 is damaged (model.safetensors" in shown
    assert "resumed at step 15" in shown
    assert checkpoint_bytes(tmp_path / "run", 20) == whole


def test_bfloat16_trains_float32_weights() -> None:
    model, _ = run_to(5, loop=replace(LOOP, precision="bf16-mixed"))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"steps": None}, "neither steps nor max_minutes"), ({"batch_size": 0}, "batch_size is 0"),
     ({"max_minutes": -1.0}, "max_minutes is -1.0"), ({"evaluate_every": 0}, "evaluate_every is 0")],
)  # fmt: skip
def test_loops_that_cannot_run_are_refused(options: dict[str, float | None], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoopConfig(**options)  # type: ignore[arg-type]


def test_a_plain_stream_gets_plain_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(second) for second in range(100))
    monkeypatch.setattr("ivideo.progress.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    with Progress(steps=1000, headline=("loss", "psnr", "absent"), stream=stream) as progress:
        progress.note({"loss": 1.23456, "psnr": 23.456})
        for step in range(1, 31):
            progress.update(step, float(step))
        progress.update(31, 75.0, last=True)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4, lines
    assert lines[0] == "step 9/1,000  loss 1.2346  psnr 23.46  1.0 steps/s  ETA 16:31"
    assert lines[-1].endswith("took 1:15")
