"""Worlds that join, part, fork and are gone back to: each is what it would be by itself."""

import hashlib
from collections import defaultdict
from dataclasses import replace
from functools import cache

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_rollouts import OPTIONS, build
from torch import Tensor

from ivideo.episode import Episode
from ivideo.simulate.worlds import Group, Seen, Worlds
from transformer import Sampling


@cache
def worlds(heads: bool, tile: int) -> Worlds:
    """Worlds of a small model that reads three frames at most, or with a guide and heads."""
    model = build(OPTIONS[3] if heads else OPTIONS[1], heads=heads, full=False, remember=3)
    with torch.no_grad():
        for parameter in model.transformer.parameters():
            parameter.mul_(0.5)  # flatter, so that tokens are drawn and not merely found
    generator = torch.Generator().manual_seed(0)
    starts = [Episode(frames=torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8, generator=generator))]
    reward = None if heads else lambda frames: frames.float().mean(dim=(1, 2, 3))
    return Worlds(model=model, starts=starts, reward=reward, sampling=Sampling(top_k=8), tile=tile)


_BEGUN: dict[tuple[int, int], Group] = {}
"""Of each `worlds`, which live as long as the tests, the beginnings: they are values, so once is enough."""


def begin(of: Worlds, *members: int) -> Group:
    for member in members:
        if (id(of), member) not in _BEGUN:
            _BEGUN[id(of), member] = of.begin([member], [np.random.default_rng(member)])[0]
    return of.together([_BEGUN[id(of), member] for member in members])


def action(world: int, step: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng([world, step]).uniform(-1, 1, 2).astype(np.float32))


def row_of(seen: Seen, row: int) -> tuple[Tensor, ...]:
    assert seen.frames is not None
    return tuple(each[row] for each in (seen.codes, seen.frames, seen.rewards, seen.log_likelihood, seen.terminals))


def assert_same(one: tuple[Tensor, ...], other: tuple[Tensor, ...], exactly: bool) -> None:
    if exactly:
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        return
    assert torch.equal(one[0], other[0])
    assert (one[1].int() - other[1].int()).abs().max() <= 1
    torch.testing.assert_close(one[2:], other[2:], atol=1e-4, rtol=1e-3)


class Play:
    """Groups of worlds, and what each world has been through."""

    def __init__(self, of: Worlds) -> None:
        self.worlds, self.groups, self.born = of, [begin(of, 0), begin(of, 1)], 2
        self.lives: dict[int, tuple[object, ...]] = {0: (0,), 1: (1,)}
        """Of each world its first ancestor, then its actions and, where it was forked, its new seed."""
        self.seen: dict[int, list[tuple[Tensor, ...]]] = defaultdict(list)
        self.kept: tuple[object, ...] = ()

    def do(self, what: str, which: int) -> None:
        group = self.groups[which % len(self.groups)]
        if what == "begin" and len(self.lives) < 6:
            self.groups.append(begin(self.worlds, self.born))
            self.lives[self.born] = (self.born,)
            self.born += 1
        elif what == "step":
            self.step([group])
        elif what == "join":
            self.step(self.groups)
        elif what == "part" and len(group.members) > 1:
            cut = 1 + which % (len(group.members) - 1)
            self.groups.remove(group)
            self.groups += [self.worlds.only(group, members) for members in (group.members[cut:], group.members[:cut])]
        elif what == "fork" and len(self.lives) < 6:
            self.fork(group)
        elif what == "save":
            self.kept = (tuple(self.groups), dict(self.lives), {world: list(seen) for world, seen in self.seen.items()})
        elif what == "restore" and self.kept:
            groups, lives, seen = self.kept
            self.groups, self.lives = list(groups), dict(lives)
            self.seen = defaultdict(list, {world: list(each) for world, each in seen.items()})

    def step(self, groups: list[Group]) -> None:
        group = self.worlds.together(groups)
        self.groups = [each for each in self.groups if all(each is not one for one in groups)]
        for _ in range(2):  # with three frames read at most, rows forget at every second or third of these
            actions = torch.stack([action(world, len(self.seen[world])) for world in group.members])
            group, seen = self.worlds.advance(group, actions)
            for row, world in enumerate(group.members):
                self.lives[world] += (actions[row],)
                self.seen[world].append(row_of(seen, row))
        self.groups.append(group)

    def fork(self, group: Group) -> None:
        forked = self.worlds.fork(group, 2)
        seeds = torch.cat([state.seeds for state in (forked.state, *forked.more)]).tolist()
        names = []
        for row, world in enumerate(forked.members):
            if row % 2:
                self.lives[self.born] = (*self.lives[world // 2], seeds[row])
                self.seen[self.born] = list(self.seen[world // 2])
                names.append(self.born)
                self.born += 1
            else:
                names.append(world // 2)
        self.groups = [each for each in self.groups if each is not group]
        self.groups.append(replace(forked, members=tuple(names)))

    def check(self, exactly: bool) -> None:
        for group in self.groups:
            for world in group.members:
                first, *life = self.lives[world]
                alone, seen = begin(self.worlds, first), []
                for event in life:
                    if isinstance(event, Tensor):
                        alone, one = self.worlds.advance(alone, event[None])
                        seen.append(row_of(one, 0))
                    else:
                        alone = replace(
                            alone, state=replace(alone.state, seeds=torch.full_like(alone.state.seeds, event))
                        )
                assert len(seen) == len(self.seen[world])
                for one, other in zip(seen, self.seen[world], strict=True):
                    assert_same(one, other, exactly)


doings = st.lists(
    st.tuples(st.sampled_from(["begin", "step", "join", "part", "fork", "save", "restore"]), st.integers(0, 5)),
    min_size=3,
    max_size=7,
)


@pytest.mark.parametrize(("heads", "tile"), [(True, 0), (False, 0), (True, 4), (False, 4)])
def test_whatever_is_done_a_world_is_what_it_is_by_itself(heads: bool, tile: int) -> None:
    @settings(deadline=None, max_examples=3, derandomize=True, database=None)
    @given(done=doings)
    def run(done: list[tuple[str, int]]) -> None:
        play = Play(worlds(heads, tile))
        for what, which in [("step", 0), *done, ("join", 0), ("begin", 0), ("join", 0)]:
            play.do(what, which)
        play.check(exactly=bool(tile))

    run()


def digest(of: Worlds, company: int, place: int) -> str:
    """Of all that world 100 shows in this many worlds, as the one at this place, the others older or younger."""
    others = [begin(of, *range(company - 1))] if company > 1 else []
    if company > 2:
        early, late = of.only(others[0], others[0].members[::2]), of.only(others[0], others[0].members[1::2])
        early, _ = of.advance(early, torch.zeros(len(early.members), 2))
        others = [of.together([early, late])]
    group = of.together([*others, begin(of, 100)])
    order = list(group.members[:-1])
    group = of.only(group, [*order[:place], 100, *order[place:]])
    told = hashlib.sha256()
    for step in range(3):
        group, seen = of.advance(group, torch.stack([action(world, step) for world in group.members]))
        for each in row_of(seen, group.members.index(100)):
            told.update(each.numpy().tobytes())
    return told.hexdigest()


def test_in_tiles_a_world_is_the_same_bit_for_bit_alone_and_among_8_and_13() -> None:
    of = worlds(True, 8)
    digests = {digest(of, company, place) for _ in range(2) for company, place in ((1, 0), (8, 5), (13, 12))}
    assert len(digests) == 1
    assert {digest(of, 8, place) for place in (0, 3, 7)} == digests


def test_joining_and_leaving_copies_no_keys_and_values() -> None:
    of = worlds(False, 0)
    one, other = begin(of, 0), begin(of, 1)
    other, _ = of.advance(other, torch.zeros(1, 2))
    both = of.together([one, other])
    assert both.members == (0, 1)
    assert both.state.cache.parts[0].cache is one.state.cache
    assert of.only(both, [1]).state.cache is other.state.cache
    assert of.only(both, [1]).state.ages is None  # as if it had never been anywhere else
    ages = [of.only(both, [1, 0]).state.ages, of.together([one]).state.ages]
    assert ages[0].tolist() == [1, 0]
    assert ages[1] is None


def test_worlds_of_equal_length_are_read_together_once_they_go_on() -> None:
    of = worlds(False, 0)
    groups = [begin(of, member) for member in range(4)]
    groups[2], _ = of.advance(groups[2], torch.zeros(1, 2))
    group = of.together(groups)
    assert len(group.state.cache.parts) == 4
    group, _ = of.advance(group, torch.zeros(4, 2))
    assert sorted(part.rows for part in group.state.cache.parts) == [(0, 1, 3), (2,)]


def test_frames_that_are_no_longer_held_change_nothing() -> None:
    of = worlds(False, 0)
    old, young = begin(of, 0), begin(of, 1)
    whole = old.state
    for step in range(7):
        old, seen = of.advance(old, action(0, step)[None])
        whole, made = of.model.step(whole, action(0, step)[None], sampling=of.sampling)
        assert torch.equal(seen.codes, made.codes)
    assert (old.state.frames, old.state.gone, whole.gone) == (7, 5, 0)
    assert torch.equal(old.state.ids, whole.ids[:, 5:])
    assert torch.equal(of.model.frames(old.state), of.model.frames(whole)[:, 5:])
    young, _ = of.advance(young, action(1, 0)[None])
    both = of.together([young, old])
    assert (both.state.frames, both.state.gone) == (7, 5)
    for step in range(1, 4):
        both, _ = of.advance(both, torch.stack([action(1, step), action(0, 6 + step)]))
    assert both.state.ages.tolist() == [4, 10]
    back = [of.only(both, [member]).state for member in (0, 1)]
    assert [(state.frames, state.gone) for state in back] == [(10, 8), (4, 2)]
    for step in range(3):
        whole, _ = of.model.step(whole, action(0, 7 + step)[None], sampling=of.sampling)
    assert torch.equal(back[0].ids, whole.ids[:, 8:])


def test_rows_that_come_to_be_alike_hold_what_all_of_them_hold() -> None:
    of = worlds(False, 0)
    states = [of.model.start(of.starts[0].frames[:2][None], seed=seed) for seed in (0, 1)]
    for _ in range(3):
        states = [of.model.step(state, torch.zeros(2), decode=False)[0] for state in states]
    short = Group(members=(1,), state=states[1].latest(2))
    joined = of.together([Group(members=(0,), state=states[0]), short])
    assert joined.state.ages is None
    assert (joined.state.frames, joined.state.gone) == (3, 1)
    assert torch.equal(joined.state.ids, torch.cat([state.ids[:, 1:] for state in states]))


def test_mistakes_of_the_caller_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    of = worlds(False, 0)
    one = begin(of, 0)
    with pytest.raises(ValueError, match="world 0 is in more than one"):
        of.together([one, begin(of, 0)])
    with pytest.raises(ValueError, match="world 3 is not in this group"):
        of.only(one, [3])
    with pytest.raises(ValueError, match="no worlds are asked for"):
        of.only(one, [])
    with pytest.raises(ValueError, match="no groups of worlds"):
        of.together([])
    with pytest.raises(ValueError, match="tile is -1"):
        replace(of, tile=-1)
    older, _ = of.advance(one, torch.zeros(1, 2))
    both = of.together([older, begin(of, 1)])
    with pytest.raises(ValueError, match="which guidance cannot"):
        of.model.step(both.state, torch.zeros(2), guidance=1.0)
    with pytest.raises(ValueError, match=r"imagined only 0 frames"):
        of.model.frames(both.state)
    guided, _ = of.model.step(one.state, torch.zeros(2), guidance=1.0)
    with pytest.raises(ValueError, match="a guided rollout cannot go on together"):
        of.together([replace(one, state=guided), begin(of, 1)])
    heads = worlds(True, 0)
    waiting, _ = heads.model.step(begin(heads, 0).state, torch.zeros(2), reward=False)
    with pytest.raises(ValueError, match="still waits"):
        heads.together([Group(members=(0,), state=waiting), begin(heads, 1)])
    older, _ = heads.advance(begin(heads, 0), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="rewards cannot wait"):
        heads.model.step(heads.together([older, begin(heads, 1)]).state, torch.zeros(2), reward=False)
