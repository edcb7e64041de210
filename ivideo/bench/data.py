"""`ivideo data bench SOURCE`: how fast training can read episodes or codes, per second of one processor core."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import torch

from ivideo.config import parse
from ivideo.data import Augmentation, SegmentSampler
from ivideo.data.draws import Order
from ivideo.data.sampler import numbered
from ivideo.data.shards import is_stored
from ivideo.data.sources.discovery import find
from ivideo.data.sources.source import Options
from ivideo.data.stored import FORMAT as EPISODES
from ivideo.data.stored import open_stored
from ivideo.training.token_store import FORMAT as TOKENS
from ivideo.training.token_store import open_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class DataBench:
    """What to read, and how."""

    source: str
    """A stored folder, a folder of codes, or files of any layout, which are then decoded one after the other."""
    frames: int = 16
    """Frames of a window."""
    stride: int = 1
    """Frames of the episode from one frame of a window to the next."""
    batch_size: int = 16
    """Windows of a batch."""
    augment: bool = False
    """Change framing and colours, as pre-training does."""
    size: int = 64
    """Side to which files are resized while they are decoded."""
    seconds: float = 5.0
    """How long to read, after a tenth of that to warm up."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or not 0 < self.seconds <= 3600:
            raise ValueError(
                f"batch_size is {self.batch_size} and seconds {self.seconds}; expected at least 1, and up to 3600"
            )


def main(argv: list[str]) -> int:
    """`ivideo data bench SOURCE [...]`."""
    wanted = parse(
        DataBench,
        argv,
        prog="ivideo data bench",
        description="Measure how fast episodes or codes can be read, on one core.",
        positional=("source",),
    )
    print(measure(wanted))
    return 0


def measure(wanted: DataBench) -> str:
    """Return in words what was read per second: of processor time, whatever else the machine does, and of wall time.

    Data that is read again comes from memory, as it does in training wherever it fits there.
    """
    read, unit, what = _reader(Path(wanted.source).expanduser(), wanted)
    with _one_thread():
        _read_for(read, wanted.seconds / 10)
        count, busy, wall = _read_for(read, wanted.seconds)
    return (
        f"{wanted.source}: {count / busy:,.0f} {unit} per second of one core, {count / wall:,.0f} per second of wall "
        f"time ({what}; {count:,} {unit} in {wall:.1f} s)"
    )


def _reader(path: Path, wanted: DataBench) -> tuple[Callable[[int], int], str, str]:
    """What reads the n-th portion and returns how much that was, its unit, and what it is."""
    if is_stored(path, TOKENS):
        store = open_tokens(path)
        deal = Order(len(store), 0)

        def read_tokens(step: int) -> int:
            tokens = store.rows(deal(numbered(step, wanted.batch_size)))
            return tokens.codes.context.numel() + tokens.codes.dynamics.numel()

        return read_tokens, "tokens", f"batches of {wanted.batch_size} stored windows of {store.tokens_per_row} codes"
    if is_stored(path, EPISODES):
        augmentation = Augmentation() if wanted.augment else None
        sampler = SegmentSampler(open_stored(path), wanted.frames, wanted.stride, augmentation=augmentation)

        def read_frames(step: int) -> int:
            return sampler.batch(step, wanted.batch_size).frames.flatten(0, 1).shape[0]

        changed = ", augmented" if wanted.augment else ""
        return (
            read_frames,
            "frames",
            f"batches of {wanted.batch_size} windows of {wanted.frames} stored frames{changed}",
        )
    options = Options(size=wanted.size)
    items = find(path, None, options)
    turn = cycle(items)
    return (
        lambda _: len(next(turn).read(options)),
        "frames",
        f"{len(items)} episodes of layout {items[0].layout.name!r} at {wanted.size} px",
    )


def _read_for(read: Callable[[int], int], seconds: float) -> tuple[int, float, float]:
    """How much was read, in how much processor time and wall time."""
    count = step = 0
    wall, busy = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        count, step = count + read(step), step + 1
    return count, time.process_time() - busy, time.perf_counter() - wall


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
