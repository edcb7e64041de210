"""Rollouts take the memory that was computed before, and what cannot fit is refused before it starts."""

from pathlib import Path

import pytest
import torch
from tiny_rollouts import OPTIONS, build, clip, run

from ivideo import memory
from ivideo.world_model import WorldModel


@pytest.fixture
def model() -> WorldModel:
    return build(OPTIONS[0], heads=True)


@pytest.mark.parametrize("branches", [1, 50])
def test_a_fork_takes_what_was_computed(model: WorldModel, branches: int) -> None:
    state = model.start(clip(2, 1)).fork(branches, frames=4) if branches > 1 else model.start(clip(2, 1), room=4)
    state = run(model, state, None, 4)
    assert state.cache.nbytes == memory.cache_bytes(model, contexts=1, branches=branches, frames=4)


def test_rows_with_contexts_of_their_own(model: WorldModel) -> None:
    state = run(model, model.start(clip(2, 3), room=4), None, 4)
    assert state.cache.nbytes == memory.cache_bytes(model, contexts=3, branches=3, frames=4)


def test_only_as_many_frames_as_are_remembered(model: WorldModel) -> None:
    long, longest = (memory.cache_bytes(model, contexts=1, branches=1, frames=n) for n in (model.max_frames, 500))
    assert long == longest


@pytest.mark.parametrize("samples", [3, 10_000])
def test_a_prediction_that_cannot_fit_is_refused(
    model: WorldModel, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs(count: int) -> int:
        return memory.rollout_bytes(model, contexts=1, branches=count, frames=4)

    monkeypatch.setattr(memory, "available", lambda device: needs(2))
    with pytest.raises(ValueError, match=rf"{samples:,} futures of 4 frames would take .* free: 2 would fit"):
        model.predict(clip(2, 1)[0], frames=4, samples=samples)
    assert len(model.predict(clip(2, 1)[0], frames=4, samples=2)) == 2
    monkeypatch.setattr(memory, "available", lambda device: 0)
    with pytest.raises(ValueError, match="ask for fewer frames"):
        model.predict(clip(2, 1)[0], frames=4)


def test_branches_that_cannot_fit_are_refused(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    state = model.start(clip(2, 1)).fork(1000)
    monkeypatch.setattr(memory, "available", lambda device: 100_000)
    with pytest.raises(
        ValueError, match=r"1,000 futures of 1 frame would take 1.3 MB .* 0.1 MB are free: 78 would fit"
    ):
        model.step(state, decode=False)
    with pytest.raises(ValueError, match=r"40 futures of 19 frames would take"):
        model.start(clip(2, 40), room=19)


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = memory.available(torch.device("cpu"))
    assert free is None or free > 0
    for name, text in {"max": "5000", "current": "3000", "stat": "file 70\ninactive_file 64"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.available(torch.device("cpu")) == 2064
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available(torch.device("cpu")) != 2064


def test_pixels_come_the_same_in_parts(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    state = run(model, model.start(clip(2)).fork(3), None, 4)
    whole = model.frames(state)
    for at_once in (4, 6, 7):
        monkeypatch.setitem(memory.DECODED_AT_ONCE, "cpu", at_once)
        assert torch.equal(model.frames(state), whole)
    assert model.frames(state, slice(0, 0)).shape == (6, 0, 3, 32, 32)
