"""Clips that a model made, with what they show in words, as a Hugging Face data set for whoever trains on them.

::

    FOLDER/README.md                               what it is, as the Hub shows it
    FOLDER/data/train-00000-of-00002.parquet       a row for each clip:
        frames   list of png pictures, RGB         caption  text
        actions  list of lists of float32, or null seed     what its tokens were drawn from
        model    which model made it               start    the episode that it begins in

`datasets.load_dataset(FOLDER)` opens it as it lies there, `captioned_episodes(FOLDER)` gives this project's episodes.
Source of the idea: UniSim (Yang et al. 2023, arXiv 2310.06114), section 4.3, which trained a captioner on such pairs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from ivideo.data.sources.encoded_image import decode_images
from ivideo.episode import Episode
from ivideo.files import check_new_folder, nearby, staged_folder
from ivideo.fingerprint import fingerprint

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel

COLUMNS = ("frames", "caption", "actions", "seed", "model", "start")
_SHARDS = "data/train-*.parquet"
_AT_ONCE = 16
"""Clips that are imagined side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedClip:
    """A clip and what it shows."""

    frames: UInt8[Tensor, "t 3 h w"]
    caption: str
    actions: Float[Tensor, "t-1 a"] | None = None
    """What was done in it; None where nobody knows."""
    seed: int = 0
    """What its tokens were drawn from."""
    model: str = ""
    """Which model made it, such as its fingerprint; empty for a true clip."""
    start: str = ""
    """The name of the episode that it begins in."""

    def __post_init__(self) -> None:
        if not self.caption.strip():
            raise ValueError("a clip has no caption; expected words for what it shows")
        if self.actions is not None and len(self.actions) != len(self.frames) - 1:
            raise ValueError(
                f"{self.caption!r}: {len(self.actions)} actions beside {len(self.frames)} frames; expected one less"
            )


@torch.inference_mode()
def commanded_clips(
    model: "WorldModel",
    starts: Sequence[Episode],
    commands: Mapping[str, Sequence[float]],
    *,
    count: int,
    frames: int,
    noise: float = 0.0,
    seed: int = 0,
) -> Iterator[CaptionedClip]:
    """Imagine clips under commands, each an action that is carried on; the command is the caption.

    Clip i depends on the seed, i and the arguments alone: its start and its command are drawn.

    Args:
        model: takes actions as long as the commands'.
        starts: episodes to begin anywhere in.
        commands: the action that each caption stands for, such as `ivideo.planning.tree.table_commands()`.
        count: how many clips.
        frames: imagined frames of each, behind the true ones that it begins with.
        noise: standard deviation of what is added to every number of every action.
        seed: decides everything.

    Raises:
        ValueError: for commands that are no actions of this model, and starts that are too short for it.
    """
    if count < 1 or frames < 1:
        raise ValueError(f"count is {count} and frames {frames}; expected at least 1 of each")
    wrong = [name for name, action in commands.items() if len(action) != model.action_dim]
    if wrong or not commands:
        said = f"{wrong[0]!r} has {len(commands[wrong[0]])} numbers" if wrong else "there are no commands"
        raise ValueError(f"{said} and an action of this model {model.action_dim}; give one for each")
    context = model.context_frames
    fitting = [episode for episode in starts if len(episode) >= context]
    if not fitting:
        raise ValueError(f"none of the {len(starts)} episodes has the {context} frames that this model starts from")
    made_by, names = fingerprint(model), list(commands)
    for first in range(0, count, _AT_ONCE):
        drawn = [np.random.default_rng([seed, number]) for number in range(first, min(first + _AT_ONCE, count))]
        begun = [fitting[int(rng.integers(len(fitting)))] for rng in drawn]
        places = [int(rng.integers(len(each) - context + 1)) for rng, each in zip(drawn, begun, strict=True)]
        seen = torch.stack([each.frames[place : place + context] for each, place in zip(begun, places, strict=True)])
        told = [names[int(rng.integers(len(names)))] for rng in drawn]
        seeds = [int(rng.integers(2**31)) for rng in drawn]
        unsteady = torch.from_numpy(
            np.stack([rng.standard_normal((frames, model.action_dim)) for rng in drawn]).astype(np.float32)
        )
        actions = torch.tensor([list(commands[each]) for each in told])[:, None] + noise * unsteady
        actions = actions.clamp(-1.0, 1.0)
        state = replace(model.start(seen, room=frames), seeds=torch.tensor(seeds))
        video = [seen[:, -1]]
        for step in range(frames):
            state, made = model.step(state, actions[:, step])
            assert made.frame is not None
            video.append(made.frame.cpu())
        clips = torch.stack(video, dim=1)
        for row, caption in enumerate(told):
            yield CaptionedClip(
                frames=clips[row].clone(),
                caption=caption,
                actions=actions[row].clone(),
                seed=seeds[row],
                model=made_by,
                start=begun[row].name,
            )


def write_captioned(
    clips: Iterable[CaptionedClip], folder: str | Path, *, shard: int = 500, overwrite: bool = False
) -> int:
    """Write clips as a data set in parquet, `shard` clips a file, and return how many there were.

    The folder appears whole or not at all. ValueError where there are no clips, FileExistsError as `check_new_folder`.
    """
    if shard < 1:
        raise ValueError(f"shard is {shard}; expected at least 1 clip a file")
    folder = Path(folder)
    check_new_folder(folder, overwrite=overwrite)
    rest = iter(clips)
    with staged_folder(folder, overwrite=overwrite) as stage:
        (stage / "data").mkdir()
        counts: list[int] = []
        while rows := [_row(clip) for clip in islice(rest, shard)]:
            _write_rows(rows, stage / "data" / f"part-{len(counts):05d}.parquet")
            counts.append(len(rows))
        if not counts:
            raise ValueError(f"there are no clips to write to {folder}; expected at least one")
        for number in range(len(counts)):
            part = stage / "data" / f"part-{number:05d}.parquet"
            part.rename(part.with_name(f"train-{number:05d}-of-{len(counts):05d}.parquet"))
        (stage / "README.md").write_text(_card(sum(counts)), encoding="utf-8")
    return sum(counts)


def captioned_episodes(folder: str | Path, *, size: int | None = None) -> Iterator[Episode]:
    """The clips of such a data set as episodes, whose instruction is the caption; resized where a size is given.

    FileNotFoundError where there is none, ValueError, naming the file, for one that is of another kind or damaged.
    """
    import pyarrow.parquet as pq

    folder = Path(folder)
    files = sorted(folder.glob(_SHARDS))
    if not files:
        reason = "it holds no data/train-*.parquet" if folder.is_dir() else nearby(folder)
        raise FileNotFoundError(f"{folder}: {reason}; expected what ivideo.data.captions.write_captioned wrote")
    number = 0
    for file in files:
        try:
            rows = pq.read_table(file, columns=list(COLUMNS)).to_pylist()
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{file} holds no captioned clips ({' '.join(str(error).split())[:120]})") from error
        for row in rows:
            yield _episode(row, f"{file} clip {number}", number, size)
            number += 1


def _row(clip: CaptionedClip) -> dict[str, Any]:
    return {
        "frames": [{"bytes": _png(frame), "path": None} for frame in clip.frames],
        "caption": clip.caption,
        "actions": None if clip.actions is None else clip.actions.tolist(),
        "seed": clip.seed,
        "model": clip.model,
        "start": clip.start,
    }


def _write_rows(rows: list[dict[str, Any]], file: Path) -> None:
    import datasets
    import pyarrow.parquet as pq

    text, numbers = datasets.Value("string"), datasets.Value("float32")
    features = datasets.Features(
        {
            "frames": datasets.List(datasets.Image()),
            "caption": text,
            "actions": datasets.List(datasets.List(numbers)),
            "seed": datasets.Value("int64"),
            "model": text,
            "start": text,
        }
    )
    # In memory, and past the library's own cache on disk.
    pq.write_table(datasets.Dataset.from_list(rows, features=features).data.table, file)


def _png(frame: UInt8[Tensor, "3 h w"]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(frame.permute(1, 2, 0).contiguous().cpu().numpy()).save(buffer, format="PNG")
    return buffer.getvalue()


def _episode(row: Mapping[str, Any], where: str, number: int, size: int | None) -> Episode:
    try:
        pictures = [picture["bytes"] for picture in row["frames"]]
        actions = None if row["actions"] is None else torch.tensor(row["actions"], dtype=torch.float32)
        frames = decode_images(pictures, lambda index: f"{where} frame {index}", size, False)
        return Episode(frames=frames, actions=actions, name=f"clip-{number:06d}", instruction=str(row["caption"]))
    except (TypeError, KeyError) as error:
        raise ValueError(f"{where}: no captioned clip ({error}); write the data set anew") from error


def _card(clips: int) -> str:
    return f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
---
# Captioned clips of a world model

{clips:,} clips that a model imagined, with what they show in words. `frames` are the pictures, `actions` lead from each
to the next, `seed` is what the tokens were drawn from, `model` the fingerprint of the model that made them.
"""
