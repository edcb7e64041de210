"""Teacher forcing: reading a frame is what drawing it would be, and the cost of true tokens is the training loss."""

from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import torch
from tiny_cases import FRAMES, case_for, codes_of, free, part
from tiny_rollouts import GREEDY, OPTIONS, build
from tiny_text import SIZE, save_text_encoder

from ivideo.embedding import EmbeddingConfig
from ivideo.embodiments import Domain
from ivideo.episode import Batch
from ivideo.evaluation.measures.drift import agreement, drift, teacher_forced
from ivideo.evaluation.measures.forcing import read
from ivideo.evaluation.measures.likelihood import (
    PER_CLIP,
    PER_CLIP_MARKED,
    PER_FRAME,
    PER_FRAME_MARKED,
    SAVED,
    likelihood,
    nats,
    perplexity,
)
from ivideo.evaluation.measures.reconstruction import ceiling
from ivideo.evaluation.measures.truth import see, steps
from ivideo.evaluation.series import PREDICTION, SHUFFLED, figure
from ivideo.instructions import TextConfig
from ivideo.rollout import pixels
from ivideo.state import Branch
from ivideo.world_model import WorldModel
from transformer import Sampling

DRAWN = Sampling(temperature=1.0, top_k=5)
DOMAINS = EmbeddingConfig(domains=(Domain(name="arm", action_dim=2), Domain(name="base", action_dim=3)))


def short_memory(embedding: EmbeddingConfig, frames: int = 2) -> WorldModel:
    model = build(embedding)
    model.config = replace(model.config, remember=frames)
    return model


MODELS = {
    **{f"option {place}": partial(build, option, heads=True) for place, option in enumerate(OPTIONS)},
    "forgetful": partial(short_memory, OPTIONS[3]),
    "without memory": partial(short_memory, OPTIONS[1], frames=1),
    "goal": partial(build, OPTIONS[3], goal=True),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("guidance", [0.0, 1.5])
@torch.inference_mode()
def test_reading_imagined_frames_is_imagining_them(name: str, guidance: float) -> None:
    model = MODELS[name]()
    case = case_for(model)
    if guidance and not model.action_dim:
        return
    truth = see(model, case, seed=3)
    codes = codes_of(model, free(model, case, truth, sampling=DRAWN, guidance=guidance))
    state = truth.start
    if guidance:
        state = replace(state, untold=Branch(cache=state.cache, unread=None))
    for place, action in enumerate(steps(model, case, case.actions)):
        _, seen = model.step(state, action, decode=False, sampling=DRAWN, guidance=guidance)
        assert torch.equal(seen.codes, codes[:, place])
        state, _ = read(model, state, codes[:, place], action)


@pytest.mark.parametrize("name", MODELS)
def test_the_nats_of_imagined_frames_are_what_steps_report(name: str) -> None:
    model = MODELS[name]()
    case = case_for(model)
    truth = see(model, case)
    state, reported = truth.start, []
    for action in steps(model, case, case.actions):
        state, seen = model.step(state, action, decode=False)
        reported.append(seen.log_likelihood)
    found = nats(model, case, replace(truth, codes=codes_of(model, state)), case.actions)
    torch.testing.assert_close(found.codes, -torch.stack(reported, dim=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("option", "full", "goal"),
    [*product(OPTIONS, [True, False], [False]), *product(OPTIONS[3:4], [True, False], [True])],
)
def test_cross_entropy_is_the_training_loss(option: EmbeddingConfig, full: bool, goal: bool) -> None:
    model = build(option, full=full, goal=goal)
    case = case_for(model)
    series = {(each.quantity, each.source): each for each in likelihood(model, case, see(model, case))}
    frames, actions = case.frames, case.actions
    if goal:  # in the order of training: the goal in front, and no step from it to the present
        frames = torch.cat([frames[:, -1:], frames], dim=1)
        actions = torch.cat([torch.zeros_like(actions[:, :1]), actions], dim=1)
    batch = Batch(frames=frames, actions=actions if model.action_dim else None)
    with torch.no_grad():
        expected = model.token_loss(model.tokenize(batch))[1]["cross_entropy"]
    quantity = PER_CLIP_MARKED if full else PER_CLIP
    torch.testing.assert_close(series[quantity, PREDICTION].values.mean(), expected, rtol=1e-4, atol=1e-5)
    tokens = model.layout.dynamics_tokens
    marked = series[PER_FRAME_MARKED, PREDICTION].values
    if not full:  # a marker that is never predicted counts as a target of 0 nats
        share = torch.tensor([1.0] + [tokens / (tokens + 1)] * (FRAMES - 1))
        torch.testing.assert_close(marked, series[PER_FRAME, PREDICTION].values * share[:, None])
    else:
        assert (marked[:, 0] > series[PER_FRAME, PREDICTION].values[:, 0]).all(), "more ids to choose from cost more"


def test_only_a_model_that_listens_is_asked_about_wrong_actions() -> None:
    for option in OPTIONS:
        model = build(option)
        case = case_for(model)
        series = likelihood(model, case, see(model, case), wrong=case.actions.roll(1, dims=0))
        found = {(each.quantity, each.source): each.values for each in series}
        assert ((PER_FRAME, SHUFFLED) in found) == bool(model.action_dim)
        if model.action_dim:
            gap = found[PER_FRAME, SHUFFLED] - found[PER_FRAME, PREDICTION]
            assert torch.equal(found[SAVED, f"over {SHUFFLED}"], gap)
            assert gap.abs().min() > 0
        else:
            assert nats(model, case, see(model, case), None).codes.equal(
                nats(model, case, see(model, case), case.actions).codes
            )


def test_perplexity_is_the_power_of_the_mean() -> None:
    model = build(OPTIONS[1])
    case = case_for(model)
    for each in likelihood(model, case, see(model, case)):
        entropy = figure(each)
        found = perplexity(entropy)
        assert found.quantity.startswith("Perplexity")
        assert "nats" not in found.quantity
        assert found.values[0].value == pytest.approx(float(torch.tensor(entropy.values[0].value).exp()), rel=1e-5)
        assert found.values[0].low < found.values[0].value < found.values[0].high


@pytest.mark.parametrize(("name", "sampling"), [*((name, DRAWN) for name in MODELS), ("option 3", GREEDY)])
def test_teacher_forced_frames_follow_from_true_ones(name: str, sampling: Sampling) -> None:
    model = MODELS[name]()
    case = case_for(model)
    truth = see(model, case, seed=9)
    forced = teacher_forced(model, case, truth, sampling=sampling)
    told = steps(model, case, case.actions)
    for place in range(truth.frames):  # each frame from a start of its own
        state = see(model, case, seed=9).start
        for earlier in range(place):
            state, _ = read(model, state, truth.codes[:, earlier], told[earlier])
        _, seen = model.step(state, told[place], sampling=sampling)
        assert torch.equal(forced.codes[:, place], seen.codes)
        assert ((forced.frames[:, place - truth.frames].int() - seen.frame.int()).abs() <= 1).all()
    context = case.frames.shape[1] - truth.frames
    assert torch.equal(forced.frames[:, :context], case.frames[:, :context])


def test_the_first_teacher_forced_frame_is_the_first_imagined_one_and_drift_begins_at_zero() -> None:
    model = build(OPTIONS[3])
    case = case_for(model)
    truth = see(model, case, seed=9)
    imagined = free(model, case, truth, sampling=DRAWN)
    forced = teacher_forced(model, case, truth, sampling=DRAWN)
    assert torch.equal(forced.codes[:, 0], codes_of(model, imagined)[:, 0])
    assert not torch.equal(forced.codes, codes_of(model, imagined))
    made = torch.cat([case.frames[:, :2], model.frames(imagined)], dim=1)
    for each in drift(case.frames, made, forced.frames, 2):
        assert (each.values[:, 0] == 0).all()
        assert (each.values[:, 1:] != 0).any()
    better = drift(case.frames, made, case.frames, 2)
    assert all((each.values > 0).all() for each in better)


def test_guided_frames_are_teacher_forced_as_they_are_imagined() -> None:
    model = build(OPTIONS[3])
    case = case_for(model)
    truth = see(model, case)
    forced = teacher_forced(model, case, truth, sampling=GREEDY, guidance=1.5)
    imagined = codes_of(model, free(model, case, truth, guidance=1.5))
    assert torch.equal(forced.codes[:, 0], imagined[:, 0])
    own = replace(truth, codes=imagined)
    assert torch.equal(teacher_forced(model, case, own, sampling=GREEDY, guidance=1.5).codes, imagined)


def test_one_truth_serves_every_measurement_and_rollouts_in_the_middle_of_them() -> None:
    model = build(OPTIONS[3])
    case = case_for(model)
    truth = see(model, case)
    alone, state = see(model, case).start, truth.start
    measured = []
    for action in steps(model, case, case.actions):
        alone, expected = model.step(alone, action, decode=False)
        state, seen = model.step(state, action, decode=False)  # comes first, and so owns what it goes on from
        assert torch.equal(seen.log_likelihood, expected.log_likelihood)
        forced = teacher_forced(model, case, truth, sampling=GREEDY)
        measured.append([forced.codes, *(each.values for each in likelihood(model, case, truth))])
    for again in measured[1:]:
        assert all(torch.equal(one, other) for one, other in zip(measured[0], again, strict=True))


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_clips_are_measured_the_same_in_batches_of_any_size(sampling: Sampling) -> None:
    model = build(OPTIONS[3])
    case = case_for(model, clips=4)

    def measured(cases: list[tuple[int, object]]) -> list[torch.Tensor]:
        parts = []
        for seed, each in cases:
            truth = see(model, each, seed=seed)
            forced = teacher_forced(model, each, truth, sampling=sampling)
            series = likelihood(model, each, truth, wrong=-each.actions) + agreement(truth, {"forced": forced.codes})
            parts.append([*(one.values for one in series), ceiling(model, truth), forced.frames])
        return [torch.cat(values) for values in zip(*parts, strict=True)]

    whole = measured([(0, case)])
    halves = measured([(0, part(case, slice(0, 2))), (2, part(case, slice(2, 4)))])
    for one, other in zip(whole, halves, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("plain", [True, False])
def test_the_ceiling_is_what_the_tokenizer_restores(plain: bool) -> None:
    model = build(OPTIONS[1], plain=plain)
    case = case_for(model, clips=3)
    found = ceiling(model, see(model, case))
    tokenizer = model.tokenizer
    with torch.inference_mode():
        context = tokenizer.encode_context(case.frames[:, :2])
        later = tokenizer.decode_frames(tokenizer.encode_frames(case.frames[:, 2:], context), context)
        expected = pixels(torch.cat([tokenizer.decode_context(context), later], dim=1))
    assert found.shape == case.frames.shape
    assert ((found.int() - expected.int()).abs() <= 1).all()
    goal = build(OPTIONS[1], plain=plain, goal=True)
    case = case_for(goal, clips=3)
    assert ceiling(goal, see(goal, case)).shape == case.frames.shape


def test_a_domain_is_named_to_a_model_that_knows_several() -> None:
    model = build(DOMAINS)
    case = case_for(model, domain="base")
    found = nats(model, case, see(model, case), case.actions)
    narrow = replace(case, actions=case.actions[..., :2], domain="arm")
    assert not torch.equal(found.codes, nats(model, narrow, see(model, narrow), narrow.actions).codes)
    with pytest.raises(ValueError, match=r"an action has 3 values; domain arm takes 2"):
        nats(model, case, see(model, replace(case, domain="arm")), case.actions)


def test_instructions_are_read_to_a_model_that_reads_any(tmp_path: Path) -> None:
    model = build(EmbeddingConfig(text=TextConfig(encoder=save_text_encoder(tmp_path / "t5"), size=SIZE)))
    case = case_for(model, instructions=("push the red block", "pick the can"))
    found = [nats(model, each, see(model, each), None) for each in (case, replace(case, instructions=("pick",) * 2))]
    assert not torch.equal(found[0].codes, found[1].codes)
    deaf = build(OPTIONS[0])
    assert nats(deaf, case, see(deaf, case), None).codes.isfinite().all()


def test_clips_without_a_future_are_refused() -> None:
    model = build(OPTIONS[0])
    with pytest.raises(ValueError, match="clips of 2 frames leave nothing to imagine after 2"):
        see(model, case_for(model, frames=0))
