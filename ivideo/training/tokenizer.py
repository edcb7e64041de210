"""`ivideo train tokenizer`: the recipe that turns videos into a tokenizer."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from jaxtyping import UInt8
from torch import Tensor, nn

from ivideo.config import parse
from ivideo.data.sampler import numbered
from ivideo.training.dataset import DataConfig, Episodes, EvaluationConfig
from ivideo.training.engine import check_accelerator
from ivideo.training.held_out import reconstruct
from ivideo.training.loop import fit
from ivideo.training.loop_config import LoopConfig
from ivideo.training.optim import OptimizerConfig
from ivideo.training.outcome import Evaluation, FitResult
from ivideo.training.process import is_first
from ivideo.training.resumable import Resumable
from ivideo.training.run import RunConfig
from ivideo.training.share import batches_per_update
from ivideo.training.weights import start_tokenizer
from tokenizer import TokenizerConfig, VideoTokenizer
from tokenizer.checkpoint import save_tokenizer
from tokenizer.losses import TokenizerLoss, TokenizerLossConfig

HEADLINE = ("loss", "dynamics/psnr", "held_out/psnr", "held_out/copy_last")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerTraining(Resumable):
    """Train a video tokenizer, or fine-tune one with `--init`."""

    data: DataConfig = field(default_factory=DataConfig)
    """Which videos."""
    targets: int | None = None
    """Frames drawn from those after a window's context, in their order; null keeps all."""
    order: Literal["time", "goal_first", "shuffled", "random_context"] = "time"
    """Order of the frames in a window; "shuffled" makes any frames the context, as goal-conditioned models need."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """The architecture."""
    loss: TokenizerLossConfig = field(default_factory=TokenizerLossConfig)
    """The terms of the loss."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How weights are updated."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How long, how precisely, how often to look."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How evaluations look."""
    run: RunConfig = field(default_factory=lambda: RunConfig(folder=Path("runs/tokenizer")))
    init: str | None = None
    """Trained weights to start from: a run, a folder, or a Hub id of a model."""
    freeze_codebooks: bool = False
    """Leave both codebooks as they are, so that codes keep their meaning for a transformer that reads them."""


def main(argv: list[str]) -> int:
    """`ivideo train tokenizer`: 0 when the run is complete, 130 or 143 when a signal stopped it."""
    settings = parse(
        TokenizerTraining,
        argv,
        prog="ivideo train tokenizer",
        description="Train a video tokenizer. Ctrl-C saves; the same command with --resume goes on.",
        config_folder="tokenizer",
    )
    result = train_tokenizer(settings)
    if result.exit_code == 0 and is_first():
        folder = settings.run.folder
        print(f"the tokenizer is in {folder / 'model'}; next: ivideo train world-model --tokenizer {folder}")
    return result.exit_code


def train_tokenizer(settings: TokenizerTraining, episodes: tuple[Episodes, Episodes] | None = None) -> FitResult:
    """Train as the settings say; `episodes`, to train on and held out, stand in for `settings.data`'s."""
    settings.start(settings.loop.seed)
    check_accelerator(settings.loop)
    tokenizer, migration = start_tokenizer(settings.tokenizer, settings.init)
    train, held = episodes or settings.data.open(settings.tokenizer.resolution)
    training = TokenizerObjective(settings, tokenizer, train)
    clips = settings.data.clips(held, settings.evaluation.clips, context=settings.tokenizer.context_frames)
    with settings.open() as run:

        def evaluate(step: int) -> Evaluation:
            return reconstruct(tokenizer, clips, settings.evaluation.pictures)

        def export(folder: Path) -> None:
            save_tokenizer(tokenizer, folder)
            if migration is not None:
                migration.write(folder)

        return fit(
            training.module,
            training.loss,
            training.batch,
            loop=settings.loop,
            optimizer=settings.optimizer,
            run=run,
            evaluate=evaluate,
            export=export,
            headline=HEADLINE,
            meters=training.criterion.meters,
            samples=lambda index: training.sampler.names(numbered(index, settings.loop.batch_size)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerBatch:
    """A batch that knows the step it belongs to, on which the adversarial term depends."""

    frames: UInt8[Tensor, "b t 3 h w"]
    step: int

    def to(self, device: Any, /) -> Self:
        return replace(self, frames=self.frames.to(device))


class TokenizerObjective:
    """The tokenizer with its loss and its batches."""

    def __init__(self, settings: TokenizerTraining, tokenizer: VideoTokenizer, episodes: Episodes) -> None:
        self.settings = settings
        self.tokenizer = tokenizer.train()
        self.criterion = TokenizerLoss(settings.loss)
        self.batches_per_update = batches_per_update(settings.loop, settings.run, resume=settings.resume)
        self.module: nn.Module = tokenizer
        if self.criterion.discriminator is not None:
            self.module = nn.ModuleDict({"tokenizer": tokenizer, "discriminator": self.criterion.discriminator})
        if settings.freeze_codebooks:
            for quantizer in (tokenizer.quantize, tokenizer.dynamics_quantize):
                quantizer.requires_grad_(False)
                quantizer.eval()
        data, tokens = settings.data, settings.tokenizer
        if data.frames <= tokens.context_frames:
            raise ValueError(
                f"data.frames is {data.frames}, all of it context; expected more than tokenizer.context_frames "
                f"{tokens.context_frames}"
            )
        self.sampler = data.sampler(
            episodes, settings.loop.seed, context=tokens.context_frames, order=settings.order, targets=settings.targets
        )

    def batch(self, index: int) -> TokenizerBatch:
        frames = self.sampler.batch(index, self.settings.loop.batch_size).frames
        return TokenizerBatch(frames=frames, step=index // self.batches_per_update)

    def loss(self, batch: TokenizerBatch) -> tuple[Tensor, dict[str, Tensor]]:
        self.criterion.to(batch.frames.device)
        output = self.tokenizer(batch.frames)
        discriminator = self.criterion.discriminator
        if discriminator is None:
            return self.criterion.generator_loss(self.tokenizer, batch.frames, output, batch.step)
        # Both take their turn in one backward pass: the tokenizer's term must not reach the discriminator's weights,
        # and the discriminator's term works on detached frames.
        discriminator.requires_grad_(False)
        made, logs = self.criterion.generator_loss(self.tokenizer, batch.frames, output, batch.step)
        discriminator.requires_grad_(True)
        judged, verdicts = self.criterion.discriminator_loss(batch.frames, output, batch.step)
        return made + judged, logs | verdicts
