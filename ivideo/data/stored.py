"""Episodes in a stored folder, mapped into memory: opened at once, however many there are, and read when asked for.

::

    manifest.json           format, source, size, counts, statistics of actions, damaged episodes, bytes and SHA-256
    episodes.npy  [e]       one row per episode: where it lies, its length, terminal, fps, the places of its texts
    text.npy      [bytes]   all names and instructions, UTF-8, end to end
    shard-00000/
      frames.npy  [n 3 h w] uint8: the episodes of the shard one after the other
      actions.npy [m a]     float32: length - 1 rows an episode; only where there are actions
      rewards.npy [m]       float32: likewise
      shard.json            names, lengths and damaged episodes of the shard
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from ivideo.data.npy import mapped
from ivideo.data.shards import read_manifest, shard_name
from ivideo.data.store import Damaged, EpisodeStore
from ivideo.data.table import EpisodeTable
from ivideo.episode import Episode

FORMAT, VERSION = "ivideo episodes", 1
TABLE, TEXT = "episodes.npy", "text.npy"
ROW = np.dtype(
    [
        ("shard", "<i4"),
        ("length", "<i4"),
        ("frame", "<i8"),
        ("step", "<i8"),
        ("name", "<i8"),
        ("instruction", "<i8"),
        ("end", "<i8"),
        ("fps", "<f4"),
        ("terminal", "|u1"),
        ("spare", "|u1", (3,)),
    ]
)
"""A row of the table: first frame and step within the shard; where its name and instruction begin, and where they end.

`fps` is NaN where it is not known."""


def open_stored(folder: Path, *, size: int | None = None, limit: int | None = None) -> EpisodeStore:
    """Return the episodes of a stored folder; frames stay on disk until they are used, and are never written.

    Every file's size is checked and the table's SHA-256; `ivideo.data.shards.verify` compares all bytes.

    Raises:
        ValueError: the folder is incomplete, damaged, or stored at another size than `size`.
    """
    manifest = read_manifest(folder, FORMAT, VERSION)
    try:
        facts = _Facts(
            folder=folder,
            shards=int(manifest["shards"]),
            height=int(manifest["frame_size"][0]),
            width=int(manifest["frame_size"][1]),
            action_dim=None if manifest["action_dim"] is None else int(manifest["action_dim"]),
            has_rewards=bool(manifest["has_rewards"]),
        )
        damaged = [Damaged(str(entry["name"]), str(entry["reason"])) for entry in manifest["damaged"]]
        source, episodes = str(manifest["plan"]["source"]), int(manifest["episodes"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{folder}: its manifest lacks {error}; the folder is damaged: make it anew") from error
    if size is not None and (size, size) != (facts.height, facts.width):
        raise ValueError(
            f"{folder} holds frames of {facts.height}x{facts.width}, asked for is size {size}; open it with that size, "
            f"or convert {source} again with --size {size}"
        )
    rows = _rows(folder, episodes, facts.shards)
    text = _Text(mapped(folder / TEXT, torch.uint8, ()).numpy())
    table = EpisodeTable(
        names=_Texts(text, rows["name"], rows["instruction"]),
        lengths=torch.from_numpy(rows["length"].astype(np.int64)),
        terminals=torch.from_numpy(rows["terminal"].astype(bool)),
        instructions=_Texts(text, rows["instruction"], rows["end"]),
        has_instructions=bool((rows["end"] > rows["instruction"]).any()),
        frame_size=(facts.height, facts.width),
        action_dim=facts.action_dim,
        has_rewards=facts.has_rewards,
    )
    store = EpisodeStore(_StoredEpisodes(facts, rows, table), source=str(folder), table=table, damaged=damaged)
    return store if limit is None else store.subset(np.arange(min(limit, len(store))))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """Where the arrays lie and what their rows are."""

    folder: Path
    shards: int
    height: int
    width: int
    action_dim: int | None
    has_rewards: bool


class _StoredEpisodes(Sequence[Episode]):
    """Episodes whose tensors are views of the mapped files."""

    def __init__(self, facts: _Facts, rows: NDArray[Any], table: EpisodeTable) -> None:
        self._facts, self._rows, self._table = facts, rows, table
        self._arrays = cache(self._open)

    def __getitem__(self, index: Any) -> Any:
        row = self._rows[index]
        frames, actions, rewards = self._arrays(int(row["shard"]))
        length, frame, step, fps = int(row["length"]), int(row["frame"]), int(row["step"]), float(row["fps"])
        pictures = frames[frame : frame + length]
        if len(pictures) != length:
            raise ValueError(f"{self._facts.folder}: episode {index} goes beyond its shard; the folder is damaged")
        return Episode(
            frames=pictures,
            actions=None if actions is None else actions[step : step + length - 1],
            rewards=None if rewards is None else rewards[step : step + length - 1],
            terminal=bool(row["terminal"]),
            name=self._table.names[index],
            instruction=self._table.instructions[index],
            fps=None if math.isnan(fps) else round(fps, 3),
        )

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Episode]:
        return (self[place] for place in range(len(self)))

    def _open(self, shard: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        facts, folder = self._facts, self._facts.folder / shard_name(shard)
        frames = mapped(folder / "frames.npy", torch.uint8, (3, facts.height, facts.width))
        actions = rewards = None
        if facts.action_dim is not None:
            actions = mapped(folder / "actions.npy", torch.float32, (facts.action_dim,))
        if facts.has_rewards:
            rewards = mapped(folder / "rewards.npy", torch.float32, ())
        return frames, actions, rewards


class _Text:
    """One long UTF-8 text, decoded in pieces."""

    def __init__(self, content: NDArray[Any]) -> None:
        self.content = content

    def __call__(self, start: int, stop: int) -> str:
        return self.content[start:stop].tobytes().decode("utf-8", errors="replace")


class _Texts(Sequence[str]):
    """Pieces of a long text, one per episode, decoded when asked for."""

    def __init__(self, text: _Text, starts: Int64[np.ndarray, "e"], stops: Int64[np.ndarray, "e"]) -> None:
        self._text, self._starts, self._stops = text, starts, stops

    def __getitem__(self, index: Any) -> Any:
        return self._text(int(self._starts[index]), int(self._stops[index]))

    def __len__(self) -> int:
        return len(self._starts)


def _rows(folder: Path, episodes: int, shards: int) -> NDArray[Any]:
    """The table, checked as far as that needs no other file."""
    path = folder / TABLE
    try:
        rows = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path}: no table ({error}); the folder is damaged: make it anew") from error
    if rows.dtype != ROW or rows.shape != (episodes,) or not episodes:
        raise ValueError(f"{path}: {rows.shape} rows of {rows.dtype}; expected {episodes} as this program writes them")
    text = (rows["name"] <= rows["instruction"]) & (rows["instruction"] <= rows["end"]) & (rows["name"] >= 0)
    places = (rows["frame"] >= 0) & (rows["step"] >= 0) & (rows["length"] >= 2)
    if not (text & places & (rows["shard"] >= 0) & (rows["shard"] < shards)).all():
        raise ValueError(f"{path}: rows that point nowhere; the folder is damaged: make it anew")
    return np.asarray(rows)
