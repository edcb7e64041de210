"""What a rollout is worth: scores that look at rewards, at where things are, or at frames alone; higher is better."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.judge.locating import DISC, Located
from ivideo.judge.rollouts import Rollouts
from ivideo.judge.scenes import Scene
from ivideo.simulate.pushing_table import GOAL_TOLERANCE
from ivideo.world_model import WorldModel

Scores = Float[np.ndarray, " b"]
MOVED = 2.0
"""Table units by which the disc must have moved for the pusher to have touched it."""

__all__ = ["Classified", "Distance", "GoalPicture", "Judge", "Reward", "Success", "Touched"]


@runtime_checkable
class Judge(Protocol):
    """Gives every rollout a number."""

    @property
    def name(self) -> str: ...

    @property
    def counterpart(self) -> str:
        """Name of the true value that it estimates, in the same unit; empty where there is none."""
        ...

    @property
    def judges_truth(self) -> bool:
        """Whether true frames are judged too, which says how much of an error is the judge's own."""
        ...

    def check(self, model: WorldModel, scenes: Sequence[Scene], *, located: bool) -> None:
        """ValueError for what it cannot judge; asked before anything is rolled out. `located`: whether things of the
        pushing table are looked for."""
        ...

    def __call__(self, rollouts: Rollouts) -> Scores:
        """A score for each; NaN where it cannot say."""
        ...


@dataclass(frozen=True, slots=True)
class Reward:
    """The rewards added up: the model's own, or the true ones."""

    name: str = "reward"
    counterpart: str = "return"
    judges_truth: bool = False

    def check(self, model: WorldModel, scenes: Sequence[Scene], *, located: bool) -> None:
        """It takes a model with a reward head."""
        if not model.config.heads.reward:
            raise ValueError("judge reward adds up predicted rewards, and this model has no reward head; take another")

    def __call__(self, rollouts: Rollouts) -> Scores:
        assert rollouts.rewards is not None
        return _numbers(rollouts.rewards.sum(dim=1))


@dataclass(frozen=True, slots=True)
class Success:
    """1 where the disc is seen wholly inside the goal at any time, else 0. What is not seen is nowhere."""

    name: str = "success"
    counterpart: str = "success"
    judges_truth: bool = True

    def check(self, model: WorldModel, scenes: Sequence[Scene], *, located: bool) -> None:
        """It takes the pushing table."""
        _of_table(self.name, located)

    def __call__(self, rollouts: Rollouts) -> Scores:
        return _numbers(arrivals(_located(rollouts)).any(dim=1))


@dataclass(frozen=True, slots=True)
class Distance:
    """Minus the distance of the disc from the goal at the end, in table units; of a lost disc, where it was last."""

    name: str = "distance"
    counterpart: str = "distance"
    judges_truth: bool = True

    def check(self, model: WorldModel, scenes: Sequence[Scene], *, located: bool) -> None:
        """It takes the pushing table."""
        _of_table(self.name, located)

    def __call__(self, rollouts: Rollouts) -> Scores:
        return _numbers(-_located(rollouts).distances[:, -1])


@dataclass(frozen=True, slots=True)
class Touched:
    """1 where the disc is seen to have moved by more than 2 units at any time, else 0."""

    name: str = "touched"
    counterpart: str = "touched"
    judges_truth: bool = True

    def check(self, model: WorldModel, scenes: Sequence[Scene], *, located: bool) -> None:
        """It takes the pushing table."""
        _of_table(self.name, located)

    def __call__(self, rollouts: Rollouts) -> Scores:
        places = _located(rollouts).positions[:, :, DISC]
        return _numbers(((places - places[:, :1]).norm(dim=-1) > MOVED).any(dim=1))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GoalPicture:
    """Minus the mean squared error of the last frame's pixels, in [0, 1], to a goal picture."""

    goals: Callable[[Scene], UInt8[Tensor, "3 h w"]]
    name: str = "pixels"
    counterpart: str = ""
    judges_truth: bool = True

    def check(self, model: WorldModel, scenes: Sequence[Scene], *, located: bool) -> None:
        """The pictures have to be as large as frames are."""
        size = model.tokenizer.config.resolution
        for scene in scenes[:1]:
            goal = self.goals(scene)
            if tuple(goal.shape) != (3, size, size):
                raise ValueError(f"the goal picture is {list(goal.shape)}; expected {[3, size, size]}")

    def __call__(self, rollouts: Rollouts) -> Scores:
        goals = torch.stack([self.goals(scene) for scene in rollouts.scenes]).float() / 255
        return _numbers(-(rollouts.frames[:, -1].float() / 255 - goals).square().mean(dim=(1, 2, 3)))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Classified:
    """The largest probability of success that a classifier gives any frame."""

    classifier: Callable[[UInt8[Tensor, "k 3 h w"]], Float[Tensor, " k"]]
    """Logits of success of frames, as `ivideo.planning.Classified` takes them."""
    name: str = "classifier"
    counterpart: str = "success"
    judges_truth: bool = True

    def check(self, model: WorldModel, scenes: Sequence[Scene], *, located: bool) -> None:
        """The classifier has to answer a frame with a number."""
        self._logits(torch.stack([scene.frames[-1] for scene in scenes[:1]]))

    def __call__(self, rollouts: Rollouts) -> Scores:
        logits = torch.stack([self._logits(video) for video in rollouts.frames])
        return _numbers(logits.sigmoid().amax(dim=1))

    @torch.inference_mode()
    def _logits(self, frames: UInt8[Tensor, "k 3 h w"]) -> Float[Tensor, " k"]:
        found = self.classifier(frames).float().cpu()
        if tuple(found.shape) != (len(frames),):
            raise ValueError(
                f"the classifier made {list(found.shape)} of {len(frames)} frames; expected {[len(frames)]}"
            )
        return found


def arrivals(located: Located) -> Tensor:
    """In which frames the disc is seen inside the goal, `[b t]`."""
    return ~located.disc_lost & (located.distances <= GOAL_TOLERANCE)


def goal_pictures(path: str | None, size: int) -> Callable[[Scene], UInt8[Tensor, "3 h w"]]:
    """The picture of a file for every scene, or the table as it is when the disc is in the goal and all else as was."""
    if path is None:
        return _table_done
    from ivideo.data.sources.encoded_image import decode_image
    from ivideo.resizing import resize

    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist; expected a picture of the goal")
    picture = torch.from_numpy(decode_image(file.read_bytes(), str(file)).copy()).permute(2, 0, 1)
    goal = resize(picture[None].contiguous(), size)[0]
    return lambda scene: goal


def _table_done(scene: Scene) -> UInt8[Tensor, "3 h w"]:
    from dataclasses import replace

    from ivideo.simulate.drawing import render

    if scene.table is None:
        raise ValueError(f"judge pixels has no goal for scene {scene.name}; give a picture of it, --goal FILE")
    done = replace(scene.table, disc=scene.table.goal)
    return torch.from_numpy(render(done, scene.frames.shape[-1], scene.look)).permute(2, 0, 1).contiguous()


def _of_table(name: str, located: bool) -> None:
    if not located:
        raise ValueError(
            f"judge {name} looks for the pushing table's disc, and these scenes are not of that table; take reward, "
            "pixels, classifier, vision or labels, or say --things true if they are"
        )


def _located(rollouts: Rollouts) -> Located:
    assert rollouts.located is not None
    return rollouts.located


def _numbers(values: Tensor) -> Scores:
    return values.double().cpu().numpy()
