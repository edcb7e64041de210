"""Statistics of order against what they come to by counting every pair."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivideo.evaluation.measures.ranks import auroc, spearman

few = st.integers(-2, 2).map(float)  # few values, many ties
rows = st.lists(st.tuples(few | st.just(math.nan), few | st.just(math.nan)), min_size=1, max_size=12)


def sample(pairs: list[tuple[float, float]]) -> np.ndarray:
    """One sample of clips with one value each in both halves."""
    return np.array(pairs, dtype=np.float64)[None]


@given(rows)
def test_auroc_is_the_share_of_pairs_in_order(pairs: list[tuple[float, float]]) -> None:
    pairs = [(label if math.isnan(label) else float(label > 0), score) for label, score in pairs]
    there = [pair for pair in pairs if not any(map(math.isnan, pair))]
    positives = [score for label, score in there if label]
    negatives = [score for label, score in there if not label]
    order = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    found = float(auroc(sample(pairs))[0])
    assert math.isnan(found) if not order else found == pytest.approx(sum(order) / len(order))


@given(rows)
def test_spearman_is_the_correlation_of_mean_ranks(pairs: list[tuple[float, float]]) -> None:
    there = np.array([pair for pair in pairs if not any(map(math.isnan, pair))]).reshape(-1, 2)
    ranks = np.array([[(each < value).sum() + (each <= value).sum() for value in each] for each in there.T]) / 2
    found = float(spearman(sample(pairs))[0])
    if len(there) < 2 or (ranks.std(axis=1) == 0).any():
        assert math.isnan(found)
    else:
        assert found == pytest.approx(np.corrcoef(ranks)[0, 1])


def test_only_order_matters_and_samples_are_apart() -> None:
    values = np.random.default_rng(0).normal(size=(3, 20, 4))
    assert np.allclose(spearman(values), spearman(np.exp(values)))
    assert np.allclose(spearman(values), [float(spearman(each[None])[0]) for each in values])
    assert len(set(spearman(values))) == 3
    same = np.concatenate([values, values], axis=2)
    assert np.allclose(spearman(same), 1.0)
    assert np.allclose(spearman(np.concatenate([values, -values], axis=2)), -1.0)
    labels = (values > 0).astype(float)
    assert np.allclose(auroc(np.concatenate([labels, values], axis=2)), 1.0)
    assert np.allclose(auroc(np.concatenate([labels, -values], axis=2)), 0.0)
    assert np.allclose(auroc(np.concatenate([labels, np.ones_like(values)], axis=2)), 0.5)
