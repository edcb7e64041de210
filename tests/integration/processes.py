"""Several processes that train together: `processes.py FOLDER CASE...` runs cases, each in processes of its own.

The processes of a case are forked from this one, with the environment that torchrun would give them, so that what is
imported is imported once. What each returns, or the error it ends with, goes to FOLDER/CASE.RANK.json; how they ended,
and when, goes to FOLDER/CASE.json.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny import TINY_TOKENIZER, TINY_TRANSFORMER, clips

from ivideo.embedding import EmbeddingConfig
from ivideo.embodiments import Domain
from ivideo.episode import Batch
from ivideo.heads import HeadsConfig
from ivideo.training import LoopConfig, OptimizerConfig, RunConfig, RunFolder, fit
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import VideoTokenizer

LOOP = LoopConfig(steps=6, batch_size=2, log_every=1, evaluate_every=None, checkpoint_every=3, accelerator="cpu")
OPTIMIZER = OptimizerConfig(lr=1e-3, weight_decay=0.1, ema_decay=0.9)
PLAIN = OptimizerConfig(lr=0.01)


ONE_ROBOT = EmbeddingConfig(action_dim=2)
TWO_ROBOTS = EmbeddingConfig(domains=(Domain(name="arm", action_dim=2), Domain(name="hand", action_dim=1)))


def world_model(embedding: EmbeddingConfig = ONE_ROBOT, *, reward: bool = False, **changes: Any) -> WorldModel:
    torch.manual_seed(0)
    transformer = replace(TINY_TRANSFORMER, layers=2, **changes)
    config = WorldModelConfig(transformer=transformer, embedding=embedding, heads=HeadsConfig(reward=reward))
    model = WorldModel(VideoTokenizer(TINY_TOKENIZER).requires_grad_(False), config).train()
    model.tokenizer.eval()
    return model


def of_one_robot(index: int) -> Batch:
    """Batches of two robots in turn, so that each of two processes sees only one of them."""
    batch, robot = clips(index), index % 2
    assert batch.actions is not None
    actions = batch.actions * torch.tensor([[1.0, 1.0], [1.0, 0.0]])[robot]
    return replace(batch, actions=actions, domains=torch.full((2,), robot))


def joined(index: int, part: Callable[[int], Batch] = clips) -> Batch:
    """The batches that two processes would take, as one."""
    pair = [part(2 * index), part(2 * index + 1)]

    def cat(name: str) -> Tensor | None:
        values = [getattr(each, name) for each in pair]
        return None if values[0] is None else torch.cat(values)

    return replace(
        pair[0], frames=torch.cat([each.frames for each in pair]), actions=cat("actions"), domains=cat("domains")
    )


def learn(
    folder: Path,
    name: str,
    *,
    resume: bool = False,
    source: Callable[[int], Any] = clips,
    optimizer: OptimizerConfig = OPTIMIZER,
    recompute: bool = False,
    embedding: EmbeddingConfig = ONE_ROBOT,
    **changes: Any,
) -> dict[str, Any]:
    """Train a small world model in FOLDER/NAME; return its losses and where its weights are."""
    model = world_model(embedding, recompute=recompute)
    seen: list[int] = []

    def batches(index: int) -> Any:
        seen.append(index)
        return source(index)

    with RunFolder(RunConfig(folder=folder / name, tensorboard=False), resume=resume) as run:
        result = fit(
            model,
            model.loss,
            batches,
            loop=replace(LOOP, **changes),
            optimizer=optimizer,
            run=run,
            export=lambda path: model.save_pretrained(path),
        )
    same = float(torch.cat([value.detach().flatten() for value in model.parameters()]).double().sum())
    return {"step": result.step, "exit": result.exit_code, "batches": seen, "sum": same}


SPOILT = {1: "reward", 2: "reward", 4: "action", 6: "action"}
"""What is not finite, by step: in turn in the batch of the first process and in that of the second."""


def spoilt(folder: Path) -> dict[str, Any]:
    """Train on targets and actions that are not finite now and then; return what weights each step began with."""
    model = world_model(reward=True)
    began: list[float] = []

    def batches(index: int) -> Batch:
        began.append(float(sum(value.detach().double().abs().sum() for value in model.parameters())))
        batch, step = replace(clips(index), rewards=torch.ones(2, 3)), index // 2
        assert batch.actions is not None
        assert batch.rewards is not None
        if step in SPOILT and index % 2 == list(SPOILT).index(step) % 2:
            if SPOILT[step] == "reward":
                batch.rewards[1, 2] = float("nan")
            else:
                batch.actions[0, 1, 0] = float("inf")
        return batch

    loop = replace(LOOP, steps=8, on_divergence="skip", max_divergences=4)
    with RunFolder(RunConfig(folder=folder / "spoilt", tensorboard=False)) as run:
        fit(
            model,
            model.loss,
            batches,
            loop=loop,
            optimizer=OPTIMIZER,
            run=run,
            samples=lambda index: [f"clip {index}-{row}" for row in range(2)],
        )
    return {"began": began}


class Small(nn.Module):
    """A linear map, for faults that any model would meet alike."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.map = nn.Linear(4, 1)

    def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        error = (self.map(batch)[:, 0] - batch.sum(1)).square().mean()
        return error, {"error": error.detach()}


def numbers(index: int) -> Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(index))


def train_small(folder: Path, name: str, source: Callable[[int], Tensor] = numbers, **changes: Any) -> dict[str, Any]:
    model = Small()
    changes = {"checkpoint_every": 1000, "log_every": 1000, **changes}
    with RunFolder(RunConfig(folder=folder / name, tensorboard=False), resume=True) as run:
        result = fit(model, model.loss, source, loop=replace(LOOP, **changes), optimizer=PLAIN, run=run)
    return {"step": result.step, "exit": result.exit_code, "minutes": result.minutes}


def at(index: int, number: signal.Signals) -> Callable[[int], Tensor]:
    """The batches, and a signal to the process that asks for one of them."""

    def source(asked: int) -> Tensor:
        if asked == index:
            os.kill(os.getpid(), number)
            time.sleep(0.1)
        return numbers(asked)

    return source


def poisoned(asked: int) -> Tensor:
    return numbers(asked) * (float("nan") if asked == 7 else 1.0)


def slow(asked: int) -> Tensor:
    time.sleep(0.02)
    return numbers(asked)


def follow(folder: Path, world: int = 2) -> dict[str, Any]:
    """A codebook that follows moving averages, over the latents of two processes or the same in one."""
    from tokenizer.quantize import EMAVQ, EMAQuantizer

    rank = 0
    if world > 1:
        torch.distributed.init_process_group("gloo")
        rank = torch.distributed.get_rank()
    torch.manual_seed(0)
    quantizer = EMAQuantizer(EMAVQ(warmup_steps=0, dead_code_threshold=0.0), codes=8, width=4).train()
    codebook = quantizer.vq._codebook
    codebook.initted.fill_(True)
    codebook.embed_avg.copy_(codebook.embed)
    codebook.cluster_size.fill_(1.0)
    for step in range(4):
        both = [numbers(2 * step), numbers(2 * step + 1)]
        quantizer(both[rank] if world > 1 else torch.cat(both))
    return {"codebook": quantizer.codebook.tolist()}


def first_writes_to_a_full_disk(folder: Path) -> dict[str, Any]:
    def fail(*arguments: object, **options: object) -> Path:
        raise OSError(28, "No space left on device")

    RunFolder.save = fail  # type: ignore[method-assign]
    return train_small(folder, "full", checkpoint_every=2)


def second_has_no_data(asked: int) -> Tensor:
    if asked == 5:
        raise OSError("clip 5 cannot be read")
    return numbers(asked)


SPLIT = {"strategy": "fsdp"}
CASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "single": lambda folder: learn(folder, "single", source=joined),
    "ddp": lambda folder: learn(folder, "ddp"),
    "fsdp": lambda folder: learn(folder, "fsdp", **SPLIT),
    "single accumulated": lambda folder: learn(folder, "single accumulated", accumulate=4),
    "ddp accumulated": lambda folder: learn(folder, "ddp accumulated", accumulate=2),
    "fsdp accumulated": lambda folder: learn(folder, "fsdp accumulated", accumulate=2, recompute=True, **SPLIT),
    "ddp bf16": lambda folder: learn(folder, "ddp bf16", precision="bf16-mixed"),
    "fsdp bf16": lambda folder: learn(folder, "fsdp bf16", precision="bf16-mixed", **SPLIT),
    "unbroken": lambda folder: learn(folder, "unbroken", accumulate=2, steps=9),
    "first leg": lambda folder: learn(folder, "legs", steps=3),
    "second leg": lambda folder: learn(folder, "legs", steps=6, resume=True),
    "three cannot share": lambda folder: learn(folder, "legs", steps=9, resume=True),
    "third leg": lambda folder: learn(folder, "legs", steps=9, resume=True, **SPLIT),
    "asked to stop": lambda folder: train_small(folder, "asked to stop", at(7, signal.SIGTERM), steps=50),
    "single mixed": lambda folder: learn(
        folder, "single mixed", source=lambda index: joined(index, of_one_robot), embedding=TWO_ROBOTS
    ),
    "fsdp mixed": lambda folder: learn(folder, "fsdp mixed", source=of_one_robot, embedding=TWO_ROBOTS, **SPLIT),
    "spoilt": spoilt,
    "diverged": lambda folder: train_small(folder, "diverged", poisoned),
    "skipped": lambda folder: train_small(folder, "skipped", poisoned, on_divergence="skip"),
    "full": first_writes_to_a_full_disk,
    "no data": lambda folder: train_small(folder, "no data", second_has_no_data),
    "timed": lambda folder: train_small(folder, "timed", slow, steps=None, max_minutes=0.01),
    "killed": lambda folder: train_small(folder, "killed", at(9, signal.SIGKILL), steps=2000),
    "first killed": lambda folder: train_small(folder, "first killed", at(8, signal.SIGKILL), steps=2000),
    "frozen": lambda folder: train_small(folder, "frozen", at(9, signal.SIGSTOP), steps=2000, timeout_minutes=0.1),
    "follow": follow,
    "follow alone": lambda folder: follow(folder, world=1),
    "slurm": lambda folder: train_small(folder, "slurm"),
    "two machines": lambda folder: learn(folder, "two machines", nodes=2),
}
WORLD = {
    "single": 1,
    "single accumulated": 1,
    "single mixed": 1,
    "unbroken": 1,
    "second leg": 1,
    "follow alone": 1,
    "three cannot share": 3,
}


def by_slurm(rank: int, world: int) -> None:
    """The environment that srun would give instead."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        del os.environ[name]
    os.environ |= {
        "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0", "SLURM_NTASKS": str(world),
        "SLURM_NNODES": "1", "SLURM_NTASKS_PER_NODE": str(world), "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "7",
    }  # fmt: skip


def on_machine(rank: int) -> None:
    """Move into the network namespace of a machine, where the other one is reached over a wire alone."""
    with Path(f"/run/netns/{os.environ['MACHINES']}{rank}").open() as space:
        if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")
    os.environ |= {
        "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_RANK": str(rank), "GROUP_WORLD_SIZE": "2",
        "MASTER_ADDR": "10.97.53.1", "GLOO_SOCKET_IFNAME": f"{os.environ['MACHINES']}w{rank}",
    }  # fmt: skip


def start(case: str, folder: Path, rank: int, world: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world),
        "GROUP_RANK": "0", "GROUP_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    if case == "slurm":
        by_slurm(rank, world)
    if case == "two machines":
        on_machine(rank)
    rank_zero_only.rank = rank  # type: ignore[attr-defined]
    torch.set_num_threads(1)
    status = 0
    try:
        found = CASES[case](folder)
    except Exception as error:
        found, status = {"error": type(error).__name__, "message": str(error)}, 2
    (folder / f"{case}.{rank}.json").write_text(json.dumps(found))
    sys.stderr.flush()
    os._exit(status)


def run(case: str, folder: Path, limit: float = 600.0) -> None:
    world = WORLD.get(case, 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    children = {start(case, folder, rank, world, port): rank for rank in range(world)}
    ended: dict[int, dict[str, float]] = {}
    while len(ended) < world and time.monotonic() - began < limit:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            ended[children[child]] = {"code": os.waitstatus_to_exitcode(status), "after": time.monotonic() - began}
        time.sleep(0.01)
        if case == "frozen" and len(ended) == world - 1:
            break
    for child, rank in children.items():
        if rank not in ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    (folder / f"{case}.json").write_text(json.dumps(ended))


os.fsync = lambda descriptor: None

if __name__ == "__main__":
    for named in sys.argv[2:]:
        run(named, Path(sys.argv[1]))
