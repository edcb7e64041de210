"""Repetition, agreement, codebooks, action variants and surprise, on values whose figures are known beforehand."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_cases import case_for, codes_of, free
from tiny_rollouts import OPTIONS, build

from ivideo.evaluation.measures.action_variants import HELD, LATE, RANDOM, TRIPLED, ZERO, outliers, variants
from ivideo.evaluation.measures.codebook import CodeCounts, code_counts, codebook, unigram
from ivideo.evaluation.measures.collected import Collected
from ivideo.evaluation.measures.drift import agreement
from ivideo.evaluation.measures.following import differing, effects
from ivideo.evaluation.measures.likelihood import nats
from ivideo.evaluation.measures.repetition import repetition
from ivideo.evaluation.measures.truth import TRUTH, Truth, see
from ivideo.evaluation.measures.uncertainty import entropies, signs, uncertainty
from ivideo.evaluation.series import COPY, PREDICTION, Series, figure


def truth_of(codes: torch.Tensor, before: torch.Tensor) -> Truth:
    """A truth of these codes; what it would start from is of no account."""
    model = build(OPTIONS[0])
    return replace(see(model, case_for(model)), codes=codes, before=before)


def values(series: list[Series]) -> dict[tuple[str, str], list[float]]:
    return {(each.quantity, each.source): [v.value for v in figure(each, resamples=20).values] for each in series}


def test_repeated_frames_and_unchanged_tokens() -> None:
    before = torch.tensor([[1, 1], [2, 2]])
    true = torch.tensor([[[1, 1], [1, 3], [1, 3]], [[2, 4], [5, 5], [5, 5]]])
    imagined = torch.tensor([[[1, 1], [1, 1], [1, 2]], [[2, 2], [2, 3], [2, 3]]])
    found = values(repetition(truth_of(true, before), {PREDICTION: imagined}))
    assert found["Frames repeated, %", PREDICTION] == [100, 50, 50]
    assert found["Frames repeated, %", TRUTH] == [50, 0, 100]
    assert found["Tokens unchanged, %", PREDICTION] == [100, 75, 75]
    assert found["Tokens unchanged, %", TRUTH] == [75, 25, 100]
    assert found["Repetition rate, %", PREDICTION] == pytest.approx([200 / 3])
    assert found["Repetition rate, %", TRUTH] == pytest.approx([50])
    wrongly = found["Frames repeated wrongly, %", PREDICTION]
    assert wrongly[:2] == [100, 50]
    assert math.isnan(wrongly[2]), "nothing truly changes at the last frame"
    assert ("Frames repeated wrongly, %", TRUTH) not in found


def test_agreement_counts_only_tokens_that_truly_change() -> None:
    before = torch.tensor([[1, 1], [2, 2]])
    true = torch.tensor([[[1, 3], [1, 1]], [[4, 5], [4, 2]]])
    imagined = torch.tensor([[[9, 3], [1, 3]], [[4, 2], [9, 2]]])
    truth = truth_of(true, before)
    copied = truth.previous
    assert torch.equal(copied, torch.tensor([[[1, 1], [1, 3]], [[2, 2], [4, 5]]]))
    found = values(agreement(truth, {PREDICTION: imagined, "previous": copied, "truth": true}))
    name = "Agreement on tokens that change, %"
    assert found[name, PREDICTION] == pytest.approx([200 / 3, 50]), "changing tokens weigh the same in all clips"
    assert found[name, "previous"] == [0, 0]
    assert found[name, "truth"] == [100, 100]
    assert found[name, COPY] == [0, 100], "the last tokens are what they were before"


def test_code_counts_of_known_frequencies() -> None:
    even = CodeCounts.of(torch.tensor([[0, 1], [2, 3]]), 8)
    assert (even.total, even.usage) == (4, 0.5)
    assert even.perplexity == pytest.approx(4)
    assert even.entropy == pytest.approx(math.log(4))
    both = even + CodeCounts.of(torch.tensor([0, 0, 0, 0]), 8)
    assert both.counts.tolist() == [5, 1, 1, 1, 0, 0, 0, 0]
    shares = [5 / 8, 1 / 8, 1 / 8, 1 / 8]
    assert both.entropy == pytest.approx(-sum(share * math.log(share) for share in shares))
    nothing = CodeCounts.of(torch.empty(0, dtype=torch.long), 8)
    assert nothing.usage == 0
    assert math.isnan(nothing.perplexity)
    assert unigram("Cross-entropy, nats per token", even).values[0].value == even.entropy


def test_codes_are_counted_where_they_come_from() -> None:
    model = build(OPTIONS[0])
    case = case_for(model, clips=3)
    truth = see(model, case)
    counts = code_counts(model, truth, truth.codes[:, :1])
    clips, later, frames = 3, 4, 4
    assert [(name, each.total, len(each.counts)) for name, each in counts.items()] == [
        ("context codes", clips * 2 * 16, 16),
        ("dynamics codes", clips * frames * later, 24),
        ("imagined codes", clips * later, 24),
    ]
    found = codebook(counts)
    assert [each.quantity for each in found] == ["Codes in use, %"] * 3 + ["Perplexity of codes"] * 3
    assert all(each.per == "set" for each in found)
    assert found[1].values[0].value == pytest.approx(100 * len(truth.codes.unique()) / 24)


@pytest.mark.parametrize("context", [1, 2, 3])
def test_action_variants_leave_what_led_to_the_context(context: int) -> None:
    actions = torch.arange(1.0, 11.0).reshape(1, 5, 2)
    found = variants(actions, context)
    first = context - 1
    for each in found.values():
        assert torch.equal(each[:, :first], actions[:, :first])
        assert each.shape == actions.shape
    assert (found[ZERO][:, first:] == 0).all()
    assert (found[HELD][:, first:] == actions[:, first]).all()
    assert torch.equal(found[LATE][:, first + 1 :], actions[:, first:-1])
    assert torch.equal(found[LATE][:, first], actions[:, max(first - 1, 0)])


def test_random_actions_belong_to_a_clip_and_fill_the_range() -> None:
    actions, names = torch.zeros(40, 6, 2), tuple(f"clip {index}" for index in range(40))
    low, high = torch.tensor([-1.0, 10.0]), torch.tensor([1.0, 30.0])
    found = outliers(actions + 1, 2, names=names, low=low, high=high, seed=3)
    drawn = found[RANDOM][:, 1:]
    assert ((drawn >= low) & (drawn <= high)).all()
    assert (drawn.amin((0, 1)) < low + 0.1 * (high - low)).all()
    assert (drawn.amax((0, 1)) > high - 0.1 * (high - low)).all()
    assert (found[TRIPLED][:, 1:] == 3).all()
    assert all((each[:, :1] == 1).all() for each in found.values())
    part = outliers(actions[:2] + 1, 2, names=names[5:7], low=low, high=high, seed=3)
    assert torch.equal(part[RANDOM], found[RANDOM][5:7]), "whatever else is in the batch"
    other = outliers(actions + 1, 2, names=names, low=low, high=high, seed=4)
    assert not torch.equal(other[RANDOM], found[RANDOM])


@pytest.mark.parametrize("option", OPTIONS)
def test_only_a_model_that_takes_actions_answers_to_them(option: object) -> None:
    model = build(option)
    case = case_for(model)
    truth = see(model, case)
    states = {name: free(model, case, truth, each) for name, each in variants(case.actions, 2).items()}
    states[PREDICTION] = free(model, case, truth)
    videos = {name: torch.cat([case.frames[:, :2], model.frames(state)], dim=1) for name, state in states.items()}
    far, other = (
        effects(case.frames, videos, 2),
        differing({name: codes_of(model, state) for name, state in states.items()}),
    )
    for each in [*far, *other]:
        if each.source == f"{TRUTH} against {COPY}":
            assert (each.values > 10).all()
        elif not model.action_dim:
            assert (each.values == 0).all()
        elif HELD in each.source:
            assert (each.values[:, 0] == 0).all(), "the first action is the same"


def test_distances_are_in_levels() -> None:
    truth = torch.zeros(1, 3, 3, 4, 4, dtype=torch.uint8)
    truth[:, 2] = 30
    found = values(effects(truth, {PREDICTION: truth, ZERO: truth + 7}, 1))
    assert found["Distance, RMS levels", f"{PREDICTION} against {ZERO}"] == [7, 7]
    assert found["Distance, RMS levels", f"{TRUTH} against {COPY}"] == [0, 30]
    codes = torch.tensor([[[1, 2]], [[3, 4]]])
    tokens = values(differing({PREDICTION: codes, ZERO: torch.tensor([[[1, 2]], [[3, 9]]])}))
    assert tokens == {("Tokens that differ, %", f"{PREDICTION} against {ZERO}"): [25]}


@pytest.mark.parametrize("sign", ["surprise", "entropy"])
def test_signs_that_go_with_errors_and_know_what_is_strange(sign: str) -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(30, 4, 3, 2, 2, dtype=torch.uint8)
    error = torch.randint(1, 200, (30, 3), generator=generator)
    predicted = truth.clone()
    predicted[:, 1:] = error[:, :, None, None, None].to(torch.uint8)
    own = error.float()
    asked = {PREDICTION: own, "tripled": own + 500, "same": own, "sure": own - 500}
    given = {"surprise": {PREDICTION: own.flip(0)}, "entropy": {PREDICTION: own.flip(0)}} | {sign: asked}

    def collected(rows: slice) -> Collected:
        cut = {name: {source: each[rows] for source, each in of.items()} for name, of in given.items()}
        return signs(truth[rows], predicted[rows], 1, **cut)

    found = uncertainty(collected(slice(None)), resamples=20)
    figures = {(each.quantity, each.source): each for each in found}
    assert len(figures) == len(found)
    rank = figures[f"Rank correlation of {sign} and error", PREDICTION]
    assert [each.value for each in rank.values] == pytest.approx([1, 1, 1])
    assert figures[f"Rank correlation of {sign} and error of clips", PREDICTION].values[0].value > 0.9
    for name, expected in (("tripled", 1), ("same", 0.5), ("sure", 0), ("chance", 0.5)):
        assert [each.value for each in figures[f"AUROC of {sign}", name].values] == pytest.approx([expected] * 3)
        assert figures[f"AUROC of {sign} of clips", name].values[0].value == pytest.approx(expected)
    parts = [collected(slice(0, 11)), collected(slice(11, 30))]
    assert uncertainty(Collected.joined(parts), resamples=20) == found
    assert sum(each.source == "chance" for each in found) == 2, "no chance where nothing is told apart"


def test_entropy_is_that_of_what_a_step_draws_from() -> None:
    """Of a code book of 24, at most ln 24; a sure step has an entropy near 0, and its surprise is no larger."""
    model = build(OPTIONS[3])
    case = case_for(model)
    truth = see(model, case)
    codes = codes_of(model, free(model, case, truth))
    found = entropies(model, case, truth, codes, case.actions)
    cost = nats(model, case, replace(truth, codes=codes), case.actions).codes / model.layout.dynamics_tokens
    assert ((found > 0) & (found < math.log(24))).all()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
    truth = see(model, case)
    codes = codes_of(model, free(model, case, truth))
    sharper = entropies(model, case, truth, codes, case.actions)
    assert sharper.mean() < found.mean()
    assert not torch.allclose(found, cost, rtol=1e-2)
    with torch.no_grad():
        for parameter in [*model.transformer.parameters(), *model.embedding.parameters()]:
            parameter.zero_()
    level = entropies(model, case, see(model, case), codes, case.actions)
    torch.testing.assert_close(level, torch.full_like(level, math.log(24)))
