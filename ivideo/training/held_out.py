"""What a run measures on episodes it does not train on, always beside the copied last frame.

How often tokens are predicted exactly is never among it: where little moves, a model that predicts no motion at all
is nearly always right.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from ivideo.episode import Batch
from ivideo.evaluation.imagine import imagine
from ivideo.evaluation.metrics.pixels import changed_psnr, psnr
from ivideo.training.dataset import model_inputs
from ivideo.training.outcome import Evaluation
from ivideo.world_model import WorldModel
from tokenizer import VideoTokenizer

CHUNK = 16
"""Clips that are computed at once."""


def reconstruct(tokenizer: VideoTokenizer, clips: Batch, pictures: int) -> Evaluation:
    """Encode and decode clips; figures are decibels on the frames after the context.

    ::

        psnr, copy_last                     whole frames: decoded, and with the last context frame in their place
        changed_psnr, changed_copy_last     the same over the pixels that changed since that frame
        context_psnr                        the context frames
    """
    device = next(tokenizer.parameters()).device
    decoded = torch.cat(
        [to_uint8(tokenizer.decode(tokenizer.encode(frames.to(device)))).cpu() for frames in clips.frames.split(CHUNK)]
    )
    context = tokenizer.config.context_frames
    truth, made, copied, real = _future(clips, decoded, context)
    last = clips.frames[:, context - 1 : context].expand_as(truth)
    figures = {
        "psnr": _mean(psnr(truth, made), real),
        "copy_last": _mean(psnr(truth, copied), real),
        "changed_psnr": _mean(changed_psnr(truth, made, last), real),
        "changed_copy_last": _mean(changed_psnr(truth, copied, last), real),
        "context_psnr": float(psnr(clips.frames[:, :context], decoded[:, :context]).mean()),
    }
    shown = torch.stack([clips.frames[:pictures], decoded[:pictures]], dim=1)
    return Evaluation(figures=_named(figures), videos={"reconstruction": shown} if pictures else {})


def dream(model: WorldModel, clips: Batch, pictures: int, seed: int = 0, *, names: Sequence[str] = ()) -> Evaluation:
    """Imagine clips freely from their context frames; figures are decibels at single imagined frames.

    ::

        psnr_5          the fifth imagined frame, under the true actions
        copy_last_5     with the last context frame in its place
        shuffled_5      under the actions of another clip; only for models that take actions
        loss            of the next token, given the true ones before it, with the heads' losses

    Clips of several domains, whose `names` are given, are measured domain by domain (`bridge/psnr_5`), and these
    figures averaged.
    """
    if names and clips.domains is not None:
        return _each_domain(model, clips, pictures, seed, names)
    loss = _token_loss(model, clips)
    if model.config.goal_conditioned:
        return Evaluation(figures=_named(loss))
    context = model.context_frames
    actions = clips.actions if model.action_dim else None
    how: dict[str, Any] = {"sampling": model.config.sampling, "seed": seed}
    if model.embodiments.domains and clips.domains is not None:
        how["domains"] = clips.domains.tolist()
    if model.read_instructions is not None:
        how["instructions"] = clips.instructions
    future = {"psnr": imagine(model, clips.frames, actions, **how).frames}
    if actions is not None and len(clips.frames) > 1:
        others = actions.roll(1, dims=0)
        future["shuffled"] = imagine(model, clips.frames, others, **how).frames
    figures = dict(loss)
    for name, frames in future.items():
        truth, made, copied, real = _future(clips, frames, context)
        for place in _places(truth.shape[1]):
            figures[f"{name}_{place}"] = _mean(psnr(truth, made)[:, place - 1], real[:, place - 1])
            figures[f"copy_last_{place}"] = _mean(psnr(truth, copied)[:, place - 1], real[:, place - 1])
    shown = torch.stack([clips.frames, *future.values()], dim=1)[:pictures]
    return Evaluation(figures=_named(figures), videos={"dream": shown} if pictures else {})


def _each_domain(model: WorldModel, clips: Batch, pictures: int, seed: int, names: Sequence[str]) -> Evaluation:
    figures: dict[str, float] = {}
    videos: dict[str, UInt8[Tensor, "n k t 3 h w"]] = {}
    everywhere: dict[str, list[float]] = {}
    assert clips.domains is not None
    for number in clips.domains.unique().tolist():
        name = names[number]
        found = dream(model, rows(clips, (clips.domains == number).nonzero()[:, 0]), pictures, seed)
        for key, value in found.figures.items():
            figures[key.replace("held_out/", f"held_out/{name}/", 1)] = value
            everywhere.setdefault(key, []).append(value)
        videos |= {f"{key}-{name}": value for key, value in found.videos.items()}
    averages = {key: sum(values) / len(values) for key, values in everywhere.items()}
    return Evaluation(figures=averages | figures, videos=videos)


def _token_loss(model: WorldModel, clips: Batch) -> dict[str, float]:
    totals = []
    for first in range(0, len(clips.frames), CHUNK):
        part = model_inputs(rows(clips, slice(first, first + CHUNK)), model)
        _, parts = model.loss(part.to(model.device))
        totals.append({name: float(value) * len(part.frames) for name, value in parts.items()})
    return {name: sum(part[name] for part in totals) / len(clips.frames) for name in totals[0]}


def _future(
    clips: Batch, made: UInt8[Tensor, "b t 3 h w"], context: int
) -> tuple[UInt8[Tensor, "b f 3 h w"], UInt8[Tensor, "b f 3 h w"], UInt8[Tensor, "b f 3 h w"], Bool[Tensor, "b f"]]:
    """True, made and copied frames after the context, and which of them are real."""
    truth = clips.frames[:, context:]
    copied = clips.frames[:, context - 1 : context].expand_as(truth)
    real = clips.mask if clips.mask is not None else torch.ones(clips.frames.shape[:2], dtype=torch.bool)
    return truth, made[:, context:], copied, real[:, context:]


def _places(frames: int) -> list[int]:
    """The imagined frames to report on, from 1: the first, the fifth, the tenth and the last."""
    return sorted({place for place in (1, 5, 10, frames) if place <= frames})


def _mean(values: Float[Tensor, "..."], real: Bool[Tensor, "..."]) -> float:
    return float(values.masked_fill(~real, torch.nan).nanmean())


def _named(figures: dict[str, float]) -> dict[str, float]:
    return {f"held_out/{name}": value for name, value in figures.items()}


def rows(batch: Batch, which: slice | Int64[Tensor, " r"]) -> Batch:
    """Some clips of a batch."""

    def cut(value: Tensor | None) -> Tensor | None:
        return None if value is None else value[which]

    numbers = torch.arange(len(batch.frames))[which].tolist()
    return Batch(
        frames=batch.frames[which],
        actions=cut(batch.actions),
        rewards=cut(batch.rewards),
        terminals=cut(batch.terminals),
        mask=cut(batch.mask),
        domains=cut(batch.domains),
        instructions=None if batch.instructions is None else tuple(batch.instructions[number] for number in numbers),
    )


def to_uint8(frames: Float[Tensor, "b t 3 h w"]) -> UInt8[Tensor, "b t 3 h w"]:
    """Decoded frames as they are shown."""
    return (frames.float().clamp(0, 1) * 255).round().to(torch.uint8)
