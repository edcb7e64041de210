from typing import Any

import pytest
import torch
from torch import Tensor

from transformer import Sampling, choose, sample

ALL = Sampling(top_k=0)


def logits(batch: int = 4, vocab: int = 40, seed: int = 0) -> Tensor:
    return 2 * torch.randn(batch, vocab, generator=torch.Generator().manual_seed(seed))


def row(probabilities: list[float], rows: int = 1) -> Tensor:
    return torch.tensor(probabilities).log().expand(rows, -1)


def test_temperature_zero_takes_the_likeliest_whatever_the_quantile() -> None:
    scores = logits()
    for uniform in (0.0, 0.5, 0.999):
        assert torch.equal(choose(scores, Sampling(temperature=0.0), torch.full((4,), uniform)), scores.argmax(-1))


@pytest.mark.parametrize(
    ("uniform", "expected"), [(0.0, 1), (0.249, 1), (0.251, 2), (0.749, 2), (0.751, 4), (1 - 2**-24, 4)]
)
def test_a_quantile_picks_the_token_that_covers_it(uniform: float, expected: int) -> None:
    scores = row([0.0, 0.25, 0.5, 0.0, 0.25, 0.0])
    assert choose(scores, ALL, torch.tensor([uniform])).item() == expected


def test_a_quantile_that_rounds_to_one_picks_the_last_possible_token() -> None:
    scores = row([0.5, 0.5, 0.0])
    assert choose(scores, ALL, torch.tensor([1 - 1e-12], dtype=torch.float64)).item() == 1


@pytest.mark.parametrize(("uniform", "expected"), [(0.1, 2), (0.499 / 0.8, 2), (0.501 / 0.8, 0), (0.99, 0)])
def test_top_k_ranks_the_likeliest_first(uniform: float, expected: int) -> None:
    scores = row([0.3, 0.1, 0.5, 0.1])
    assert choose(scores, Sampling(top_k=2), torch.tensor([uniform])).item() == expected


@pytest.mark.parametrize(
    ("top_p", "support"), [(0.49, {2}), (0.5, {2}), (0.51, {2, 0}), (0.85, {2, 0, 3}), (1.0, {0, 1, 2, 3})]
)
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p: float, support: set[int]) -> None:
    scores = row([0.25, 0.0625, 0.5, 0.1875], rows=200)
    drawn = choose(scores, Sampling(top_k=0, top_p=top_p), torch.linspace(0, 1 - 2**-24, 200))
    assert set(drawn.tolist()) == support


def test_top_p_counts_probability_within_top_k() -> None:
    scores = row([0.4, 0.3, 0.2, 0.1], rows=100)  # the first two hold 0.57 and 0.43 of what top-k leaves
    drawn = choose(scores, Sampling(top_k=2, top_p=0.5), torch.linspace(0, 0.999, 100))
    assert set(drawn.tolist()) == {0}


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.0), Sampling(top_k=3), Sampling(top_k=0, top_p=0.9), ALL])
def test_allowed_restricts_to_a_range_and_keeps_ids(sampling: Sampling) -> None:
    scores, uniform = logits(), torch.tensor([0.0, 0.3, 0.6, 0.99])
    drawn = choose(scores, sampling, uniform, allowed=(10, 20))
    assert torch.equal(drawn, choose(scores[:, 10:20], sampling, uniform) + 10)
    assert ((drawn >= 10) & (drawn < 20)).all()


def test_a_row_is_chosen_alone_as_in_any_batch() -> None:
    scores, uniform = logits(), torch.tensor([0.1, 0.4, 0.7, 0.95])
    together = choose(scores, Sampling(top_k=7), uniform)
    alone = [choose(scores[i : i + 1], Sampling(top_k=7), uniform[i : i + 1]) for i in range(4)]
    assert torch.equal(together, torch.cat(alone))


def test_sample_draws_one_uniform_a_row_and_chooses() -> None:
    scores = logits()
    drawn = sample(scores, Sampling(top_k=5), torch.Generator().manual_seed(3))
    uniform = torch.rand(4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(drawn, choose(scores, Sampling(top_k=5), uniform))
    assert sample(scores, Sampling()).shape == (4,)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (ALL, [0.5, 0.3, 0.15, 0.05]),
        (Sampling(top_k=3), [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        (Sampling(top_k=0, top_p=0.7), [0.625, 0.375, 0, 0]),
        (Sampling(top_k=0, temperature=0.5), [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
    ],
)
def test_frequencies_match_probabilities(sampling: Sampling, expected: list[float]) -> None:
    draws = 20_000
    drawn = sample(row([0.5, 0.3, 0.15, 0.05], rows=draws), sampling, torch.Generator().manual_seed(0))
    counts, wanted = torch.bincount(drawn, minlength=4).double(), draws * torch.tensor(expected).double()
    possible = wanted > 0
    chi_square = ((counts - wanted)[possible] ** 2 / wanted[possible]).sum()
    assert chi_square < 16.3  # 0.1% of right samplers are above at three degrees of freedom
    assert (counts[~possible] == 0).all()


@pytest.mark.parametrize(
    "sampling", [Sampling(), ALL, Sampling(temperature=0.0), Sampling(top_p=0.5), Sampling(top_k=2)]
)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_logits_are_refused(sampling: Sampling, bad: float) -> None:
    scores = logits()
    scores[2, 17] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        sample(scores, sampling, torch.Generator().manual_seed(0))


def test_minus_infinity_excludes_a_token_but_not_every_token() -> None:
    scores = row([0.0, 0.5, 0.5, 0.0], rows=100)
    drawn = choose(scores, ALL, torch.linspace(0, 1 - 2**-24, 100))
    assert set(drawn.tolist()) == {1, 2}
    with pytest.raises(ValueError, match="NaN or infinite"):
        choose(torch.full((1, 4), -torch.inf), ALL, torch.zeros(1))


def test_half_precision_logits_are_drawn_from_at_full_precision() -> None:
    scores = torch.zeros(1, 4096, dtype=torch.bfloat16)  # summed in bfloat16, 4096 ones would stop at 256
    assert choose(scores, ALL, torch.tensor([0.75])).item() == 3072


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"temperature": -1.0}, r"temperature=-1\.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"top_k": -1}, "top_k=-1"),
        ({"top_p": 0.0}, r"top_p=0\.0"),
        ({"top_p": 1.5}, r"top_p=1\.5"),
    ],
)
def test_impossible_settings_are_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Sampling(**fields)


@pytest.mark.parametrize("allowed", [(-1, 3), (3, 3), (5, 2), (0, 41)])
def test_an_impossible_range_is_named(allowed: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"allowed=\("):
        choose(logits(), ALL, torch.zeros(4), allowed=allowed)
