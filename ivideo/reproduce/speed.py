"""Seconds of the parts of several models, timed in turn, so that a machine's moods fall on all of them alike."""

import statistics
from collections.abc import Callable, Mapping

import torch
from torch import nn

from ivideo.bench.roofline import worked
from ivideo.episode import Batch
from ivideo.training.held_out import rows
from ivideo.world_model import WorldModel
from tokenizer.losses import TokenizerLoss, TokenizerLossConfig
from transformer import Sampling

GREEDY = Sampling(temperature=0.0)
TRAINED = 8
"""Clips of a training step."""
TOKENIZE, GENERATE, AT_ONCE, DETOKENIZE = "tokenize", "generate", "generate, guessing", "detokenize"
TRAIN_TOKENIZER, TRAIN_MODEL = "train tokenizer", "train world model"

Seconds = dict[str, float]
"""Median processor seconds by part; of wall time on an accelerator."""


def time_all(
    models: Mapping[str, WorldModel], clips: Batch, loss: TokenizerLossConfig, *, rounds: int
) -> dict[str, Seconds]:
    """Seconds of every part of every model, by its name.

    ::

        tokenize              the context frames of one clip, and the pass over their tokens
        generate              the tokens of one imagined frame, batch 1, one after the other
        generate, guessing    the same, where the frame before foretells tokens (`ivideo.drawing`)
        detokenize            the pixels of that frame
        train tokenizer       loss and gradients of 8 clips, without the optimizer
        train world model     the same, codes being known
    """
    parts = {name: _parts(model, clips, loss) for name, model in models.items()}
    seconds: dict[str, dict[str, list[float]]] = {name: {part: [] for part in parts[name]} for name in models}
    for number in range(rounds + 1):
        for part in (TOKENIZE, GENERATE, AT_ONCE, DETOKENIZE, TRAIN_TOKENIZER, TRAIN_MODEL):
            for name, model in models.items():
                began = worked(model.device)
                parts[name][part]()
                if number:  # the first round warms up
                    seconds[name][part].append(worked(model.device) - began)
    return {name: {part: statistics.median(each) for part, each in parts.items()} for name, parts in seconds.items()}


def _parts(model: WorldModel, clips: Batch, loss: TokenizerLossConfig) -> dict[str, Callable[[], object]]:
    one, few = rows(clips, slice(0, 1)).to(model.device), rows(clips, slice(0, TRAINED)).to(model.device)
    context = model.context_frames
    action = None if one.actions is None or not model.action_dim else one.actions[0, context - 1]
    started = model.start(one.frames[0, :context])
    first, _ = model.step(started, action, decode=False, sampling=GREEDY, guess=False)
    tokens, criterion = model.tokenize(few), TokenizerLoss(loss).to(model.device)

    def learn_pixels() -> None:
        model.tokenizer.train()
        value, _ = criterion.generator_loss(model.tokenizer, few.frames, model.tokenizer(few.frames), 0)
        _backward(value, model.tokenizer)
        model.tokenizer.eval()

    def learn_tokens() -> None:
        value, _ = model.token_loss(tokens)
        _backward(value, model)

    return {
        TOKENIZE: lambda: model.start(one.frames[0, :context]),
        GENERATE: lambda: model.step(first, action, decode=False, sampling=GREEDY, guess=False),
        AT_ONCE: lambda: model.step(first, action, decode=False, sampling=GREEDY, guess=True),
        DETOKENIZE: lambda: model.frames(first),
        TRAIN_TOKENIZER: learn_pixels,
        TRAIN_MODEL: learn_tokens,
    }


def _backward(value: torch.Tensor, module: nn.Module) -> None:
    value.backward()
    module.zero_grad(set_to_none=True)
