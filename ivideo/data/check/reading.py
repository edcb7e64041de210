"""One pass over all episodes of a source: each becomes a digest, or a finding that says why it cannot be read."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from ivideo.data.check.digest import Digest, digest
from ivideo.data.check.findings import LINTS, Finding
from ivideo.data.opening import PUSHING_TABLE, PUSHING_TABLE_EPISODES, pushing_table
from ivideo.data.shards import MANIFEST, PLAN, is_stored, verify
from ivideo.data.sources import hdf5
from ivideo.data.sources.discovery import RECORD_SUFFIXES, VIDEO_SUFFIXES, find
from ivideo.data.sources.source import Options
from ivideo.data.store import EpisodeStore
from ivideo.data.stored import FORMAT, open_stored
from ivideo.episode import Episode

_SUFFIXES = (".npz", *VIDEO_SUFFIXES, *hdf5.SUFFIXES, *RECORD_SUFFIXES)


@runtime_checkable
class Readable(Protocol):
    """An episode that was found but not read yet."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    def read(self, options: Options) -> Episode: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An episode of the embedded environment, which needs no file."""

    name: str
    path: Path
    episode: Episode

    def read(self, options: Options) -> Episode:
        return self.episode


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An episode of a stored folder, whose store every process opens for itself, once."""

    name: str
    path: Path
    number: int

    def read(self, options: Options) -> Episode:
        return _store(self.path, options.size)[self.number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The episodes of a source, and what is wrong with finding them."""

    layout: str
    items: Sequence[Readable]
    findings: list[Finding]


def find_all(source: str, limit: int | None = None, options: Options | None = None) -> Found:
    """Return all that can be found at a place, also where it cannot be opened as a whole.

    Raises FileNotFoundError when there is no such place and ValueError when nothing there is, or was, an episode, or
    when an option is not for its layout.
    """
    if not source.strip():
        raise ValueError('no source is named; expected a file, a folder, or "pushing_table"')
    path = Path(source).expanduser()
    if source == PUSHING_TABLE and not path.exists():
        episodes = pushing_table(limit or PUSHING_TABLE_EPISODES, size=None if options is None else options.size)
        recorded = [Recorded(name=each.name, path=Path(PUSHING_TABLE), episode=each) for each in episodes]
        return Found(layout=PUSHING_TABLE, items=recorded, findings=[])
    if (path / PLAN).is_file() or (path / MANIFEST).is_file():
        stored = _stored(path, limit, options)
        if stored is not None:
            return stored
    try:
        items = find(path, limit, options)
    except ValueError as error:
        files = _candidates(path)
        if not files or _is_found(path):
            raise
        return _one_by_one(path, files[:limit], reason=str(error))
    return Found(layout=items[0].layout.name, items=items, findings=[])


def _stored(path: Path, limit: int | None, options: Options | None) -> Found | None:
    """A stored folder with every byte compared with its manifest; None for a folder of another kind."""
    findings: list[Finding] = []

    def tell(code: str, detail: str) -> None:
        findings.append(Finding(lint=LINTS[code], detail=detail, file=str(path / MANIFEST)))

    try:
        if not is_stored(path, FORMAT):
            return None
        for name, problem in verify(path):
            tell("hash-mismatch", f"{path / name} {problem}")
        store = _store(path, None if options is None else options.size)
    except (ValueError, OSError) as error:
        if not any(str(error).startswith(str(path / name)) for name in (MANIFEST, PLAN)) and not findings:
            raise
        tell("layout", str(error))
        return Found(layout="stored form", items=[], findings=findings)
    count = len(store) if limit is None else min(limit, len(store))
    items = [Stored(name=store.table.names[number], path=path, number=number) for number in range(count)]
    return Found(layout="stored form", items=items, findings=findings)


@cache
def _store(path: Path, size: int | None) -> EpisodeStore:
    return open_stored(path, size=size)


def _is_found(path: Path) -> bool:
    """Whether a place can be opened without the options that somebody gave for it."""
    try:
        return bool(find(path, 1))
    except ValueError:
        return False


def read_all(
    items: Sequence[Readable], options: Options, *, workers: int = 1, moving: int | None = None
) -> Iterator[Digest | Finding]:
    """Return for every item in order its digest, or the finding that it cannot be read; one episode per worker is held.

    Args:
        items: what to read.
        options: how to read it.
        workers: processes; with 1, this one reads.
        moving: of how many episodes, evenly chosen, to keep the motion; None for all.
    """
    step = 1.0 if moving is None or moving >= len(items) else len(items) / max(moving, 1)
    kept = {int(number * step) for number in range(min(len(items), len(items) if moving is None else moving))}
    tasks = ((item, place, options, place in kept) for place, item in enumerate(items))
    if workers == 1:
        yield from (_inspect(*task) for task in tasks)
        return
    # Started anew, not forked: PyTorch's threads do not survive a fork.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        waiting: deque[Future[Digest | Finding]] = deque()
        try:
            waiting.extend(pool.submit(_inspect, *task) for task in islice(tasks, 4 * workers))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(_inspect, *task) for task in islice(tasks, 1))
        except BrokenProcessPool as error:
            raise OSError(
                "a worker was killed while reading, by the system for want of memory or by a decoder's crash; run with "
                "fewer --workers, or with --size to decode smaller"
            ) from error


def _inspect(item: Readable, place: int, options: Options, keep_motion: bool) -> Digest | Finding:
    def finding(code: str, detail: str) -> Finding:
        return Finding(lint=LINTS[code], detail=detail, episode=item.name, file=str(item.path), place=place)

    try:
        episode = item.read(options)
        return digest(replace(episode, name=item.name), place=place, file=str(item.path), keep_motion=keep_motion)
    except (ValueError, OSError) as error:
        return finding("unreadable", str(error) or type(error).__name__)
    except Exception as error:  # whatever a reader or a library under it did not foresee is a finding about this file
        return finding("reader-failed", f"{type(error).__name__}: {error}")


def _one_by_one(root: Path, files: Sequence[Path], *, reason: str) -> Found:
    """What can be opened of a folder that cannot be opened as a whole."""
    items: list[Readable] = []
    findings: list[Finding] = []
    for path in files:
        folder = path.relative_to(root).parent.as_posix() if path != root else "."
        prefix = "" if folder == "." else f"{folder}/"
        try:
            items += [replace(item, name=prefix + item.name) for item in find(path)]
        except Exception as error:  # as above: the folder holds files that nobody vouches for
            code = "unreadable" if isinstance(error, ValueError | OSError) else "reader-failed"
            findings.append(Finding(lint=LINTS[code], detail=str(error), episode=prefix + path.stem, file=str(path)))
    if not any(finding.detail == reason for finding in findings):
        findings.insert(0, Finding(lint=LINTS["layout"], detail=reason, file=str(root)))
    return Found(layout="file by file", items=items, findings=findings)


def _candidates(root: Path) -> list[Path]:
    """Files that could hold an episode; an .npz beside a video of its name holds that video's actions."""
    files = [root] if root.is_file() else sorted(root.rglob("*"))
    files = [path for path in files if path.suffix.lower() in _SUFFIXES]
    videos = {path.with_suffix("") for path in files if path.suffix.lower() in VIDEO_SUFFIXES}
    return [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES or path.with_suffix("") not in videos]
