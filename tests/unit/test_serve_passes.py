"""Worlds that share a pass with other clients' remain their client's own."""

import numpy as np
import pytest
import torch
from tiny_serve import ending_model, some_starts

from ivideo.serve.passes import SharedWorlds, answers
from ivideo.simulate.turns import Ask
from ivideo.simulate.worlds import Worlds


def generators(*seeds: int) -> tuple[np.random.Generator, ...]:
    return tuple(np.random.default_rng(seed) for seed in seeds)


@pytest.mark.parametrize("tile", [0, 4])
def test_worlds_fork_under_their_own_numbers_wherever_they_stand_in_a_pass(tile: int) -> None:
    worlds = Worlds(model=ending_model(), starts=some_starts(), tile=tile)
    shared = SharedWorlds.of(worlds)
    asks = [
        Ask(beginning=(0, 1, 2), generators=generators(1, 2, 3)),
        Ask(beginning=(0, 1), generators=generators(4, 5)),
    ]
    _, other = answers(shared, [(ask, True) for ask in asks])
    assert other.begun is not None
    forked = shared.fork(other.begun[0], 2)
    assert forked.members == (0, 1, 2, 3)
    alone = worlds.fork(worlds.begin((0, 1), generators(4, 5))[0], 2)
    actions = torch.linspace(-1, 1, 8).reshape(4, 2)
    _, seen = worlds.advance(forked, actions)
    _, expected = worlds.advance(alone, actions)
    assert torch.equal(seen.codes, expected.codes)
    assert torch.allclose(seen.rewards, expected.rewards, atol=1e-5)
