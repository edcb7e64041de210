"""How well a model's tokenizer restores held-out clips, and how well the model imagines them."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.episode import Batch
from ivideo.evaluation.metrics.pixels import changed_psnr, psnr
from ivideo.evaluation.series import COPY, PREDICTION, SHUFFLED, Series
from ivideo.rollout import pixels
from ivideo.training.dataset import model_inputs
from ivideo.training.held_out import rows
from ivideo.world_model import WorldModel
from transformer import Sampling

WHOLE, CHANGED = "PSNR, dB", "PSNR where pixels changed, dB"
LOSS = "loss of a token, nats"
DECODED = "decoded from its tokens"
GREEDY = Sampling(temperature=0.0)
CHUNK = 16
"""Clips that are computed at once."""


@torch.inference_mode()
def judge(model: WorldModel, clips: Batch) -> list[Series]:
    """PSNR of whole frames and of the pixels that changed since the context: decoded, imagined, and their baselines.

    Also the cross-entropy of the next token given the true ones, which only models of one tokenizer have in common.

    Frames are decoded as they are in imagination, where the context frames have been seen. Actions are shuffled by
    giving each clip those of the one before it.
    """
    context, series = model.context_frames, []
    truth, last = clips.frames[:, context:], clips.frames[:, context - 1 : context].expand_as(clips.frames[:, context:])
    actions = clips.actions if model.action_dim else None
    made = {DECODED: _decoded(model, clips.frames), PREDICTION: _imagined(model, clips.frames, actions), COPY: last}
    if actions is not None:
        made[SHUFFLED] = _imagined(model, clips.frames, actions.roll(1, dims=0))
    for source, frames in made.items():
        for quantity, values in (
            (WHOLE, psnr(truth, frames)),
            (CHANGED, changed_psnr(truth, frames, last)),
        ):
            series.append(Series(quantity=quantity, source=source, values=values[..., None]))
    each = [model.loss(model_inputs(rows(clips, slice(n, n + 1)), model))[1] for n in range(len(clips.frames))]
    losses = torch.stack([parts["cross_entropy"] for parts in each])
    return [*series, Series(quantity=LOSS, source=PREDICTION, values=losses[:, None, None], per="clip")]


def _decoded(model: WorldModel, frames: UInt8[Tensor, "n t 3 h w"]) -> UInt8[Tensor, "n f 3 h w"]:
    context, parts = model.context_frames, []
    for part in frames.split(CHUNK):
        features = model.tokenizer.encode_context(part[:, :context])
        codes = model.tokenizer.encode_frames(part[:, context:], features)
        parts.append(pixels(model.tokenizer.decode_frames(codes, features)))
    return torch.cat(parts)


def _imagined(
    model: WorldModel, frames: UInt8[Tensor, "n t 3 h w"], actions: Float[Tensor, "n t-1 a"] | None
) -> UInt8[Tensor, "n f 3 h w"]:
    context, parts = model.context_frames, []
    for first in range(0, len(frames), CHUNK):
        rows = slice(first, first + CHUNK)
        state = model.start(frames[rows, :context])
        for place in range(context - 1, frames.shape[1] - 1):
            action = None if actions is None else actions[rows, place]
            state, _ = model.step(state, action, decode=False, sampling=GREEDY)
        parts.append(model.frames(state).cpu())
    return torch.cat(parts)
