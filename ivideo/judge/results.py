"""What judging comes to: policies' values, how well they agree with the truth, and what vanished things do to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ivideo.evaluation.statistics import Interval, bootstrap
from ivideo.judge.agreement import Agreement, Bin, agreement, calibration_error, episode_correlation, reliability
from ivideo.judge.judges import Judge
from ivideo.judge.outcomes import Outcome

Variant: TypeAlias = Literal["all dreams", "none lost", "lost as failures", "shuffled actions"]
"""Which dreams count: all; those in which the disc was never lost; all, a lost disc being a failure; those under the
actions of another scene's dream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """One policy's values under one edit, after so many steps; scenes are what the intervals draw again."""

    edit: str
    policy: str
    steps: int
    true: dict[str, Interval]
    judged: dict[str, Interval]
    on_truth: dict[str, Interval]
    """What the judges make of true frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRow:
    """How one judge's values go with one true value."""

    edit: str
    judge: str
    variant: Variant
    truth: str
    steps: int
    found: Agreement
    episodes: Interval
    """Correlation over single tries instead of policies' means."""
    own: bool
    """Whether judge and truth have one unit, so that the bias means something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRow:
    """How often things vanish in dreams, and what judged successes are then worth."""

    edit: str
    steps: int
    dreams: int
    anything: Interval
    """Share of dreams in which something was lost at any time."""
    disc: Interval
    """The same of the disc."""
    false_alarms: Interval
    """Share of true rollouts in which the disc counts as lost, which it never is."""
    successes: int
    """Dreams that were judged a success."""
    lost_successes: Interval
    """Share of them in which the disc was lost."""
    wrong: Interval
    """Share of judged successes that are none in truth."""
    wrong_lost: Interval
    """The same where the disc was lost."""
    wrong_kept: Interval
    """The same where it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityRow:
    """A judge's reliability diagram at the longest horizon."""

    judge: str
    truth: str
    bins: list[Bin]
    error: float
    """Mean distance of bins from the diagonal; where judge and truth have one unit."""


def policy_rows(outcomes: Sequence[Outcome]) -> list[PolicyRow]:
    """A row for every policy, edit and horizon."""
    return [
        PolicyRow(
            edit=each.edit,
            policy=each.policy,
            steps=steps,
            true={name: _mean(each, table[place]) for name, table in each.truth.items()},
            judged={name: _mean(each, table[place]) for name, table in each.scores.items()},
            on_truth={name: _mean(each, table[place]) for name, table in each.on_truth.items()},
        )
        for each in outcomes
        for place, steps in enumerate(each.horizons)
    ]


def agreement_rows(outcomes: Sequence[Outcome], judges: Sequence[Judge]) -> list[AgreementRow]:
    """A row for every judge, true value, horizon and variant; none without a truth, or with a single policy."""
    found = []
    for edit in dict.fromkeys(each.edit for each in outcomes):
        own = [each for each in outcomes if each.edit == edit]
        if len(own) < 2 or not all(each.truth for each in own):
            continue
        for judge in judges:
            for variant in _variants(own, judge):
                found += list(_agreements(own, judge, variant))
    return found


def lost_rows(outcomes: Sequence[Outcome]) -> list[LostRow]:
    """A row for every edit and horizon; none where nothing is looked for."""
    found = []
    for edit in dict.fromkeys(each.edit for each in outcomes):
        own = [each for each in outcomes if each.edit == edit and each.lost is not None]
        found += [_lost_row(own, place) for place in range(len(own[0].horizons))] if own else []
    return found


def reliability_rows(outcomes: Sequence[Outcome], judges: Sequence[Judge]) -> list[ReliabilityRow]:
    """Reliability of every judge at the longest horizon, without edits."""
    own = [each for each in outcomes if each.edit == outcomes[0].edit and each.truth]
    rows = []
    for judge in judges if own else []:
        truth = judge.counterpart or "success"
        judged = np.concatenate([each.scores[judge.name][-1] for each in own])
        bins = reliability(judged, np.concatenate([each.truth[truth][-1] for each in own]))
        error = calibration_error(bins) if judge.counterpart else float("nan")
        rows.append(ReliabilityRow(judge=judge.name, truth=truth, bins=bins, error=error))
    return rows


def compared_with(judge: Judge) -> list[str]:
    """The true values that a judge is compared with: its own, then success and the return."""
    return list(dict.fromkeys(name for name in (judge.counterpart, "success", "return") if name))


# --------------------------------------------------------------------------------------------------------- within


def _variants(own: Sequence[Outcome], judge: Judge) -> Iterator[Variant]:
    yield "all dreams"
    if all(each.lost is not None for each in own):
        yield "none lost"
        if judge.counterpart == "success":
            yield "lost as failures"
    if all(each.shuffled for each in own):
        yield "shuffled actions"


def _agreements(own: Sequence[Outcome], judge: Judge, variant: Variant) -> Iterator[AgreementRow]:
    for place, steps in enumerate(own[0].horizons):
        tries = [_scores(each, judge.name, variant)[place] for each in own]
        judged = np.stack([each.per_scene(values) for each, values in zip(own, tries, strict=True)])
        for truth in compared_with(judge):
            true = np.stack([each.per_scene(each.truth[truth][place]) for each in own])
            yield AgreementRow(
                edit=own[0].edit,
                judge=judge.name,
                variant=variant,
                truth=truth,
                steps=steps,
                found=agreement(judged, true),
                episodes=episode_correlation(judged, true),
                own=truth == judge.counterpart,
            )


def _scores(each: Outcome, judge: str, variant: Variant) -> NDArray[np.float64]:
    if variant == "shuffled actions":
        return each.shuffled[judge]
    scores = each.scores[judge]
    if variant == "none lost":
        return np.where(each.disc_lost(), np.nan, scores)
    return np.where(each.disc_lost(), 0.0, scores) if variant == "lost as failures" else scores


def _lost_row(own: Sequence[Outcome], place: int) -> LostRow:
    def joined(parts: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
        return np.concatenate([np.zeros(0), *(part.astype(np.float64) for part in parts)])

    lost = joined([each.lost[place].any(axis=1) for each in own if each.lost is not None])
    disc = joined([each.disc_lost()[place] for each in own])
    alarms = joined([each.lost_in_truth[place, :, 1] for each in own if each.lost_in_truth is not None])
    arrived = joined([each.arrived[place] for each in own if each.arrived is not None]) > 0.5
    known = all(each.truth for each in own)
    truly = np.concatenate([each.truth["success"][place] for each in own]) if known else np.full(len(lost), np.nan)
    wrong = np.where(np.isnan(truly), np.nan, 1.0 - truly)
    return LostRow(
        edit=own[0].edit,
        steps=own[0].horizons[place],
        dreams=len(lost),
        anything=bootstrap(lost[:, None]),
        disc=bootstrap(disc[:, None]),
        false_alarms=bootstrap(alarms[:, None]),
        successes=int(arrived.sum()),
        lost_successes=bootstrap(disc[arrived][:, None]),
        wrong=bootstrap(wrong[arrived][:, None]) if known else _UNKNOWN,
        wrong_lost=bootstrap(wrong[arrived & (disc > 0.5)][:, None]) if known else _UNKNOWN,
        wrong_kept=bootstrap(wrong[arrived & (disc < 0.5)][:, None]) if known else _UNKNOWN,
    )


_UNKNOWN = Interval(value=float("nan"), low=float("nan"), high=float("nan"))


def _mean(each: Outcome, values: Float[np.ndarray, " b"]) -> Interval:
    return bootstrap(each.per_scene(values)[:, None])
