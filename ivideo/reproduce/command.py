"""`ivideo reproduce [ROW]`: published figures, the commands that would repeat them, and a tiny version of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.reproduce.row import Row, Stage, load, names
from ivideo.reproduce.stages import Execute, execute, filled, recorded, run

BATCH = 8
"""Windows that an update of a tiny training sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """Which row, and what to do about it; without --run and --tiny it is only shown."""

    row: str | None = None
    """Name of a row; null lists them all."""
    data: Path | None = None
    """Folder of the row's data set: DATA in the commands."""
    out: Path | None = None
    """Folder for all that is made: OUT in the commands; null takes reproduce/ROW, and reproduce/ROW-tiny."""
    run: bool = False
    """Execute the commands at full size, one after the other; what was done before is left out."""
    released: bool = False
    """With --run: measure the released weights instead of training."""
    tiny: bool = False
    """Execute the tiny version, and show its figures beside the published ones."""
    dry_run: bool = False
    """Print what --run or --tiny would execute, and stop."""
    steps: int | None = None
    """With --tiny: updates of each training; null takes the row's."""
    episodes: int | None = None
    """With --tiny: episodes of the pushing table to train on; null takes the row's."""
    clips: int | None = None
    """With --tiny: held-out clips to measure on; null takes the row's."""
    rounds: int = 5
    """With --tiny: how often times are taken where models are compared; 0 takes none."""

    def __post_init__(self) -> None:
        check_least(self, steps=1, episodes=2, clips=1, rounds=0)
        if self.run and self.tiny:
            raise ValueError("run and tiny are both set; one is the full size, the other minutes: choose one")
        if self.released and not self.run:
            raise ValueError("released says what --run is to execute; add --run")
        if self.dry_run and not (self.run or self.tiny):
            raise ValueError("dry_run prints what --run or --tiny would execute; add one of them")


def main(argv: list[str], execute: Execute = execute) -> int:
    """`ivideo reproduce [ROW] [--run | --tiny]`: 0 when all is done, else the status of the command that failed."""
    wanted = parse(
        Reproduction,
        argv,
        prog="ivideo reproduce",
        description="Published figures, the commands that would repeat them, and a tiny version of each.",
        positional=("row",),
    )
    if wanted.row is None:
        if wanted.run or wanted.tiny:
            raise ValueError(f"--run and --tiny need a row: one of {', '.join(names())}")
        from ivideo.reproduce.page import overview

        print(overview([load(name) for name in names()]))
        return 0
    row = load(wanted.row)
    if wanted.released and not row.released:
        raise ValueError(f"no released weights of {row.name} are known; leave --released out")
    row = replace(row, released=_placed(row.released, full_places(wanted)))
    full, tiny = _placed(row.full, full_places(wanted)), _placed(row.tiny.stages, tiny_places(row, wanted))
    if not wanted.run and not wanted.tiny:
        from ivideo.reproduce.page import page

        print(page(replace(row, full=full), full, tiny))
        return 0
    stages = tiny if wanted.tiny else row.released if wanted.released else full
    if wanted.dry_run:
        print("\n".join(stage.command for stage in stages))
        return 0
    if wanted.run:
        _check_data(row, wanted)
    out = Path(_out(wanted, tiny=wanted.tiny))
    status = run(stages, out, execute)
    if status == 0:
        print(f"\n{result(row, out, wanted)}")
    return status


def result(row: Row, out: Path, wanted: Reproduction) -> str:
    """What was reached, beside what was published."""
    if wanted.run:
        from ivideo.reproduce.page import published

        return f"all is in {out}; published, by {row.protocol}:\n\n{published(row)}"
    from ivideo.evaluation.card import CARD, Card
    from ivideo.reproduce import tables

    if row.compares:
        from ivideo.reproduce.comparison import compare

        made = compare(out, row.compares, clips=wanted.clips or row.tiny.clips, rounds=wanted.rounds)
        return tables.compared(row, made, recorded(out))
    card = out / "evaluation" / CARD
    return tables.beside(row, Card.load(card)) if card.is_file() else f"{out} holds no evaluation"


def full_places(wanted: Reproduction) -> dict[str, object]:
    """What stands for the capital words of a row's commands at full size; what is not known keeps its word."""
    data = {} if wanted.data is None else {"DATA": wanted.data}
    out = {"OUT": _out(wanted, tiny=False)} if wanted.out is not None or wanted.run else {}
    return {**data, **out}


def tiny_places(row: Row, wanted: Reproduction) -> dict[str, object]:
    """What stands for the capital words of a row's tiny commands."""
    tiny = row.tiny
    steps = wanted.steps or tiny.steps
    return {
        "OUT": _out(replace(wanted, row=row.name), tiny=True),
        "STEPS": steps,
        "WINDOWS": min(tiny.windows, BATCH * steps),
        "EPISODES": wanted.episodes or tiny.episodes,
        "CLIPS": wanted.clips or tiny.clips,
    }


def _out(wanted: Reproduction, *, tiny: bool) -> str:
    return str(wanted.out or Path("reproduce") / f"{wanted.row}{'-tiny' if tiny else ''}")


def _placed(stages: Sequence[Stage], places: Mapping[str, object]) -> tuple[Stage, ...]:
    return tuple(replace(stage, command=filled(stage.command, places)) for stage in stages)


def _check_data(row: Row, wanted: Reproduction) -> None:
    """Refuse to begin days of work without the data that it is about."""
    if not any("DATA" in stage.command for stage in row.full):
        return
    if wanted.data is None:
        raise ValueError(f"{row.name} needs data: pass --data FOLDER, where FOLDER holds {row.needs[0]}")
    if not wanted.data.is_dir():
        raise NotADirectoryError(f"{wanted.data} is no folder; --data is to hold {row.needs[0]}")
