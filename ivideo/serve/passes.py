"""One pass of the model over everything that waits, whoever asked for it.

Worlds that were advanced together stay rows of one state for as long as they are advanced together again: then nothing
is copied between passes. Whoever misses a pass keeps its rows of the older state::

    pass 1   | A A | B | C |      one state of four rows; A, B and C each hold a `Part` of it
    pass 2   | A A | C |          B had not asked: the rows of A and C are copied out, B still holds pass 1's
    pass 3   | A A | C | B |      what belongs together is copied together
    pass 4   | A A | C | B |      as it was: no copy
"""

import weakref
from collections.abc import Collection, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace

import torch

from ivideo.simulate.turns import Answer, Ask
from ivideo.simulate.worlds import Group, Seen, Worlds
from ivideo.state import RolloutState


class Whole:
    """The worlds of one pass, and who holds parts of them."""

    def __init__(self, worlds: Worlds, group: Group) -> None:
        self.worlds, self.group = worlds, group
        self.parts: weakref.WeakSet[Part] = weakref.WeakSet()

    def only(self, rows: Sequence[int]) -> Group:
        """Some rows; what there is itself where they are all, in order."""
        return Worlds.only(self.worlds, self.group, [self.group.members[row] for row in rows])


class Part(Group):
    """Some worlds of a pass as a group of their own; their rows are copied out when somebody looks at them."""

    __hash__ = object.__hash__

    def __init__(self, members: tuple[int, ...], whole: Whole, rows: tuple[int, ...]) -> None:
        object.__setattr__(self, "members", members)
        object.__setattr__(self, "_bound", (whole, rows))
        object.__setattr__(self, "_own", None)
        whole.parts.add(self)

    @property
    def bound(self) -> tuple[Whole, tuple[int, ...]] | None:
        """Which rows of what these worlds are; None when they have memory of their own."""
        bound: tuple[Whole, tuple[int, ...]] | None = self._bound  # type: ignore[attr-defined]  # past the frozen class
        return bound

    @property
    def own(self) -> Group:
        """These worlds in memory of their own."""
        self.settle()
        own: Group = self._own  # type: ignore[attr-defined]
        return own

    @property
    def state(self) -> RolloutState:
        """Where these worlds stand."""
        return self.own.state

    @property
    def more(self) -> tuple[RolloutState, ...]:
        """Their further tiles."""
        return self.own.more

    def settle(self) -> None:
        """Have memory of one's own."""
        if self.bound is None:
            return
        whole, rows = self.bound
        object.__setattr__(self, "_own", replace(whole.only(rows), members=self.members))
        object.__setattr__(self, "_bound", None)
        whole.parts.discard(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedWorlds(Worlds):
    """Worlds whose groups may be parts of something that others share, and stay so."""

    @classmethod
    def of(cls, worlds: Worlds) -> "SharedWorlds":
        """The same worlds, shared."""
        return cls(**{each.name: getattr(worlds, each.name) for each in fields(worlds)})

    def showing(self, pixels: bool) -> "SharedWorlds":
        """The same, with pixels or without; what was checked of them is not checked again."""
        if pixels == self.pixels:
            return self
        other = copy(self)
        object.__setattr__(other, "pixels", pixels)
        return other

    def only(self, group: Group, members: Sequence[int]) -> Group:
        """See `Worlds.only`."""
        if not isinstance(group, Part) or group.bound is None or not members or tuple(members) == group.members:
            return Worlds.only(self, group, members)
        whole, rows = group.bound
        return Part(tuple(members), whole, tuple(rows[group.members.index(member)] for member in members))

    def fork(self, group: Group, n: int) -> Group:
        """See `Worlds.fork`."""
        return Worlds.fork(self, group.own if isinstance(group, Part) else group, n)


def answers(worlds: SharedWorlds, asks: Sequence[tuple[Ask, bool]]) -> list[Answer]:
    """Answer all in one pass; each says whether it wants pixels."""
    begun = _begun(worlds, [(ask, pixels) for ask, pixels in asks if ask.beginning])
    gone = _gone(worlds, [(ask, pixels) for ask, pixels in asks if ask.going])
    return [
        Answer(gone=next(gone) if ask.going else None, begun=next(begun) if ask.beginning else None) for ask, _ in asks
    ]


def _begun(worlds: SharedWorlds, asks: Sequence[tuple[Ask, bool]]) -> Iterator[tuple[Group, Seen]]:
    if not asks:
        return
    generators = [each for ask, _ in asks for each in ask.generators]
    group, seen = worlds.begin(range(len(generators)), generators)
    whole, first = Whole(worlds, group), 0
    for ask, pixels in asks:
        rows = tuple(range(first, first + len(ask.beginning)))
        yield Part(ask.beginning, whole, rows), _seen(seen, rows, pixels=pixels)
        first += len(rows)


def _gone(worlds: SharedWorlds, asks: Sequence[tuple[Ask, bool]]) -> Iterator[tuple[Group, Seen]]:
    """Where the worlds of every ask stand after their actions, for those who want pixels and who do not."""
    if not asks:
        return
    joined, places = _joined(worlds, [ask.going for ask, _ in asks])
    order = [row for rows in places for row in rows]
    given = torch.cat([ask.actions for ask, _ in asks if ask.actions is not None])
    actions = torch.empty_like(given)
    actions[order] = given
    decoded = torch.zeros(len(joined.members), dtype=torch.bool)
    for (_, pixels), rows in zip(asks, places, strict=True):
        decoded[list(rows)] = pixels
    everyone = bool(decoded.all()) or worlds.reward is not None or (worlds.tile > 0 and bool(decoded.any()))
    after, seen = Worlds.advance(worlds.showing(everyone), joined, actions)
    if seen.frames is None and bool(decoded.any()):
        shown = worlds.model.frames(after.state.select(decoded.nonzero()[:, 0]), slice(-1, None))[:, 0].cpu()
        frames = torch.zeros(len(decoded), *shown.shape[1:], dtype=torch.uint8)
        frames[decoded] = shown
        seen = replace(seen, frames=frames)
    whole = Whole(worlds, after)
    for (ask, pixels), rows in zip(asks, places, strict=True):
        members = tuple(member for group in ask.going for member in group.members)
        yield Part(members, whole, rows), _seen(seen, rows, pixels=pixels)


def _joined(worlds: Worlds, wanted: Sequence[Sequence[Group]]) -> tuple[Group, list[tuple[int, ...]]]:
    """All worlds as one group, and which rows of it each has who wanted some; the rows of a whole stay in order."""
    sources = [[_source(worlds, group) for group in groups] for groups in wanted]
    coming = {id(group) for groups in wanted for group in groups}
    taken: dict[Whole, list[int]] = {}
    for each in sources:
        for whole, rows in each:
            taken.setdefault(whole, []).extend(rows)
    where: dict[tuple[Whole, int], int] = {}
    pieces = []
    for whole, rows_taken in taken.items():
        rows_taken.sort()
        members = tuple(range(len(where), len(where) + len(rows_taken)))
        where |= {(whole, row): member for row, member in zip(rows_taken, members, strict=True)}
        pieces.append(replace(whole.only(rows_taken), members=members))
        _settle(whole, coming)
    places = [tuple(where[whole, row] for whole, rows in each for row in rows) for each in sources]
    return worlds.together(pieces), places


def _source(worlds: Worlds, group: Group) -> tuple[Whole, tuple[int, ...]]:
    """What a group's rows are rows of: of itself, where it is no part of anything."""
    if isinstance(group, Part) and group.bound is not None:
        return group.bound
    rows = tuple(range(len(group.members)))
    return Whole(worlds, Group(members=rows, state=group.state, more=group.more)), rows


def _settle(whole: Whole, taken: Collection[int]) -> None:
    """Give memory of their own to those few who do not come along: they would keep that of all."""
    left = [part for part in whole.parts if id(part) not in taken]
    if left and 2 * sum(len(part.members) for part in left) <= len(whole.group.members):
        for part in left:
            part.settle()


def _seen(seen: Seen, rows: Sequence[int], *, pixels: bool) -> Seen:
    where = torch.tensor(rows)
    return Seen(
        frames=seen.frames[where] if seen.frames is not None and pixels else None,
        codes=seen.codes[where],
        rewards=seen.rewards[where],
        terminals=seen.terminals[where],
        log_likelihood=seen.log_likelihood[where],
    )
