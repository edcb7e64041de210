"""What is kept of a play: a film of dream beside truth, or an episode to train on."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo.data.recorder import save_episodes
from ivideo.episode import Episode
from ivideo.files import replace_file
from ivideo.play.timeline import Timeline
from ivideo.video import grid, write_video

KINDS = ("mp4", "webm", "gif", "npz")
"""What can be written."""
_SEEN = 256
"""Sides of films are enlarged to about so many pixels."""


def film(timelines: list[Timeline]) -> UInt8[Tensor, "t 3 h w"]:
    """Dreams side by side with the truth of each after it; a shorter one waits at its last frame."""
    shown = []
    for each in timelines:
        truth = each.true()
        shown += [each.dreamt()] if truth is None else [each.dreamt(), truth]
    most = max(map(len, shown))
    padded = [torch.cat([each, each[-1:].expand(most - len(each), *each.shape[1:])]) for each in shown]
    return grid(torch.stack(padded), columns=None if len(padded) > 4 else len(padded))


def episode(timeline: Timeline, *, fps: float) -> Episode:
    """The dream as an episode: imagined frames, what was done, and predicted rewards."""
    if len(timeline) < 2:
        raise ValueError("this dream has a single frame; play a step first")
    return Episode(
        frames=timeline.dreamt(),
        actions=timeline.actions(),
        rewards=timeline.rewards(),
        name=timeline.start.name,
        fps=fps,
    )


def write(path: Path, timelines: list[Timeline], *, fps: float) -> None:
    """Write a film of all timelines, or for .npz the first of them as an episode; the suffix says which.

    An existing file is replaced in one step. Raises ValueError for another suffix, OSError for a place that cannot be
    written.
    """
    kind = check(path)
    if kind != "npz":
        frames = film(timelines)
        write_video(path, frames, fps=fps, zoom=max(1, _SEEN // frames.shape[-2]))
        return
    with TemporaryDirectory() as scratch:
        (saved,) = save_episodes(Path(scratch), [episode(timelines[0], fps=fps)])
        replace_file(path, lambda stage: stage.write_bytes(saved.read_bytes()))


def packed(kind: str, timelines: list[Timeline], *, fps: float) -> bytes:
    """What `write` writes, as bytes."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / f"play.{kind}"
        write(path, timelines, fps=fps)
        return path.read_bytes()


def check(path: Path) -> str:
    """The kind that a suffix stands for; ValueError for another."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise ValueError(f"{path}: expected a file that ends in {', '.join(f'.{each}' for each in KINDS)}")
    return kind
