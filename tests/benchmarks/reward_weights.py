"""What a packaged model's reward head keeps while the model goes on learning: `reward_weights.py [UPDATES]`.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/reward_weights.py

The pushing table's model, which knows its rewards, makes 80 updates at the published rate on 30 episodes of the
policies it was trained on: with equal weights of the losses, with harmonious ones that begin at 1 as published, and
with ones that begin where they settle. Told are the losses on 32 windows of 20 other episodes, before and after.
"""

import sys
from dataclasses import replace

import numpy as np
import torch

from ivideo import Episode, WorldModel
from ivideo.simulate.demonstrations import demonstrate
from ivideo.simulate.policies import Mixed
from rl.imagination import ModelLearner, ModelLearnerConfig
from rl.imagination.windows import windows
from rl.replay import Replay


def main(updates: int) -> None:
    replay, others = _filled(30, seed=5), _filled(20, seed=77)
    held_out = windows(others, np.random.default_rng(0), count=32, frames=11)
    for name, harmonious, settle in (("equal", False, False), ("from 1", True, False), ("settled", True, True)):
        model = _packaged(harmonious=harmonious)
        config = ModelLearnerConfig(batch_size=8, frames=11, precision="bf16-mixed", settle_scales=settle)
        learner = ModelLearner(model, config, seed=0)
        for made in range(updates + 1):
            if made in (0, updates):
                with torch.no_grad():
                    _, parts = model.eval().loss(held_out)
                figures = f"cross-entropy {parts['cross_entropy']:.3f}, reward x 1e4 {1e4 * parts['reward']:.2f}"
                print(f"{name}, after {made} updates: {figures}", flush=True)
            if made < updates:
                learner.update(replay)


def _packaged(*, harmonious: bool) -> WorldModel:
    packaged = WorldModel.from_pretrained("pushing_table")
    if not harmonious:
        return packaged
    model = WorldModel(packaged.tokenizer, replace(packaged.config, loss_weights="harmonious"))
    model.load_state_dict(packaged.state_dict(), strict=False)
    return model


def _filled(count: int, *, seed: int) -> Replay:
    episodes: list[Episode] = [each.episode for each in demonstrate(Mixed(), count, seed=seed)]
    replay = Replay()
    replay.preload(episodes)
    return replay


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 80)
