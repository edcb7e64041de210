"""Several processes train what one would, and a run that loses one of them ends, says so, and can go on."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
CASES = [
    "single", "ddp", "fsdp", "single accumulated", "ddp accumulated", "fsdp accumulated", "ddp bf16", "fsdp bf16",
    "unbroken", "first leg", "second leg", "three cannot share", "third leg", "asked to stop", "diverged", "skipped",
    "single mixed", "fsdp mixed", "spoilt", "full", "no data", "timed", "killed", "first killed", "frozen", "follow",
    "follow alone", "slurm",
]  # fmt: skip


@contextmanager
def machines(name: str) -> Iterator[bool]:
    """Two network namespaces joined by a wire; False where this machine lets nobody make them."""
    commands = [f"netns add {name}0", f"netns add {name}1"]
    commands += [f"link add {name}w0 netns {name}0 type veth peer name {name}w1 netns {name}1"]
    for rank in (0, 1):
        inside = f"-n {name}{rank}"
        commands += [f"{inside} addr add 10.97.53.{rank + 1}/24 dev {name}w{rank}"]
        commands += [f"{inside} link set {name}w{rank} up", f"{inside} link set lo up"]
    made = shutil.which("ip") is not None and all(
        subprocess.run(["ip", *command.split()], capture_output=True, check=False).returncode == 0
        for command in commands
    )
    try:
        yield made
    finally:
        if shutil.which("ip") is not None:
            for rank in (0, 1):
                subprocess.run(["ip", "netns", "del", f"{name}{rank}"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all cases have run."""
    folder, name = tmp_path_factory.mktemp("processes"), f"iv{os.getpid() % 100000}"
    with machines(name) as made:
        subprocess.run(
            [sys.executable, str(Path(__file__).with_name("processes.py")), str(folder), *CASES]
            + (["two machines"] if made else []),
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MACHINES": name},
            timeout=1200,
            capture_output=True,
        )
    return folder


def told(ran: Path, case: str, rank: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ran / f"{case}.{rank}.json").read_text())
    return found


def ended(ran: Path, case: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((ran / f"{case}.json").read_text())
    return found


def losses(ran: Path, run: str) -> list[float]:
    return [json.loads(line)["loss"] for line in (ran / run / "metrics.jsonl").read_text().splitlines()]


def saved(ran: Path, run: str, step: int) -> dict[str, torch.Tensor]:
    folder = ran / run / "checkpoints" / f"step-{step:08d}"
    return {
        f"{file.stem} {name}": tensor
        for file in folder.glob("*.safetensors")
        for name, tensor in load_file(file).items()
    }


def assert_same_run(ran: Path, mine: str, theirs: str, step: int, tolerance: float) -> None:
    assert losses(ran, mine) == pytest.approx(losses(ran, theirs), rel=tolerance)
    first, second = saved(ran, mine, step), saved(ran, theirs, step)
    assert first.keys() == second.keys()
    assert any(name.startswith("average ") for name in first)
    for name, tensor in first.items():
        if "exp_avg" not in name:  # AdamW divides by them: a weight is the same long before they are
            torch.testing.assert_close(tensor, second[name], rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize(
    ("mine", "theirs", "tolerance"),
    [
        ("ddp", "single", 1e-6),
        ("fsdp", "single", 1e-6),
        ("ddp accumulated", "single accumulated", 1e-6),
        ("fsdp accumulated", "single accumulated", 1e-6),
        ("fsdp mixed", "single mixed", 1e-6),
        ("fsdp bf16", "ddp bf16", 1e-4),
    ],
)
def test_several_processes_make_the_run_that_one_makes(ran: Path, mine: str, theirs: str, tolerance: float) -> None:
    assert_same_run(ran, mine, theirs, 6, tolerance)


def test_models_of_sharded_weights_are_exported_whole(ran: Path) -> None:
    mine, theirs = (load_file(ran / run / "model" / "transformer" / "model.safetensors") for run in ("fsdp", "single"))
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_more_or_fewer_processes_go_on_with_the_same_run(ran: Path) -> None:
    together: list[int] = []
    for leg, world in (("first leg", 2), ("second leg", 1), ("third leg", 2)):
        shares = [told(ran, leg, rank)["batches"] for rank in range(world)]
        together += [index for step in zip(*shares, strict=True) for index in step]
    assert together == told(ran, "unbroken")["batches"] == list(range(18))
    assert_same_run(ran, "legs", "unbroken", 9, 1e-5)


def test_processes_that_cannot_share_an_update_are_refused(ran: Path) -> None:
    assert (
        "3 processes cannot share evenly; resume it with 1 or 2 processes"
        in told(ran, "three cannot share", 2)["message"]
    )


def test_a_signal_to_one_process_stops_all_at_the_same_step(ran: Path) -> None:
    first, second = told(ran, "asked to stop", 0), told(ran, "asked to stop", 1)
    assert first["step"] == second["step"] == 3
    assert (first["exit"], second["exit"]) == (143, 0)  # the first one speaks for all
    assert (ran / "asked to stop" / "checkpoints" / "step-00000003").is_dir()


def test_a_loss_that_is_not_finite_in_one_process_stops_all_before_the_update(ran: Path) -> None:
    for rank in (0, 1):
        found = told(ran, "diverged", rank)
        assert found["error"] == "DivergenceError"
        assert (
            "at step 3 (batch 7): error, loss is NaN or infinite in process 1 of 2 (samples 14 to 15)"
            in found["message"]
        )
    assert json.loads((ran / "diverged" / "diverged" / "step-00000003.json").read_text())["batches"] == [7]
    assert told(ran, "skipped", 0)["step"] == told(ran, "skipped", 1)["step"] == 6


@pytest.mark.parametrize(
    ("step", "rank", "what"), [(1, 0, "reward"), (2, 1, "reward"), (4, 0, "action"), (6, 1, "action")]
)
def test_a_target_or_an_action_that_is_not_finite_is_found_at_its_step_in_its_process(
    ran: Path, step: int, rank: int, what: str
) -> None:
    report = json.loads((ran / "spoilt" / "diverged" / f"step-{step:08d}.json").read_text())
    number = 2 * step + rank
    figures = "loss, reward is" if what == "reward" else "cross_entropy, loss, reward is"
    assert f"at step {step} (batch {number}): {figures}" in report["message"]
    assert f"in process {rank} of 2 (samples {2 * number} to {2 * number + 1}: clip {number}-0" in report["message"]
    for process in (0, 1):
        began = told(ran, "spoilt", process)["began"]
        assert began[step] == began[step + 1]
        assert len({*began}) == len(began) - 4  # every other update was made
        assert all(map(math.isfinite, began))


def test_a_failed_save_or_a_lost_clip_of_one_process_is_the_end_of_all(ran: Path) -> None:
    assert "No space left on device" in told(ran, "full", 0)["message"]
    assert "clip 5 cannot be read" in told(ran, "no data", 1)["message"]
    for case, rank, culprit in (("full", 1, 0), ("no data", 0, 1)):
        assert f"ends with process {culprit}" in told(ran, case, rank)["message"]
        assert [ended(ran, case)[str(number)]["code"] for number in (0, 1)] == [2, 2]


def test_all_processes_agree_on_the_time(ran: Path) -> None:
    assert told(ran, "timed", 0)["step"] == told(ran, "timed", 1)["step"] > 0
    assert told(ran, "timed", 0)["minutes"] >= 0.01


@pytest.mark.parametrize(("case", "victim"), [("killed", 1), ("first killed", 0), ("frozen", 1)])
def test_a_dead_or_frozen_process_ends_the_run_with_its_name(ran: Path, case: str, victim: int) -> None:
    survivor = 1 - victim
    found = told(ran, case, survivor)
    assert found["error"] == "LostProcessError"
    assert f"process {survivor} of 2 ends, for process {victim} has died or did not answer" in found["message"]
    assert "\n" not in found["message"]
    assert ended(ran, case)[str(survivor)]["code"] == 2


def test_a_codebook_follows_the_latents_of_all_processes(ran: Path) -> None:
    assert told(ran, "follow", 0) == told(ran, "follow", 1)
    together, alone = (torch.tensor(told(ran, case)["codebook"]) for case in ("follow", "follow alone"))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_slurm_starts_the_processes_as_well(ran: Path) -> None:
    assert [told(ran, "slurm", rank)["step"] for rank in (0, 1)] == [6, 6]


def test_two_machines_make_the_run_that_one_makes(ran: Path) -> None:
    if not (ran / "two machines.json").exists():
        pytest.skip("making network namespaces needs `ip` and root")
    assert {name: tensor.tolist() for name, tensor in saved(ran, "two machines", 6).items()} == {
        name: tensor.tolist() for name, tensor in saved(ran, "ddp", 6).items()
    }


@pytest.mark.slow
def test_the_command_line_starts_processes_itself_and_by_torchrun(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("""
data: {source: pushing_table, limit: 2, frames: 4}
tokenizer: {resolution: 64, channels: [8, 16], blocks_per_level: 1, mid_blocks: 0, stem_stride: 4, latent_channels: 8,
  code_dim: 4, context_codes: 16, dynamics_codes: 16, patch_size: 4, context_frames: 1, max_attention_resolution: 8,
  norm_groups: 4, dropout: 0.0}
loop: {steps: 3, batch_size: 1, log_every: 1, evaluate_every: null, checkpoint_every: 100, accelerator: cpu}
run: {tensorboard: false, folder: run}
""")
    verb = ["-m", "ivideo", "train", "tokenizer", "--config", "small.yaml"]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for command in (
        [sys.executable, *verb, "--loop.devices", "2"],
        [*start, *verb, "--resume", "true", "--loop.steps", "5", "--loop.strategy", "fsdp"],
    ):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            timeout=1200,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("the tokenizer is in") == 1  # the first process speaks for all
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5]
