"""Runs that were asked the same but for their seed, and what to call them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivideo.config.given import read_yaml, unmark
from ivideo.evaluation.report.words import counted
from ivideo.files import nearby
from rl.report.metrics import Metrics

_OWN = ("run", "resume", "overwrite")
"""Settings that say where a run lives and how it was begun."""
_IDLE = ("schedule.seed", "schedule.films", "schedule.checkpoint_every", "seed")
"""Settings that tell runs of a group apart, and those on which nothing depends that is learned."""
_MOST = 3
"""Settings that a label names at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: what it was asked, and what it has measured so far, if anything."""

    folder: Path
    task: str
    settings: dict[str, Any]
    """By dotted key, without those of where the run lives, its task and its seed."""
    seed: int | None
    steps: int | None
    """Environment steps that it is to take in all."""
    metrics: Metrics

    @staticmethod
    def open(folder: Path) -> "Run":
        """The run in a folder.

        Raises:
            FileNotFoundError: there is no such folder, or no run in it.
            ValueError: it is no run of reinforcement learning.
        """
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder}: {'a file; expected a folder of a run' if folder.exists() else nearby(folder)}"
            )
        if not (folder / "config.yaml").is_file():
            inner = sorted(each.parent for each in folder.glob("*/config.yaml"))
            remedy = f"; runs lie below it, such as {inner[0]}: name those" if inner else ""
            raise FileNotFoundError(f"{folder} holds no config.yaml, so no run{remedy}")
        settings = _leaves(unmark(read_yaml(folder / "config.yaml")))
        task, steps = settings.pop("task", None), settings.get("schedule.steps")
        if not isinstance(task, str) or not isinstance(steps, int):
            raise ValueError(
                f"{folder} is no run of reinforcement learning: its config.yaml has no task and schedule.steps; "
                "expected a folder that `ivideo rl` has written"
            )
        every = settings.get("schedule.evaluate_every")
        every = every if isinstance(every, int) and every > 0 else None
        path = folder / "metrics.jsonl"
        metrics = Metrics(lines=(), evaluate_every=every, steps=steps)
        if path.is_file():
            metrics = Metrics.read(path, evaluate_every=every, steps=steps)
        seed = settings.get("schedule.seed")
        kept = {key: value for key, value in settings.items() if key not in _IDLE and key.split(".")[0] not in _OWN}
        return Run(folder=folder, task=task, settings=kept, seed=seed, steps=steps, metrics=metrics)

    @property
    def method(self) -> str:
        """Whether half of what it learns from is imagined."""
        return "mbpo" if "world_model" in self.settings else "drqv2"

    @property
    def complete(self) -> bool:
        """Whether all steps are taken."""
        return self.steps is not None and self.metrics.come_to >= self.steps

    def score(self, what: str, step: int) -> float | None:
        """The last evaluation of success or return that was due at or before a step.

        None where there is none yet, and while the run has not come to the step.
        """
        found = [value for due, value in self.metrics.evaluations(what).items() if due <= step]
        return found[-1] if found and self.metrics.come_to >= step else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Runs of one task that differ in nothing but their seed."""

    task: str
    label: str
    runs: tuple[Run, ...]
    asked: str = ""
    """In what its settings differ from those of other groups, where the label does not say it."""

    def scores(self, what: str, step: int) -> list[float]:
        """One for each run that has come to the step; see `Run.score`."""
        return [score for run in self.runs if (score := run.score(what, step)) is not None]

    def standing(self) -> str:
        """How far its runs have come, in words."""
        short = sorted((run.metrics.come_to, run.steps or 0) for run in self.runs if not run.complete)
        whole = len(self.runs) - len(short)
        seeds = ", ".join("?" if run.seed is None else str(run.seed) for run in self.runs)
        parts = [f"{whole} complete ({self.runs[0].steps:,} steps)"] if whole else []
        parts += [f"one at {come_to:,} of {steps:,} steps" for come_to, steps in short]
        several = "s" if self.runs[1:] else ""
        asked = f" ({self.asked})" if self.asked else ""
        return f"{len(self.runs)} run{several}, seed{several} {seeds}: {'; '.join(parts)}{asked}"


def grouped(runs: Sequence[Run], labels: Sequence[str] = ()) -> tuple[list[Group], list[str]]:
    """Put runs of equal task and settings together; return the groups and what a person should know of them.

    Args:
        runs: in the order in which groups are to come.
        labels: names of the different settings, in the order in which they come first; without, they are made of
            the method and of the settings that are not the same everywhere.

    Raises:
        ValueError: there are not as many labels as there are different settings, or runs of one task would share one
            that differ in more than their seed.
    """
    kinds: dict[str, Run] = {}
    for run in runs:
        kinds.setdefault(_key(run), run)
    differences = dict(zip(kinds, _differences(list(kinds.values())), strict=True))
    named = dict(zip(kinds, _labels(list(kinds.values()), list(differences.values())), strict=True))
    if labels:
        if len(labels) != len(kinds):
            raise ValueError(f"labels are {', '.join(labels)}; expected {len(kinds)}, for {', '.join(named.values())}")
        named = dict(zip(kinds, labels, strict=True))
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        group = found.setdefault((run.task, named[_key(run)]), [])
        if group and _key(group[0]) != _key(run):
            raise ValueError(
                f"label {named[_key(run)]!r} is given to {group[0].folder} and {run.folder}, which differ in more than "
                "their seed; expected another one for each"
            )
        group.append(run)
    groups = []
    for (task, label), each in found.items():
        said = differences[_key(each[0])]
        asked = ", ".join([each[0].method, *said]) if labels or len(said) > _MOST else ""
        groups.append(Group(task=task, label=label, runs=tuple(each), asked=asked))
    return groups, [note for group in groups for note in _notes(group)]


def _notes(group: Group) -> list[str]:
    first: dict[int, Path] = {}
    notes = []
    for run in group.runs:
        if run.metrics.unread:
            lines = counted(run.metrics.unread, "line")
            notes.append(f"{run.folder}: {lines} of metrics.jsonl passed over, for want of a step that can be read")
        if run.seed is not None and first.setdefault(run.seed, run.folder) != run.folder:
            notes.append(f"{first[run.seed]} and {run.folder} have one seed, {run.seed}: is this the same run twice?")
    return notes


def _key(run: Run) -> str:
    return repr(sorted(run.settings.items(), key=lambda item: item[0]))


def _differences(kinds: Sequence[Run]) -> list[list[str]]:
    """What each was asked that others were asked differently; what only one method has is compared within it."""
    everything = dict.fromkeys(key for kind in kinds for key in kind.settings)
    owners = {key: {kind.method for kind in kinds if key in kind.settings} for key in everything}
    differing = []
    for key in everything:
        values = [kind.settings.get(key) for kind in kinds if kind.method in owners[key]]
        if any(value != values[0] for value in values):
            differing.append(key)
    return [
        [f"{_short(key, differing)} {_said(kind.settings.get(key))}" for key in differing if kind.method in owners[key]]
        for kind in kinds
    ]


def _labels(kinds: Sequence[Run], differences: Sequence[Sequence[str]]) -> list[str]:
    """The method of each and its differences; where those are many, the name of its first run instead."""
    labels = []
    for kind, said in zip(kinds, differences, strict=True):
        labels.append(
            ", ".join([kind.method, *said]) if len(said) <= _MOST else f"{kind.method} as in {kind.folder.name}"
        )
    seen: dict[str, int] = {}
    for place, label in enumerate(labels):  # alike as far as a label goes
        seen[label] = seen.get(label, 0) + 1
        if seen[label] > 1:
            labels[place] = f"{label} ({seen[label]})"
    return labels


def _short(key: str, others: Sequence[str]) -> str:
    """The last word of a dotted key where that says which is meant."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in others) == 1 else key


def _said(value: Any) -> str:
    return "none" if value is None else str(value)


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= _leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
