"""All that is known of one policy under one edit: what its dreams were judged, and what was true."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ivideo.evaluation.measures.objects import SHAPES
from ivideo.judge.judges import Judge, arrivals
from ivideo.judge.locating import DISC, Located
from ivideo.judge.rollouts import Rollouts
from ivideo.judge.scenes import by_number
from ivideo.judge.truth import true_values

Table = Float[np.ndarray, "h b"]
"""A number for every horizon and try."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Numbers of one policy's rollouts, for every horizon and try."""

    policy: str
    edit: str
    horizons: tuple[int, ...]
    scenes: tuple[int, ...]
    """Which scene every try is of, counted from 0."""
    scores: Mapping[str, Table]
    """By judge, of dreams."""
    shuffled: Mapping[str, Table] = field(default_factory=dict)
    """The same under the actions that the policy took in the next scene's dream; empty where not asked for."""
    on_truth: Mapping[str, Table] = field(default_factory=dict)
    """By judge, of true frames."""
    truth: Mapping[str, Table] = field(default_factory=dict)
    """True values by name; empty where nothing is known."""
    lost: Bool[np.ndarray, "h b k"] | None = None
    """Which things were lost in a dream at any time; None where nothing is looked for."""
    lost_in_truth: Bool[np.ndarray, "h b k"] | None = None
    """The same of true frames, where nothing vanishes: the false alarms."""
    arrived: Bool[np.ndarray, "h b"] | None = None
    """Whether the disc was seen in the goal of a dream."""

    def per_scene(self, values: Float[np.ndarray, " b"]) -> NDArray[np.float64]:
        """The mean over the tries from each scene, without NaN; NaN where nothing else is."""
        scenes, there = np.array(self.scenes), ~np.isnan(values)
        count = np.bincount(scenes[there], minlength=max(self.scenes) + 1)
        total = np.bincount(scenes[there], weights=values[there], minlength=len(count))
        found: NDArray[np.float64] = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        return found

    def disc_lost(self) -> Bool[np.ndarray, "h b"]:
        """Whether the disc was lost in a dream at any time."""
        assert self.lost is not None
        return self.lost[:, :, DISC]


def outcome(
    edit: str,
    horizons: Sequence[int],
    judges: Sequence[Judge],
    dreams: Rollouts,
    *,
    shuffled: Rollouts | None = None,
    truth: Rollouts | None = None,
) -> Outcome:
    """Judge dreams, and true rollouts beside them, at every horizon."""
    steps = tuple(sorted(horizons))
    fair = [judge for judge in judges if judge.judges_truth]
    return Outcome(
        policy=dreams.policy,
        edit=edit,
        horizons=steps,
        scenes=tuple(by_number(dreams.scenes)),
        scores=_scores(judges, dreams, steps),
        shuffled={} if shuffled is None else _scores(judges, shuffled, steps),
        on_truth={} if truth is None else _scores(fair, truth, steps),
        truth={} if truth is None else _stacked([true_values(truth.upto(each)) for each in steps]),
        lost=_lost(dreams.located, steps),
        lost_in_truth=None if truth is None else _lost(truth.located, steps),
        arrived=None if dreams.located is None else _arrived(dreams.located, steps),
    )


def _scores(judges: Sequence[Judge], rollouts: Rollouts, steps: Sequence[int]) -> dict[str, Table]:
    return _stacked([{judge.name: judge(rollouts.upto(each)) for judge in judges} for each in steps])


def _stacked(found: Sequence[Mapping[str, NDArray[np.float64]]]) -> dict[str, Table]:
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


def _lost(located: Located | None, steps: Sequence[int]) -> NDArray[np.bool_] | None:
    if located is None:
        return None
    lost: NDArray[np.bool_] = np.stack([located.upto(each + 1).lost.any(dim=1).numpy() for each in steps])
    assert lost.shape[2] == len(SHAPES)
    return lost


def _arrived(located: Located, steps: Sequence[int]) -> NDArray[np.bool_]:
    seen: NDArray[np.bool_] = np.stack([arrivals(located.upto(each + 1)).any(dim=1).numpy() for each in steps])
    return seen
