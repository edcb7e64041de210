"""Whether rollouts that the model itself cuts short are better at the same depth than those that go on.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/adaptive_horizon.py [ROLLOUTS] [MODEL]

Rollouts of the pushing table's model start from recorded frames, once under the recorded actions and once under
uniformly random ones; the simulator, put into the very state, says what would have been seen and earned. For every
quantile of `Adaptive`, at every depth, the mean error of the frames that are kept stands beside that of all of them.
"""

import sys

import numpy as np
import torch
from numpy.typing import NDArray

from ivideo import PushingTable, WorldModel
from ivideo.evaluation.measures.ranks import spearman
from ivideo.simulate.demonstrations import Demonstration, demonstrate
from ivideo.simulate.policies import Mixed
from rl.imagination import Adaptive
from rl.imagination.starts import begin, draw

STEPS = 15


def rolled_out(
    model: WorldModel, recorded: list[Demonstration], count: int, *, random: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Log-likelihood in nats per token, squared error of pixels and absolute error of rewards, `[count STEPS]` each."""
    rng = np.random.default_rng(7)
    starts, places = draw([each.episode for each in recorded], rng, count=count, frames=1, steps=STEPS)
    states = {id(each.episode): each.states for each in recorded}
    if random:
        actions = torch.from_numpy(rng.uniform(-1, 1, (count, STEPS, 2)).astype(np.float32))
    else:
        actions = torch.stack([episode.actions[place : place + STEPS] for episode, place in places])
    table = PushingTable(horizon=10**9)
    frames, rewards = np.zeros((count, STEPS, 3, 64, 64)), np.zeros((count, STEPS))
    for row, (episode, place) in enumerate(places):
        table.reset(options={"state": states[id(episode)][place]})
        for step in range(STEPS):
            frame, rewards[row, step], *_ = table.step(actions[row, step].numpy())
            frames[row, step] = frame.transpose(2, 0, 1)
    state = begin(model, starts, room=STEPS)
    likelihoods, pixels, earned = (np.zeros((count, STEPS)) for _ in range(3))
    for step in range(STEPS):
        state, seen = model.step(state, actions[:, step])
        likelihoods[:, step] = seen.log_likelihood.numpy() / model.layout.dynamics_tokens
        pixels[:, step] = np.square((seen.frame.numpy() - frames[:, step]) / 255.0).mean(axis=(1, 2, 3))
        earned[:, step] = np.abs(seen.reward.numpy() - rewards[:, step])
    return likelihoods, pixels, earned


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    model = WorldModel.from_pretrained(sys.argv[2] if len(sys.argv) > 2 else "pushing_table")
    recorded = demonstrate(Mixed(), 60, seed=11)
    for random in (False, True):
        likelihoods, pixels, earned = rolled_out(model, recorded, count, random=random)
        print(f"\n{'random' if random else 'recorded'} actions, {count} rollouts")
        print("nats per token by depth     ", " ".join(f"{each:6.2f}" for each in likelihoods.mean(0)))
        print("squared error x1000 by depth", " ".join(f"{each:6.2f}" for each in 1000 * pixels.mean(0)))
        print("reward error x1000 by depth ", " ".join(f"{each:6.2f}" for each in 1000 * earned.mean(0)))
        ranks = [spearman(np.stack([-likelihoods[:, k], pixels[:, k]], axis=1)[None])[0] for k in range(STEPS)]
        print("rank correlation by depth   ", " ".join(f"{each:6.2f}" for each in ranks))
        for quantile in (0.02, 0.05, 0.1, 0.2, 0.3):
            bar = Adaptive(quantile=quantile).bar(list(likelihoods[:, 0]))
            kept = np.logical_and.accumulate(likelihoods >= bar, axis=1)
            kept[:, 0] = True
            share = kept.mean()
            ratios = []
            for error in (pixels, earned):
                expected = (kept * error.mean(axis=0)).sum()  # of as many frames at the same depths, cut blindly
                ratios.append((kept * error).sum() / expected)
            print(
                f"quantile {quantile:4.2f}: mean length {kept.sum(axis=1).mean():5.2f}, {share:4.0%} of frames kept, "
                f"squared error {ratios[0]:.2f} and reward error {ratios[1]:.2f} times that of all at the same depths"
            )


if __name__ == "__main__":
    main()
