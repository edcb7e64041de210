"""A search over sub-goals and their videos, after VLP (arXiv 2310.10625).

::

    beam   present -- a sub-goal -- video -- a sub-goal -- video -- ...
                  \\- another   -- video     \\- another   -- video
                        |            |
                     proposer      maker      the filter discards jumps, the heuristic keeps the best of each beam;
                                              now and then the worst beam becomes the best one

At every level each beam asks the proposer for sub-goals, the maker for some videos towards each, and goes on from the
last frame of the one that the heuristic likes best. With one beam, sub-goal and video there is no search.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.config.limits import check_least
from ivideo.planning.inverse_dynamics import InverseDynamics
from ivideo.planning.teleports import TeleportFilter
from ivideo.planning.videos import VideoMaker, Videos, Wish

Heuristic = Callable[[UInt8[Tensor, "n 3 h w"], Tensor], Float[Tensor, " n"]]
"""How near frames are to a goal image; higher is nearer, such as minus the steps that are left."""


@runtime_checkable
class Proposer(Protocol):
    """Says what could be tried next."""

    def __call__(
        self, frame: UInt8[Tensor, "3 h w"], goal: UInt8[Tensor, "3 h w"], *, count: int, seed: int
    ) -> Sequence[Wish]:
        """Sub-goals on the way from a frame to a goal, `count` of them or fewer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Proposes some of a few sentences, drawn without replacement; "" is none."""

    sentences: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.sentences:
            raise ValueError("there are no sentences to propose; give at least one, such as the maker's commands")

    def __call__(self, frame: Tensor, goal: Tensor, *, count: int, seed: int) -> Sequence[Wish]:
        order = np.random.default_rng(seed).permutation(len(self.sentences))[:count]
        return [self.sentences[int(number)] for number in order]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WayPoints:
    """Proposes frames from data that lie between the present and the goal, and the goal itself.

    A frame lies the better in between the less the way by it is longer than the straight one, distances being the
    heuristic's; of the `among` best ones some are drawn.
    """

    frames: UInt8[Tensor, "n 3 h w"]
    heuristic: Heuristic
    among: int = 32
    """Frames to draw from."""

    def __post_init__(self) -> None:
        check_least(self, among=1)
        if not len(self.frames):
            raise ValueError("there are no frames to propose; give some of the data that the model was trained on")

    def __call__(self, frame: Tensor, goal: Tensor, *, count: int, seed: int) -> Sequence[Wish]:
        # The longer of both ways: their sum would be as content with the goal's neighbours as with the middle.
        nearness = torch.minimum(self.heuristic(self.frames, frame), self.heuristic(self.frames, goal))
        best = nearness.topk(min(self.among, len(self.frames))).indices
        drawn = best[torch.from_numpy(np.random.default_rng(seed).permutation(len(best))[: count - 1])]
        return [goal, *self.frames[drawn]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelNearness:
    """Minus the squared error of pixels in [0, 1] to the goal, summed: `GoalImage`'s score of a frame."""

    def __call__(self, frames: UInt8[Tensor, "n 3 h w"], goal: UInt8[Tensor, "3 h w"]) -> Float[Tensor, " n"]:
        wanted = goal.float() / 255
        return torch.stack([-(frame.float() / 255 - wanted).square().sum() for frame in frames])


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsLeft:
    """Minus the steps that are left to the goal, as a network learnt them from pairs of frames (VLP's heuristic).

    `ivideo train inverse-dynamics --config inverse_dynamics/pushing_table_steps` trains one.
    """

    network: InverseDynamics

    def __call__(self, frames: UInt8[Tensor, "n 3 h w"], goal: UInt8[Tensor, "3 h w"]) -> Float[Tensor, " n"]:
        pairs = torch.stack([frames, goal.expand_as(frames)], dim=1)
        return -self.network.recover(pairs)[:, 0, 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """A beam: what it has imagined so far."""

    videos: Videos
    """One row, from the present on."""
    near: float
    """What the heuristic says of its last frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSearch:
    """Finds a long video towards a goal image; a `VideoMaker` itself."""

    maker: VideoMaker
    proposer: Proposer
    heuristic: Heuristic
    teleports: TeleportFilter | None = None
    """Discards videos with a jump; None keeps all."""
    beams: int = 2
    subgoals: int = 4
    """That are proposed to a beam at every level."""
    videos: int = 1
    """That are imagined for each of them."""
    depth: int = 3
    """Levels."""
    replace_every: int = 2
    """Levels after which the worst beam is replaced by the best."""
    stop: bool = True
    """End a video where the heuristic likes it best, rather than after the last level."""

    def __post_init__(self) -> None:
        check_least(self, beams=1, subgoals=1, videos=1, depth=1, replace_every=1)

    def __call__(self, seen: UInt8[Tensor, "k 3 h w"], wishes: Sequence[Wish], *, count: int, seed: int) -> Videos:
        """The best `count` beams, best first, all cut to the shortest; fewer where there are fewer beams."""
        if len(wishes) != 1 or isinstance(wishes[0], str):
            said = repr(wishes[0]) if len(wishes) == 1 else f"{len(wishes)} wishes"
            raise ValueError(f"a tree search goes towards one image and was given {said}; give one goal image")
        wish = wishes[0]
        start = _Path(videos=Videos(frames=seen[None, -1:]), near=float(self.heuristic(seen[-1:], wish)[0]))
        paths, cost = [start] * self.beams, 0
        for level in range(self.depth):
            grown = [self._grow(seen, path, wish, _seed(seed, level, beam)) for beam, path in enumerate(paths)]
            paths, cost = [path for path, _ in grown], cost + sum(spent for _, spent in grown)
            if (level + 1) % self.replace_every == 0 and level + 1 < self.depth:
                paths = _replaced(paths)
        best = sorted(paths, key=lambda path: -path.near)[:count]
        return _together([self._cut(path.videos, wish) for path in best], cost)

    def _grow(self, seen: Tensor, path: _Path, goal: Tensor, seed: int) -> tuple[_Path, int]:
        """The beam a video longer, and the frames that this took; as it is where every video was discarded."""
        before = torch.cat([seen[:-1], path.videos.frames[0]])
        wishes = self.proposer(before[-1], goal, count=self.subgoals, seed=seed)
        if not wishes:
            return path, 0
        made = self.maker(before, wishes, count=self.videos, seed=_seed(seed, 1))
        scores = torch.stack([self.heuristic(video, goal) for video in made.frames])
        if self.teleports is not None:
            scores = scores.masked_fill(~self.teleports.keeps(made.frames, scores)[:, None], -torch.inf)
        row = int(scores[:, -1].argmax())
        if not bool(scores[row, -1].isfinite()):
            return path, made.imagined
        best = _Path(videos=_row(made, row), near=float(scores[row, -1]))
        return _Path(videos=_joined(path.videos, best.videos), near=best.near), made.imagined

    def _cut(self, video: Videos, goal: Tensor) -> Videos:
        """The video up to where it is nearest the goal, and a frame on at least."""
        if not self.stop or video.frames.shape[1] < 3:
            return video
        end = 2 + int(self.heuristic(video.frames[0, 1:], goal).argmax())
        actions = video.actions
        if actions is not None:
            actions = actions[:, : actions.shape[1] * (end - 1) // (video.frames.shape[1] - 1)]
        return Videos(frames=video.frames[:, :end], actions=actions)


def table_commands(strength: float = 1.0) -> Mapping[str, tuple[float, float]]:
    """Ways to move the pushing table's pusher, by name: eight directions and staying where it is."""
    across, down = {"left": -strength, "": 0.0, "right": strength}, {"up": -strength, "": 0.0, "down": strength}
    return {
        f"move {' '.join(filter(None, (vertical, horizontal)))}" if vertical or horizontal else "stay": (x, y)
        for horizontal, x in across.items()
        for vertical, y in down.items()
    }


def _replaced(paths: list[_Path]) -> list[_Path]:
    """The beams with the best in the place of the worst."""
    nears = [path.near for path in paths]
    worst, best = nears.index(min(nears)), nears.index(max(nears))
    return [paths[best] if number == worst else path for number, path in enumerate(paths)]


def _row(videos: Videos, row: int) -> Videos:
    actions = None if videos.actions is None else videos.actions[row : row + 1]
    return replace(videos, frames=videos.frames[row : row + 1], actions=actions, imagined=0)


def _joined(first: Videos, second: Videos) -> Videos:
    """One video after the other, whose first frame is the other's last."""
    frames = torch.cat([first.frames, second.frames[:, 1:]], dim=1)
    if first.frames.shape[1] == 1:
        return replace(second, frames=frames)
    known = first.actions is not None and second.actions is not None
    actions = torch.cat([first.actions, second.actions], dim=1) if known else None  # type: ignore[list-item]
    return Videos(frames=frames, actions=actions)


def _together(found: list[Videos], cost: int) -> Videos:
    """Videos as rows, cut to the shortest."""
    frames = min(video.frames.shape[1] for video in found)
    known = [video.actions for video in found if video.actions is not None]
    actions = None
    if len(known) == len(found):
        steps = min(each.shape[1] for each in known)
        actions = torch.cat([each[:, :steps] for each in known])
    return Videos(frames=torch.cat([video.frames[:, :frames] for video in found]), actions=actions, imagined=cost)


def _seed(*numbers: int) -> int:
    """A seed for every place in the tree."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1, np.uint64)[0] >> 2)
