"""Jobs shared by processes that leave with the one that started them."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def performed(jobs: Sequence[Callable[[], T]], workers: int | None = None) -> Iterator[T]:
    """Yield what each job returns, in the order in which they end; the first error of one ends them all.

    Jobs are functions of other modules, with arguments that can be sent to another process. Where that is not worth
    its start, they run here.

    Args:
        jobs: what to do.
        workers: how many processes; None takes one for every core that is ours.

    Raises:
        OSError: a process was killed, such as for want of memory.
    """
    wanted = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    if wanted <= 1:
        yield from (job() for job in jobs)
        return
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(wanted, multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        for future in as_completed([pool.submit(job) for job in jobs]):
            yield future.result()
        pool.shutdown()
    except BrokenProcessPool as error:
        raise OSError(
            "a worker was killed, perhaps for want of memory; what is complete stays: say the same again with fewer "
            "--workers"
        ) from error
    finally:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Prepare a worker: Ctrl-C is for the first process to answer, and a worker does not outlive it."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
