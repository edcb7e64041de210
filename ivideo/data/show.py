"""`ivideo data show SOURCE`: what a data set holds, and what it looks like."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo.config import parse
from ivideo.data.opening import open_episodes
from ivideo.data.store import EpisodeStore
from ivideo.episode import Episode
from ivideo.files import check_new_file
from ivideo.video import check_output, grid, write_video

COLUMNS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """What to show."""

    source: str
    """A file, a folder of episodes, or "pushing_table"."""
    size: int = 64
    """Side of the frames in pixels."""
    camera: str | None = None
    """Which view, in sources with several."""
    key: str | None = None
    """Which array of an .npz or HDF5 file holds the frames."""
    split: str | None = None
    """Only this part of a data set that has parts: "train", "valid" or "test"."""
    classes: str | None = None
    """A file that names the classes of Something-Something V2 to take, one template a line."""
    robot: str | None = None
    """Of RoboNet, only what this robot did."""
    colours: str | None = None
    """The order in which RLDS or RoboNet files keep colours, "rgb" or "bgr"; null for what is known."""
    placeholder: int | None = None
    """White frames in front of a single picture; null for 2."""
    limit: int | None = None
    """Open at most so many episodes."""
    rows: int = 8
    """How many episodes to draw, evenly chosen."""
    out: str | None = None
    """Where to draw them: .png, .mp4, .webm or .gif; nothing is drawn without."""
    overwrite: bool = False
    """Replace a file of that name."""


def main(argv: list[str]) -> int:
    """`ivideo data show SOURCE [...]`."""
    wanted = parse(
        Show, argv, prog="ivideo data show", description="Say what a data set holds.", positional=("source",)
    )
    out = None if wanted.out is None else Path(wanted.out)
    if out is not None:
        check_output(out)
        check_new_file(out, overwrite=wanted.overwrite)
    if wanted.rows < 1:
        raise ValueError(f"rows is {wanted.rows}; expected at least 1 episode to draw")
    store = open_episodes(
        wanted.source,
        size=wanted.size,
        camera=wanted.camera,
        key=wanted.key,
        limit=wanted.limit,
        split=wanted.split,
        classes=wanted.classes,
        robot=wanted.robot,
        colours=wanted.colours,
        placeholder=wanted.placeholder,
    )
    print("\n".join(describe(store)))
    if out is not None:
        chosen = torch.linspace(0, len(store) - 1, min(wanted.rows, len(store))).round().long().tolist()
        write_video(out, grid(torch.stack([_glance(store[place]) for place in chosen]), columns=1))
        print(f"drew {', '.join(store[place].name for place in chosen)} in {out}, time to the right")
    return 0


def describe(store: EpisodeStore) -> list[str]:
    """Return lines that say what is there, for people."""
    lengths = sorted(len(episode) for episode in store)
    height, width = store.frame_size
    lines = [
        f"{store.source}: {len(store)} episodes, {store.total_frames} frames of {height}x{width}, "
        f"{lengths[0]} to {lengths[-1]} a piece, {lengths[len(lengths) // 2]} in the middle"
    ]
    actions = [episode.actions for episode in store if episode.actions is not None]
    if actions:
        every = torch.cat(actions)
        lines.append(f"actions: {every.shape[1]} numbers")
        for place, column in enumerate(every.T):
            lines.append(
                f"  {place}: {column.min():8.3f} to {column.max():8.3f}, mean {column.mean():7.3f}, "
                f"standard deviation {column.std(correction=0):6.3f}"
            )
    else:
        lines.append("actions: none")
    rewards = [episode.rewards for episode in store if episode.rewards is not None]
    if rewards:
        earned = torch.cat(rewards)
        lines.append(f"rewards: {earned.min():.3f} to {earned.max():.3f}, mean {earned.mean():.3f}")
    else:
        lines.append("rewards: none")
    ended = sum(episode.terminal for episode in store)
    lines.append(f"terminal: {ended} of {len(store)} episodes")
    told = [episode.instruction for episode in store if episode.instruction]
    lines.append(f"instructions: {len(told)} of {len(store)} episodes" + (f", such as {told[0]!r}" if told else ""))
    rates = sorted({episode.fps for episode in store if episode.fps is not None})
    lines.append(f"frames per second: {', '.join(f'{rate:g}' for rate in rates[:5]) or 'not known'}")
    return lines


def _glance(episode: Episode) -> UInt8[Tensor, "t 3 h w"]:
    """Ten frames from the first to the last."""
    return episode.frames[torch.linspace(0, len(episode) - 1, COLUMNS).round().long()]
