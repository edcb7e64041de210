"""What the processes of a run tell each other between updates, and who is missing when one does not answer."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from jaxtyping import Float64
from torch import Tensor

ROLL_CALL = timedelta(seconds=3)
"""How long a process that is called has to answer, once the others have waited in vain."""
_LOST = re.compile(r"gloo|nccl|timed out|timeout|connection|socket|peer", re.IGNORECASE)


class LostProcessError(OSError):
    """A process of the run died or does not answer."""


class Group:
    """The processes of a run. Every method is for all of them together; a process on its own talks to itself.

    Small things travel between processors, whatever the devices compute with, and never as pickles.
    """

    def __init__(self, rank: int = 0, world: int = 1, timeout: timedelta | None = None) -> None:
        self.rank, self.world, self.timeout = rank, world, timeout
        self._talk = dist.new_group(backend="gloo", timeout=timeout) if world > 1 else None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def tell(self, *values: float) -> Float64[Tensor, "world values"]:
        """Return what every process has told; waits for all of them."""
        mine = torch.tensor(values, dtype=torch.float64)
        if self.world == 1:
            return mine[None]
        said = [torch.empty_like(mine) for _ in range(self.world)]
        dist.all_gather(said, mine, group=self._talk)
        return torch.stack(said)

    def tell_text(self, text: str) -> list[str]:
        """Return the text of every process."""
        if self.world == 1:
            return [text]
        mine = text.encode()
        lengths = self.tell(len(mine))[:, 0].long().tolist()
        padded = torch.frombuffer(bytearray(mine.ljust(max(lengths) + 1)), dtype=torch.uint8)
        said = [torch.empty_like(padded) for _ in range(self.world)]
        dist.all_gather(said, padded, group=self._talk)
        return [part.numpy().tobytes()[:length].decode() for part, length in zip(said, lengths, strict=True)]

    def wait(self) -> None:
        """Return once every process is here."""
        self.tell()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A failure to reach another process inside the block becomes a `LostProcessError` that names it."""
        try:
            yield
        except RuntimeError as error:
            if self.world == 1 or not _LOST.search(str(error)):
                raise
            missing = self._missing()
            who = f"process {', '.join(missing)}" if missing else "another process"
            limit = "" if self.timeout is None else f" within {self.timeout.total_seconds() / 60:g} minutes"
            raise LostProcessError(
                f"process {self.rank} of {self.world} ends, for {who} has died or did not answer{limit} "
                "(loop.timeout_minutes); start all of them again with --resume"
            ) from error

    def _missing(self) -> list[str]:
        """The processes that do not answer when the roll is called, as far as this one can tell."""
        others = [str(rank) for rank in range(self.world) if rank != self.rank]
        try:
            roll = dist.distributed_c10d.PrefixStore("ivideo/roll", dist.distributed_c10d._get_default_store())
            roll.set(str(self.rank), "here")
        except RuntimeError:  # the store is gone, and with it the first process, which keeps it
            return ["0"]
        missing = []
        for other in others:
            try:
                roll.wait([other], ROLL_CALL)
            except RuntimeError:
                missing.append(other)
        return missing[:1] if missing == others and self.rank else missing
