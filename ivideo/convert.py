"""`ivideo convert MODEL FOLDER`: a model written anew, in the released layout, in fewer bits or in another shape."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import torch

from ivideo import checkpoint, hub
from ivideo.config import parse
from ivideo.files import check_new_folder
from ivideo.migration import Changes, adapt, join


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion(Changes):
    """What to write, where, and how; the rest is what to change about the model."""

    model: str
    """A folder, a packaged model or a Hugging Face Hub id."""
    folder: str
    """Where to; it must not hold anything yet."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Number format of the stored weights; float16 halves the size. They are computed with in float32 either way."""
    tokenizer: str | None = None
    """A tokenizer in the place of the model's own, trained from it with its codebooks frozen: a run, a folder or a
    Hub id."""

    @property
    def changes(self) -> Changes:
        """What to change about the model."""
        return Changes(**{field.name: getattr(self, field.name) for field in fields(Changes)})


def main(argv: list[str]) -> int:
    """`ivideo convert MODEL FOLDER [--dtype float16] [--action_dim 7 ...]`; prints what became of every tensor."""
    wanted = parse(
        Conversion,
        argv,
        prog="ivideo convert",
        description="Write a model anew: in the released layout, in fewer bits, or in another shape.",
        positional=("model", "folder"),
    )
    check_new_folder(Path(wanted.folder))
    changes = wanted.changes
    if wanted.tokenizer is not None and changes != Changes():
        raise ValueError("tokenizer and a change of shape are given together; do the one, then the other on its result")
    model, migration = checkpoint.load(wanted.model), None
    if wanted.tokenizer is not None:
        tokenizer = hub.find_tokenizer(wanted.tokenizer)
        model, migration = join(model, tokenizer, source=wanted.model, name=wanted.tokenizer)
    elif changes != Changes():
        model, migration = adapt(model, changes, source=wanted.model)
    checkpoint.save(model, wanted.folder, dtype=getattr(torch, wanted.dtype), migration=migration)
    if migration is not None:
        print(migration.table())
    size = sum(path.stat().st_size for path in Path(wanted.folder).rglob("*") if path.is_file())
    print(f"wrote {wanted.folder}: {size / 1e6:.2f} MB as {wanted.dtype}")
    return 0
