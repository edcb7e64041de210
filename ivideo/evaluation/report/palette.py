"""One colour and dash for every source, the same in every table and plot of a report."""

from collections.abc import Iterable
from dataclasses import dataclass

from ivideo.evaluation.series import PREDICTION


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
)


def inks(sources: Iterable[str]) -> dict[str, int]:
    """The index into `INKS` of every source: the first is the model's own, the others share the rest in turn."""
    others = dict.fromkeys(source for source in sources if source != PREDICTION)
    return {PREDICTION: 0} | {source: 1 + place % (len(INKS) - 1) for place, source in enumerate(others)}


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
