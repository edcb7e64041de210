"""What is shown of rows: the list of all, and everything about one."""

from collections.abc import Sequence
from textwrap import indent

from ivideo.reproduce.row import Row, Stage
from ivideo.reproduce.terminal import columns, prose, wrapped

NOT_COMPARABLE = "NOT comparable"
LABEL = 11
"""Columns before the text that a label leads."""


def overview(rows: Sequence[Row]) -> str:
    """One line for each row."""
    cells = [("row", "what", "published", "its cost", "tiny, two cores")]
    cells += [(row.name, row.title, row.reports, row.gpu_days, f"{row.tiny.minutes:g} min") for row in rows]
    return "\n".join([columns(cells), "", "`ivideo reproduce ROW` prints the commands and what they need."])


def page(row: Row, full: Sequence[Stage], tiny: Sequence[Stage]) -> str:
    """Everything about a row, with commands that can be copied."""
    parts = [f"{row.name}: {row.title}", "", f"published  {row.reports}", f"source     {row.source}"]
    parts += [prose(f"protocol   {row.protocol}", hang=LABEL)]
    if row.missing:
        parts += ["", prose(f"STATUS     {row.missing}", hang=LABEL)]
    if row.published:
        parts += ["", published(row)]
    parts += ["", "needs", *(prose(f"- {need}", 2, hang=2) for need in row.needs)]
    parts += ["", "cost at full size", indent(_cost(row), "  ")]
    parts += [prose(f"- {note}", 2, hang=2) for note in row.notes]
    if row.released:
        parts += ["", "released weights, measured without training: --run --released", _commands(row.released)]
    parts += ["", f"full size: --run executes these, {_gpus(row)}", _commands(full)]
    parts += ["", f"tiny: --tiny executes these, about {row.tiny.minutes:g} minutes on two cores", _commands(tiny)]
    parts += ["", prose(f"Its figures are {NOT_COMPARABLE} with those published: {row.tiny.differs}")]
    return "\n".join(parts)


def published(row: Row) -> str:
    """The published figures as columns, a line for each system."""
    metrics = list(dict.fromkeys(metric for each in row.published for metric in each.figures))
    lines = [("", *metrics)]
    lines += [(each.name, *(each.figures.get(metric, "-") for metric in metrics)) for each in row.published]
    return indent(columns(lines), "  ")


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}"


def _gpus(row: Row) -> str:
    return f"on {row.gpus} GPU{'s' if row.gpus > 1 else ''} with {row.memory}"


def _cost(row: Row) -> str:
    from ivideo.reproduce.cost import RATE, costs  # imports all that trains, which the list does without

    found = costs(row.full)
    lines = [("training", "GPU-hours, computed", "samples", "GFLOP a sample, counted")]
    lines += [(each.stage, _hours(each.gpu_hours), f"{each.samples:,}", f"{each.gflop:,.0f}") for each in found]
    total = sum(each.gpu_hours for each in found)
    return "\n".join(
        [
            f"published  {row.gpu_days}, {_gpus(row)}; not run by us",
            f"computed   {_hours(total)} GPU-hours = samples x GFLOP / {RATE / 1e12:g} TFLOP/s, which published GPUs "
            "reached in pre-training (docs/scaling.md)",
            prose(f"disk       {row.disk}", hang=LABEL),
            "",
            columns(lines),
        ]
    )


def warning(row: Row) -> str:
    """Why tiny figures say nothing about published ones."""
    return prose(f"These figures are {NOT_COMPARABLE} with those published: {row.tiny.differs}")


def _commands(stages: Sequence[Stage]) -> str:
    return "\n".join(f"  {wrapped(stage.command)}" for stage in stages)
