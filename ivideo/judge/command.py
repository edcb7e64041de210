"""`ivideo judge MODEL`: what policies are worth in a world model, and whether that is true."""

import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from rich.console import Console
from torch import Tensor

from ivideo.config import parse
from ivideo.evaluation.identity import machine, model_identity, versions
from ivideo.files import check_new_file, folder_or_none
from ivideo.judge.edits import Edit
from ivideo.judge.judges import Judge
from ivideo.judge.labels import write_template, write_videos
from ivideo.judge.outcomes import Outcome, outcome
from ivideo.judge.page import FILES, Report, write_report
from ivideo.judge.policies import Named, find_policies
from ivideo.judge.results import agreement_rows, lost_rows, policy_rows, reliability_rows
from ivideo.judge.rollout_folder import Kind, RolloutFolder, file_name
from ivideo.judge.rollouts import Rollouts, check_model, dream, live, replay
from ivideo.judge.scenes import Scene, scenes_of
from ivideo.judge.settings import Judging, find_judges
from ivideo.judge.tables import agreement_table, policy_table
from ivideo.progress import Progress
from ivideo.video import grid, write_video
from ivideo.world_model import WorldModel

ROLLOUTS = "rollouts"
_IN_ROLLOUTS = ("starts", "scenes", "first", "repeats", "horizons", "domain", "seed")
"""Settings that rollouts depend on."""


@dataclass(slots=True, kw_only=True)
class Shown:
    """What a report shows of one policy: a few scenes."""

    policy: str
    edit: str
    dreams: UInt8[Tensor, "n t 3 h w"]
    truth: UInt8[Tensor, "n t 3 h w"] | None


@dataclass(slots=True, kw_only=True)
class Judged:
    """All that came of it."""

    outcomes: list[Outcome] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    """Names of those that a person is to look at."""


def main(argv: list[str]) -> int:
    """`ivideo judge MODEL [...]`."""
    wanted = parse(
        Judging,
        argv,
        prog="ivideo judge",
        description="Roll out policies in a world model, judge the dreams, and compare with the truth.",
        config_folder="judge",
        positional=("model",),
    )
    policies = find_policies(wanted.policies)
    with _place(wanted) as place:
        model = WorldModel.from_pretrained(wanted.model, device=wanted.device, precision=wanted.precision)
        judges = find_judges(wanted, model)
        identity = model_identity(wanted.model, model, wanted.precision)
        rolled = {name: getattr(wanted, name) for name in _IN_ROLLOUTS}
        folder = RolloutFolder(place / ROLLOUTS, rolled | {"model": identity})
        began = time.perf_counter()
        judged = carry_out(wanted, model, policies, judges, folder, place)
        report = Report(
            policies=policy_rows(judged.outcomes),
            agreements=agreement_rows(judged.outcomes, judges),
            lost=lost_rows(judged.outcomes),
            reliability=reliability_rows(judged.outcomes, judges),
            counterparts={judge.name: judge.counterpart for judge in judges},
            about={
                "command": shlex.join(["ivideo", "judge", *argv]),
                "date": datetime.now(UTC).date().isoformat(),
                "seconds": round(time.perf_counter() - began, 1),
                "machine": machine(model.device),
                "versions": versions(),
                "model": identity,
                "scenes": wanted.scenes,
                "settings": asdict(wanted),
            },
        )
        _print(report, judges)
        if wanted.out is None:
            print("--out FOLDER keeps the rollouts and writes a report with videos")
        else:
            write_report(place, report, _pictures(judged.shown))
            _write_films(place, judged.shown)
            print(f"wrote {', '.join(str(place / name) for name in FILES)}")
        if wanted.wants_template:
            table = write_template(place, judged.videos)
            print(f"look at the videos in {place / 'videos'}, fill in {table} and judge again with --labels {table}")
    return 0


def carry_out(
    wanted: Judging,
    model: WorldModel,
    policies: Sequence[Named],
    judges: Sequence[Judge],
    folder: RolloutFolder,
    place: Path,
) -> Judged:
    """Roll out and judge everybody under every edit; rollouts that stand are not repeated."""
    plans = [(text, _scenes(wanted, model, text)) for text in dict.fromkeys(wanted.edit)]
    for _, scenes in plans:
        check_model(model, scenes)
        for judge in judges:
            judge.check(model, scenes, located=wanted.located)
    found = Judged()
    total, began, done = len(plans) * len(policies), time.perf_counter(), 0
    with Progress(steps=total, headline=("judged", "true"), unit="policy") as progress:
        for text, scenes in plans:
            for named in policies:
                progress.say(f"rolling out {named.name}" + ("" if text == "none" else f" under edit {text}"))
                rollouts = _rolled(wanted, model, named, text, scenes, folder)
                own = outcome(text, wanted.horizons, judges, **rollouts)
                found.outcomes.append(own)
                _keep(wanted, found, text, place, **rollouts)
                done += 1
                progress.note(_headline(own))
                progress.update(done, time.perf_counter() - began, last=done == total)
    return found


def _scenes(wanted: Judging, model: WorldModel, text: str) -> list[Scene]:
    return scenes_of(
        wanted.starts,
        wanted.scenes,
        model=model,
        edit=Edit.parse(text),
        first=wanted.first,
        repeats=wanted.repeats,
    )


def _rolled(
    wanted: Judging, model: WorldModel, named: Named, edit: str, scenes: Sequence[Scene], folder: RolloutFolder
) -> dict[str, Rollouts]:
    """Dreams, and beside them the truth and dreams of shuffled actions where those are wanted."""
    steps = max(wanted.horizons)
    how: dict[str, Any] = {"seed": wanted.seed, "domain": wanted.domain, "at_once": wanted.at_once}

    def kept(kind: Kind, make: Callable[[], Rollouts]) -> Rollouts:
        made = folder.dream(kind, edit, named, scenes)
        if made is None:
            made = make()
            folder.save(kind, edit, named, made)
        return made.with_located() if wanted.located else made

    dreams = kept("dream", lambda: dream(model, named, scenes, steps, **how))
    found = {"dreams": dreams}
    if wanted.baselines:
        # What was done in the next scene: as much is done, but none of it because of what is seen.
        others = dreams.actions.roll(-wanted.repeats, dims=0)
        found["shuffled"] = kept("shuffled", lambda: replay(model, named.name, scenes, others, **how))
    if wanted.of_table:
        stands = folder.load("true", edit, named, scenes)
        truth = live(named, scenes, steps, seed=wanted.seed, actions=None if stands is None else stands["actions"])
        if stands is None:
            folder.save("true", edit, named, truth)
        found["truth"] = truth.with_located()
    return found


def _keep(
    wanted: Judging,
    found: Judged,
    edit: str,
    place: Path,
    *,
    dreams: Rollouts,
    truth: Rollouts | None = None,
    shuffled: Rollouts | None = None,
) -> None:
    """Remember what a report shows, and write what a person is to look at."""
    first = [row for row, scene in enumerate(dreams.scenes) if scene.repeat == 0][: max(wanted.videos, 1)]
    found.shown.append(
        Shown(
            policy=dreams.policy,
            edit=edit,
            dreams=dreams.frames[first].clone(),
            truth=None if truth is None else truth.frames[first].clone(),
        )
    )
    if wanted.wants_template:
        found.videos += write_videos(place, dreams)


def _headline(own: Outcome) -> dict[str, float]:
    """Of the policy that was judged last: its first judge's mean, and the true value beside it."""
    figures = {}
    if own.scores:
        figures["judged"] = float(next(iter(own.scores.values()))[-1].mean())
    if "return" in own.truth:
        figures["true"] = float(own.truth["return"][-1].mean())
    return figures


def _pictures(shown: Sequence[Shown]) -> list[tuple[str, Any, Any]]:
    """The first scene of every policy, without edits, as pictures `[t h w 3]`."""
    own = [each for each in shown if each.edit == shown[0].edit]
    return [
        (each.policy, _channels_last(each.dreams[0]), None if each.truth is None else _channels_last(each.truth[0]))
        for each in own
    ]


def _channels_last(frames: UInt8[Tensor, "t 3 h w"]) -> Any:
    return frames.permute(0, 2, 3, 1).contiguous().numpy()


def _write_films(place: Path, shown: Sequence[Shown]) -> None:
    """The truth on the left where there is one, the dream beside it; a file per policy, scenes one below another."""
    for each in shown:
        rows = [
            video
            for row, dreamt in enumerate(each.dreams)
            for video in ([dreamt] if each.truth is None else [each.truth[row], dreamt])
        ]
        name = file_name(each.policy) if each.edit == "none" else f"{file_name(each.policy)}-{file_name(each.edit)}"
        columns = 1 if each.truth is None else 2
        write_video(place / "films" / f"{name}.mp4", grid(torch.stack(rows), columns=columns), fps=8, zoom=3)


def _print(report: Report, judges: Sequence[Judge]) -> None:
    console = Console(width=150)
    longest = max(row.steps for row in report.policies)
    for edit in dict.fromkeys(row.edit for row in report.policies):
        said = "" if edit == "none" else f", edit {edit}"
        own = [row for row in report.policies if row.edit == edit and row.steps == longest]
        if judges:
            console.print(policy_table(own, f"after {longest} steps{said}; ± is the 95% interval over scenes"))
        compared = [
            row
            for row in report.agreements
            if row.edit == edit and row.steps == longest and row.variant == "all dreams"
        ]
        if compared:
            console.print(agreement_table(compared, f"agreement with the truth after {longest} steps{said}"))


@contextmanager
def _place(wanted: Judging) -> Iterator[Path]:
    """The folder to work in: the one that is asked for, or one that is forgotten."""
    with folder_or_none(wanted.out) as place:
        for name in FILES:
            check_new_file(place / name, overwrite=True)
        if wanted.overwrite:
            shutil.rmtree(place / ROLLOUTS, ignore_errors=True)
        yield place
