"""Of every layout, damaged episodes are named and left out, and the others are used as if these had never been."""

import re
from pathlib import Path

import pytest
import torch
from damaged_files import GOOD, LAYOUTS, fill

from ivideo.data import SegmentSampler, open_episodes
from ivideo.data.conversion import Conversion, convert


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_damaged_episodes_are_named_and_all_others_used(tmp_path: Path, layout: str) -> None:
    raw, clean = tmp_path / "raw", tmp_path / "clean"
    damage = fill(layout, raw, clean)
    share = len(damage) / (GOOD + len(damage))
    opened = open_episodes(raw, size=16, max_damaged=share)
    wanted = Conversion(
        source=str(raw), out=str(tmp_path / "out"), size=16, workers=1, max_damaged=share, episodes_per_shard=7
    )
    expected = open_episodes(clean, size=16)
    assert len(expected) == GOOD
    for store in (opened, convert(wanted)):
        left_out = {re.findall(r"\d{5}", each.name)[0]: each.reason for each in store.damaged}
        assert {number: damage[number] for number in left_out} == damage
        assert len(store.damaged) == len(damage)
        assert all(number in reason for number, reason in left_out.items())
        assert store.names == expected.names
        for step in range(2):
            mine, theirs = (SegmentSampler(each, frames=4, seed=2).batch(step, 16) for each in (store, expected))
            for name in ("frames", "actions", "rewards", "terminals", "mask"):
                one, other = getattr(mine, name), getattr(theirs, name)
                assert (one is None and other is None) or torch.equal(one, other), name
    with pytest.raises(ValueError, match=rf"{len(damage)} of {GOOD + len(damage)} episodes cannot be used"):
        open_episodes(raw, size=16, max_damaged=share - 0.01)
