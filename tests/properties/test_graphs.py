"""Frames that are replayed on fixed memory are the frames that are drawn.

A stand-in for CUDA's graphs runs the recorded work again on the memory it was recorded on. What it cannot show is that
a GPU can record the work; `tests/benchmarks/gpu_rollouts.py` says that where there is one.
"""

import copy
import gc
import pickle

import pytest
import torch
from tiny_rollouts import OPTIONS, actions_for, build, clip

from ivideo.graphs import FrameGraphs, Work
from ivideo.state import RolloutState
from ivideo.world_model import WorldModel
from transformer import Sampling

SAMPLING = Sampling(temperature=1.0, top_k=20)


class Rerun:
    """Runs work again where it was recorded: results lie where they lay, and nothing else is read anew."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0

    def __call__(self, work: Work) -> Work:
        results = work()
        self.recorded += 1

        def replay() -> tuple[torch.Tensor, ...]:
            self.replayed += 1
            for old, new in zip(results, work(), strict=True):
                old.copy_(new)
            return results

        return replay


def pair(option: int = 3, **options: object) -> tuple[WorldModel, WorldModel, Rerun]:
    """The same model twice, the second with graphs."""
    plain, record = build(OPTIONS[option], **options), Rerun()
    replayed = copy.deepcopy(plain)
    replayed.graphs = FrameGraphs(replayed, record)
    return plain, replayed, record


def go(model: WorldModel, state: RolloutState, frames: int, decode: bool = True) -> tuple[RolloutState, list[object]]:
    actions, seen = actions_for(model, frames, state.batch), []
    for index in range(frames):
        action = None if actions is None else actions[:, index]
        state, prediction = model.step(state, action, decode=decode, sampling=SAMPLING)
        seen.append(prediction)
    return state, seen


def same(left: list[object], right: list[object]) -> None:
    for one, other in zip(left, right, strict=True):
        for name in ("frame", "codes", "reward", "terminal", "log_likelihood", "earlier_reward"):
            a, b = getattr(one, name), getattr(other, name)
            assert (a is None) == (b is None), name
            if a is not None:
                torch.testing.assert_close(a, b, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(("option", "heads"), [(option, option % 2 == 1) for option in range(len(OPTIONS))])
def test_replayed_frames_are_the_drawn_ones(option: int, heads: bool) -> None:
    plain, replayed, record = pair(option, heads=heads)
    for seed in (3, 4):  # the second rollout finds what the first has recorded
        same(*(go(model, model.start(clip(2, seed=seed), seed=seed), 3)[1] for model in (plain, replayed)))
    assert record.recorded == 3 + 1  # three positions, and pixels
    assert record.replayed == 2 * record.recorded + 4  # pixels: six times


def test_branches_of_other_contexts_find_the_same_recordings() -> None:
    plain, replayed, record = pair(heads=True)
    for seed in (1, 2):
        same(*(go(m, m.start(clip(2, seed=seed)[:1]).fork(4, frames=3), 3)[1] for m in (plain, replayed)))
    assert record.recorded == 3 + 1


def test_rollouts_take_turns_and_old_states_stay_valid() -> None:
    plain, replayed, _ = pair(heads=True)

    def turns(model: WorldModel) -> list[object]:
        left, right = (model.start(clip(2, seed=seed), seed=seed) for seed in (1, 2))
        left, seen = go(model, left, 2)
        right, more = go(model, right, 1)
        old = left
        left, again = go(model, left, 2)
        _, twice = go(model, old, 2)
        right, last = go(model, right, 2)
        _, other = go(model, left.fork(2), 1)
        return seen + more + again + twice + last + other

    same(turns(plain), turns(replayed))


def test_a_rollout_longer_than_the_model_remembers() -> None:
    plain, replayed, record = pair(heads=True, remember=4)
    same(*(go(model, model.start(clip(2)), 12)[1] for model in (plain, replayed)))
    assert record.recorded <= 4 + 2  # four positions; two more where what is kept begins without an unread token


def test_weights_that_moved_are_recorded_anew() -> None:
    plain, replayed, record = pair()
    go(replayed, replayed.start(clip(2)), 2)
    before = record.recorded
    with torch.no_grad():  # in place, as an optimizer changes them: the recordings are good
        for model in (plain, replayed):
            for parameter in model.transformer.parameters():
                parameter.mul_(0.9)
    same(*(go(model, model.start(clip(2)), 2)[1] for model in (plain, replayed)))
    assert record.recorded == before
    replayed.transformer.norm.weight = torch.nn.Parameter(replayed.transformer.norm.weight.detach().clone())
    same(*(go(model, model.start(clip(2)), 2)[1] for model in (plain, replayed)))
    assert record.recorded == 2 * before


def test_logits_that_are_no_numbers_are_refused() -> None:
    _, replayed, _ = pair()
    state, _ = go(replayed, replayed.start(clip(2)), 1)
    with torch.no_grad():
        replayed.transformer.norm.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN or infinite"):
        go(replayed, state, 1)


def test_copies_have_no_graphs() -> None:
    _, replayed, _ = pair()
    assert copy.deepcopy(replayed).graphs is None
    assert pickle.loads(pickle.dumps(replayed.graphs)) is None


def test_buffers_of_shapes_long_unused_are_given_back() -> None:
    _, replayed, _ = pair()
    for batch in range(1, 7):
        go(replayed, replayed.start(clip(2, batch=batch)), 1)
    gc.collect()
    assert len(replayed.graphs._seated) == 4


def test_on_a_processor_there_are_none() -> None:
    with pytest.raises(ValueError, match="graphs are for CUDA"):
        FrameGraphs.of(build(OPTIONS[0]))
