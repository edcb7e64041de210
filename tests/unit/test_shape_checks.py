"""The shape checks of test runs are on, and as lenient as mypy."""

import pytest
import torch
from jaxtyping import TypeCheckError

from ivideo import Episode, Sampling


def test_a_wrong_dtype_and_a_wrong_length_are_caught() -> None:
    with pytest.raises(TypeCheckError, match="frames"):
        Episode(frames=torch.zeros(2, 3, 4, 5))  # float, not uint8
    with pytest.raises(TypeCheckError, match="actions"):
        Episode(frames=torch.zeros(2, 3, 4, 5, dtype=torch.uint8), actions=torch.zeros(2, 1))


def test_an_int_may_stand_for_a_float() -> None:
    assert Sampling(temperature=0).temperature == 0
    with pytest.raises(TypeCheckError, match="temperature"):
        Sampling(temperature="0")  # type: ignore[arg-type]
