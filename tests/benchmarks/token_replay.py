"""What keeping imagined episodes as codes saves and costs, beside keeping their frames.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/token_replay.py

96 rollouts of ten frames of the pushing table's model under random actions: bytes a frame, and processor time for a
batch of 128 transitions, the best of four.
"""

import time

import numpy as np
import torch

from ivideo import WorldModel
from ivideo.simulate.demonstrations import demonstrate
from ivideo.simulate.policies import RandomWalk
from rl.imagination import Imagination, ImaginationConfig, TokenReplay
from rl.replay import Replay

BATCH = 128


def main() -> None:
    real = Replay()
    real.preload(each.episode for each in demonstrate(RandomWalk(), 10, seed=5))
    model = WorldModel.from_pretrained("pushing_table")
    generator = torch.Generator().manual_seed(0)
    imagination = Imagination(model, ImaginationConfig(), stack=3, seed=0)
    codes, frames = TokenReplay(model, max_steps=10), Replay()
    for each in imagination.rollouts(real, lambda seen: 2 * torch.rand(len(seen), 2, generator=generator) - 1, 96):
        codes.keep(each)
        frames.add(each.episode, lead=each.lead)
    held = sum(each.frames.nbytes for each in frames.episodes)
    for name, buffer, size in (("codes", codes, codes.nbytes), ("frames", frames, held)):
        seconds = []
        for seed in range(5):  # the first one is for warming up
            began = time.process_time()
            buffer.sample(BATCH, np.random.default_rng(seed))
            seconds.append(time.process_time() - began)
        print(f"{name}: {size / len(buffer):,.0f} bytes a frame, {min(seconds[1:]):.3f} s for {BATCH} transitions")


if __name__ == "__main__":
    main()
