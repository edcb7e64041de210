"""How the work of an update is shared: the same batches make it, however many processes compute them."""

from ivideo.training import checkpoints
from ivideo.training.loop_config import LoopConfig
from ivideo.training.process import processes
from ivideo.training.run import RunConfig


def batches_per_update(loop: LoopConfig, run: RunConfig | None, *, resume: bool) -> int:
    """Return how many batches make an update, all processes together.

    A run that is resumed keeps the number it was started with, so that its samples come in the same order and its
    updates mean the same. ValueError where the batches are of another size than before.
    """
    asked = loop.accumulate * processes(loop).world
    if run is None or not resume:
        return asked
    folder = run.folder / "checkpoints"
    size = checkpoints.started_with(folder, "batch_size")
    if size not in (None, loop.batch_size):
        raise ValueError(
            f"loop.batch_size is {loop.batch_size}, but this run was started with {size}, which decides the order of "
            f"its samples; resume with {size}, or start another run with --init"
        )
    return checkpoints.started_with(folder, "batches_per_update") or asked


def batches_each(total: int, world: int) -> int:
    """Return how many of an update's batches each process computes."""
    if total % world:
        raise ValueError(
            f"an update of this run is made of {total} batches, which {world} processes cannot share evenly; resume it "
            f"with {' or '.join(str(n) for n in range(1, total + 1) if total % n == 0)} processes"
        )
    return total // world
