"""`ivideo demo`: futures of the pushing table under a person's actions, imagined beside the true table.

Offline and small: it loads the packaged model, lets model and table carry out the same actions from the same frame,
prints how well that goes on held-out clips, and writes what it saw. `--train` makes the model from nothing first.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from rich.console import Console
from torch import Tensor

from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.evaluation.clips import HELD_OUT, table_case
from ivideo.evaluation.imagine import GREEDY
from ivideo.evaluation.measurement import quick_table
from ivideo.evaluation.table import FigureTable
from ivideo.files import check_new_file
from ivideo.simulate.policies import Pusher
from ivideo.simulate.pushing_table import PushingTable
from ivideo.video import grid, write_video
from ivideo.world_model import WorldModel

PACKAGED = "pushing_table"
WAYS = 4
"""How many ways to move the pusher are shown, side by side."""
SHOWN = ("PSNR, dB", "Pusher error, median px", "Object error, median px", "Objects lost, %")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What to show."""

    out: str = "demo"
    """Folder for futures.mp4, futures.gif, futures.png and, with --train, the trained model."""
    frames: int = 20
    """Frames to imagine in the videos."""
    clips: int = 48
    """Held-out clips behind the printed table."""
    seed: int = 0
    """Of the scene shown, the held-out clips and, with --train, the training."""
    train: bool = False
    """Train a model from nothing first, in about eight minutes on two cores, and show that one."""
    model: str = PACKAGED
    """Show another model of the pushing table: a folder or a Hub id."""
    overwrite: bool = False
    """Replace the files of an earlier demo."""

    def __post_init__(self) -> None:
        check_least(self, frames=1, clips=2, seed=0)


def main(argv: list[str]) -> int:
    """`ivideo demo [--train]`."""
    wanted = parse(Demo, argv, prog="ivideo demo", description="Imagine the pushing table beside the true one.")
    out = Path(wanted.out)
    files = [out / f"futures.{kind}" for kind in ("mp4", "gif", "png")]
    for path in files:
        check_new_file(path, overwrite=wanted.overwrite)
    began = time.perf_counter()
    source = wanted.model
    if wanted.train:
        from ivideo.training.demo import train

        source = str(train(out, seed=wanted.seed, overwrite=wanted.overwrite))
    model = WorldModel.from_pretrained(source)
    model.check_actions(torch.zeros(2), where="the pushing table: ")
    rate = show(model, files, frames=wanted.frames, seed=wanted.seed)
    table = measure(model, clips=wanted.clips, seed=wanted.seed)
    Console(width=80).print(table.rich("Held-out clips in which an object is pushed, imagined freely"))
    print(f"Imagined {rate:.0f} frames a second, one at a time. Done in {time.perf_counter() - began:.0f} s.")
    print(f"\nWritten: {', '.join(map(str, files))}")
    print("  (a column for each way to move the pusher: the true table above, the imagined one below)")
    print("\nNext:")
    for command, effect in (
        (f"ivideo evaluate {source} --out result", "all that can be measured, and a page to look at"),
        (f"ivideo predict {source} pushing_table", "continue an episode"),
        ("ivideo demo --train --out my-demo", "the same from nothing, in about eight minutes"),
        ("ivideo --help", "everything else"),
    ):
        print(f"  {command:<50} {effect}")
    return 0


def measure(model: WorldModel, *, clips: int, seed: int) -> FigureTable:
    """The short table: pixels and objects on held-out clips in which an object is pushed."""
    size = model.tokenizer.config.resolution
    case = table_case(seed, context=model.context_frames, frames=10, clips=clips, size=size)
    return quick_table(model, case, seed=seed).only(*SHOWN)


def show(model: WorldModel, files: list[Path], *, frames: int, seed: int) -> float:
    """Write the table and its imagined twin under four ways to move the pusher; frames a second at batch 1."""
    size = model.tokenizer.config.resolution
    plays = [_play(seed, way, frames, model.context_frames, size) for way in range(WAYS)]
    true, ways = torch.stack([seen for seen, _ in plays]), torch.stack([actions for _, actions in plays])
    began = time.perf_counter()
    imagined = torch.cat([_imagine(model, clip, way) for clip, way in zip(true, ways, strict=True)])
    rate = frames * WAYS / (time.perf_counter() - began)
    both = grid(torch.cat([true, imagined]), columns=WAYS)
    rows = torch.stack([true, imagined], dim=1).flatten(0, 1)  # in the strip, truth and twin one under the other
    for path in files:
        if path.suffix == ".png":
            write_video(path, grid(rows, columns=1))
        else:
            write_video(path, both, fps=6, zoom=2)
    return rate


def _play(
    seed: int, way: int, frames: int, context: int, size: int
) -> tuple[UInt8[Tensor, "t 3 h w"], Float[Tensor, "{frames} 2"]]:
    """What the table looks like while a scripted hand pushes things about, and the hand's actions.

    The first frame depends on the seed alone; it is shown for all of the context. The hand has a mind of its own for
    every `way`.
    """
    table, hand, rng = PushingTable(size, horizon=context + frames), Pusher(), np.random.default_rng([seed, way])
    frame, info = table.reset(seed=HELD_OUT + seed)
    seen, actions = [frame] * context, []
    for _ in range(frames):
        actions.append(hand(frame, info, rng))
        frame, _, _, _, info = table.step(actions[-1])
        seen.append(frame)
    pictures = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).contiguous()
    return pictures, torch.from_numpy(np.stack(actions))


def _imagine(model: WorldModel, clip: Tensor, actions: Tensor) -> UInt8[Tensor, "1 t 3 h w"]:
    state, seen = model.start(clip[: model.context_frames]), []
    for action in actions:
        state, prediction = model.step(state, action, sampling=GREEDY)
        assert prediction.frame is not None
        seen.append(prediction.frame)
    return torch.cat([clip[None, : model.context_frames], torch.stack(seen, dim=1)], dim=1)
