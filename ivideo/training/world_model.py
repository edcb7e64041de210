"""`ivideo train world-model`: the recipe that turns a tokenizer and videos into a world model."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ivideo.checkpoint import save
from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.data import EpisodeStore
from ivideo.data.mixture import MixedStore
from ivideo.data.sampler import numbered
from ivideo.data.segments import FrameOrder
from ivideo.episode import Batch
from ivideo.hub import find_tokenizer
from ivideo.migration import Migration
from ivideo.tokens import TokenBatch
from ivideo.training.dataset import DataConfig, Episodes, EvaluationConfig, model_inputs
from ivideo.training.engine import check_accelerator
from ivideo.training.held_out import dream
from ivideo.training.loop import fit
from ivideo.training.loop_config import LoopConfig
from ivideo.training.lora import LoRAConfig, adapt, merged
from ivideo.training.optim import OptimizerConfig
from ivideo.training.outcome import Evaluation, FitResult
from ivideo.training.process import is_first
from ivideo.training.resumable import Resumable
from ivideo.training.run import RunConfig
from ivideo.training.share import batches_per_update
from ivideo.training.token_cache import StoredTokens, TokenCache
from ivideo.training.token_store import TokenKey, open_tokens
from ivideo.training.weights import start_from, with_context
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig

RANGED = 2000
"""Episodes of a domain that are looked at for the range of its actions, where the config states none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldModelTraining(Resumable):
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
    token_store: str | None = None
    """Train on the codes in this folder, which `ivideo data tokenize` wrote of the same windows; null tokenizes."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How weights are updated."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How long, how precisely, how often to look."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How evaluations look."""
    run: RunConfig = field(default_factory=lambda: RunConfig(folder=Path("runs/world_model")))
    init: str | None = None
    """A world model to start from: a folder or a Hub id. It may lack the action projection or heads of this one."""
    lora: LoRAConfig | None = None
    """Train small adapters on the transformer of `init` instead of all its weights; they are merged where the model is
    saved as people load it."""

    def __post_init__(self) -> None:
        check_least(self, context_frames=1, token_cache=1, token_cache_refresh=1)
        if self.token_cache and self.token_store:
            raise ValueError("token_cache and token_store are two ways to the same codes; leave one of them out")
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


def train_world_model(settings: WorldModelTraining, episodes: tuple[Episodes, Episodes] | None = None) -> FitResult:
    """Train as the settings say; `episodes`, to train on and held out, stand in for `settings.data`'s."""
    settings.start(settings.loop.seed)
    check_accelerator(settings.loop)
    (model, migration), loop = build(settings), settings.loop
    train, held = episodes or settings.data.open(model.tokenizer.config.resolution, transformer=True)
    check(settings, model, train)
    if model.config.remember is None:
        model.config = replace(model.config, remember=settings.data.frames - model.context_frames)
    model.config = replace(model.config, history=settings.data.history)
    if settings.model.embedding.bins or settings.model.embedding.scale_actions:
        model.state_ranges(_actions_by_domain(model, train))
    how: dict[str, Any] = {"context": model.context_frames, "order": order_of(model)}
    tokens = None if settings.token_store is None else stored_tokens(settings, model)
    windows = settings.data.sampler(train, loop.seed, **how)
    clips = settings.data.clips(held, settings.evaluation.clips, **how)
    with settings.open() as run:

        def evaluate(step: int) -> Evaluation:
            names = held.names if isinstance(held, MixedStore) else ()
            return dream(model, clips, settings.evaluation.pictures, names=names)

        common: dict[str, Any] = {
            "loop": loop,
            "optimizer": settings.optimizer,
            "run": run,
            "evaluate": evaluate,
            "export": lambda folder: save(
                model if settings.lora is None else merged(model), folder, migration=migration
            ),
            "headline": headline(settings.data.frames - model.context_frames, bool(model.action_dim)),
        }
        model.train()
        model.tokenizer.eval()
        if tokens is not None:
            return fit(model, model.token_loss, lambda index: tokens.batch(index, loop.batch_size), **common)
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

        common["samples"] = lambda index: windows.names(numbered(index, loop.batch_size))
        return fit(model, loss, lambda index: model_inputs(windows.batch(index, loop.batch_size), model), **common)


def stored_tokens(settings: WorldModelTraining, model: WorldModel) -> StoredTokens:
    """The codes of `settings.token_store`; ValueError where they are of other windows or another tokenizer."""
    store = open_tokens(Path(settings.token_store or ""))
    data = settings.data
    wanted = TokenKey.of(
        model.tokenizer, frames=data.frames, stride=data.stride, order=order_of(model), history=data.history
    )
    store.check(wanted, action_dim=model.action_dim, rewards=settings.model.heads.reward)
    return StoredTokens(model, store, settings.loop.seed)


def order_of(model: WorldModel) -> FrameOrder:
    """The order of frames in the windows that a model is trained on."""
    return "goal_first" if model.config.goal_conditioned else "time"


def build(settings: WorldModelTraining) -> tuple[WorldModel, Migration | None]:
    """Return the model that training starts from, its tokenizer frozen, and what became of the weights at `init`."""
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
    report = None if settings.init is None else start_from(model, settings.init)
    if settings.lora is not None:
        adapt(model, settings.lora)
    return model, report


def check(settings: WorldModelTraining, model: WorldModel, episodes: Episodes) -> None:
    """Refuse, before anything is computed, data that the model cannot learn from."""
    data, layout = settings.data, model.layout
    if data.frames <= model.context_frames:
        raise ValueError(
            f"data.frames is {data.frames}, all of it context; expected more than the {model.context_frames} context "
            "frames"
        )
    if model.embodiments.domains:
        _check_domains(model, episodes, data.mixture or data.source)
    elif model.action_dim and episodes.action_dim != model.action_dim:
        has = "no actions" if episodes.action_dim is None else f"actions of {episodes.action_dim} numbers"
        raise ValueError(
            f"model.embedding.action_dim is {model.action_dim}, but {data.mixture or data.source} holds {has}; "
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


def _by_domain(model: WorldModel, episodes: Episodes) -> dict[str, EpisodeStore]:
    """The episodes of each domain; those of a single source belong to the model's only one."""
    if isinstance(episodes, MixedStore):
        return {each.settings.name: each.episodes for each in episodes.domains}
    return {model.embodiments.names[0]: episodes}


def _check_domains(model: WorldModel, episodes: Episodes, source: str) -> None:
    known = model.embodiments.names
    if isinstance(episodes, MixedStore) and list(episodes.names) != known:
        raise ValueError(
            f"model.embedding.domains are {', '.join(known)}, but {source} mixes {', '.join(episodes.names)}; name the "
            "same, in the same order"
        )
    if not isinstance(episodes, MixedStore) and len(known) > 1:
        raise ValueError(
            f"model.embedding.domains are {', '.join(known)}, but {source} does not say of which its episodes are; "
            "name one domain, or train on a mixture"
        )
    sizes = {domain.name: domain.action_dim for domain in model.embodiments.domains}
    for name, store in _by_domain(model, episodes).items():
        if (store.action_dim or 0) != sizes[name]:
            raise ValueError(
                f"model.embedding.domains gives {name} actions of {sizes[name]} numbers, but its episodes have "
                f"{store.action_dim or 'none'}; write action_dim: {store.action_dim or 0}"
            )


def _actions_by_domain(model: WorldModel, episodes: Episodes) -> dict[str, Tensor]:
    """Actions of every domain, from its first episodes."""
    found: dict[str, Tensor] = {}
    for name, store in _by_domain(model, episodes).items():
        several = [store[place].actions for place in range(min(len(store), RANGED))]
        actions = [each for each in several if each is not None]
        if actions:
            found[name] = torch.cat(actions)
    return found


def headline(frames: int, acts: bool) -> tuple[str, ...]:
    """The figures of the progress line: of the tenth imagined frame, or the last where there are fewer."""
    place = min(10, frames)
    shuffled = (f"held_out/shuffled_{place}",) if acts else ()
    return ("loss", f"held_out/psnr_{place}", f"held_out/copy_last_{place}", *shuffled)
