"""Trained weights to start from or to build on, wherever they lie."""

from dataclasses import fields
from pathlib import Path

from torch import Tensor

from ivideo import hub
from ivideo.world_model import WorldModel
from tokenizer import TokenizerConfig, VideoTokenizer
from tokenizer.checkpoint import load_tokenizer


def find_tokenizer(source: str) -> VideoTokenizer:
    """Return the tokenizer at `source`: a run, a tokenizer's folder, a world model's, or a Hub id of one."""
    path = Path(source).expanduser()
    for folder in (path, path / "model", path / "tokenizer", path / "model" / "tokenizer"):
        if (folder / "config.json").is_file():
            return load_tokenizer(folder)
    if (path / "config.yaml").is_file():
        raise FileNotFoundError(f"{path} is a run that has saved no model yet; let it reach its first checkpoint")
    return load_tokenizer(hub.resolve(source) / "tokenizer")


def start_tokenizer(config: TokenizerConfig, init: str | None) -> VideoTokenizer:
    """Return a new tokenizer, with the weights at `init` if that is given.

    Where the checkpoint was trained on more context frames than `config` has, it is cut to the last ones. Any other
    difference in shape is a ValueError that names it.
    """
    if init is None:
        return VideoTokenizer(config)
    found = find_tokenizer(init)
    if found.config.context_frames > config.context_frames:
        found = found.with_context_frames(config.context_frames)
    for field in fields(TokenizerConfig):
        mine, theirs = getattr(config, field.name), getattr(found.config, field.name)
        if mine != theirs and field.name != "dropout":
            raise ValueError(
                f"the tokenizer at {init} has {field.name} {theirs}, but tokenizer.{field.name} is {mine}; "
                "write the checkpoint's value, or start without --init"
            )
    tokenizer = VideoTokenizer(config)  # with this config's dropout
    tokenizer.load_state_dict(found.state_dict())
    return tokenizer


def start_from(model: WorldModel, init: str) -> list[str]:
    """Copy into `model` all that the world model at `init` has in common with it; return the names of what is new.

    The transformers must be of one shape; an action projection or a head that only one of the two has is left out. What
    is new changes no token before the first update: whatever is told enters at zero.
    """
    found = WorldModel.from_pretrained(init)
    theirs, mine = found.transformer.state_dict(), model.transformer.state_dict()
    wrong = [name for name, value in mine.items() if name not in theirs or theirs[name].shape != value.shape]
    if wrong or theirs.keys() - mine.keys():
        name = wrong[0] if wrong else sorted(theirs.keys() - mine.keys())[0]
        raise ValueError(
            f"the transformer at {init} has {name} {_shape(theirs.get(name))}, this one {_shape(mine.get(name))}; "
            "write the same model.transformer and tokenizer codebooks, or start without --init"
        )
    model.transformer.load_state_dict(theirs)
    new = []
    for part in ("embedding", "heads"):
        given: dict[str, Tensor] = getattr(found, part).state_dict()
        for name, value in getattr(model, part).state_dict().items():
            if name in given and given[name].shape == value.shape:
                value.copy_(given[name])
            else:
                new.append(f"{part}.{name}")
                if part == "embedding" and name.startswith(("action.", "guide.action.")):
                    value.zero_()
    return new


def with_context(tokenizer: VideoTokenizer, frames: int | None) -> VideoTokenizer:
    """Return the tokenizer for `frames` context frames; None keeps its own."""
    if frames is None or frames == tokenizer.config.context_frames:
        return tokenizer
    return tokenizer.with_context_frames(frames)


def _shape(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else str(list(tensor.shape))
