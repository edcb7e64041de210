"""Clips that play beside each other: truth, prediction and difference, all of them in step."""

import base64
from collections.abc import Sequence

from ivideo.evaluation.report.clip import AMPLIFIED, COLUMNS, KINDS, ShownClip, sheet
from ivideo.evaluation.report.markup import Markup, element, section
from ivideo.evaluation.report.words import counted, number
from ivideo.video_encoding import png

_SPEEDS = (1, 2, 5, 10, 20)
_SPEED = 5


def player(clips: Sequence[ShownClip]) -> Markup | None:
    """The clips under common controls; without the page's script, every clip as a sheet of all its frames."""
    if not clips:
        return None
    note = f"Difference: of every colour channel, absolute, {AMPLIFIED} times brighter than it is."
    return section("clips", "Clips", element("p", note, class_="note"), _controls(), (_clip(clip) for clip in clips))


def _controls() -> Markup:
    speeds = (element("option", f"{speed} frames/s", value=speed, selected=speed == _SPEED) for speed in _SPEEDS)
    return element(
        "div",
        element("button", "Play", type="button", class_="play"),
        element("input", type="range", min="0", value="0", step="1", aria_label="frame"),
        element("output", class_="frame"),
        element("select", speeds, aria_label="speed"),
        class_="controls",
        role="group",
        aria_label="all clips",
        hidden=True,
    )


def _clip(clip: ShownClip) -> Markup:
    frames, _, height, width = clip.truth.shape
    picture = sheet(clip)
    content = base64.b64encode(png(picture.permute(1, 2, 0).contiguous().numpy())).decode()
    given = "the first was" if clip.context == 1 else f"the first {number(clip.context)} were"
    said = (
        f"{counted(frames, 'frame')} from left to right, each above its prediction and their difference; {given} shown "
        "to the model"
    )
    screens = (
        element("div", element("canvas", width=width, height=height, role="img", aria_label=kind), element("p", kind))
        for kind in KINDS
    )
    return element(
        "figure",
        element("figcaption", element("strong", clip.label), " ", clip.name, element("span", clip.score)),
        element("div", screens, class_="screens", hidden=True),
        element(
            "details",
            element("summary", "All frames"),
            element("p", f"{said[0].upper()}{said[1:]}.", class_="note"),
            element(
                "div",
                element(
                    "img",
                    src=f"data:image/png;base64,{content}",
                    width=picture.shape[2],
                    height=picture.shape[1],
                    alt=f"{clip.label}, {clip.name}: {said}",
                ),
                class_="scroll",
                tabindex="0",
            ),
            open=True,
        ),
        class_="clip",
        data_frames=frames,
        data_context=clip.context,
        data_columns=min(COLUMNS, frames),
    )
