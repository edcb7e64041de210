"""Lints that look at digests: what is wrong with an episode by itself, and beside the rest of its set."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ivideo.data.check.digest import Columns, Digest
from ivideo.data.check.findings import LINTS, Finding
from ivideo.data.check.looks import vote

T = TypeVar("T")
RUN = 5
_CHANGING = 0.1
_JUMP = 1.2
_SHORT, _LONG = 1 / 5, 5.0
_FPS = 0.05
_SIZES = 5.0
_CLIPPED, _DISTINCT = 0.2, 10


def about(code: str, detail: str, episode: Digest | None = None) -> Finding:
    """Return the finding of a lint, on an episode or on the set."""
    if episode is None:
        return Finding(lint=LINTS[code], detail=detail)
    return Finding(lint=LINTS[code], detail=detail, episode=episode.name, file=episode.file, place=episode.place)


def of_frames(digests: Sequence[Digest]) -> Iterator[Finding]:
    """One frame, wrong range, flat frames, frames that stand still."""
    spread = action_spread(digests)
    for each in digests:
        if each.frames < 2:
            yield about("one-frame", f"{each.frames} frame", each)
            continue
        if each.brightest == 1:
            yield about("value-range", "no pixel is above 1 of 255", each)
        elif each.flat:
            ends = f"frame {each.flat[0]}" if len(each.flat) == 1 else f"frames {each.flat[0]} to {each.flat[-1]}"
            yield about("flat-frames", f"{len(each.flat)} of {each.frames} are of one colour: {ends}", each)
        yield from _standing(each, spread)


def _standing(each: Digest, spread: Float[Tensor, "a"] | None) -> Iterator[Finding]:
    run = each.run
    if each.frames >= 3 and run.frames == each.frames - 1:
        yield about("static", f"all {each.frames} frames are identical", each)
    elif run.frames >= RUN:
        where = f"frames {run.start} to {run.start + run.frames} are identical"
        known, acts = False, False
        if run.spread is not None and spread is not None and len(spread) == len(run.spread):
            known, acts = True, bool((run.spread > _CHANGING * spread).any())
        if acts and run.jump >= _JUMP:
            yield about("frozen", f"{where} while the actions change, then {run.jump:.1f} steps' change at once", each)
        elif acts or not known:
            yield about("still", where, each)


def of_copies(digests: Sequence[Digest]) -> Iterator[Finding]:
    """Episodes with the frames of an earlier one."""
    first: dict[bytes, Digest] = {}
    for each in digests:
        original = first.setdefault(each.fingerprint, each)
        if original is not each:
            yield about("duplicate", f"has the frames of {original.name}", each)


def of_kinds(digests: Sequence[Digest]) -> Iterator[Finding]:
    """Sizes, action dimensions, rewards, frame rates and lengths that most of the set do not have."""
    sizes = Counter(each.size for each in digests)
    kinds = Counter(_kind(each) for each in digests)
    rates = Counter(each.fps for each in digests if each.fps)
    usual_size, usual_kind = _most(sizes), _most(kinds)
    rate = _most(rates) if rates else None
    middle = median(each.frames for each in digests) if digests else 0
    for each in digests:
        if each.size != usual_size:
            yield about("mixed-sizes", f"{_of(each.size)}; {sizes[usual_size]} episodes have {_of(usual_size)}", each)
        if each.frames >= 2 and _kind(each) != usual_kind:
            yield about("mixed-actions", f"{_said(_kind(each))}; most have {_said(usual_kind)}", each)
        if rate and each.fps and abs(each.fps / rate - 1) > _FPS:
            yield about("fps", f"{each.fps:g} frames a second; {rates[rate]} episodes have {rate:g}", each)
        if each.frames >= 2 and not _SHORT * middle <= each.frames <= _LONG * middle:
            yield about("length", f"{each.frames} frames; the median has {middle:g}", each)


def of_looks(digests: Sequence[Digest], like: Sequence[Digest] | None = None) -> Iterator[Finding]:
    """Episodes that are turned, mirrored or in BGR beside the rest, or beside another set."""
    others = None if like is None else [each.look for each in like]
    for each, found in zip(digests, vote([each.look for each in digests], others), strict=True):
        if found is not None:
            code, agreed, against, asked = found
            yield about(code, f"{agreed} of {asked} episodes that look alike say so, {against} say it is right", each)


def of_columns(digests: Sequence[Digest]) -> Iterator[Finding]:
    """Dimensions that never change or sit at their ends; episodes with actions of another size."""
    held = [(each, each.actions) for each in digests if each.actions is not None]
    width = _most(Counter(len(columns.lowest) for _, columns in held)) if held else 0
    held = [(each, columns) for each, columns in held if len(columns.lowest) == width]
    if not held:
        return
    every = [columns for _, columns in held]
    lowest = torch.stack([columns.lowest for columns in every]).amin(0)
    highest = torch.stack([columns.highest for columns in every]).amax(0)
    steps = sum(columns.steps for columns in every)
    for column in range(width):
        if lowest[column] == highest[column]:
            yield about("action-constant", f"dimension {column} is {float(lowest[column]):g} in all {steps} steps")
            continue
        ends = ((lowest, "lowest", "at_lowest", "lowest"), (highest, "highest", "at_highest", "highest"))
        many = max(int(columns.distinct[column]) for columns in every) > _DISTINCT
        for bound, field, count, word in ends:
            at = sum(int(getattr(c, count)[column]) for c in every if getattr(c, field)[column] == bound[column])
            if many and at > _CLIPPED * steps:
                value = float(bound[column])
                said = f"dimension {column} is at its {word} value, {value:g}, for {at / steps:.0%} of steps"
                yield about("action-clipped", said)
    yield from _sizes(held)


def _sizes(held: Sequence[tuple[Digest, Columns]]) -> Iterator[Finding]:
    rms = sizes([columns for _, columns in held])
    usual = rms.median(0).values
    varies = usual > 0
    if not bool(varies.any()):
        return
    ratios = (rms[:, varies] / usual[varies]).square().mean(1).sqrt()
    for (each, _), ratio in zip(held, ratios.tolist(), strict=True):
        if not 1 / _SIZES <= ratio <= _SIZES:
            yield about("action-size", f"actions are {ratio:.2g} times the median episode's", each)


def of_sets(digests: Sequence[Digest], others: Sequence[Digest]) -> Iterator[Finding]:
    """How the set as a whole differs from another one: frame rate, action dimension and action size."""
    rates, theirs = ([each.fps for each in held if each.fps] for held in (digests, others))
    if rates and theirs and abs(median(rates) / median(theirs) - 1) > _FPS:
        yield about("fps", f"the set has {median(rates):g} frames a second, the other {median(theirs):g}")
    held, known = ([each.actions for each in these if each.actions is not None] for these in (digests, others))
    if not held or not known:
        return
    width, other = len(held[0].lowest), len(known[0].lowest)
    if width != other:
        yield about("mixed-actions", f"the set has actions of {width} numbers, the other of {other}")
        return
    if any(len(columns.lowest) != width for columns in (*held, *known)):
        return
    ratios = sizes(held).median(0).values / sizes(known).median(0).values.clamp(min=1e-12)
    for column, ratio in enumerate(ratios.tolist()):
        if ratio and not 1 / _SIZES <= ratio <= _SIZES:
            yield about("action-size", f"dimension {column} is {ratio:.2g} times that of the other set")


def sizes(every: Sequence[Columns]) -> Float[Tensor, "e a"]:
    """Root mean square of every action dimension, episode by episode."""
    return torch.stack([(columns.squares / columns.steps).sqrt() for columns in every])


def action_spread(digests: Sequence[Digest]) -> Float[Tensor, "a"] | None:
    """Standard deviation of every action dimension over the set; None where dimensions differ or there are none."""
    every = [each.actions for each in digests if each.actions is not None]
    if not every or len({len(columns.lowest) for columns in every}) > 1:
        return None
    steps = sum(columns.steps for columns in every)
    mean = torch.stack([columns.total for columns in every]).sum(0) / steps
    square = torch.stack([columns.squares for columns in every]).sum(0) / steps
    spread: Tensor = (square - mean.square()).clamp(min=0).sqrt().float()
    return spread


def of_rewards(digests: Sequence[Digest]) -> Iterator[Finding]:
    """Rewards that tell nothing."""
    held = [(each, each.rewards) for each in digests if each.rewards is not None and each.frames > 2]
    constant = [each for each, (low, high) in held if low == high]
    if held and len({value for _, bounds in held for value in bounds}) == 1:
        yield about("reward-constant", f"every reward is {held[0][1][0]:g}")
    elif 2 * len(constant) < len(held):
        for each in constant:
            assert each.rewards is not None
            yield about("reward-constant", f"every reward is {each.rewards[0]:g}", each)


def _kind(each: Digest) -> tuple[int | None, bool]:
    return (None if each.actions is None else len(each.actions.lowest)), each.rewards is not None


def _said(kind: tuple[int | None, bool]) -> str:
    width, rewards = kind
    actions = "no actions" if width is None else f"actions of {width} numbers"
    return f"{actions}, {'rewards' if rewards else 'no rewards'}"


def _of(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _most(counted: Counter[T]) -> T:
    return counted.most_common(1)[0][0]
