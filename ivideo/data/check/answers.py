"""Lints that ask whether actions and rewards fit what is seen: lag, scale, sign, and actions of another episode."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ivideo.data.check.digest import Digest
from ivideo.data.check.findings import Finding
from ivideo.data.check.lints import about
from ivideo.data.check.motion import LAGS, Fit, correlation, fit, inner, is_long_enough

_JUDGED = 0.1
_UNEXPLAINED = 0.05
_CLEARLY = 0.7
_AHEAD, _DELAY = 0.8, 0.5
_REWARD = 0.4
_LONG = 20
_SCALE = 2.5
_STRONG = 0.5
_WELL, _NOTHING = 0.6, 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the frames say of the actions and rewards."""

    episodes: int
    actions: Fit | None
    rewards: Fit | None
    findings: list[Finding]


def ask(digests: Sequence[Digest]) -> Answers:
    """Fit actions and rewards on the episodes whose motion was kept, and find what does not fit."""
    moving = [each for each in digests if each.motion and _is_sound(each) and is_long_enough(each.motion.changes)]
    acted = _of_one_width([each for each in moving if each.motion is not None and each.motion.actions is not None])
    findings: list[Finding] = []
    actions = _fit(acted, "actions")
    if actions is not None:
        findings += [*_of_set(actions), *_of_episodes(acted, actions)]
    earned = [each for each in moving if each.motion is not None and each.motion.rewards is not None]
    rewards = _fit(earned, "rewards")
    if rewards is not None:
        findings += _of_rewards(rewards)
    return Answers(episodes=len(acted), actions=actions, rewards=rewards, findings=findings)


def _is_sound(each: Digest) -> bool:
    """Whether the frames can say something: a flat frame changes everything, a clip that stands still nothing."""
    return not each.flat and 2 * each.run.frames < each.frames


def _of_one_width(digests: Sequence[Digest]) -> list[Digest]:
    widths = [each.motion.actions.shape[1] for each in digests if each.motion and each.motion.actions is not None]
    usual = max(set(widths), key=widths.count) if widths else 0
    return [each for each, width in zip(digests, widths, strict=True) if width == usual and width]


def _fit(digests: Sequence[Digest], what: str) -> Fit | None:
    changes, targets = [], []
    for each in digests:
        assert each.motion is not None
        changes.append(each.motion.changes)
        targets.append(_targets(each, what))
    return fit(changes, targets)


def _targets(each: Digest, what: str) -> Float[Tensor, "s k"]:
    assert each.motion is not None
    if what == "actions":
        assert each.motion.actions is not None
        return each.motion.actions
    # A reward belongs to a state: what a change of frames explains is the change of reward.
    assert each.motion.rewards is not None
    return each.motion.rewards.diff(prepend=each.motion.rewards[:1])[:, None]


def _of_set(found: Fit) -> Iterator[Finding]:
    if found.at(found.best) >= _JUDGED and found.best:
        best, own = found.at(found.best), found.at(0)
        left = (1 - best) / max(1 - own, 1e-9)
        said = (
            f"frame changes explain actions {_way(found.best)} with R^2 {best:.2f}, those of their own with {own:.2f}"
        )
        if left <= (_AHEAD if found.best > 0 else _DELAY):
            yield about("action-lag", said)
        elif found.best < 0:
            yield about("action-delay", said)
    scores = found.scores.amax(0)
    for column in (scores < _UNEXPLAINED).nonzero()[:, 0].tolist():
        yield about(
            "action-unexplained", f"dimension {column}: R^2 {max(0.0, float(scores[column])):.2f} at its best lag"
        )


def _of_episodes(digests: Sequence[Digest], found: Fit) -> Iterator[Finding]:
    """Compare every episode's actions with what its frames say by a fit of the others."""
    if found.at(found.best) < _JUDGED:
        return
    scores = found.settled
    judged = scores >= _JUDGED
    usual_score = float(scores.mean())
    strong = scores >= _STRONG
    spread = torch.cat([inner(_targets(each, "actions")) for each in digests]).std(0).clamp(min=1e-9)
    usual = (
        torch.stack(
            [
                _slope(p, inner(_targets(e, "actions"), found.best), spread, judged)
                for e, p in zip(digests, found.predictions, strict=True)
            ]
        )
        .median()
        .clamp(min=0.1)
    )
    for each, predicted in zip(digests, found.predictions, strict=True):
        if len(predicted) < _LONG:
            continue
        own = _targets(each, "actions")
        explained = {lag: _explained(predicted, inner(own, lag), spread, judged) for lag in LAGS}
        best = max(LAGS, key=explained.__getitem__)
        slope = _slope(predicted, inner(own, found.best), spread, judged) / usual
        turned = [
            column
            for column in strong.nonzero()[:, 0].tolist()
            if correlation(predicted[:, column], inner(own, found.best)[:, column]) < -_STRONG
        ]
        if best != found.best and explained[best] >= _STRONG and _left(explained, best, found.best) <= _CLEARLY:
            yield about(
                "action-lag",
                f"actions {_way(best)} fit better: R^2 {explained[best]:.2f}, not {explained[found.best]:.2f}",
                each,
            )
        elif turned:
            yield about("action-sign", f"dimension {', '.join(map(str, turned))} goes against the frames", each)
        elif explained[found.best] >= _STRONG and not 1 / _SCALE <= slope <= _SCALE:
            yield about("action-scale", f"actions are {float(slope):.2g} times what the frames say", each)
        elif usual_score >= _WELL and explained[best] < _NOTHING * usual_score and len(predicted) >= 30:
            yield about(
                "action-foreign",
                f"frames explain R^2 {explained[best]:.2f} of them, {usual_score:.2f} in the set",
                each,
            )


def _of_rewards(found: Fit) -> Iterator[Finding]:
    best = found.at(found.best)
    if found.best and best >= _REWARD and (1 - best) / max(1 - found.at(0), 1e-9) <= _CLEARLY:
        yield about(
            "reward-lag",
            f"frame changes explain rewards {_way(found.best)} with R^2 {best:.2f}, those of their own step with "
            f"{found.at(0):.2f}",
        )


def _way(lag: int) -> str:
    steps = f"{abs(lag)} step{'s' if abs(lag) > 1 else ''}"
    return f"{steps} later" if lag > 0 else f"{steps} earlier" if lag else "of their own step"


def _left(explained: dict[int, float], best: int, usual: int) -> float:
    return (1 - explained[best]) / (1 - explained[usual] + 1e-9)


def _explained(predicted: Tensor, own: Tensor, spread: Tensor, judged: Tensor) -> float:
    """Squared correlation over the dimensions that can be judged, whatever the unit of the episode's actions."""
    a, b = (((values - values.mean(0)) / spread)[:, judged].flatten() for values in (predicted, own))
    return max(0.0, float(correlation(a, b))) ** 2


def _slope(predicted: Tensor, own: Tensor, spread: Tensor, judged: Tensor) -> Float[Tensor, ""]:
    a, b = (((values - values.mean(0)) / spread)[:, judged].flatten() for values in (predicted, own))
    slope: Tensor = (a * b).sum() / a.square().sum().clamp(min=1e-9)
    return slope
