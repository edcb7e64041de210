"""What an episode accepts."""

import jaxtyping
import pytest
import torch

from ivideo import Batch, Episode

FRAMES = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)


def test_actions_and_rewards_lie_between_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    episode = Episode(frames=FRAMES, actions=torch.zeros(3, 2), rewards=torch.zeros(3))
    assert len(episode) == 4
    with pytest.raises(ValueError, match=r"episode 'walk': 4 actions beside 4 frames"):
        Episode(frames=FRAMES, actions=torch.zeros(4, 2), name="walk")


def test_values_must_be_finite() -> None:
    with pytest.raises(ValueError, match="rewards hold NaN"):
        Episode(frames=FRAMES, rewards=torch.tensor([0.0, float("nan"), 1.0]))


def test_batches_move_whole() -> None:
    batch = Batch(frames=FRAMES[None], actions=torch.zeros(1, 3, 2)).to("meta")
    assert batch.frames.is_meta
    assert batch.actions is not None
    assert batch.actions.is_meta
    assert batch.rewards is None
