"""What a check found in a source, from its first file to the last word of its lints."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ivideo.data.check import lints
from ivideo.data.check.answers import Answers, ask
from ivideo.data.check.digest import Digest
from ivideo.data.check.findings import Finding
from ivideo.data.check.reading import Readable, find_all, read_all
from ivideo.data.sources.source import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that is known of a source once it was checked."""

    source: str
    layout: str
    items: Sequence[Readable]
    digests: list[Digest]
    findings: list[Finding]
    answers: Answers | None
    options: Options
    reading_seconds: float
    judging_seconds: float

    @property
    def episodes(self) -> int:
        """How many there are, those included that cannot even be opened."""
        return len(self.items) + sum(finding.place is None and bool(finding.episode) for finding in self.findings)

    @property
    def problems(self) -> list[Finding]:
        """The findings that make a check fail."""
        return [finding for finding in self.findings if finding.lint.severity == "problem"]


def inspect(
    source: str,
    options: Options,
    *,
    limit: int | None = None,
    workers: int = 1,
    like: str | None = None,
    moving: int = 1000,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Check every episode at a place, in one pass.

    Args:
        source: a file, a folder or "pushing_table".
        options: how episodes are read.
        limit: look at no more episodes.
        workers: processes that read.
        like: another source; colours, orientation, action scale and frame rate are then compared with its episodes.
        moving: of how many episodes, evenly chosen, to compare actions with motion; 0 leaves that out.
        progress: called with the number of episodes read so far and of those found.
    """
    began = time.perf_counter()
    others = None if like is None else _digests(like, options, workers)
    found = find_all(source, limit, options)
    findings = list(found.findings)
    digests: list[Digest] = []
    for number, read in enumerate(read_all(found.items, options, workers=workers, moving=moving)):
        if isinstance(read, Digest):
            digests.append(read)
        else:
            findings.append(read)
        if progress is not None:
            progress(number + 1, len(found.items))
    read_at = time.perf_counter()
    judged, answers = judge(digests, others, moving=moving > 0)
    return Inspection(
        source=source,
        layout=found.layout,
        items=found.items,
        digests=digests,
        findings=findings + judged,
        answers=answers,
        options=options,
        reading_seconds=read_at - began,
        judging_seconds=time.perf_counter() - read_at,
    )


def judge(
    digests: Sequence[Digest], others: Sequence[Digest] | None = None, *, moving: bool = True
) -> tuple[list[Finding], Answers | None]:
    """Run every lint on the digests of a set; `others` are those of a set to compare with."""
    if not digests:
        return [], None
    findings = [
        *lints.of_frames(digests),
        *lints.of_copies(digests),
        *lints.of_kinds(digests),
        *lints.of_looks(digests, others),
        *lints.of_columns(digests),
        *lints.of_rewards(digests),
    ]
    if others is not None:
        findings += lints.of_sets(digests, others)
    answers = ask(digests) if moving else None
    return findings + (answers.findings if answers else []), answers


def _digests(source: str, options: Options, workers: int) -> list[Digest]:
    read = read_all(find_all(source, options=options).items, options, workers=workers, moving=0)
    digests = [each for each in read if isinstance(each, Digest)]
    if not digests:
        raise ValueError(f"{source}: not one episode can be read; expected a good set to compare with: check it first")
    return digests
