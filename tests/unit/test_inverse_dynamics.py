"""The probe of actions on worlds in which it is known what they do."""

import math

import pytest
import torch

from ivideo.evaluation.case import Case
from ivideo.evaluation.measures.collected import Collected
from ivideo.evaluation.measures.inverse_dynamics import motions, recovered
from ivideo.evaluation.series import PREDICTION, SHUFFLED

CLIPS, STEPS = 25, 7


def world(moves: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Clips of a soft spot that is displaced by `moves`, in pixels of 32."""
    generator = torch.Generator().manual_seed(seed)
    start = 12 + 8 * torch.rand(len(moves), 1, 2, generator=generator)
    places = torch.cat([start, start + moves.cumsum(1)], dim=1)
    grid = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="xy"), dim=-1)
    distance = (grid - places[:, :, None, None]).square().sum(-1)
    spot = (-distance / 18).exp()[:, :, None] * torch.tensor([1.0, 0.5, 0.2])[:, None, None]
    return (20 + 220 * spot).round().to(torch.uint8)


def drawn(seed: int) -> torch.Tensor:
    return 3 * torch.rand(CLIPS, STEPS, 2, generator=torch.Generator().manual_seed(seed)) - 1.5


def figures(found: Collected) -> dict[str, float]:
    return {
        each.source: each.values[0].value
        for each in recovered(found, resamples=20)
        if each.quantity == "Actions recovered from clips, R2"
    }


def case(frames: torch.Tensor, actions: torch.Tensor) -> Case:
    return Case(names=tuple(map(str, range(len(frames)))), frames=frames, actions=actions)


def asked(moves: torch.Tensor, actions: torch.Tensor, others: torch.Tensor, rows: slice = slice(None)) -> Collected:
    """What is collected where `moves` happens under `actions`, and `others` in another world that starts the same."""
    others = torch.cat([moves[:, :1], others[:, 1:]], dim=1)
    true, wrong = world(moves)[rows], world(others)[rows]
    videos = {PREDICTION: true, SHUFFLED: wrong}
    return motions(case(true, actions[rows]), 2, videos, commanded={SHUFFLED: others[rows]}, ceiling=true)


def test_displacements_are_recovered_and_those_of_other_actions_are_theirs() -> None:
    moves, others = drawn(1), drawn(2)
    found = figures(asked(moves, moves, others))
    assert found["truth"] > 0.97
    assert found[PREDICTION] == found["tokenizer's ceiling"] == found["truth"]
    assert found[SHUFFLED] > 0.95
    assert found[f"{SHUFFLED} against the true ones"] < 0.1
    scaled = moves * torch.tensor([1.0, 100.0]) + torch.tensor([0.0, 7.0])  # controls have units of their own
    assert figures(asked(moves, scaled, others))[PREDICTION] == pytest.approx(found[PREDICTION])


def test_nothing_is_recovered_where_actions_do_nothing() -> None:
    found = figures(asked(drawn(1), drawn(3), drawn(2)))
    for source in ("truth", "tokenizer's ceiling", PREDICTION):
        assert -0.6 < found[source] < 0.1, "a probe is not to be judged by what it was fitted on"


def test_a_prediction_that_ignores_its_actions_is_found_out() -> None:
    moves = drawn(1)
    true = world(moves)
    found = figures(motions(case(true, moves), 2, {PREDICTION: world(drawn(4))}, commanded={}, ceiling=true))
    assert found["tokenizer's ceiling"] > 0.97
    assert found[PREDICTION] < 0.1


def test_clips_of_one_episode_lie_in_one_fold() -> None:
    """Every five clips in a row are the same: a probe that saw one of them would explain the others' noise."""
    moves, noise = drawn(1)[::5].repeat_interleave(5, dim=0), drawn(3)[::5].repeat_interleave(5, dim=0)
    frames = world(drawn(5))[::5].repeat_interleave(5, dim=0)
    assert moves.shape == noise.shape
    found = figures(motions(case(frames, noise), 2, {}, commanded={}, ceiling=frames))
    assert found["truth"] < 0.1


def test_batches_add_up_and_too_few_clips_tell_nothing() -> None:
    moves, others = drawn(1), drawn(2)
    parts = [asked(moves, moves, others, rows) for rows in (slice(0, 10), slice(10, CLIPS))]
    whole = figures(asked(moves, moves, others))
    # Starting places are drawn for all clips before a part of them is taken.
    assert figures(Collected.joined(parts)) == pytest.approx(whole)
    assert all(map(math.isnan, figures(asked(moves, moves, others, slice(0, 10))).values()))
    still = figures(asked(moves, torch.ones_like(moves), others))
    assert all(math.isnan(still[source]) for source in ("truth", PREDICTION)), "nothing to recover"
