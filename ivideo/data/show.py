"""`ivideo data show SOURCE`: what a data set holds and what it looks like, or a single episode with its curves."""

from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo.config import parse
from ivideo.data.check.reading import find_all
from ivideo.data.curves import LANES, strip_with_curves, video_with_curves
from ivideo.data.names import plain
from ivideo.data.opening import PUSHING_TABLE, read_episodes
from ivideo.data.sources.source import Options, SourceOptions
from ivideo.data.store import EpisodeStore
from ivideo.episode import Episode
from ivideo.files import check_new_file
from ivideo.video import check_output, grid, write_video

COLUMNS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Show(SourceOptions):
    """What to show."""

    source: str
    """A file, a folder of episodes, or "pushing_table"."""
    size: int = 64
    """Side of the frames in pixels."""
    limit: int | None = None
    """Open at most so many episodes."""
    rows: int = 8
    """How many episodes to draw, evenly chosen."""
    episode: str | None = None
    """Show this one alone, by its name or its number from 0; it is drawn with its actions and rewards."""
    out: str | None = None
    """Where to draw: .png, .mp4, .webm or .gif; nothing is drawn without."""
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
    if wanted.episode is not None:
        return _show_one(wanted, wanted.episode, out)
    store = read_episodes(wanted.source, Options.of(wanted, size=wanted.size), limit=wanted.limit)
    print("\n".join(describe(store)))
    if out is not None:
        chosen = torch.linspace(0, len(store) - 1, min(wanted.rows, len(store))).round().long().tolist()
        write_video(out, grid(torch.stack([_glance(store[place]) for place in chosen]), columns=1))
        print(f"drew {', '.join(store[place].name for place in chosen)} in {out}, time to the right")
    return 0


def _show_one(wanted: Show, asked: str, out: Path | None) -> int:
    episode = _open_one(wanted, asked)
    print("\n".join(describe_one(episode)))
    if out is not None:
        if out.suffix.lower() == ".png":
            write_video(out, strip_with_curves(episode)[None])
        else:
            write_video(out, video_with_curves(episode), fps=min(episode.fps or 10, 240))
        print(f"drew it in {out}, time to the right" if out.suffix.lower() == ".png" else f"drew it in {out}")
    return 0


def _open_one(wanted: Show, asked: str) -> Episode:
    """Read one episode of a source, and no other."""
    options = Options.of(wanted, size=wanted.size, min_frames=1)
    # The table would play a hundred episodes for the sake of one.
    is_number = wanted.source == PUSHING_TABLE and asked.isdecimal()
    items = find_all(wanted.source, int(asked) + 1 if is_number else wanted.limit, options).items
    item = items[_place(wanted.source, asked, [item.name for item in items])]
    return replace(item.read(options), name=item.name)


def _place(source: str, asked: str, names: list[str]) -> int:
    """Which episode is meant: a name goes before a number, for names may be numbers."""
    if asked in names:
        return names.index(asked)
    if asked.isdecimal() and int(asked) < len(names):
        return int(asked)
    near = get_close_matches(asked, names, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"the first is called {names[0]!r}"
    raise ValueError(f"{source}: no episode {asked!r} among {len(names)}; {remedy}")


def describe_one(episode: Episode) -> list[str]:
    """Return lines that say what an episode holds, for people."""
    height, width = episode.frames.shape[2:]
    rate = "" if episode.fps is None else f" at {episode.fps:g} a second"
    lines = [f"{plain(episode.name)}: {len(episode)} frames of {height}x{width}{rate}"]
    if episode.instruction:
        lines.append(f"instruction: {plain(episode.instruction)}")
    lines += _numbers("actions", episode.actions)
    if episode.actions is not None and episode.actions.shape[1] > LANES:
        lines.append(f"  (the first {LANES} are drawn)")
    if episode.rewards is not None and len(episode.rewards):
        low, high, whole = episode.rewards.min(), episode.rewards.max(), episode.rewards.sum()
        lines.append(f"rewards: {low:.3f} to {high:.3f}, together {whole:.3f}")
    else:
        lines.append("rewards: none")
    return [*lines, f"terminal: {'yes' if episode.terminal else 'no'}"]


def _numbers(what: str, values: Tensor | None) -> list[str]:
    if values is None or not len(values):
        return [f"{what}: none"]
    return [f"{what}: {values.shape[1]} numbers"] + [
        f"  {place}: {column.min():8.3f} to {column.max():8.3f}, mean {column.mean():7.3f}, "
        f"standard deviation {column.std(correction=0):6.3f}"
        for place, column in enumerate(values.T)
    ]


def describe(store: EpisodeStore) -> list[str]:
    """Return lines that say what is there, for people."""
    lengths = sorted(len(episode) for episode in store)
    height, width = store.frame_size
    lines = [
        f"{store.source}: {len(store)} episodes, {store.total_frames} frames of {height}x{width}, "
        f"{lengths[0]} to {lengths[-1]} a piece, {lengths[len(lengths) // 2]} in the middle"
    ]
    actions = [episode.actions for episode in store if episode.actions is not None]
    lines += _numbers("actions", torch.cat(actions) if actions else None)
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
