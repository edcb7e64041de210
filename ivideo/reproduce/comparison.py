"""Trained models side by side on the same held-out clips: what they cost, what they restore, what they imagine."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from ivideo.config import load_config
from ivideo.evaluation.series import Figure, figure
from ivideo.files import replace_file
from ivideo.reproduce import speed
from ivideo.reproduce.quality import judge
from ivideo.training.tokenizer import TokenizerTraining
from ivideo.training.world_model import WorldModelTraining
from ivideo.world_model import WorldModel
from tokenizer.losses import TokenizerLossConfig

FILE = "comparison.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One model of a comparison."""

    name: str
    tokens: int
    """Of an imagined frame."""
    context_tokens: int
    """Of a context frame."""
    sequence: int
    """Positions of a training window."""
    parameters: dict[str, int]
    """Of the tokenizer, and of the rest."""
    figures: tuple[Figure, ...]
    seconds: dict[str, float]
    """By part; see `speed.time_all`. Empty where nothing was timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Models on the same clips; the first is what the others' times are compared to."""

    clips: int
    frames: int
    """Imagined of each clip."""
    contestants: tuple[Contestant, ...]
    threads: int = field(default_factory=torch.get_num_threads)
    torch: str = torch.__version__


def compare(out: Path, names: Sequence[str], *, clips: int, rounds: int = 5) -> Comparison:
    """Judge and time the world models in `out/NAME/world_model` on the held-out clips of the first; writes FILE.

    `rounds` of timing, 0 for none.
    """
    settings = load_config(WorldModelTraining, out / names[0] / "world_model" / "config.yaml")
    models = {name: WorldModel.from_pretrained(out / name / "world_model") for name in names}
    first = models[names[0]]
    _, held = settings.data.open(first.tokenizer.config.resolution, transformer=True)
    batch = settings.data.clips(held, clips, context=first.context_frames)
    figures = {name: tuple(figure(series) for series in judge(model, batch)) for name, model in models.items()}
    seconds = speed.time_all(models, batch, _tokenizer_loss(out, names[0]), rounds=rounds) if rounds else {}
    frames = batch.frames.shape[1] - first.context_frames
    made = Comparison(
        clips=len(batch.frames),
        frames=frames,
        contestants=tuple(
            Contestant(
                name=name,
                tokens=model.layout.dynamics_tokens,
                context_tokens=model.layout.context_tokens,
                sequence=model.layout.sequence_length(frames),
                parameters=_parameters(model),
                figures=figures[name],
                seconds=seconds.get(name, {}),
            )
            for name, model in models.items()
        ),
    )
    text = json.dumps(asdict(made), indent=2) + "\n"
    replace_file(out / FILE, lambda path: path.write_text(text, encoding="utf-8"))
    return made


def _tokenizer_loss(out: Path, name: str) -> TokenizerLossConfig:
    """What the tokenizer was trained with; of one that was not trained here, the plainest loss."""
    for run in (out / name / "tokenizer", out / "tokenizer"):
        if (run / "config.yaml").is_file():
            return load_config(TokenizerTraining, run / "config.yaml").loss
    return TokenizerLossConfig()


def _parameters(model: WorldModel) -> dict[str, int]:
    def size(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    return {"tokenizer": size(model.tokenizer), "world model": size(model) - size(model.tokenizer)}
