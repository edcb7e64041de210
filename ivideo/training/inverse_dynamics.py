"""`ivideo train inverse-dynamics`: the recipe for the network that tells what was done between two frames."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ivideo.config import parse
from ivideo.data import EpisodeStore
from ivideo.data.check.motion import changes, shrunk
from ivideo.data.sampler import numbered
from ivideo.episode import Batch
from ivideo.evaluation.statistics import r2
from ivideo.planning.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from ivideo.regression import STRENGTHS, ridge
from ivideo.training.dataset import DataConfig, Episodes
from ivideo.training.engine import check_accelerator
from ivideo.training.loop import fit
from ivideo.training.loop_config import LoopConfig
from ivideo.training.optim import OptimizerConfig
from ivideo.training.outcome import Evaluation, FitResult
from ivideo.training.process import is_first
from ivideo.training.resumable import Resumable
from ivideo.training.run import RunConfig

HEADLINE = ("loss", "held_out/r2", "held_out/r2_nearest")


@dataclass(frozen=True, slots=True, kw_only=True)
class InverseDynamicsTraining(Resumable):
    """Train a network that recovers actions from pairs of frames."""

    data: DataConfig = field(default_factory=DataConfig)
    """Which episodes; windows have as many frames as a pair spans, whatever `data.frames` says."""
    target: Literal["actions", "steps"] = "actions"
    """What is learnt of a pair: the actions in between, or how many steps lie in between, which is how far a frame is
    from a goal (VLP's heuristic)."""
    reach: int = 24
    """Steps that the frames of a pair are apart at most, where steps are learnt."""
    network: InverseDynamicsConfig = field(default_factory=InverseDynamicsConfig)
    """The architecture."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How weights are updated."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How long, how precisely, how often to look."""
    pairs: int = 1000
    """Held-out pairs to measure on, and pairs to train on that the baselines know."""
    run: RunConfig = field(default_factory=lambda: RunConfig(folder=Path("runs/inverse_dynamics")))

    def __post_init__(self) -> None:
        if self.data.mixture is not None or self.data.stride != 1:
            raise ValueError(
                "inverse dynamics is of one source and of frames that follow each other: leave data.mixture and "
                "data.stride out, and set network.span for frames further apart"
            )
        if self.reach < 2 or (self.target == "steps" and self.network.span != 1):
            raise ValueError(
                f"reach is {self.reach} and network.span {self.network.span}; expected a reach of at least 2, and a "
                "span of 1 where steps are learnt"
            )
        if self.pairs < 2:
            raise ValueError(f"pairs is {self.pairs}; expected at least 2, for R2 is about how they differ")


def main(argv: list[str]) -> int:
    """`ivideo train inverse-dynamics`: 0 when the run is complete, 130 or 143 when a signal stopped it."""
    settings = parse(
        InverseDynamicsTraining,
        argv,
        prog="ivideo train inverse-dynamics",
        description="Train a network that recovers actions from frames. Ctrl-C saves; --resume goes on.",
        config_folder="inverse_dynamics",
    )
    result = train_inverse_dynamics(settings)
    if result.exit_code == 0 and is_first():
        print(f"the network is in {settings.run.folder / 'model'}; ivideo.planning.InverseDynamics loads it")
    return result.exit_code


def train_inverse_dynamics(
    settings: InverseDynamicsTraining, episodes: tuple[Episodes, Episodes] | None = None
) -> FitResult:
    """Train as the settings say; `episodes`, to train on and held out, stand in for `settings.data`'s."""
    settings.start(settings.loop.seed)
    check_accelerator(settings.loop)
    train, held = episodes or settings.data.open(settings.network.resolution)
    assert isinstance(train, EpisodeStore), "a mixture was refused"
    assert isinstance(held, EpisodeStore), "a mixture was refused"
    size = train.table.action_dim if settings.target == "actions" else 1
    if not size:
        raise ValueError(f"{settings.data.source} holds no actions, so there are none to recover; take one that does")
    span = settings.network.span if settings.target == "actions" else settings.reach
    data = replace(settings.data, frames=span + 1)
    sampler = data.sampler(train, settings.loop.seed)

    def prepared(batch: Batch, index: int) -> Batch:
        return batch if settings.target == "actions" else steps_between(batch, settings.loop.seed, index)

    # Numbers below 0 are no batches to train on.
    known = whole(prepared(data.clips(train, settings.pairs), -1))
    seen = whole(prepared(data.clips(held, settings.pairs), -2))
    network = InverseDynamics(settings.network, size).train()
    fit_scale(network, done(known))
    baselines = simple_guesses(known, seen)
    with settings.open() as run:

        def loss(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            return pair_loss(network, batch)

        def evaluate(step: int) -> Evaluation:
            return Evaluation(figures=figures(network, seen, baselines))

        return fit(
            network,
            loss,
            lambda index: prepared(sampler.batch(index, settings.loop.batch_size), index),
            loop=settings.loop,
            optimizer=settings.optimizer,
            run=run,
            evaluate=evaluate,
            export=network.save_pretrained,
            headline=HEADLINE,
            samples=lambda index: sampler.names(numbered(index, settings.loop.batch_size)),
        )


def steps_between(batch: Batch, seed: int, index: int) -> Batch:
    """Of every window its first frame and a later one, and in the actions' place how many steps lie between them.

    Which one is drawn from the seed and the batch's number, evenly among those of the window that are real.
    """
    count, frames = batch.frames.shape[:2]
    last = torch.full((count,), frames - 1) if batch.mask is None else batch.mask.sum(dim=1) - 1
    rng = np.random.default_rng([seed, index + 2])
    steps = torch.from_numpy(rng.random(count)).mul(last + 1).long()
    pairs = torch.stack([batch.frames[:, 0], batch.frames[torch.arange(count), steps]], dim=1)
    return Batch(frames=pairs, actions=steps.float()[:, None, None])


def pair_loss(network: InverseDynamics, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared error of the actions between a window's first and last frame, in units of their spread."""
    missed = (network(batch.frames[:, 0], batch.frames[:, -1]) - network.normalised(done(batch))).square()
    if batch.mask is not None:  # a window longer than its episode repeats the last frame: nothing was done there
        real = batch.mask.all(dim=1).float()[:, None, None].expand_as(missed)
        value = (missed * real).sum() / real.sum().clamp(min=1)
    else:
        value = missed.mean()
    return value, {"loss": value.detach()}


@torch.no_grad()
def fit_scale(network: InverseDynamics, actions: Float[Tensor, "n span a"]) -> None:
    """Have the network speak in units of these actions' spread; one that never varies keeps its own."""
    values = actions.flatten(0, 1)
    spread = values.std(dim=0)
    network.mean.copy_(values.mean(dim=0))
    network.scale.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))


def figures(
    network: InverseDynamics, clips: Batch, baselines: dict[str, Float[Tensor, "n span a"]]
) -> dict[str, float]:
    """R2 on pairs, of all components together (each about its own mean and in units of its spread) and of each.

    ::

        r2, r2_0, r2_1, ...   the network, over all components and for every one
        r2_mean               the mean action of the training pairs
        r2_nearest            the actions of the training pair whose frames change most alike
        r2_ridge              a linear fit to what changes between the frames, as `ivideo evaluate` probes with
    """
    ends = clips.frames[:, [0, -1]]
    truth, found = done(clips), network.recover(ends)
    values = {"r2": explained(truth, found)}
    values |= {f"r2_{index}": r2(truth[..., index], found[..., index]) for index in range(truth.shape[-1])}
    values |= {f"r2_{name}": explained(truth, guess) for name, guess in baselines.items()}
    return {f"held_out/{name}": value for name, value in values.items()}


def explained(truth: Float[Tensor, "n span a"], found: Float[Tensor, "n span a"]) -> float:
    """R2 over all components, none of which is explained by being unlike another."""
    centre, spread = truth.flatten(0, 1).mean(0), truth.flatten(0, 1).std(0)
    varies = spread > 0
    return r2(*(((each - centre) / spread)[..., varies] for each in (truth, found)))


def simple_guesses(known: Batch, clips: Batch) -> dict[str, Float[Tensor, "n span a"]]:
    """What is to be said of pairs without a network: see `figures`."""
    actions = done(known)
    theirs, ours = _moved(known), _moved(clips)
    nearest = torch.cdist(ours, theirs).argmin(dim=1)
    x, z = _changes(known), _changes(clips)
    centre, scale = x.mean(0), x.std(0).clamp(min=1e-9)
    x, z = ((each - centre) / scale for each in (x, z))
    linear = ridge(x, actions.flatten(1), STRENGTHS[0])(z).unflatten(1, actions.shape[1:])
    mean = actions.mean(dim=(0, 1)).expand(len(clips.frames), *actions.shape[1:])
    return {"mean": mean, "nearest": actions[nearest], "ridge": linear}


def done(batch: Batch) -> Float[Tensor, "b span a"]:
    """The actions of windows."""
    assert batch.actions is not None, "episodes without actions were refused"
    return batch.actions


def whole(batch: Batch) -> Batch:
    """The windows that lie within their episodes."""
    if batch.mask is None:
        return batch
    real = batch.mask.all(dim=1)
    return Batch(frames=batch.frames[real], actions=done(batch)[real])


def _moved(batch: Batch) -> Float[Tensor, "b d"]:
    small = [shrunk(clip[[0, -1]]) for clip in batch.frames]
    return torch.stack([(pair[1] - pair[0]).flatten() for pair in small])


def _changes(batch: Batch) -> Float[Tensor, "b 42"]:
    return torch.cat([changes(shrunk(clip[[0, -1]])) for clip in batch.frames])
