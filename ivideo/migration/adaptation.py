"""The ways from a trained model to one of another shape, or with another tokenizer."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ivideo.migration import promises, sequence
from ivideo.migration.changes import Changes
from ivideo.migration.report import Line, Migration, Promise, lines
from ivideo.migration.sequence import PARTS, Sequence
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import TokenizerConfig, VideoTokenizer, elastic


def adapt(model: WorldModel, changes: Changes, *, source: str = "a model") -> tuple[WorldModel, Migration]:
    """A new model with the changes made, and the report of them; `source` is what the report calls the old one.

    Deterministic: nothing is drawn. ValueError, naming the setting and the nearest that would do, for a change that is
    impossible.
    """
    frames = changes.tokenizer_config(model.tokenizer.config)
    return migrate(model, frames, changes.model_config(model.config, frames), source=source)


def migrate(
    model: WorldModel, frames: TokenizerConfig, config: WorldModelConfig, *, source: str
) -> tuple[WorldModel, Migration]:
    """A new model of these configs, from the weights of another."""
    check_whole(model)
    with torch.random.fork_rng(devices=[]):
        tokenizer, codec = refit_tokenizer(model.tokenizer, frames, source=source)
        other = WorldModel(tokenizer, config).to(model.transformer.norm.weight)
    report = take_over(other, model, source=source)
    whole = Migration(source=source, promises=codec.promises + report.promises, lines=codec.lines + report.lines)
    return other.train(model.training), whole


def refit_tokenizer(
    tokenizer: VideoTokenizer, config: TokenizerConfig, *, source: str
) -> tuple[VideoTokenizer, Migration]:
    """A tokenizer of another config from the weights of one, and the report of it."""
    other = tokenizer.refitted(config)
    before = tokenizer.state_dict()
    made = elastic.refit(before, tokenizer.config, config)
    promised = tuple(promises.of_tokenizer(tokenizer.config, config))
    return other, Migration(source=source, promises=promised, lines=lines("tokenizer", before, made))


def take_over(model: WorldModel, other: WorldModel, *, source: str) -> Migration:
    """Copy into `model` all that `other` knows of reading sequences; their tokenizers are left alone."""
    old, new = Sequence.of(other), Sequence.of(model)
    made = sequence.refit(old, new)
    for part in PARTS:
        getattr(model, part).load_state_dict({name: each.tensor for name, each in made[part].items()})
    configs = other.config, model.config, other.tokenizer.config, model.tokenizer.config
    return Migration(
        source=source,
        promises=tuple(promises.of_model(*configs)),
        lines=tuple(line for part in PARTS for line in lines(part, old.tensors[part], made[part])),
    )


def join(model: WorldModel, tokenizer: VideoTokenizer, *, source: str, name: str) -> tuple[WorldModel, Migration]:
    """The model with another tokenizer in the place of its own: one that was trained on from it, codebooks frozen.

    ValueError where codes mean something else to it, or where it makes other sequences of a video.
    """
    check_whole(model)
    for field in ("context_frames", "context_tokens", "dynamics_tokens", "context_codes", "dynamics_codes"):
        mine, theirs = getattr(model.tokenizer.config, field), getattr(tokenizer.config, field)
        if mine != theirs:
            raise ValueError(
                f"the tokenizer at {name} has {field} {theirs}, that of {source} {mine}; join one that was trained "
                f"from it: ivideo train tokenizer --init {source} --freeze_codebooks"
            )
    for half in ("context_codebook", "dynamics_codebook"):
        if not torch.equal(getattr(model.tokenizer, half), getattr(tokenizer, half)):
            raise ValueError(
                f"the {half} of the tokenizer at {name} is not that of {source}, so that its codes mean something else "
                f"to the transformer; train it with --freeze_codebooks, or the transformer after it with "
                f"ivideo train world-model --init {source} --tokenizer {name}"
            )
    other = WorldModel(tokenizer.to(model.transformer.norm.weight), model.config)
    report = take_over(other, model, source=source)
    replaced = _replaced(model.tokenizer.state_dict(), tokenizer.state_dict(), name)
    promise = Promise(
        change=f"tokenizer -> {name}",
        strength="bit for bit",
        holds="codebooks and all that reads sequences; the same tokens have the same future",
    )
    return other.train(model.training), Migration(source=source, promises=(promise,), lines=replaced + report.lines)


def check_whole(model: WorldModel) -> None:
    """Refuse a model whose weights are held in fewer bits."""
    if model.transformer.head.scale is not None:
        raise ValueError("this model was reduced to int8, which cannot change its shape; load it in float32")


def _replaced(before: Mapping[str, Tensor], after: Mapping[str, Tensor], name: str) -> tuple[Line, ...]:
    found = []
    for tensor, value in after.items():
        old = before.get(tensor)
        shape = tuple(value.shape)
        if old is not None and torch.equal(old, value):
            found.append(Line(name=f"tokenizer.{tensor}", fate="kept", before=shape, after=shape))
        else:
            was = None if old is None else tuple(old.shape)
            found.append(
                Line(name=f"tokenizer.{tensor}", fate="replaced", before=was, after=shape, how=f"that of {name}")
            )
    return tuple(found)
