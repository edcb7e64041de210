"""One colour and dash for every source, the same in every table and plot of a report."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ivideo.evaluation.series import COPY, PREDICTION, SHUFFLED, Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """How a source is drawn: colours for light and dark ground, and strokes and gaps (empty is one stroke)."""

    light: str
    dark: str
    dash: tuple[int, ...] = ()


# After Okabe and Ito, whose hues stay apart under every common colour blindness; darkened for text on white, lightened
# for text on black. Dashes tell lines apart in grey as well.
INKS = (
    Ink(light="#0072b2", dark="#5bb8f0"),
    Ink(light="#b84a00", dark="#ff9a5c", dash=(6, 3)),
    Ink(light="#007a59", dark="#35c99f", dash=(2, 2)),
    Ink(light="#a3437a", dark="#e79cc8", dash=(8, 3, 2, 3)),
    Ink(light="#856000", dark="#e8bd3f", dash=(4, 4)),
    Ink(light="#5a5a5a", dark="#b8b8b8", dash=(1, 3)),
    Ink(light="#6a51a3", dark="#b7a5ec", dash=(10, 3)),
    Ink(light="#a81c2b", dark="#ff8f96", dash=(5, 2, 1, 2)),
    Ink(light="#00707a", dark="#45c4d0", dash=(3, 2)),
)


_FIRST = {COPY: 0, SHUFFLED: 1}
"""Baselines that nearly every report has, so that they look the same in all."""


def inks(figures: Iterable[Figure]) -> dict[str, int]:
    """The index into `INKS` of every source: the first is the model's own, the others share the rest.

    Sources of one quantity differ as long as there are inks. A comparison that ends in another source's name, such as
    "over shuffled actions", is drawn like that source.
    """
    beside: dict[str, dict[str, None]] = {}
    for each in figures:
        beside.setdefault(each.quantity, {})[each.source] = None
    names = dict.fromkeys(name for group in beside.values() for name in group if name != PREDICTION)
    alone = [name for name in names if not any(name.endswith(f" {other}") for other in names)]
    found = {PREDICTION: 0}
    for name in sorted(alone, key=lambda name: _FIRST.get(name, len(_FIRST))):
        taken = [found[other] for group in beside.values() if name in group for other in group if other in found]
        used = Counter(found.values())
        found[name] = min(range(1, len(INKS)), key=lambda ink: (ink in taken, used[ink], ink))
    for name in names:
        if name not in found:
            found[name] = next(found[other] for other in alone if name.endswith(f" {other}"))
    return found


def style() -> str:
    """The palette as variables of a style sheet, for a light and a dark page."""
    light, dark = (
        "".join(f"--ink{place}:{colour};" for place, colour in enumerate(colours))
        for colours in ([ink.light for ink in INKS], [ink.dark for ink in INKS])
    )
    classes = "".join(
        f".ink{place}{{--hue:var(--ink{place});--dash:{' '.join(map(str, ink.dash)) or 'none'}}}"
        for place, ink in enumerate(INKS)
    )
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}{classes}"
