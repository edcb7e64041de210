"""Trained weights to start from, wherever they lie and whatever their shapes."""

import sys
from dataclasses import fields

from ivideo.hub import find_tokenizer
from ivideo.migration import Migration
from ivideo.migration.adaptation import check_whole, refit_tokenizer, take_over
from ivideo.training.process import is_first
from ivideo.world_model import WorldModel
from tokenizer import TokenizerConfig, VideoTokenizer


def start_tokenizer(config: TokenizerConfig, init: str | None) -> tuple[VideoTokenizer, Migration | None]:
    """Return a new tokenizer, with the weights at `init` if that is given, and what became of them.

    What `tokenizer.elastic` can change is changed; any other difference is a ValueError that names it.
    """
    if init is None:
        return VideoTokenizer(config), None
    found = find_tokenizer(init)
    try:
        tokenizer, report = refit_tokenizer(found, config, source=init)
    except ValueError as error:
        differing = [
            f"{field.name} {getattr(found.config, field.name)}"
            for field in fields(TokenizerConfig)
            if getattr(found.config, field.name) != getattr(config, field.name) and field.name != "dropout"
        ]
        raise ValueError(
            f"the tokenizer at {init} has {', '.join(differing)}; write that under tokenizer, or start without --init: "
            f"{error}"
        ) from error
    _tell(report)
    return tokenizer, report


def start_from(model: WorldModel, init: str) -> Migration:
    """Copy into `model` all that the world model at `init` knows, print and return what became of it.

    An action projection or a head that only one of the two has starts at zero, or is left out. The transformers must
    be of one shape; a ValueError names what is not.
    """
    found = WorldModel.from_pretrained(init)
    check_whole(found)
    for name in ("context_codes", "dynamics_codes"):
        mine, theirs = getattr(model.layout, name), getattr(found.layout, name)
        if mine != theirs:
            raise ValueError(
                f"the world model at {init} reads {name} {theirs}, the tokenizer has {mine}; take one with the same "
                f"codebooks, or let `ivideo convert {init} FOLDER --{name} {mine}` make them larger"
            )
    try:
        report = take_over(model, found, source=init)
    except ValueError as error:
        raise ValueError(f"{init} is no start for model: {error}; write the same, or start without --init") from error
    _tell(report)
    return report


def with_context(tokenizer: VideoTokenizer, frames: int | None) -> VideoTokenizer:
    """Return the tokenizer for `frames` context frames; None keeps its own."""
    if frames is None or frames == tokenizer.config.context_frames:
        return tokenizer
    return tokenizer.with_context_frames(frames)


def _tell(report: Migration) -> None:
    if is_first():
        print(report.table(), file=sys.stderr)
