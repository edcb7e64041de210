"""`ivideo convert MODEL FOLDER`: a model written anew, in the released layout and, if asked, in fewer bits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ivideo import hub
from ivideo.config import parse
from ivideo.files import check_new_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What to write, where, and how."""

    model: str
    """A folder, a packaged model or a Hugging Face Hub id."""
    folder: str
    """Where to; it must not hold anything yet."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Number format of the stored weights; float16 halves the size. They are computed with in float32 either way."""


def main(argv: list[str]) -> int:
    """`ivideo convert MODEL FOLDER [--dtype float16]`."""
    wanted = parse(
        Conversion,
        argv,
        prog="ivideo convert",
        description="Write a model anew in the released layout.",
        positional=("model", "folder"),
    )
    check_new_folder(Path(wanted.folder))
    hub.save(hub.load(wanted.model), wanted.folder, dtype=getattr(torch, wanted.dtype))
    size = sum(path.stat().st_size for path in Path(wanted.folder).rglob("*") if path.is_file())
    print(f"wrote {wanted.folder}: {size / 1e6:.2f} MB as {wanted.dtype}")
    return 0
