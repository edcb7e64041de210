"""How far the lints can be trusted on given episodes: faults are planted into some, in memory, and looked for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ivideo.data.check.digest import Digest, digest
from ivideo.data.check.inspection import judge
from ivideo.episode import Episode

Fault = Callable[[Episode, Episode], Episode]


def _frames(change: Callable[[Tensor], Tensor]) -> Fault:
    return lambda episode, _: replace(episode, frames=change(episode.frames).contiguous())


def _actions(change: Callable[[Tensor], Tensor]) -> Fault:
    return lambda episode, _: episode if episode.actions is None else replace(episode, actions=change(episode.actions))


def _rewards(change: Callable[[Tensor], Tensor]) -> Fault:
    return lambda episode, _: episode if episode.rewards is None else replace(episode, rewards=change(episode.rewards))


def _freeze(frames: Tensor) -> Tensor:
    start = len(frames) // 3
    frames = frames.clone()
    frames[start : start + 8] = frames[start]
    return frames


def _blacken(frames: Tensor) -> Tensor:
    frames = frames.clone()
    frames[len(frames) // 2] = 0
    return frames


def _shift(steps: int) -> Callable[[Tensor], Tensor]:
    return lambda values: values.roll(steps, 0)


def _reverse_first(actions: Tensor) -> Tensor:
    actions = actions.clone()
    actions[:, 0] *= -1
    return actions


def _foreign(episode: Episode, other: Episode) -> Episode:
    if episode.actions is None or other.actions is None:
        return episode
    steps = torch.arange(len(episode) - 1) % len(other.actions)
    return replace(episode, actions=other.actions[steps])


def _cut(episode: Episode, _: Episode, length: int = 2) -> Episode:
    actions = None if episode.actions is None else episode.actions[: length - 1]
    rewards = None if episode.rewards is None else episode.rewards[: length - 1]
    return replace(episode, frames=episode.frames[:length], actions=actions, rewards=rewards)


FAULTS: dict[str, tuple[str, Fault]] = {
    "one frame": ("one-frame", lambda episode, other: _cut(episode, other, 1)),
    "frames of 0 to 1": ("value-range", _frames(lambda frames: (frames > 127).to(torch.uint8))),
    "one black frame": ("flat-frames", _frames(_blacken)),
    "first frame throughout": ("static", _frames(lambda frames: frames[:1].expand_as(frames))),
    "8 frames repeated": ("frozen", _frames(_freeze)),
    "another's frames": ("duplicate", lambda episode, other: other),
    "one column less": ("mixed-sizes", _frames(lambda frames: frames[..., 1:])),
    "one action less": ("mixed-actions", _actions(lambda actions: actions[:, 1:])),
    "half the frame rate": ("fps", lambda episode, _: replace(episode, fps=5.0)),
    "2 frames long": ("length", _cut),
    "BGR": ("swapped-colours", _frames(lambda frames: frames.flip(1))),
    "upside down": ("upside-down", _frames(lambda frames: frames.flip(2))),
    "mirrored": ("mirrored", _frames(lambda frames: frames.flip(3))),
    "half a turn": ("rotated", _frames(lambda frames: frames.flip(2, 3))),
    "actions 1 step late": ("action-lag", _actions(_shift(1))),
    "actions 1 step early": ("action-lag", _actions(_shift(-1))),
    "actions 2 steps late": ("action-lag", _actions(_shift(2))),
    "actions x 10": ("action-scale", _actions(lambda actions: 10 * actions)),
    "actions / 10": ("action-scale", _actions(lambda actions: actions / 10)),
    "actions x 10, by size": ("action-size", _actions(lambda actions: 10 * actions)),
    "first action reversed": ("action-sign", _actions(_reverse_first)),
    "another's actions": ("action-foreign", _foreign),
    "no reward": ("reward-constant", _rewards(torch.zeros_like)),
}
"""Faults of single episodes, with the lint that should find each."""

SET_FAULTS: dict[str, tuple[str, Fault]] = {
    "all actions 1 step late": ("action-lag", _actions(_shift(1))),
    "all actions 1 step early": ("action-lag", _actions(_shift(-1))),
    "first action always 0": (
        "action-constant",
        _actions(lambda actions: actions * (torch.arange(actions.shape[1]) > 0)),
    ),
    "actions cut at half": ("action-clipped", _actions(lambda actions: actions.clamp(-0.5, 0.5))),
    "actions of noise": (
        "action-unexplained",
        _actions(
            lambda actions: actions[torch.randperm(len(actions), generator=torch.Generator().manual_seed(len(actions)))]
        ),
    ),
    "all rewards 1 step late": ("reward-lag", _rewards(_shift(1))),
    "all rewards 1 step early": ("reward-lag", _rewards(_shift(-1))),
    "all rewards 0": ("reward-constant", _rewards(torch.zeros_like)),
}
"""Faults of a whole set, with the lint that should find each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One fault, and what became of it."""

    fault: str
    code: str
    planted: int
    """Episodes it was planted into; 0 where it was planted into all and the set should be named."""
    found: int
    false_alarms: dict[str, int]
    """Findings by code, new since the fault, on episodes that were left as they were, and on the set if some were."""


def try_out(episodes: Sequence[Episode], every: int = 5) -> Iterator[Trial]:
    """Plant each fault into every n-th episode, or into all, and count what is found; the first plants nothing."""
    episodes = [each if each.fps else replace(each, fps=10.0) for each in episodes]
    whole = [digest(each, place=place, file="", keep_motion=True) for place, each in enumerate(episodes)]
    known = {(finding.lint.code, finding.place) for finding in judge(whole)[0]}
    yield Trial(fault="nothing", code="", planted=0, found=0, false_alarms=_count(known))
    bad = set(range(every // 2, len(episodes), every))
    for fault, (code, plant) in FAULTS.items():
        places = {
            place for place in bad if not _equal(plant(episodes[place], _other(episodes, place)), episodes[place])
        }
        if not places:
            continue
        seen = _seen(whole, episodes, plant, places)
        new = {(each, place) for each, place in seen - known if place not in places}
        hits = sum((code, place) in seen for place in places)
        yield Trial(fault=fault, code=code, planted=len(places), found=hits, false_alarms=_count(new))
    for fault, (code, plant) in SET_FAULTS.items():
        if (code, None) in known or all(_equal(plant(each, each), each) for each in episodes):
            continue
        seen = _seen(whole, episodes, plant, set(range(len(episodes))))
        found = sum((place is None) for each, place in seen - known if each == code) > 0
        yield Trial(
            fault=fault,
            code=code,
            planted=0,
            found=int(found),
            false_alarms=_count({(e, p) for e, p in seen - known if p is not None}),
        )


def _seen(
    whole: Sequence[Digest], episodes: Sequence[Episode], plant: Fault, places: set[int]
) -> set[tuple[str, int | None]]:
    digests = list(whole)
    for place in places:
        planted = plant(episodes[place], _other(episodes, place))
        planted = replace(planted, name=episodes[place].name)
        digests[place] = digest(planted, place=place, file="", keep_motion=True)
    return {(finding.lint.code, finding.place) for finding in judge(digests)[0]}


def _other(episodes: Sequence[Episode], place: int) -> Episode:
    return episodes[place - 1]


def _equal(one: Episode, other: Episode) -> bool:
    def same(a: Tensor | None, b: Tensor | None) -> bool:
        return a is b or (a is not None and b is not None and a.shape == b.shape and bool((a == b).all()))

    return one.fps == other.fps and all(
        same(getattr(one, each), getattr(other, each)) for each in ("frames", "actions", "rewards")
    )


def _count(found: set[tuple[str, int | None]]) -> dict[str, int]:
    codes = [code for code, _ in found]
    return {code: codes.count(code) for code in sorted(set(codes))}
