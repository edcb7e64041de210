"""The world model goes on learning from what the agent sees, its codebooks excepted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ivideo import WorldModel
from ivideo.config.limits import check_least
from ivideo.losses import HarmoniousWeights
from ivideo.training.optim import OptimizerConfig, load_optimizer_tensors, optimizer_tensors, set_rates
from ivideo.training.state import TrainingState
from rl.imagination.windows import clips, windows
from rl.replay import Replay
from tokenizer.losses import TokenizerLoss, TokenizerLossConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLearnerConfig:
    """When and how a world model learns from the replay; the defaults are the published ones.

    Source: the iVideoGPT paper, arXiv 2405.15223, table 5.
    """

    first_updates: int = 1000
    """Updates of tokenizer and transformer before the first rollouts."""
    every: int = 10
    """Environment steps from one update of the transformer to the next."""
    tokenizer_every: int | None = 40
    """Environment steps from one update of the tokenizer to the next; null leaves the tokenizer as it is."""
    batch_size: int = 16
    """Windows in an update."""
    frames: int = 12
    """Frames of a window, context included."""
    targets: int = 5
    """Frames after the context, drawn from those of a window, that an update of the tokenizer looks at."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How the transformer and what belongs to it are updated."""
    tokenizer_optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How the tokenizer is updated."""
    tokenizer_loss: TokenizerLossConfig = field(default_factory=TokenizerLossConfig)
    """The terms of the tokenizer's loss."""
    precision: Literal["float32", "bf16-mixed"] = "float32"
    """What updates compute in; codes are always those of float32."""
    reward_delay: int = 0
    """Frames by which rewards are learned too late; 1 is how the reference trains them, to measure what it costs."""

    settle_scales: bool = True
    """Begin the scales of a model with harmonious loss weights where they settle for the first batch; false begins at
    1 as published, from where this learning rate takes them ten thousands of updates."""

    def __post_init__(self) -> None:
        check_least(
            self, first_updates=0, every=1, tokenizer_every=1, batch_size=1, frames=2, targets=1, reward_delay=0
        )
        for name in ("optimizer", "tokenizer_optimizer"):
            given: OptimizerConfig = getattr(self, name)
            if given.ema_decay or given.schedule.shape != "constant":
                raise ValueError(
                    f"{name} has ema_decay {given.ema_decay} and a {given.schedule.shape} schedule; expected 0 and "
                    "constant, since a model that goes on learning has no end to average or to fall towards"
                )
        if self.tokenizer_loss.adversarial is not None:
            raise ValueError("tokenizer_loss.adversarial is set; expected null: no discriminator is trained here")


class ModelLearner:
    """Updates a world model on windows of real episodes, in place.

    The codebooks stay as they are, so that codes keep their meaning for the transformer. An update in which anything
    is NaN or infinite is not made, but counted. All randomness is that of one generator.
    """

    def __init__(self, model: WorldModel, config: ModelLearnerConfig, *, seed: int) -> None:
        """Prepare to update the model, on the device where it is; ValueError for a model that cannot learn this."""
        check_learns(model, config)
        self.model, self.config = model, config
        self.skipped = 0
        """Updates that were not made."""
        self._generator = np.random.default_rng(seed)
        tokenizer = model.tokenizer.requires_grad_(True)
        for codebook in (tokenizer.quantize, tokenizer.dynamics_quantize):
            codebook.requires_grad_(False)
        rest = nn.ModuleDict({name: part for name, part in model.named_children() if name != "tokenizer"})
        self._states = {
            "model": TrainingState(rest, config.optimizer),
            "tokenizer": TrainingState(tokenizer, config.tokenizer_optimizer),
        }
        self._criterion = TokenizerLoss(config.tokenizer_loss).to(model.device)
        if model.harmony is not None and config.settle_scales:
            model.harmony.register_forward_pre_hook(_settle)

    def update(self, replay: Replay) -> dict[str, float]:
        """Update the transformer, with all that belongs to it, once; figures to log, named `model/...`.

        An update that was skipped has no other figures than how many were.
        """
        config, model = self.config, self.model
        batch = windows(
            replay, self._generator, count=config.batch_size, frames=config.frames, delay=config.reward_delay
        )
        assert batch.actions is not None
        model.check_actions(batch.actions, "played ")
        withheld = torch.Generator(model.device).manual_seed(int(self._generator.integers(2**31)))
        with self._training():
            tokens = model.tokenize(batch.to(model.device))
            with self._autocast():
                loss, parts = model.token_loss(tokens, withheld)
            return self._descend("model", loss, {"loss": loss.detach(), **parts})

    def update_tokenizer(self, replay: Replay) -> dict[str, float]:
        """Update the tokenizer once, its codebooks excepted; figures to log, named `tokenizer/...`."""
        config, tokenizer = self.config, self.model.tokenizer
        context = tokenizer.config.context_frames
        frames = clips(
            replay,
            self._generator,
            count=config.batch_size,
            frames=config.frames,
            context=context,
            targets=config.targets,
        ).to(self.model.device)
        with self._training(), self._autocast():
            loss, parts = self._criterion(tokenizer, frames)
            told = {"loss": parts["loss"], "psnr": parts["dynamics/psnr"], "context_psnr": parts["context/psnr"]}
            return self._descend("tokenizer", loss, told)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All weights and all that the optimizers remember, by what they are of and then by name."""
        found = {"model": dict(self.model.state_dict())}
        for name, state in self._states.items():
            found[f"{name}_optimizer"] = optimizer_tensors(state.optimizers, state.module)
        return found

    def document(self) -> dict[str, Any]:
        """What else it takes to go on alike, as plain JSON."""
        return {
            "updates": {name: state.step for name, state in self._states.items()},
            "skipped": self.skipped,
            "generator": self._generator.bit_generator.state,
        }

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]], document: Mapping[str, Any]) -> None:
        """Go on where a learner stood whose `tensors` and `document` these are; ValueError where they do not fit."""
        try:
            self.model.load_state_dict(tensors["model"])
            for name, state in self._states.items():
                remembered = {key: value.clone() for key, value in tensors.get(f"{name}_optimizer", {}).items()}
                load_optimizer_tensors(state.optimizers, state.module, remembered)
                state.step = int(document["updates"][name])
            self.skipped = int(document["skipped"])
            self._generator.bit_generator.state = document["generator"]
        except (RuntimeError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"what was saved does not fit this world model ({reason}); load it into the model it is of"
            ) from error

    @contextmanager
    def _training(self) -> Iterator[None]:
        """The model in training mode; the tokenizer in that of evaluation, in which no codebook moves."""
        modes = [(part, part.training) for part in self.model.modules()]
        self.model.train()
        self.model.tokenizer.eval()
        try:
            yield
        finally:
            for part, training in modes:
                part.training = training

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.model.device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16-mixed"
        )

    def _descend(self, name: str, loss: Tensor, parts: Mapping[str, Tensor]) -> dict[str, float]:
        state = self._states[name]
        with torch.autocast(self.model.device.type, enabled=False):
            loss.backward()
        norm = nn.utils.get_total_norm([weight.grad for weight in state.weights if weight.grad is not None])
        finite = bool(torch.stack([norm, loss.detach()]).isfinite().all()) and state.optimizer_is_finite()
        if finite:
            if state.config.clip is not None:
                nn.utils.clip_grads_with_norm_(state.weights, state.config.clip, norm)
            set_rates(state.optimizers, state.config.schedule.factor(state.step, 0.0))
            for optimizer in state.optimizers:
                optimizer.step()
            state.step += 1
        else:
            self.skipped += 1
        self.model.zero_grad(set_to_none=True)
        figures = {**parts, "gradient_norm": norm} if finite else {}
        return {f"{name}/{key}": float(value) for key, value in figures.items()} | {
            "model/skipped": float(self.skipped)
        }


@torch.no_grad()
def _settle(harmony: nn.Module, given: tuple[Mapping[str, Tensor]]) -> None:
    """Give scales that were not learned yet the values that are best for these losses; see `HarmoniousWeights`."""
    assert isinstance(harmony, HarmoniousWeights)
    losses = {name: loss.double().clamp(min=1e-6) for name, loss in given[0].items()}
    if any(bool(scale) for scale in harmony.s.values()) or not all(bool(loss.isfinite()) for loss in losses.values()):
        return
    for name, loss in losses.items():
        harmony.s[name].copy_(((loss + (loss.square() + 4 * loss).sqrt()) / 2).log())


def check_learns(model: WorldModel, config: ModelLearnerConfig) -> None:
    """ValueError for a model that cannot learn so."""
    if model.config.goal_conditioned:
        raise ValueError("this model starts from a goal, which played episodes have not; take one that needs none")
    if not model.action_dim:
        raise ValueError("this model takes no actions; give it some first, with ivideo.adapt")
    if model.transformer.head.weight.dtype != torch.float32:
        raise ValueError("this model's weights were reduced, which leaves nothing to learn with; load them as float32")
    context, frames = model.context_frames, config.frames
    if frames <= context:
        raise ValueError(f"frames is {frames}, all of it context; expected more than the {context} context frames")
    if config.targets > frames - context:
        raise ValueError(
            f"targets is {config.targets}; {frames} frames, {context} of them context, leave {frames - context}"
        )
    length, limit = model.layout.sequence_length(frames - context), model.config.transformer.max_positions
    if length > limit:
        raise ValueError(
            f"windows of {frames} frames make {length} tokens, over the transformer's {limit} positions; expected "
            f"frames of {context + model.max_frames} at most"
        )
