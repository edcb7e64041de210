"""Windows that were tokenized beforehand, mapped into memory: training on them decodes no video and runs no tokenizer.

::

    manifest.json            the key: which tokenizer, which windows; counts; bytes and SHA-256 of every file
    shard-00000/             4,096 windows, sample i of the sampler in row i
      context.npy     uint16 [r c n]    codes of the context frames
      dynamics.npy    uint16 [r f m]    codes of the predicted frames
      actions.npy     float32 [r f a]   what led to each predicted frame; likewise rewards, terminals (float32 [r f])
      mask.npy        uint8 [r f]       0 on repeated padding frames
      domains.npy     int64 [r]         which data set of a mixture
      told.npy        int32 [r]         which of the instructions in shard.json
"""

from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ivideo.data.npy import mapped
from ivideo.data.segments import FrameOrder, History
from ivideo.data.shards import SHARD, read_manifest, read_said, shard_name
from ivideo.fingerprint import fingerprint
from ivideo.tokens import TokenBatch
from tokenizer import FrameCodes, VideoTokenizer

FORMAT, VERSION = "ivideo tokens", 1
DTYPES = {
    "context": torch.uint16,
    "dynamics": torch.uint16,
    "actions": torch.float32,
    "rewards": torch.float32,
    "terminals": torch.float32,
    "mask": torch.uint8,
    "domains": torch.int64,
    "told": torch.int32,
}
"""What the arrays of a shard hold; those that a source lacks are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """What decides the codes of a window: two stores of one key and one source hold the same codes."""

    tokenizer: str
    """SHA-256 of the tokenizer's settings and weights."""
    context_frames: int
    resolution: int
    frames: int
    stride: int
    order: FrameOrder
    history: History

    @staticmethod
    def of(tokenizer: VideoTokenizer, *, frames: int, stride: int, order: FrameOrder, history: History) -> "TokenKey":
        return TokenKey(
            tokenizer=fingerprint(tokenizer),
            context_frames=tokenizer.config.context_frames,
            resolution=tokenizer.config.resolution,
            frames=frames,
            stride=stride,
            order=order,
            history=history,
        )


class TokenStore:
    """The rows of a stored folder, read when asked for."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.key = TokenKey(**{field.name: manifest["plan"]["key"][field.name] for field in fields(TokenKey)})
        self._count, self._per_shard = int(manifest["plan"]["windows"]), int(manifest["plan"]["rows_per_shard"])
        self.shapes = {name: tuple(map(int, manifest["rows"][name])) for name in DTYPES if name in manifest["rows"]}
        self.source = str(manifest["plan"]["source"])
        self._arrays = cache(self._open)
        self._texts = cache(self._said)

    def __len__(self) -> int:
        return self._count

    @property
    def tokens_per_row(self) -> int:
        """Codes in a window."""
        return sum(int(np.prod(self.shapes[name])) for name in ("context", "dynamics"))

    @property
    def action_dim(self) -> int | None:
        """Numbers in an action; None without any."""
        return self.shapes["actions"][1] if "actions" in self.shapes else None

    def check(self, wanted: TokenKey, *, action_dim: int, rewards: bool) -> None:
        """Raise ValueError, naming what differs, unless these are the codes that training wants."""
        for name, value in asdict(wanted).items():
            mine = getattr(self.key, name)
            if mine != value:
                raise ValueError(
                    f"{self.folder} was made with {name} {mine}, training has {value}; train with what it was made "
                    "with, or write it anew with ivideo data tokenize"
                )
        if action_dim and self.action_dim != action_dim:
            raise ValueError(
                f"{self.folder} holds actions of {self.action_dim or 0} numbers, model.embedding.action_dim is "
                f"{action_dim}; set it to {self.action_dim or 0}"
            )
        if rewards and "rewards" not in self.shapes:
            raise ValueError(f"model.heads.reward is set, but {self.folder} holds no rewards; turn it off")

    def rows(self, places: Int64[np.ndarray, "b"]) -> TokenBatch:
        """Return the windows at some places, in their order."""
        shards, rows = np.divmod(places, self._per_shard)
        found: dict[str, Tensor] = {}
        for shard in np.unique(shards):
            here = torch.from_numpy(np.flatnonzero(shards == shard))
            mine = torch.from_numpy(rows[shards == shard])
            for name, values in self._arrays(int(shard)).items():
                if name != "told":
                    picked = values[mine].long() if name in ("context", "dynamics") else values[mine]
                    found.setdefault(name, picked.new_empty(len(places), *picked.shape[1:]))[here] = picked
        return TokenBatch(
            codes=FrameCodes(context=found["context"], dynamics=found["dynamics"]),
            actions=found.get("actions"),
            rewards=found.get("rewards"),
            terminals=found.get("terminals"),
            mask=found["mask"].bool() if "mask" in found else None,
            domains=found.get("domains"),
        )

    def instructions(self, places: Int64[np.ndarray, "b"]) -> tuple[str, ...]:
        """Return what was asked for in the windows at some places, in words; empty where nothing is known."""
        if "told" not in self.shapes:
            return ("",) * len(places)
        found = []
        for shard, row in zip(*np.divmod(places, self._per_shard), strict=True):
            found.append(self._texts(int(shard))[int(self._arrays(int(shard))["told"][int(row)])])
        return tuple(found)

    def _open(self, shard: int) -> dict[str, Tensor]:
        folder = self.folder / shard_name(shard)
        arrays = {name: mapped(folder / f"{name}.npy", DTYPES[name], shape) for name, shape in self.shapes.items()}
        expected = min(self._per_shard, self._count - shard * self._per_shard)
        for name, values in arrays.items():
            if len(values) != expected:
                raise ValueError(f"{folder}: {len(values)} rows of {name}, expected {expected}; the folder is damaged")
        return arrays

    def _said(self, shard: int) -> list[str]:
        return [str(text) for text in read_said(self.folder / shard_name(shard) / SHARD)["instructions"]]


def open_tokens(folder: Path) -> TokenStore:
    """Return the windows of a folder that `ivideo data tokenize` wrote; ValueError where it is not whole."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder; expected one that ivideo data tokenize wrote")
    manifest = read_manifest(folder, FORMAT, VERSION)
    try:
        return TokenStore(folder, manifest)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}: its manifest lacks {error}; the folder is damaged: make it anew") from error
