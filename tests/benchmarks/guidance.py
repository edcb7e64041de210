"""Whether guidance makes a model follow its actions more closely, and at what price.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/guidance.py CLIPS MODEL ...

Clips of the pushing table in which an object is pushed, ten frames each, are imagined twice: under the recorded actions
and under those of another clip, for which the simulator, put into the very state, says what would have been seen. The
second, held against what was recorded, is the baseline: what a model gets right that does not look at its actions.
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ivideo import PushingTable, WorldModel
from ivideo.evaluation.measures.objects import detect
from ivideo.evaluation.statistics import bootstrap, mean, pooled_decibels, ratio
from ivideo.simulate.demonstrations import demonstrate, pushed
from ivideo.simulate.motion import DEFAULT_GOAL, TableState
from ivideo.simulate.policies import Mixed

FRAMES = 10
STRENGTHS = (0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Futures:
    """What the simulator shows after each clip's first frame under some actions: the last frame, and where all is."""

    actions: Float[Tensor, "n f 2"]
    last: UInt8[Tensor, "n 3 h w"]
    states: tuple[TableState, ...]

    @classmethod
    def of(cls, first: list[TableState], actions: Float[Tensor, "n f 2"]) -> "Futures":
        table, last, states = PushingTable(horizon=10**9), [], []
        for state, row in zip(first, actions.numpy(), strict=True):
            table.reset(options={"state": state})
            for action in row:
                frame, *_ = table.step(action)
            last.append(torch.from_numpy(frame).permute(2, 0, 1))
            states.append(table.state())
        return cls(actions=actions, last=torch.stack(last), states=tuple(states))


def clips(count: int) -> tuple[UInt8[Tensor, "n 1 3 h w"], list[TableState], Float[Tensor, "n f 2"]]:
    """First frames, first states and actions; one clip of an episode that no model was trained on."""
    rng, found = np.random.default_rng(0), []
    for recorded in demonstrate(Mixed(), 2 * count, seed=11):
        starts = [
            start
            for start in range(len(recorded.states) - FRAMES)
            if pushed(recorded.states, start, FRAMES, threshold=2.0)
        ]
        if starts and len(found) < count:
            found.append((recorded, int(rng.choice(starts))))
    frames = torch.stack([each.episode.frames[start : start + 1] for each, start in found])
    actions = [
        each.episode.actions[start : start + FRAMES] for each, start in found if each.episode.actions is not None
    ]
    return frames, [each.states[start] for each, start in found], torch.stack(actions)


def imagined(model: WorldModel, frames: Tensor, actions: Tensor, strength: float) -> UInt8[Tensor, "n 3 h w"]:
    """The tenth frame."""
    state = model.start(frames)
    for step in range(FRAMES):
        state, _ = model.step(state, actions[:, step], guidance=strength, decode=False, reward=False)
    return model.frames(state, slice(-1, None))[:, 0]


def judged(name: str, made: Tensor, first: list[TableState], truth: Futures) -> None:
    """One line: decibels, the pusher's error, and how far it goes where it should."""
    errors = np.square((made.numpy().astype(float) - truth.last.numpy()) / 255).reshape(len(made), -1)
    pushers = detect(made, DEFAULT_GOAL).positions[:, 0].double().numpy()
    ends, begins = (np.array([each.pusher for each in states]) for states in (truth.states, first))
    moved, wanted = pushers - begins, ends - begins
    along: NDArray[np.float64] = np.stack([(moved * wanted).sum(1), np.square(wanted).sum(1)], axis=1)
    found = ~np.isnan(pushers).any(1)
    columns = (
        bootstrap(np.stack([errors.sum(1), np.full(len(errors), errors.shape[1])], axis=1), pooled_decibels),
        bootstrap(np.hypot(*(pushers - ends)[found].T)[:, None], mean),
        bootstrap(along[found], ratio),
    )
    print(f"{name:<56} " + "   ".join(f"{each!s:<20}" for each in columns) + f" {int((~found).sum())} lost", flush=True)


def main() -> None:
    frames, first, actions = clips(int(sys.argv[1]))
    own, other = Futures.of(first, actions), Futures.of(first, actions.roll(1, dims=0))
    print(f"{len(first)} clips{'':<48} dB at frame 10       pusher's error, units   its way, share of the told")
    judged("copy-last-frame", frames[:, 0], first, own)
    judged("the simulator's frame", own.last, first, own)
    for name in sys.argv[2:]:
        model = WorldModel.from_pretrained(name)
        for strength in STRENGTHS:
            told = f"{name[-24:]}, eta {strength:g}"
            judged(f"{told}: recorded actions", imagined(model, frames, own.actions, strength), first, own)
            swapped = imagined(model, frames, other.actions, strength)
            judged(f"{told}: another clip's, simulated", swapped, first, other)
            judged(f"{told}: another clip's, as recorded", swapped, first, own)


if __name__ == "__main__":
    main()
