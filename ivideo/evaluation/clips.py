"""Clips to imagine, cut from held-out episodes one after the other: few are in memory at a time."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ivideo.data.opening import PUSHING_TABLE
from ivideo.data.quarantine import of_kind, read_or_tell
from ivideo.data.segments import window_indices
from ivideo.data.shards import is_stored
from ivideo.data.sources.discovery import find
from ivideo.data.sources.source import Options
from ivideo.data.store import Damaged, held_out_places
from ivideo.data.stored import FORMAT, open_stored
from ivideo.data.table import Kind
from ivideo.episode import Episode
from ivideo.evaluation.case import Case
from ivideo.evaluation.protocol import Protocol
from ivideo.simulate.demonstrations import Demonstration, demonstrations, pushed
from ivideo.simulate.motion import TableState
from ivideo.simulate.policies import Pusher

HELD_OUT = 900_000
"""First seed of the pushing table's held-out episodes; training records from seeds far below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One clip: frames `start`, `start + stride`, ... of an episode."""

    episode: Episode
    start: int
    stride: int
    frames: int
    states: Sequence[TableState] | None = None
    """Of the whole episode."""

    @property
    def name(self) -> str:
        return f"{self.episode.name} from frame {self.start}"

    @property
    def shown(self) -> slice:
        return slice(self.start, self.start + (self.frames - 1) * self.stride + 1, self.stride)

    @property
    def between(self) -> slice:
        """Where what belongs to the transitions lies; of several between two frames, the first."""
        return slice(self.start, self.start + (self.frames - 1) * self.stride, self.stride)


def is_pushing_table(source: str) -> bool:
    """Whether clips come from the embedded environment rather than from files."""
    return source == PUSHING_TABLE and not Path(source).exists()


def pushed_clips(
    played: Iterable[Demonstration], *, context: int = 2, frames: int = 10, limit: int | None = None
) -> Case:
    """Return the windows in which an object moves by more than 2 units while the model imagines.

    Windows of one episode do not share frames. They come in the order of the episodes, up to `limit`.
    """
    return as_case(list(islice(_pushed(played, context, frames), limit)))


def table_case(seed: int, *, context: int, frames: int, clips: int, size: int = 64) -> Case:
    """Held-out clips of the pushing table in which an object is pushed, at a model's resolution."""
    return as_case(list(_table_windows(seed, context=context, frames=frames, clips=clips, size=size)))


def windows(
    source: str, protocol: Protocol, *, context: int, size: int, seed: int, damaged: list[Damaged]
) -> Iterator[Window]:
    """The clips of a place under a protocol, at most `protocol.clips` of them.

    Episodes that cannot be read, or are of another kind than the first, go to `damaged`. ValueError where none is
    long enough.
    """
    if is_pushing_table(source):
        yield from _table_windows(seed, context=context, frames=protocol.frames, clips=protocol.clips, size=size)
        return
    length, longest, found = context + protocol.frames, 0, 0
    for episode in _episodes(source, protocol, size, damaged):
        reach = (len(episode) - 1) // protocol.stride + 1
        longest = max(longest, reach)
        for start in _starts(episode, length, protocol) if reach >= length else ():
            yield Window(episode=episode, start=start, stride=protocol.stride, frames=length)
            found += 1
            if found == protocol.clips:
                return
    if not found:
        if damaged and not longest:
            raise ValueError(f"{source}: no held-out episode can be used: {damaged[0].reason}")
        spare = longest - context
        remedy = f"pass --frames {spare}" if spare > 0 else "give longer episodes"
        apart = f", {protocol.stride} steps apart" if protocol.stride > 1 else ""
        raise ValueError(
            f"no held-out episode of {source} has {length} frames{apart}, {context} to start from and "
            f"{protocol.frames} to imagine; the longest has {longest}: {remedy}"
        )


def batches(clips: Iterator[Window], size: int) -> Iterator[list[Window]]:
    """Lists of `size` windows; a last one that would be left alone joins the list before, since actions are exchanged
    between clips of a list."""
    ahead = list(islice(clips, size))
    while ahead:
        following = list(islice(clips, size))
        if len(following) == 1:
            yield ahead + following
            return
        yield ahead
        ahead = following


def as_case(clips: Sequence[Window], domain: str | None = None) -> Case:
    """The clips of some windows, with what is known of all of them."""
    known = [tuple(clip.states[clip.shown]) for clip in clips if clip.states is not None]
    return Case(
        names=tuple(clip.name for clip in clips),
        frames=torch.stack([clip.episode.frames[clip.shown] for clip in clips]),
        actions=_stacked([None if (of := clip.episode.actions) is None else of[clip.between] for clip in clips]),
        rewards=_stacked([None if (of := clip.episode.rewards) is None else of[clip.between] for clip in clips]),
        terminals=torch.stack([_terminals(clip) for clip in clips]),
        states=tuple(known) if len(known) == len(clips) else None,
        instructions=tuple(clip.episode.instruction for clip in clips),
        domain=domain,
    )


def _table_windows(seed: int, *, context: int, frames: int, clips: int, size: int) -> Iterator[Window]:
    played = demonstrations(Pusher(), episodes=max(2, clips // 2), seed=HELD_OUT + seed, size=size)
    return islice(_pushed(played, context, frames), clips)


def _pushed(played: Iterable[Demonstration], context: int, frames: int) -> Iterator[Window]:
    """Windows in which an object is pushed; ValueError where there is none in any episode."""
    length, found, longest = context + frames, False, 0
    for each in played:
        longest = max(longest, len(each.states))
        for start in range(0, len(each.states) - length + 1, length):
            if pushed(each.states, start + context - 1, frames):
                found = True
                yield Window(episode=each.episode, start=start, stride=1, frames=length, states=each.states)
    if not found:
        raise ValueError(
            f"no episode of the pushing table has a window of {length} frames in which an object is pushed; the "
            f"longest has {longest}: imagine fewer frames, or give more or longer episodes, or another policy"
        )


def _episodes(source: str, protocol: Protocol, size: int, damaged: list[Damaged]) -> Iterator[Episode]:
    """Held-out episodes in order, each read when it is asked for."""
    if not source.strip():
        raise ValueError('no source is named; expected a file, a folder, or "pushing_table"')
    path = Path(source).expanduser()
    if is_stored(path, FORMAT):
        stored = open_stored(path, size=size)
        yield from (stored[int(place)] for place in _held_out(stored.names, protocol.held_out, source))
        return
    options = Options.of(protocol, size=size)
    items = find(path, None, options)
    kind: Kind | None = None
    for place in _held_out([item.name for item in items], protocol.held_out, source):
        read = read_or_tell(items[place], options)
        if isinstance(read, Episode) and kind is None:
            kind = Kind.of(read)
        read = read if kind is None else of_kind(read, kind)
        if isinstance(read, Damaged):
            damaged.append(read)
        else:
            yield read


def _starts(episode: Episode, length: int, protocol: Protocol) -> list[int]:
    """Where the windows of an episode begin."""
    if protocol.windows == "first":
        return [0]
    if protocol.windows == "random":
        places = len(episode) - (length - 1) * protocol.stride
        return [zlib.crc32(episode.name.encode()) % places]
    starts: list[int] = window_indices(len(episode), length, protocol.stride).tolist()
    return starts


def _held_out(names: Sequence[str], held_out: str, source: str) -> list[int]:
    if held_out == "all":
        return list(range(len(names)))
    share: int | str = held_out
    if held_out != "last":
        try:
            share = int(held_out)
        except ValueError:
            raise ValueError(f'held_out is {held_out!r}; expected "last", "all" or a number') from None
    try:
        places: list[int] = held_out_places(names, share, source).nonzero()[0].tolist()
    except ValueError as error:
        raise ValueError(f"{error}; or evaluate on every episode with --held_out all") from error
    return places


def _terminals(clip: Window) -> Tensor:
    """1 where a clip arrives at the frame that ends its episode."""
    ends = torch.zeros(clip.frames - 1)
    last = clip.start + (clip.frames - 1) * clip.stride
    if clip.episode.terminal and last == len(clip.episode) - 1:
        ends[-1] = 1.0
    return ends


def _stacked(values: list[Tensor | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    return torch.stack(present) if len(present) == len(values) else None
