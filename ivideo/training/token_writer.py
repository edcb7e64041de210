"""`ivideo data tokenize SOURCE TOKENIZER OUT`: the codes of windows, written once and trained on many times."""

import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.data.npy import GrowingArray
from ivideo.data.sampler import Sampler
from ivideo.data.shards import ShardFolder, new_shard
from ivideo.episode import Batch
from ivideo.hub import find_tokenizer
from ivideo.tokens import encoded
from ivideo.training.dataset import DataConfig
from ivideo.training.token_cache import CHUNK
from ivideo.training.token_store import DTYPES, FORMAT, VERSION, TokenKey, TokenStore, open_tokens
from ivideo.training.weights import with_context
from tokenizer import VideoTokenizer

_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenization:
    """Which windows to tokenize, with what, and where to."""

    tokenizer: str
    """A tokenizer: a run of `ivideo train tokenizer`, a folder, or a Hub id of a model."""
    out: str
    """Folder for the codes; the same command goes on with one that was interrupted."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which videos and windows; those held out are left out."""
    context_frames: int | None = None
    """Frames to start from, fewer than the tokenizer was trained with; null takes its own number."""
    order: Literal["time", "goal_first"] = "time"
    """goal_first for a goal-conditioned world model."""
    windows: int | None = None
    """How many windows, the first of the order that the seed decides; null takes every window once."""
    seed: int = 0
    """Decides which windows come first, and how they are augmented."""
    device: str = "cpu"
    """Where the tokenizer runs: cpu, cuda, ..."""
    rows_per_shard: int = _ROWS
    """Windows in a shard, what an interruption costs at most."""

    def __post_init__(self) -> None:
        check_least(self, windows=1, rows_per_shard=1, context_frames=1)


def main(argv: list[str]) -> int:
    """`ivideo data tokenize SOURCE TOKENIZER OUT [...]`."""
    wanted = parse(
        Tokenization,
        argv,
        prog="ivideo data tokenize",
        description="Write the codes of windows, to train world models on without tokenizing again.",
        positional=("data.source", "tokenizer", "out"),
    )
    store = tokenize(wanted, progress=lambda line: print(line, file=sys.stderr))
    size = sum(path.stat().st_size for path in Path(wanted.out).rglob("*.npy"))
    print(
        f"{wanted.out}: {len(store):,} windows of {store.tokens_per_row:,} codes, "
        f"{size / len(store):,.0f} bytes each, {size / 2**30:.2f} GiB"
    )
    print(f"next: ivideo train world-model --tokenizer {wanted.tokenizer} --token_store {wanted.out}")
    return 0


@torch.no_grad()
def tokenize(wanted: Tokenization, progress: Callable[[str], None] = lambda line: None) -> TokenStore:
    """Write the codes and return them, opened; what an interrupted call left is gone on with.

    Raises:
        ValueError: the tokenizer's codes do not fit 16 bits, or its frames not the windows.
        FileExistsError: `out` holds something else, or other codes.
        OSError: the disk does not take it; what is complete stays.
    """
    tokenizer = with_context(find_tokenizer(wanted.tokenizer), wanted.context_frames).eval().to(wanted.device)
    config, data = tokenizer.config, wanted.data
    if max(config.context_codes, config.dynamics_codes) > 2**16:
        raise ValueError(f"the tokenizer has {config.dynamics_codes} codes; expected at most {2**16} to store")
    if data.frames <= config.context_frames:
        raise ValueError(f"data.frames is {data.frames}, all of it context; expected more than {config.context_frames}")
    train, _ = data.open(config.resolution, transformer=True)
    sampler = data.sampler(train, wanted.seed, context=config.context_frames, order=wanted.order)
    count = wanted.windows or sampler.windows
    key = TokenKey.of(tokenizer, frames=data.frames, stride=data.stride, order=wanted.order, history=data.history)
    plan = {
        "format": FORMAT,
        "version": VERSION,
        "source": data.mixture or Path(data.source).name,
        "key": asdict(key),
        "windows": count,
        "of": sampler.windows,
        "episodes": len(train),
        "seed": wanted.seed,
        "augmentation": None if data.augmentation is None else asdict(data.augmentation),
        "rows_per_shard": wanted.rows_per_shard,
    }
    shards = math.ceil(count / wanted.rows_per_shard)
    out = Path(wanted.out).expanduser()
    with ShardFolder(out, plan) as folder:
        if not folder.done:
            started, missing = time.monotonic(), folder.missing(shards)
            for done, number in enumerate(missing, start=1):
                first = number * wanted.rows_per_shard
                _write_shard(out, number, tokenizer, sampler, first, min(first + wanted.rows_per_shard, count))
                left = (time.monotonic() - started) / done * (len(missing) - done)
                progress(f"{shards - len(missing) + done} of {shards} shards, {left / 60:.0f} minutes left")
            folder.finish({"format": FORMAT, "version": VERSION, "rows": folder.said(0)["rows"]}, shards)
    return open_tokens(out)


def _write_shard(out: Path, number: int, tokenizer: VideoTokenizer, sampler: Sampler, first: int, stop: int) -> None:
    """Write rows `first` to `stop`, a chunk in memory at a time."""
    said: dict[str, Any] = {"rows": {}, "instructions": []}
    texts: dict[str, int] = {}
    device = next(tokenizer.parameters()).device
    with new_shard(out, number, said) as stage:
        with ExitStack() as stack:
            files: dict[str, GrowingArray] = {}
            for start in range(first, stop, CHUNK):
                batch = sampler.samples(np.arange(start, min(start + CHUNK, stop)))
                for name, values in _arrays(tokenizer, batch, device, texts).items():
                    if name not in files:
                        said["rows"][name] = values.shape[1:]
                        files[name] = stack.enter_context(
                            GrowingArray(stage / f"{name}.npy", values.dtype, values.shape[1:])
                        )
                    files[name].append(values)
        said["instructions"] = list(texts)


def _arrays(tokenizer: VideoTokenizer, batch: Batch, device: torch.device, texts: dict[str, int]) -> dict[str, Any]:
    """What is stored of a batch; new instructions join `texts`."""
    tokens = encoded(tokenizer, batch.to(device)).to("cpu")
    values = {name: getattr(tokens, name) for name in ("actions", "rewards", "terminals", "mask", "domains")}
    values |= {"context": tokens.codes.context, "dynamics": tokens.codes.dynamics}
    if batch.instructions is not None:
        values["told"] = torch.tensor([texts.setdefault(text, len(texts)) for text in batch.instructions])
    return {name: value.to(DTYPES[name]).numpy() for name, value in values.items() if value is not None}
