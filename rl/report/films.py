"""A real episode beside what a world model imagines under the same actions, with both rewards beneath.

    |  real  | imagined |        | real     |  0 |  7 | 14 | 21 |
    |        |          |        | imagined |  0 |  7 | 14 | 21 |
    |  rewards, and now |        |        rewards               |

        mp4, frame by frame            png, time to the right

Both begin with the same frame; row t of the rewards arrives with frame t+1.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from ivideo import Episode, WorldModel
from ivideo.evaluation.report.paper import SOFT, Paper
from ivideo.video import grid
from rl.imagination.starts import evaluating
from rl.report.plot import Line, Plot, key

_REAL, _IMAGINED = 0, 1
"""Inks: blue for what was, and orange with dashes for what was imagined."""
_PANEL = 288
"""Pixels that the side of a frame is enlarged towards."""
_GAP, _MARGIN = 8, 8
_COLUMNS = 8
_STRIP = 440
_NOW = 40

Picture = UInt8[Tensor, "3 _h _w"]


def film(real: Episode, imagined: Episode | None = None) -> UInt8[Tensor, "t 3 H W"]:
    """Every frame of both, as far as both go, above their rewards with an upright line that says when it is.

    Without an imagined one the real episode is shown alone. Raises ValueError where frames differ in size.
    """
    shown = _alike(real, imagined)
    zoom = max(1, _PANEL // real.frames.shape[-1])
    frames = torch.stack([each.frames for each in shown])
    large = frames.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)
    top = grid(large, columns=len(shown), gap=_GAP)
    edge = (_narrow(top.shape[-1]) - top.shape[-1]) // 2
    width = (top.shape[-1] + 2 * edge - 4 * _MARGIN) / 2  # paper has two pixels for a unit of length
    names = Paper(round(width), _MARGIN)
    for place, name in enumerate(("real", "imagined")[: len(shown)]):
        names.text(name, (edge - 2 * _MARGIN + place * (large.shape[-1] + _GAP)) / 2, 10, size=14)
    names.down(8)
    head = _pixels(names)
    plot = _plot(shown, len(real.frames) if imagined is None else len(shown[0]))
    foot = None if plot is None else _drawn(plot, round(width))
    whole = head.shape[-1]
    pictures = []
    for step, frame in enumerate(F.pad(top, (edge, whole - top.shape[-1] - edge), value=255)):
        parts = [head, frame]
        if plot is not None and foot is not None:
            parts.append(_marked(foot, plot, step, round(width)))
        pictures.append(torch.cat(parts, dim=1))
    return torch.stack(pictures)


def film_strip(real: Episode, imagined: Episode | None = None, columns: int = _COLUMNS) -> Picture:
    """Up to `columns` evenly chosen frames of both, one row each, above their rewards. Raises as `film` does."""
    shown = _alike(real, imagined)
    count = len(shown[0])
    chosen = torch.linspace(0, count - 1, min(columns, count)).round().long()
    paper = Paper(_STRIP, _MARGIN)
    across = (_STRIP - 2 * (columns - 1)) / columns
    height = across * real.frames.shape[-2] / real.frames.shape[-1]
    for name, each in zip(("real", "imagined"), shown, strict=False):
        paper.text(name, 0, 13, size=14)
        paper.down(19)
        for place, frame in enumerate(rearrange(each.frames[chosen], "t k h w -> t h w k").numpy()):
            paper.picture(np.ascontiguousarray(frame), place * (across + 2), 0, height)
        paper.down(height + 3)
    for place, frame in enumerate(chosen.tolist()):
        paper.text(str(frame), place * (across + 2) + across / 2, 11, size=11, colour=SOFT, anchor="ms")
    paper.down(22)
    plot = _plot(shown, count)
    if plot is not None:
        _draw(paper, plot, _STRIP)
    return _pixels(paper)


def dream(model: WorldModel, episode: Episode, *, start: int = 0, length: int | None = None, seed: int = 0) -> Episode:
    """Return what a model imagines under an episode's own actions; its first frame is the episode's frame `start`.

    The model sees the frames up to and with that one, as many as it takes; the first one is repeated where the episode
    has fewer. Without a reward head the imagined episode has no rewards.

    Args:
        model: an action-conditioned model; it is left in the mode it was in.
        episode: with actions.
        start: the last frame that is not imagined.
        length: how many are imagined; None: to the episode's end.
        seed: draws the tokens.

    Raises:
        ValueError: the episode has no actions, or is shorter than that.
    """
    steps = _steps(episode, start, length)
    if episode.actions is None:
        raise ValueError(f"episode {episode.name!r} has no actions; an episode is imagined under its own")
    seen = torch.arange(start - model.context_frames + 1, start + 1).clamp(min=0)
    frames, rewards = [episode.frames[start].cpu()], []
    with evaluating(model):
        state = model.start(episode.frames[seen].to(model.device), seed=seed, room=steps.stop - start)
        for action in episode.actions[steps].to(model.device):
            state, imagined = model.step(state, action)
            assert imagined.frame is not None
            frames.append(imagined.frame[0].cpu())
            rewards += [] if imagined.reward is None else [imagined.reward[0].cpu()]
    return Episode(
        frames=torch.stack(frames),
        actions=episode.actions[steps],
        rewards=torch.stack(rewards) if rewards else None,
        name=episode.name,
    )


def cut(episode: Episode, start: int, length: int | None = None) -> Episode:
    """Return `length` steps of an episode from frame `start` on, to go beside what was imagined of them."""
    steps = _steps(episode, start, length)
    return Episode(
        frames=episode.frames[start : steps.stop + 1],
        actions=None if episode.actions is None else episode.actions[steps],
        rewards=None if episode.rewards is None else episode.rewards[steps],
        terminal=episode.terminal and steps.stop == len(episode) - 1,
        name=episode.name,
    )


def _steps(episode: Episode, start: int, length: int | None) -> slice:
    stop = len(episode) - 1 if length is None else start + length
    last = len(episode) - 1
    if not 0 <= start < stop <= last:
        asked = "" if length is None else f" and length {length}"
        raise ValueError(f"start is {start}{asked}; expected at least 1 step of the {last} of episode {episode.name!r}")
    return slice(start, stop)


def _alike(real: Episode, imagined: Episode | None) -> list[Episode]:
    """Both as far as both go."""
    if imagined is None:
        return [_on_cpu(real, len(real))]
    if real.frames.shape[1:] != imagined.frames.shape[1:]:
        raise ValueError(
            f"real frames are {list(real.frames.shape[1:])} and imagined ones {list(imagined.frames.shape[1:])}; "
            "expected equal sizes: resize one of them"
        )
    count = min(len(real), len(imagined))
    return [_on_cpu(each, count) for each in (real, imagined)]


def _on_cpu(episode: Episode, count: int) -> Episode:
    rewards = None if episode.rewards is None else episode.rewards[: count - 1].cpu()
    return Episode(frames=episode.frames[:count].cpu(), rewards=rewards)


def _plot(shown: Sequence[Episode], count: int) -> Plot | None:
    """The rewards of every episode that has any; a sum in the name says what they come to."""
    lines = []
    for name, ink, each in zip(("real", "imagined"), (_REAL, _IMAGINED), shown, strict=False):
        if each.rewards is not None and len(each.rewards):
            points = tuple((float(step), float(reward)) for step, reward in enumerate(each.rewards, 1))
            lines.append(Line(name=f"{name}, sum {_short(float(each.rewards.sum()))}", ink=ink, points=points))
    if not lines:
        return None
    return Plot(title="reward", lines=tuple(lines), x_title="step", x=(0, max(count - 1, 1)), height=150)


def _draw(paper: Paper, plot: Plot, width: int) -> None:
    key(paper, [(line.name, line.ink) for line in plot.lines], width)
    plot.draw(paper, width)


def _drawn(plot: Plot, width: int) -> Picture:
    paper = Paper(width, _MARGIN)
    _draw(paper, plot, width)
    return _pixels(paper)


def _marked(foot: Picture, plot: Plot, step: int, width: int) -> Picture:
    """The plot with a line where the step lies."""
    marked = foot.clone()
    x = round((_MARGIN + plot.across(step, width)) * foot.shape[-1] / (width + 2 * _MARGIN))
    below = round(plot.height * foot.shape[-1] / (width + 2 * _MARGIN))
    bottom = foot.shape[1] - 2 * _MARGIN
    marked[:, max(bottom - below + 52, 0) : bottom - 76, x - 1 : x + 1] = _NOW
    return marked


def _narrow(width: int) -> int:
    """How wide the film is: at least so that rewards can be read, and even."""
    return max(width + 4 * _MARGIN, 400) // 2 * 2


def _pixels(paper: Paper) -> Picture:
    return rearrange(torch.from_numpy(paper.pixels()), "h w k -> k h w")


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 or not math.isfinite(value) else f"{value:.0f}"
