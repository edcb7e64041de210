"""What a check found, for people on screen and in Markdown, and for programs as JSON.

Names come out of files that nobody vouches for. They are shown, never used: pictures are named by number, on screen
nothing unprintable is passed on, and in Markdown nothing is left that a viewer could take for HTML or a link.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import Any

from ivideo.data.check.findings import LINTS, Finding
from ivideo.data.check.inspection import Inspection
from ivideo.data.check.motion import LAGS, Fit
from ivideo.data.curves import strip_with_curves
from ivideo.data.names import plain, quoted
from ivideo.files import staged_folder
from ivideo.video import write_video

FORMAT = 1
_WIDTH = 80
_NAMED = 20
_COLUMNS, _HEIGHT = 8, 96
_PICTURES = "pictures"
_FILES = ("report.md", "report.json", _PICTURES)


def screen(found: Inspection) -> list[str]:
    """Lines of at most 80 characters: a row per lint that spoke, every damaged file up to a limit, and the verdict."""
    lines = [_cut(line) for line in _held(found)]
    single = [(code, [each for each in findings if each.episode]) for code, findings in _by_code(found)]
    if any(findings for _, findings in single):
        lines += ["", f"  {'what':<16} {'':<7} {'episodes':>8}  which"]
    for code, findings in single:
        if findings:
            named = ", ".join(plain(finding.episode) for finding in findings[:10])
            lines.append(_cut(f"  {code:<16} {LINTS[code].severity:<7} {len(findings):>8}  {named}"))
    whole = [each for _, findings in _by_code(found) for each in findings if not each.episode]
    if whole:
        lines += ["", "Of the whole set:"]
    for finding in whole:
        said = f"{finding.lint.code} ({finding.lint.severity}): {plain(finding.detail)}"
        lines += wrap(said, _WIDTH, initial_indent="  ", subsequent_indent="    ")
    damaged = [
        finding for finding in found.findings if finding.lint.code in ("unreadable", "reader-failed", "hash-mismatch")
    ]
    if damaged:
        lines += ["", "Damaged:"]
    for each in damaged[:_NAMED]:
        lines += wrap(plain(each.detail), _WIDTH, initial_indent="  ", subsequent_indent="    ")
    if damaged[_NAMED:]:
        lines.append(f"  ... and {len(damaged) - _NAMED} more: --out FOLDER names them all")
    return [*lines, "", _cut(verdict(found))]


def verdict(found: Inspection) -> str:
    """One sentence."""
    problems, notes = len(found.problems), len(found.findings) - len(found.problems)
    episodes = len({finding.episode for finding in found.problems if finding.episode})
    if not problems:
        return f"No problems{f', {notes} notes' if notes else ''}."
    return f"{problems} problems, {episodes} of {found.episodes} episodes concerned; {notes} notes."


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse to write into a folder that holds something, and to replace anything but a report even when asked to."""
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in held if name not in _FILES]
    if foreign:
        raise FileExistsError(f"{folder} holds {plain(foreign[0])}, which is no report; choose another folder for it")
    if held and not overwrite:
        raise FileExistsError(f"{folder} holds a report already; choose another folder, or pass --overwrite")


def save(found: Inspection, folder: Path, *, pictures: int, overwrite: bool) -> int:
    """Write `report.md`, `report.json` and pictures of episodes with findings, all or nothing; how many pictures."""
    check_folder(folder, overwrite=overwrite)
    with staged_folder(folder, overwrite=overwrite) as stage:
        drawn = _draw(found, stage / _PICTURES, pictures)
        document = json.dumps(_document(found, drawn), indent=1, allow_nan=False)
        (stage / "report.json").write_text(document + "\n", encoding="utf-8")
        (stage / "report.md").write_text("\n".join(_markdown(found, drawn)) + "\n", encoding="utf-8")
    return len(drawn)


def _held(found: Inspection) -> Iterator[str]:
    digests = found.digests
    yield f"{plain(found.source)} ({found.layout})"
    read = f"{len(digests)} of {found.episodes} episodes read"
    if not digests:
        yield read
        return
    lengths = sorted(each.frames for each in digests)
    sizes = sorted({f"{each.size[0]}x{each.size[1]}" for each in digests})
    some = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 2 else " and ".join(sizes)
    yield f"{read}, {sum(lengths)} frames of {some}"
    yield f"{lengths[0]} to {lengths[-1]} frames an episode, {lengths[len(lengths) // 2]} in the middle"
    answers = found.answers
    if answers is None:
        return
    for what, fit in (("actions", answers.actions), ("rewards", answers.rewards)):
        if fit is not None:
            yield f"{what} explained by frame changes: R^2 {fit.at(fit.best):.2f} at lag {fit.best} ({fit.steps} steps)"
    if answers.actions is None and any(each.actions is not None for each in digests):
        yield "too few steps to tell whether actions explain the motion"


def _by_code(found: Inspection) -> list[tuple[str, list[Finding]]]:
    rows: dict[str, list[Finding]] = defaultdict(list)
    for finding in found.findings:
        rows[finding.lint.code].append(finding)
    return sorted(rows.items(), key=lambda row: (row[1][0].lint.severity != "problem", list(LINTS).index(row[0])))


def _draw(found: Inspection, folder: Path, limit: int) -> dict[int, str]:
    """Read flagged episodes once more and draw them, of every lint the first ones before any lint's later ones."""
    queues = [[each.place for each in findings if each.place is not None] for _, findings in _by_code(found)]
    turns = [queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)]
    readable = {each.place for each in found.digests}
    chosen = [place for place in dict.fromkeys(turns) if place in readable][:limit]
    if not chosen:
        return {}
    folder.mkdir()
    drawn = {}
    for number, place in enumerate(chosen):
        name = f"{_PICTURES}/{number:04d}.png"
        picture = strip_with_curves(found.items[place].read(found.options), _COLUMNS, _HEIGHT)
        write_video(folder.parent / name, picture[None])
        drawn[place] = name
    return drawn


def _document(found: Inspection, drawn: dict[int, str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "source": found.source,
        "layout": found.layout,
        "episodes": {"found": found.episodes, "read": len(found.digests)},
        "frames": sum(each.frames for each in found.digests),
        "problems": len(found.problems),
        "findings": [
            {
                "code": each.lint.code,
                "severity": each.lint.severity,
                "confidence": each.lint.confidence,
                "episode": each.episode or None,
                "file": each.file or None,
                "place": each.place,
                "detail": each.detail,
                "picture": None if each.place is None else drawn.get(each.place),
            }
            for each in found.findings
        ],
        "motion": {}
        if found.answers is None
        else {
            what: _profile(fit)
            for what, fit in (("actions", found.answers.actions), ("rewards", found.answers.rewards))
        },
        "lints": {code: asdict(lint) for code, lint in LINTS.items()},
        "seconds": {"reading": round(found.reading_seconds, 3), "judging": round(found.judging_seconds, 3)},
    }


def _profile(fit: Fit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    rows = {str(lag): [_number(value) for value in row] for lag, row in zip(LAGS, fit.scores.tolist(), strict=True)}
    return {"best_lag": fit.best, "steps": fit.steps, "r2": rows}


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _markdown(found: Inspection, drawn: dict[int, str]) -> Iterator[str]:
    yield f"# {quoted(found.source)}"
    yield ""
    yield from (f"- {quoted(line)}" for line in _held(found))
    yield f"- **{verdict(found)}**"
    yield ""
    rows = _by_code(found)
    if rows:
        yield "| what | | findings | confidence |"
        yield "|---|---|---|---|"
        yield from (
            f"| {code} | {LINTS[code].severity} | {len(findings)} | {LINTS[code].confidence} |"
            for code, findings in rows
        )
    shown: set[int] = set()
    for code, findings in rows:
        lint = LINTS[code]
        yield from ("", f"## {code}", "", f"Rule: {quoted(lint.rule)}.", "", f"Remedy: {quoted(lint.remedy)}.", "")
        for finding in findings:
            where = f"**{quoted(finding.episode)}**: " if finding.episode else ""
            yield f"- {where}{quoted(finding.detail)}"
            if finding.place in drawn and finding.place not in shown:
                assert finding.place is not None
                shown.add(finding.place)
                yield from ("", f"  ![frames, actions and rewards]({drawn[finding.place]})", "")
    yield from _table(found)


def _table(found: Inspection) -> Iterator[str]:
    fit = found.answers.actions if found.answers else None
    if fit is None or found.answers is None:
        return
    yield from ("", "## Actions and motion", "")
    yield (
        "How much of every action dimension frame changes explain, lag by lag: R^2 on held-out parts of "
        f"{found.answers.episodes} episodes, {fit.steps} steps. Lag 0 is an action's own step."
    )
    yield from ("", "| dimension | " + " | ".join(f"{lag:+d}" if lag else "0" for lag in LAGS) + " |", "|---" * 8 + "|")
    for place, column in enumerate(fit.scores.T.tolist()):
        yield f"| {place} | " + " | ".join(f"{max(value, 0.0):.2f}" for value in column) + " |"


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "..."
