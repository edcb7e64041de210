"""What a run does in trouble: signals at any moment, values that are not finite, a disk that is full, two writers."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ivideo.training import (
    DivergenceError,
    Evaluation,
    FitResult,
    LoopConfig,
    OptimizerConfig,
    RunConfig,
    RunFolder,
    checkpoints,
    fit,
)
from ivideo.training.updates import Logs, Updates


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


LOOP = LoopConfig(steps=12, batch_size=8, log_every=2, evaluate_every=4, checkpoint_every=5, accelerator="cpu")


class Model(nn.Module):
    """A linear map with a buffer that every batch moves, as a codebook is moved."""

    moved: Tensor

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.map = nn.Linear(width, 1)
        self.register_buffer("moved", torch.zeros(()))

    def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self.moved += batch.sum()
        error = (self.map(batch)[:, 0] - batch.sum(1)).square().mean()
        return error, {"error": error.detach()}


def batches(index: int) -> Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(index))


def train(
    folder: Path,
    *,
    source: Callable[[int], Tensor] = batches,
    model: Model | None = None,
    evaluate: Callable[[int], Evaluation] | None = None,
    samples: Callable[[int], list[str]] | None = None,
    **changes: object,
) -> FitResult:
    model = model or Model()
    with RunFolder(RunConfig(folder=folder, tensorboard=False), resume=True) as run:
        return fit(
            model,
            model.loss,
            source,
            loop=replace(LOOP, **changes),  # type: ignore[arg-type]
            optimizer=OptimizerConfig(lr=0.01),
            run=run,
            evaluate=evaluate,
            samples=samples,
        )


def weights(folder: Path, step: int = 12) -> bytes:
    return (folder / "checkpoints" / f"step-{step:08d}" / "model.safetensors").read_bytes()


# --------------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("moment", ["training", "waiting for data", "evaluating", "saving"])
def test_a_signal_at_any_moment_saves_and_says_which_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, number: signal.Signals
) -> None:
    def strike() -> None:
        os.kill(os.getpid(), number)

    class Struck(Model):
        def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            if moment == "training" and torch.equal(batch, batches(7)):
                strike()
            return super().loss(batch)

    def source(index: int) -> Tensor:
        if moment == "waiting for data" and index == 7:
            strike()
            time.sleep(60)
        return batches(index)

    def evaluate(step: int) -> Evaluation:
        if moment == "evaluating" and step == 8:
            strike()
            time.sleep(60)
        return Evaluation()

    write = checkpoints._write

    def struck_write(*arguments: object) -> None:
        if moment == "saving":
            strike()
        write(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_write", struck_write)
        result = train(tmp_path / "run", source=source, model=Struck(), evaluate=evaluate)
    steps = {"training": 8, "waiting for data": 7, "evaluating": 8, "saving": 5}
    assert (result.step, result.exit_code) == (steps[moment], 128 + number)
    found, warnings = checkpoints.newest(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert (found.step, warnings) == (steps[moment], [])
    assert train(tmp_path / "run").step == 12
    train(tmp_path / "whole")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


# ------------------------------------------------------------------------------------------------- values not finite


def poisoned(index: int) -> Tensor:
    batch = batches(index)
    if index == 7:
        batch[3, 1] = float("nan")
    return batch


def left_out(index: int) -> Tensor:
    """The batches without the one that is poisoned."""
    return batches(index + (index >= 7))


def test_a_report_names_what_was_in_the_batch(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError) as caught:
        train(tmp_path / "run", source=poisoned, samples=lambda index: [f"clip {index}-{row}" for row in range(8)])
    assert "at step 7 (batch 7): error, loss is NaN or infinite (samples 56 to 63: clip 7-0, clip 7-1," in str(
        caught.value
    )
    report = json.loads((tmp_path / "run" / "diverged" / "step-00000007.json").read_text())
    assert report["names"] == {"7": [f"clip 7-{row}" for row in range(8)]}
    assert report["not_finite"] == {"0": ["error", "loss"]}
    assert report["samples"] == {"7": [56, 63]}


@pytest.mark.parametrize("policy", ["skip", "rewind"])
def test_an_update_that_diverges_can_be_left_out(
    tmp_path: Path, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model, clean = Model(), Model()
    result = train(tmp_path / "run", source=poisoned, model=model, on_divergence=policy, evaluate_every=None)
    assert result.step == 12
    train(tmp_path / "clean", source=left_out, model=clean, steps=11, evaluate_every=None)
    for mine, theirs in zip(model.state_dict().values(), clean.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert ("Back at step 5" in capsys.readouterr().err) == (policy == "rewind")
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    found, _ = checkpoints.newest(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert found.state["left_out"] == [7]


def test_a_run_leaves_out_only_so_many_updates(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match=r"at step 9 .* 2 updates were left out before it"):
        train(
            tmp_path / "run",
            source=lambda index: batches(index) * (float("inf") if index >= 7 else 1.0),
            on_divergence="skip",
            max_divergences=2,
        )


def test_an_optimizer_that_remembers_nonsense_makes_no_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, model = Updates.make, Model()
    before: list[Tensor] = []

    def spoilt(self: Updates, first: Tensor, rate: float) -> list[Logs]:
        if self.state.step == 7:
            before.append(model.map.weight.detach().clone())
            self.state.optimizers[0].state[model.map.weight]["exp_avg"][0, 2] = float("inf")
        return make(self, first, rate)

    monkeypatch.setattr(Updates, "make", spoilt)
    with pytest.raises(DivergenceError, match=r"at step 7 .*the optimizer's exp_avg of map.weight"):
        train(tmp_path / "run", model=model)
    assert torch.equal(model.map.weight, before[0])


# --------------------------------------------------------------------------------------------------- strange states


@pytest.mark.parametrize("change", [{"seconds": []}, {"step": None}, {"random": 3}, {"random": [7]}])
def test_a_state_of_other_things_than_a_run_saves_is_refused_by_name(tmp_path: Path, change: dict[str, object]) -> None:
    train(tmp_path / "run", steps=5)
    folder = tmp_path / "run" / "checkpoints"
    found, _ = checkpoints.newest(folder)
    assert found is not None
    made = checkpoints.publish(folder, 6, found.tensors, {**found.state, **change}, keep=2)
    with pytest.raises(ValueError, match=rf"checkpoint {made} does not fit this run"):
        train(tmp_path / "run")


# ------------------------------------------------------------------------------------------------------- full disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "ivideo-test", str(place)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        made = False
    if not made:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, room: int) -> None:
    """Leave that many bytes free."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with filler.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, free - room))


def wide(index: int) -> Tensor:
    return torch.ones(1, 700_000)


def test_a_full_disk_loses_nothing_at_any_point_of_a_save(disk: Path) -> None:
    folder = disk / "run"
    changes = {"checkpoint_every": 1, "log_every": 1, "evaluate_every": None}
    train(folder, source=wide, model=Model(700_000), steps=1, **changes)
    size = sum(path.stat().st_size for path in (folder / "checkpoints").rglob("*"))
    failures, step = 0, 1
    for level in range(20):
        fill(disk, level * size // 18)
        try:
            step = train(folder, source=wide, model=Model(700_000), steps=step + 1, **changes).step
        except OSError as error:
            assert "No space left" in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            failures += 1
        found, warnings = checkpoints.newest(folder / "checkpoints")
        assert found is not None
        assert (found.step, warnings) == (step, [])
        assert [path.name for path in (folder / "checkpoints").iterdir() if path.name.startswith(".")] == []
    assert 15 <= failures < 20


def test_a_run_may_go_on_over_a_full_disk(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def source(index: int) -> Tensor:
        if index == 3:
            fill(disk, 0)
        return batches(index)

    train(disk / "run", steps=2)
    assert train(disk / "run", source=source, on_save_error="skip").step == 12
    assert "Training goes on, as loop.on_save_error says" in capsys.readouterr().err
    found, _ = checkpoints.newest(disk / "run" / "checkpoints")
    assert found is not None
    assert found.step == 2


# ------------------------------------------------------------------------------------------------------- two writers


def test_of_two_writers_one_wins_every_race(tmp_path: Path) -> None:
    races, starts, verdicts, children = 50, [], [], []
    for _ in range(2):
        (told, tell), (hear, say) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            for race in range(races):
                os.read(told, 1)  # the start
                try:
                    run = RunFolder(RunConfig(folder=tmp_path / str(race)), resume=True)
                except BlockingIOError:
                    os.write(say, b"l")
                    os.read(told, 1)
                else:
                    os.write(say, b"w")
                    os.read(told, 1)  # the end, once both have tried
                    run.close()
            os._exit(0)
        starts.append(tell)
        verdicts.append(hear)
        children.append(child)
    for race in range(races):
        for start in starts if race % 2 else reversed(starts):
            os.write(start, b"s")
        assert sorted(os.read(verdict, 1) for verdict in verdicts) == [b"l", b"w"]
        for start in starts:
            os.write(start, b"e")
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
