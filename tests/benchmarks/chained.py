"""What memory a chain of segments takes, one after the other.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/chained.py [SEGMENTS]

The pushing table's model goes on for as many segments as are asked for, 8 without, of 14 frames each in 4 futures, each
under a push in another direction. After each: megabytes that the process takes, kilobytes of all tensors but weights.
"""

import gc
import sys
import time
from pathlib import Path

import torch

from ivideo import Chain, WorldModel, open_episodes

PUSHES = ([1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.7, 0.7], [-0.7, 0.7], [-0.7, -0.7], [0.7, -0.7])


def resident() -> float:
    """Megabytes that the process takes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def held() -> float:
    """Kilobytes of all tensors that there are."""
    gc.collect()
    tensors = [
        each for each in gc.get_objects() if issubclass(type(each), torch.Tensor) and each.layout == torch.strided
    ]
    return sum({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}.values()) / 1024


def main() -> None:
    segments = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    model = WorldModel.from_pretrained("pushing_table")
    clip = open_episodes("pushing_table", limit=1)[0].frames[:8].clone()
    weights = held()
    chain = Chain.begin(model, clip, samples=4)
    for segment in range(segments):
        began = time.process_time()
        chain, made = chain.go(PUSHES[segment % len(PUSHES)], frames=14)
        spent, count = time.process_time() - began, made.shape[1]
        del made
        print(
            f"segment {segment + 1:3d}: {count} frames, {spent:5.1f} core-seconds, {resident():7.1f} MB resident, "
            f"{held() - weights:7.1f} KB of tensors",
            flush=True,
        )


if __name__ == "__main__":
    main()
