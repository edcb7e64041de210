"""A published figure with all that it takes to repeat it; one YAML file of `configs/reproduce` each."""

from dataclasses import dataclass, replace
from difflib import get_close_matches

from ivideo import recipes
from ivideo.config import load_config

GROUP = "reproduce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What one system reached."""

    name: str
    figures: dict[str, str]
    """By metric, as printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One command, with DATA and OUT where folders go, and STEPS, EPISODES, CLIPS, WINDOWS in a tiny one."""

    name: str
    """What it makes, below OUT."""
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiny:
    """The same in minutes on two cores, with data that is made on the spot."""

    minutes: float
    """How long it takes on two cores, about."""
    differs: str
    """What makes its figures incomparable to those published."""
    stages: tuple[Stage, ...]
    steps: int = 600
    """Updates of each training."""
    episodes: int = 400
    """Of the pushing table, that are recorded to train on."""
    windows: int = 4000
    """That are tokenized once for the world model, or fewer where the updates see fewer."""
    clips: int = 64
    """Held-out clips that figures are means of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One published figure."""

    name: str = ""
    title: str
    reports: str
    """The figure in a line."""
    source: str
    """Paper and table."""
    protocol: str
    published: tuple[Published, ...] = ()
    needs: tuple[str, ...]
    """Data sets with the place to get them, and weights."""
    gpus: int
    memory: str
    gpu_days: str
    """As published."""
    disk: str
    released: tuple[Stage, ...] = ()
    """Measures released weights, where there are any, without training."""
    full: tuple[Stage, ...]
    tiny: Tiny
    compares: tuple[str, ...] = ()
    """Folders below OUT whose models are compared side by side; the first is what others are compared to."""
    missing: str | None = None
    """What the commands do not repeat, and what does."""
    notes: tuple[str, ...] = ()


def names() -> list[str]:
    """Every row, in the order of their files."""
    return [name.removeprefix(f"{GROUP}/") for name in recipes.names() if name.startswith(f"{GROUP}/")]


def load(name: str) -> Row:
    """The row of that name; ValueError, with the nearest names, where there is none."""
    known = names()
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        remedy = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(known)}"
        raise ValueError(f"unknown row {name!r}; {remedy}")
    return replace(load_config(Row, recipes.find(f"{GROUP}/{name}")), name=name)
