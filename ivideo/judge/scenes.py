"""Where policies begin: numbered first frames, and the true table behind them where there is one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo.evaluation.clips import HELD_OUT
from ivideo.judge.edits import Edit
from ivideo.play.starts import TABLE, Starts
from ivideo.simulate.drawing import USUAL, Look, render
from ivideo.simulate.motion import TableState
from ivideo.world_model import WorldModel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """One beginning."""

    number: int
    name: str
    frames: UInt8[Tensor, "c 3 h w"]
    """What the model is shown; the last is what the policy sees first."""
    table: TableState | None = None
    """What is truly there in the last frame; None where nobody knows."""
    look: Look = USUAL
    """What that table looks like."""
    instruction: str = ""
    repeat: int = 0
    """Which of several tries from the same frames this is."""

    @property
    def key(self) -> tuple[int, int]:
        """What all randomness of a try from here depends on, beside a seed."""
        return self.number, self.repeat


def scenes_of(
    source: str, count: int, *, model: WorldModel, edit: Edit | None = None, first: int = 0, repeats: int = 1
) -> list[Scene]:
    """So many scenes from `first` on, each `repeats` times in a row; a longer list begins with a shorter one.

    Args:
        source: "pushing_table", or anything that `open_episodes` reads: episodes, a clip, a folder of pictures. Of
            each episode the first frames are taken; of a picture, which comes after white frames, the picture.
        count: scenes, at most; of episodes no more than there are.
        model: what they are for: it says how large frames are and how many it is shown.
        edit: a change to each; the pushing table's alone.
        first: number of the first scene.
        repeats: tries from each.
    """
    edit = edit or Edit()
    side, context = model.tokenizer.config.resolution, model.context_frames
    starts = _opened(source, side, context)
    if starts.episodes is not None and edit.kind != "none":
        raise ValueError(
            f"edit {edit.text!r} is of the pushing table, and scenes come from {source}; edit those frames yourself "
            "and give them as --starts"
        )
    if not 0 <= first < len(starts):
        raise ValueError(f"first is {first}, and {source} has scenes 0 to {len(starts) - 1}")
    numbers = range(first, min(first + count, len(starts)))
    return [scene for number in numbers for scene in _repeated(starts, number, edit, repeats)]


def _opened(source: str, side: int, context: int) -> Starts:
    try:
        return Starts.of(source, side=side, context=context)
    except ValueError as error:
        if source == TABLE:
            raise
        raise ValueError(f"--starts {source}: {error}") from error


def _repeated(starts: Starts, number: int, edit: Edit, repeats: int) -> Iterator[Scene]:
    start = starts[number]
    frames, table, look, instruction = start.frames, start.table, USUAL, ""
    if starts.episodes is not None:
        episode = starts.episodes[number]
        instruction = episode.instruction or ""
        frames = _pictured(episode.frames, starts.context)
    if table is not None and edit.kind != "none":
        table, look = edit(table, look, np.random.default_rng([HELD_OUT, number]))
        frames = starts.repeated(torch.from_numpy(render(table, starts.side, look)).permute(2, 0, 1).contiguous())
    for repeat in range(repeats):
        yield Scene(
            number=number,
            name=start.name,
            frames=frames,
            table=table,
            look=look,
            instruction=instruction,
            repeat=repeat,
        )


def _pictured(frames: UInt8[Tensor, "t 3 h w"], context: int) -> UInt8[Tensor, "c 3 h w"]:
    """The first frames; of a still picture, whose episode begins with white ones, the picture for all of them."""
    if len(frames) > 1 and bool((frames[:-1] == 255).all()) and not bool((frames[-1] == 255).all()):
        return frames[-1:].expand(context, *frames.shape[1:]).clone()
    return frames[:context].clone()


def by_number(scenes: Sequence[Scene]) -> list[int]:
    """For every try, which scene it is of, counted from 0."""
    places = {number: place for place, number in enumerate(dict.fromkeys(scene.number for scene in scenes))}
    return [places[scene.number] for scene in scenes]
