"""What became of a model: a table for people and a JSON document for the model's folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import wrap
from typing import Literal, TypeAlias

from torch import Tensor

from tokenizer.elastic import Refit

REPORT_FILE = "migration.json"
Strength: TypeAlias = Literal["bit for bit", "up to rounding", "nothing"]
Fate: TypeAlias = Literal["kept", "replaced", "cut", "grown", "resampled", "new", "dropped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What stays as it was under one change."""

    change: str
    """The setting with both its values, as in `action_dim 0 -> 4`."""
    strength: Strength
    holds: str
    """Where it stays the same; where nothing does, what is done instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What became of one tensor."""

    name: str
    fate: Fate
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    how: str = ""

    @classmethod
    def of(cls, name: str, before: Tensor | None, made: Refit | None) -> "Line":
        """From the old tensor and the new one, where there is one."""
        old = None if before is None else tuple(before.shape)
        new = None if made is None else tuple(made.tensor.shape)
        how = "" if made is None else made.how
        if old is None or new is None:
            return cls(name=name, fate="new" if old is None else "dropped", before=old, after=new, how=how)
        if not how:
            return cls(name=name, fate="kept", before=old, after=new)
        assert before is not None
        assert made is not None
        sizes = made.tensor.numel() - before.numel()
        fate: Fate = "grown" if sizes > 0 else "cut" if sizes < 0 else "replaced" if made.elsewhere else "resampled"
        return cls(name=name, fate=fate, before=old, after=new, how=how)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """Everything that became of a model on its way from `source`."""

    source: str
    promises: tuple[Promise, ...]
    lines: tuple[Line, ...]

    def table(self) -> str:
        """The report as text: the promises, then every tensor that is not simply kept."""
        out = [f"from {self.source}" + ("" if self.promises else ": nothing changes")]
        for each in self.promises:
            out.append(f"  {each.change}")
            out += wrap(f"{each.strength}: {each.holds}", 110, initial_indent="    ", subsequent_indent="    ")
        changed = [line for line in self.lines if line.fate != "kept"]
        rows = [(line.name, line.fate, _shape(line.before), _shape(line.after), line.how) for line in changed]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
        for row in rows:
            out.append(("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))).rstrip())
        kept = len(self.lines) - len(changed)
        return "\n".join([*out, f"  {kept} {'other ' if rows else ''}tensors kept as they are"])

    def write(self, folder: Path) -> None:
        """Write `migration.json` into a model's folder."""
        (folder / REPORT_FILE).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def lines(prefix: str, before: Mapping[str, Tensor], made: Mapping[str, Refit]) -> tuple[Line, ...]:
    """A line for every tensor of one part, old or new."""
    names = [*made, *(name for name in before if name not in made)]
    return tuple(Line.of(f"{prefix}.{name}", before.get(name), made.get(name)) for name in names)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "-" if shape is None else str(list(shape))
