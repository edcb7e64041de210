"""`ivideo train world-model`: the recipe that turns a tokenizer and videos into a world model."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ivideo.config import parse
from ivideo.data import EpisodeStore
from ivideo.episode import Batch
from ivideo.tokens import TokenBatch
from ivideo.training import randomness
from ivideo.training.dataset import DataConfig, EvaluationConfig, model_inputs
from ivideo.training.engine import check_accelerator
from ivideo.training.held_out import dream
from ivideo.training.loop import fit
from ivideo.training.loop_config import LoopConfig
from ivideo.training.lora import LoRAConfig, adapt, merged
from ivideo.training.optim import OptimizerConfig
from ivideo.training.outcome import Evaluation, FitResult
from ivideo.training.process import is_first
from ivideo.training.run import RunConfig, RunFolder, check_vacant
from ivideo.training.share import batches_per_update
from ivideo.training.token_cache import TokenCache
from ivideo.training.weights import find_tokenizer, start_from, with_context
from ivideo.world_model import WorldModel, WorldModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldModelTraining:
    """Train a world model on a trained tokenizer, or fine-tune one with `--init`."""

    data: DataConfig = field(default_factory=DataConfig)
    """Which videos."""
    tokenizer: str | None = None
    """The tokenizer: a run of `ivideo train tokenizer`, a folder, or a Hub id of a model; null takes that of `init`."""
    context_frames: int | None = None
    """Frames to start from, fewer than the tokenizer was trained with; null takes its own number."""
    model: WorldModelConfig = field(default_factory=WorldModelConfig)
    """The architecture."""
    token_cache: int | None = None
    """Tokenize this many windows once and train on their codes; null tokenizes every batch anew."""
    token_cache_refresh: int | None = None
    """Steps after which the cache takes the next windows; null keeps it."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How weights are updated."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How long, how precisely, how often to look."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How evaluations look."""
    run: RunConfig = field(default_factory=lambda: RunConfig(folder=Path("runs/world_model")))
    """Where the run lives."""
    init: str | None = None
    """A world model to start from: a folder or a Hub id. It may lack the action projection or heads of this one."""
    lora: LoRAConfig | None = None
    """Train small adapters on the transformer of `init` instead of all its weights; they are merged where the model is
    saved as people load it."""
    resume: bool = False
    """Go on with the run in the run's folder."""
    overwrite: bool = False
    """Delete the run in the run's folder and start anew."""

    def __post_init__(self) -> None:
        for name in ("context_frames", "token_cache", "token_cache_refresh"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1, or null")
        if self.lora is not None and self.init is None:
            raise ValueError("lora adds to a trained transformer, and init names none; set --init, or leave lora out")
        if self.token_cache and self.data.augmentation is not None and self.token_cache_refresh is None:
            raise ValueError("token_cache keeps one look of every window; set token_cache_refresh, or no augmentation")


def main(argv: list[str]) -> int:
    """`ivideo train world-model`: 0 when the run is complete, 130 or 143 when a signal stopped it."""
    settings = parse(
        WorldModelTraining,
        argv,
        prog="ivideo train world-model",
        description="Train a world model on a trained tokenizer. Ctrl-C saves; the same command with --resume goes on.",
        config_folder="world_model",
    )
    result = train_world_model(settings)
    if result.exit_code == 0 and is_first():
        folder = settings.run.folder / "model"
        print(f"the world model is in {folder}; next: ivideo evaluate {folder}, or ivideo predict {folder} VIDEO")
    return result.exit_code


def train_world_model(
    settings: WorldModelTraining, episodes: tuple[EpisodeStore, EpisodeStore] | None = None
) -> FitResult:
    """Train as the settings say; `episodes`, to train on and held out, stand in for `settings.data`'s."""
    check_vacant(settings.run, resume=settings.resume, overwrite=settings.overwrite)
    check_accelerator(settings.loop)
    randomness.seed_all(settings.loop.seed)
    model, loop = build(settings), settings.loop
    train, held = episodes or settings.data.open(model.tokenizer.config.resolution)
    check(settings, model, train)
    if model.config.remember is None:
        model.config = replace(model.config, remember=settings.data.frames - model.context_frames)
    windows = settings.data.sampler(train, loop.seed)
    clips = settings.data.clips(held, settings.evaluation.clips)
    stored = replace(settings, resume=False, overwrite=False)
    with RunFolder(settings.run, stored, resume=settings.resume, overwrite=settings.overwrite) as run:

        def evaluate(step: int) -> Evaluation:
            return dream(model, clips, settings.evaluation.pictures)

        common: dict[str, Any] = {
            "loop": loop,
            "optimizer": settings.optimizer,
            "run": run,
            "evaluate": evaluate,
            "export": model.save_pretrained if settings.lora is None else lambda f: merged(model).save_pretrained(f),
            "headline": headline(settings.data.frames - model.context_frames, bool(model.action_dim)),
        }
        model.train()
        model.tokenizer.eval()
        if settings.token_cache is not None:
            refresh = settings.token_cache_refresh
            cache = TokenCache(
                model,
                windows,
                size=settings.token_cache,
                seed=loop.seed,
                refresh=refresh * batches_per_update(loop, settings.run, resume=settings.resume) if refresh else None,
            )
            if is_first():
                print(f"tokenizing {settings.token_cache:,} windows, then training on their codes", file=sys.stderr)
            return fit(model, model.token_loss, lambda index: cache.batch(index, loop.batch_size), **common)

        def loss(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            # Codes are the same in training and in rollouts only when they are computed in the same precision.
            with torch.autocast(model.device.type, enabled=False):
                tokens: TokenBatch = model.tokenize(batch)
            return model.token_loss(tokens)

        common["samples"] = lambda index: windows.names(index, loop.batch_size)
        return fit(model, loss, lambda index: model_inputs(windows.batch(index, loop.batch_size), model), **common)


def build(settings: WorldModelTraining) -> WorldModel:
    """Return the model that training starts from, its tokenizer frozen."""
    if settings.tokenizer is not None:
        tokenizer = find_tokenizer(settings.tokenizer)
    elif settings.init is not None:
        tokenizer = find_tokenizer(settings.init)
    else:
        raise ValueError(
            "no tokenizer is given; name one with --tokenizer (a run of `ivideo train tokenizer`, a folder, a Hub id)"
        )
    tokenizer = with_context(tokenizer, settings.context_frames).requires_grad_(False)
    model = WorldModel(tokenizer, settings.model)
    if settings.init is not None:
        start_from(model, settings.init)
    if settings.lora is not None:
        adapt(model, settings.lora)
    return model


def check(settings: WorldModelTraining, model: WorldModel, episodes: EpisodeStore) -> None:
    """Refuse, before anything is computed, data that the model cannot learn from."""
    data, layout = settings.data, model.layout
    if data.frames <= model.context_frames:
        raise ValueError(
            f"data.frames is {data.frames}, all of it context; expected more than the {model.context_frames} context "
            "frames"
        )
    if model.action_dim and episodes.action_dim != model.action_dim:
        has = "no actions" if episodes.action_dim is None else f"actions of {episodes.action_dim} numbers"
        raise ValueError(
            f"model.embedding.action_dim is {model.action_dim}, but {data.source} holds {has}; "
            f"set it to {episodes.action_dim or 0}"
        )
    if settings.model.heads.reward and not episodes.has_rewards:
        raise ValueError(f"model.heads.reward is set, but {data.source} holds no rewards; turn it off")
    length, limit = layout.sequence_length(data.frames - model.context_frames), settings.model.transformer.max_positions
    if length > limit:
        raise ValueError(
            f"windows of {data.frames} frames make {length} tokens, over model.transformer.max_positions {limit}; "
            f"raise it, or set data.frames to {model.context_frames + model.max_frames} at most"
        )


def headline(frames: int, acts: bool) -> tuple[str, ...]:
    """The figures of the progress line: of the tenth imagined frame, or the last where there are fewer."""
    place = min(10, frames)
    shuffled = (f"held_out/shuffled_{place}",) if acts else ()
    return ("loss", f"held_out/psnr_{place}", f"held_out/copy_last_{place}", *shuffled)
