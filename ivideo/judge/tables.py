"""Results in words: tables for a terminal and for a document."""

from collections.abc import Sequence

import numpy as np
from rich.markup import escape
from rich.table import Table

from ivideo.evaluation.statistics import Interval
from ivideo.judge.results import AgreementRow, LostRow, PolicyRow

DEFINITION = (
    "A policy's value is its mean over scenes; brackets are 95% percentile bootstrap intervals over scenes, the same "
    "for model and truth. Spearman and Pearson are over policies. MMRV, the mean maximum rank violation (Li et al. "
    "2024, arXiv 2405.05941), is what believing the model's order costs at worst, per policy on average, in the "
    "truth's unit: 0 is perfect. Tries: Pearson correlation over single tries. Bias: judged less true, where both have "
    "one unit."
)


def policy_table(rows: Sequence[PolicyRow], title: str) -> Table:
    """For a terminal: the values of policies at one horizon, under one edit."""
    table = Table(title=escape(title), title_justify="left")
    table.add_column("policy")
    for name in _columns(rows):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(escape(row.policy), *(each.short() for each in _cells(row, rows)))
    return table


def agreement_table(rows: Sequence[AgreementRow], title: str) -> Table:
    """For a terminal: one line for each judge and true value."""
    table = Table(title=escape(title), title_justify="left")
    for name in ("judge", "truth"):
        table.add_column(name)
    for name in ("Spearman", "Pearson", "MMRV", "tries"):
        table.add_column(name, justify="right")
    for row in rows:
        figures = (row.found.spearman, row.found.pearson, row.found.mmrv, row.episodes)
        table.add_row(escape(row.judge), row.truth, *(str(each) for each in figures))
    return table


def policies_markdown(rows: Sequence[PolicyRow]) -> str:
    """Values of policies at one horizon, under one edit."""
    lines = [[row.policy, *(str(each) for each in _cells(row, rows))] for row in rows]
    return markdown(["policy", *_columns(rows)], lines)


def agreement_markdown(rows: Sequence[AgreementRow]) -> str:
    """One line for each judge, true value and way to count."""
    head = ["judge", "dreams", "truth", "steps", "Spearman", "… other policies too", "Pearson", "MMRV", "tries", "bias"]
    lines = [
        [
            row.judge,
            row.variant,
            row.truth,
            str(row.steps),
            str(row.found.spearman),
            _ends(row.found.spearman_policies),
            str(row.found.pearson),
            str(row.found.mmrv),
            str(row.episodes),
            str(row.found.bias) if row.own else "",
        ]
        for row in rows
    ]
    return markdown(head, lines)


def horizon_markdown(rows: Sequence[AgreementRow]) -> str:
    """Spearman of each judge by horizon."""
    steps = sorted({row.steps for row in rows})
    keys = list(dict.fromkeys((row.judge, row.variant, row.truth) for row in rows))
    found = {(row.judge, row.variant, row.truth, row.steps): row.found.spearman for row in rows}
    lines = [[*key, *(str(found[*key, each]) for each in steps)] for key in keys]
    return markdown(["judge", "dreams", "truth", *(f"{each} steps" for each in steps)], lines)


def lost_markdown(rows: Sequence[LostRow]) -> str:
    """How often things vanish, by edit and horizon."""
    head = ["edit", "steps", "dreams", "something lost", "disc lost", "of true rollouts", "judged successes"]
    head += ["disc lost in them", "wrong", "wrong, disc lost", "wrong, disc kept"]
    lines = [
        [
            row.edit,
            str(row.steps),
            str(row.dreams),
            *(str(each) for each in (row.anything, row.disc, row.false_alarms)),
            str(row.successes),
            *(str(each) for each in (row.lost_successes, row.wrong, row.wrong_lost, row.wrong_kept)),
        ]
        for row in rows
    ]
    return markdown(head, lines)


def edits_markdown(policies: Sequence[PolicyRow], agreements: Sequence[AgreementRow]) -> str:
    """What edits change: means over policies, judged and true, and whether the order holds."""
    longest = max(row.steps for row in policies)
    lines = []
    for row in agreements:
        if row.steps != longest or row.variant != "all dreams" or not row.own:
            continue
        own = [each for each in policies if each.edit == row.edit and each.steps == longest]
        judged = float(np.mean([each.judged[row.judge].value for each in own]))
        true = float(np.mean([each.true[row.truth].value for each in own]))
        figures = [str(row.found.spearman), str(row.found.mmrv), str(row.found.bias)]
        lines.append([row.edit, row.judge, f"{judged:.2f}", f"{true:.2f}", *figures])
    return markdown(["edit", "judge", "mean judged", "mean true", "Spearman", "MMRV", "bias"], lines)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; the first column is words."""
    rows = [list(head), ["---", *(["---:"] * (len(head) - 1))], *lines]
    return "".join(f"| {' | '.join(_plain(cell) if row[0] != '---' else cell for cell in row)} |\n" for row in rows)


def _columns(rows: Sequence[PolicyRow]) -> list[str]:
    return [*(f"true {name}" for name in rows[0].true), *(f"judged {name}" for name in rows[0].judged)]


def _cells(row: PolicyRow, rows: Sequence[PolicyRow]) -> list[Interval]:
    return [*(row.true[name] for name in rows[0].true), *(row.judged[name] for name in rows[0].judged)]


def _ends(interval: Interval) -> str:
    return "-" if np.isnan(interval.low) else f"[{interval.low:.2f}, {interval.high:.2f}]"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_").replace("<", "&lt;")
