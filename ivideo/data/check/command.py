"""`ivideo data check SOURCE`: every file read, every lint asked, in one pass."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.data.check import report
from ivideo.data.check.inspection import inspect
from ivideo.data.check.reading import find_all
from ivideo.data.check.trial import try_out
from ivideo.data.sources.source import Options, SourceOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(SourceOptions):
    """What to check, and how."""

    source: str
    """A file, a folder of episodes, or "pushing_table"."""
    out: str | None = None
    """Folder for report.md, report.json and pictures of episodes with findings; none is written without."""
    like: str | None = None
    """A set known to be right: colours, orientation, action size and frame rate are compared with it."""
    limit: int | None = None
    """Look at no more episodes."""
    workers: int = 1
    """Processes that read; each holds one episode at a time."""
    size: int | None = None
    """Decode to this side, for videos too large for memory; mixed sizes then go unseen."""
    moving: int = 1000
    """Of how many episodes, evenly chosen, to compare actions and rewards with motion; 0 leaves that out."""
    pictures: int = 40
    """Draw at most so many episodes into the report."""
    overwrite: bool = False
    """Replace a report in a folder of that name."""
    trial: bool = False
    """Instead of checking, plant every kind of fault into every fifth episode, in memory, and count what is found."""

    def __post_init__(self) -> None:
        check_least(self, workers=1, moving=0, pictures=0, limit=1, size=1)


def main(argv: list[str]) -> int:
    """`ivideo data check SOURCE [...]`: 0 where there are no problems, 1 where there are."""
    wanted = parse(
        Check,
        argv,
        prog="ivideo data check",
        description="Read every episode of a data set and say what is wrong with it.",
        positional=("source",),
    )
    options = Options.of(wanted, size=wanted.size, min_frames=1)
    if wanted.trial:
        return _trial(wanted, options)
    out = None if wanted.out is None else Path(wanted.out)
    if out is not None:
        report.check_folder(out, overwrite=wanted.overwrite)
    found = inspect(
        wanted.source,
        options,
        limit=wanted.limit,
        workers=wanted.workers,
        like=wanted.like,
        moving=wanted.moving,
        progress=_progress if sys.stderr.isatty() else None,
    )
    print("\n".join(report.screen(found)))
    if out is not None:
        drawn = report.save(found, out, pictures=wanted.pictures, overwrite=wanted.overwrite)
        print(f"Written: {out / 'report.md'}, report.json and {drawn} pictures")
    return 1 if found.problems else 0


def _trial(wanted: Check, options: Options) -> int:
    items = find_all(wanted.source, wanted.limit, options).items
    episodes = [replace(item.read(options), name=item.name) for item in items]
    print(f"  {'fault':<25} {'should be':<19} found of planted  false alarms")
    for each in try_out(episodes):
        planted = each.planted or 1
        share = f"{each.found:>5} of {planted:<7}" if each.code else f"{'':<16}"
        alarms = ", ".join(f"{code} {count}" for code, count in each.false_alarms.items())
        print(f"  {each.fault:<25} {each.code:<19} {share}  {alarms or 'none'}", flush=True)
    return 0


def _progress(done: int, of: int) -> None:
    if done % 20 == 0 or done == of:
        print(f"\r{done} of {of} episodes" + ("\n" if done == of else ""), end="", file=sys.stderr, flush=True)
