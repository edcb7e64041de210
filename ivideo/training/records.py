"""What the first process writes down for all of them, and what becomes of the run when the disk does not take it."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean

import torch
from jaxtyping import UInt8
from lightning.fabric import Fabric
from safetensors import SafetensorError
from torch import Tensor

from ivideo.progress import Progress
from ivideo.training.group import Group
from ivideo.training.loop_config import LoopConfig
from ivideo.training.run import RunFolder


def means(logs: Sequence[Mapping[str, Tensor]], group: Group) -> dict[str, float]:
    """Return the mean of every figure over updates and processes."""
    names = dict.fromkeys(name for part in logs for name in part)
    values = [torch.stack([part[name].float() for part in logs if name in part]).mean() for name in names]
    mine = dict(zip(names, torch.stack(values).tolist(), strict=True))
    everyone = [json.loads(text) for text in group.tell_text(json.dumps(mine))]
    all_names = dict.fromkeys(name for each in everyone for name in each)
    return {name: fmean(each[name] for each in everyone if name in each) for name in all_names}


class Records:
    """Figures, pictures and whatever else goes into a run's folder."""

    def __init__(
        self, fabric: Fabric, group: Group, loop: LoopConfig, folder: RunFolder | None, progress: Progress
    ) -> None:
        self.fabric, self.group, self.loop, self.folder, self.progress = fabric, group, loop, folder, progress
        self.trouble: Exception | None = None
        """Why this process cannot go on, for `check` to raise once all know of it."""
        self.latest: dict[str, float] = {}

    def figures(self, step: int, seconds: float, figures: dict[str, float]) -> None:
        """Log figures of a step."""
        self.latest |= figures
        self.progress.note(figures)
        self.write(lambda: self.fabric.log_dict(figures, step=step))
        if self.folder is not None:
            self.write(partial(self.folder.record, step, {"minutes": round(seconds / 60, 4), **figures}))

    def videos(self, step: int, videos: Mapping[str, UInt8[Tensor, "n k t 3 h w"]]) -> None:
        """Draw clips of a step."""
        if self.folder is not None:
            for name, clips in videos.items():
                self.write(partial(self.folder.draw, step, name, clips))

    def close(self) -> None:
        """Let the loggers write what they still hold."""
        for logger in self.fabric.loggers:
            self.write(partial(logger.finalize, "success"))

    def write(self, action: Callable[[], object]) -> None:
        """Have the first process write; what to do when that fails is for `loop.on_save_error` to say."""
        if not self.group.is_first:
            return
        try:
            action()
        except ValueError as error:
            self.trouble = self.trouble or error
        except (OSError, SafetensorError) as error:
            where = self.folder.path if self.folder is not None else "the run"
            if not isinstance(error, OSError) or error.errno is not None:  # in the system's words, without a remedy
                reason = getattr(error, "strerror", None) or " ".join(str(error).split())
                error = OSError(
                    f"cannot write to {where} ({reason}); checkpoints saved before are whole: make room, then resume"
                )
            if self.loop.on_save_error == "skip":
                self.progress.say(f"{error}. Training goes on, as loop.on_save_error says")
            else:
                self.trouble = self.trouble or error

    def check(self, failed: Tensor) -> None:
        """Raise in all processes when one of them has failed, in that one what it failed with."""
        trouble, self.trouble = self.trouble, None
        if trouble is not None:
            raise trouble
        if failed.any():
            which = ", ".join(str(rank) for rank in failed.nonzero()[:, 0].tolist())
            raise OSError(f"process {self.group.rank} ends with process {which}, whose own message says why")
