"""What a row's trainings compute, counted from their settings, and how long published hardware took for as much."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from ivideo.config import parse
from ivideo.layout import layout_of
from ivideo.reproduce.row import Stage
from ivideo.training.tokenizer import TokenizerTraining
from ivideo.training.world_model import WorldModelTraining
from tokenizer import TokenizerConfig, VideoTokenizer

RATE = 25e12
"""FLOP/s of a GPU of the published kind: published pre-training over what it computes (docs/scaling.md, R)."""
LPIPS = 61e9 / 8
"""FLOP of LPIPS and its gradient for a frame of 64 px (docs/scaling.md, D)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One training."""

    stage: str
    samples: int
    gflop: float
    """Of a sample, forward and backward."""
    processes: int

    @property
    def gpu_hours(self) -> float:
        """On GPUs of the published kind, all of them together."""
        return self.samples * self.gflop * 1e9 / RATE / 3600


def training(command: str) -> TokenizerTraining | WorldModelTraining | None:
    """The settings that a training command gives; None for other verbs. Raises as the verb would."""
    words = shlex.split(command)
    if words[1:3] == ["train", "tokenizer"]:
        return parse(TokenizerTraining, words[3:], prog="ivideo train tokenizer", config_folder="tokenizer")
    if words[1:3] == ["train", "world-model"]:
        return parse(WorldModelTraining, words[3:], prog="ivideo train world-model", config_folder="world_model")
    return None


def costs(stages: Sequence[Stage]) -> list[Cost]:
    """Of every training among the stages, in order.

    A world model whose tokenizer none of them trained before stands on the released 64 px one.
    """
    found, tokenizers = [], dict[Path, TokenizerConfig]()
    for stage in stages:
        settings = training(stage.command)
        if settings is None:
            continue
        if isinstance(settings, TokenizerTraining):
            tokenizers[settings.run.folder] = settings.tokenizer
            flop = _tokenizer_flop(settings)
        else:
            flop = _world_model_flop(settings, tokenizers.get(Path(settings.tokenizer or ""), TokenizerConfig()))
        loop = settings.loop
        assert loop.steps is not None
        assert isinstance(loop.devices, int)
        processes = loop.devices * loop.nodes
        samples = loop.steps * loop.batch_size * loop.accumulate * processes
        found.append(Cost(stage=stage.name, samples=samples, gflop=flop / 1e9, processes=processes))
    return found


def _tokenizer_flop(settings: TokenizerTraining) -> float:
    config = settings.tokenizer
    frames = settings.data.frames if settings.targets is None else config.context_frames + settings.targets
    judged = LPIPS * frames * (config.resolution / 64) ** 2 if settings.loss.lpips else 0.0
    return 3 * _counted(config, frames, whole=True) + judged


def _world_model_flop(settings: WorldModelTraining, config: TokenizerConfig) -> float:
    """Three passes over the sequence, scores at the targets alone, and the encoder's pass over all frames."""
    layout, shape = layout_of(config), settings.model.transformer
    later = settings.data.frames - config.context_frames
    length, targets = layout.sequence_length(later), later * layout.frame_length - 1
    body = shape.layers * (4 * shape.width**2 + 3 * shape.width * shape.ffn_width)
    forward = 2 * (length * body + targets * shape.width * layout.vocab_size)
    attention = 2 * shape.layers * shape.width * length**2
    return 3 * (forward + attention) + _counted(config, settings.data.frames, whole=False)


@cache
def _counted(config: TokenizerConfig, frames: int, *, whole: bool) -> float:
    """FLOP of a clip's way through the tokenizer, or of encoding alone: from shapes, nothing is computed."""
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:
        tokenizer = VideoTokenizer(config)
        clip = torch.zeros(1, frames, 3, config.resolution, config.resolution, dtype=torch.uint8)
        tokenizer(clip) if whole else tokenizer.encode(clip)
    return float(counter.get_total_flops())
