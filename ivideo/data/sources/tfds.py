"""What a TFDS folder says of itself: `features.json` (the shape of an example) and `dataset_info.json` (its shards)."""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ivideo.data.sources.annotations import load
from ivideo.data.sources.tfrecord import records

FEATURES, INFO = "features.json", "dataset_info.json"
SHARD = re.compile(r"(?P<name>.+)-(?P<split>[^-.]+)\.tfrecord-(?P<number>\d+)-of-(?P<count>\d+)")
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One entry of an example."""

    kind: str
    """"image", "text", "tensor", or "other" for what is not read here."""
    dtype: str
    shape: tuple[int, ...]
    encoding: str
    """How a tensor is kept: "none", "bytes" or "zlib"."""

    @property
    def numbers(self) -> int:
        """How many numbers it takes in each step."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The features of a data set by their full names, such as `steps/observation/image`."""

    name: str
    """What the data set is called: `bridge`, `bc_z`, ..."""
    path: Path
    features: dict[str, Feature]

    def below(self, prefix: str) -> dict[str, Feature]:
        """Return the features whose names begin with a prefix, by what follows it."""
        return {name[len(prefix) :]: found for name, found in self.features.items() if name.startswith(prefix)}


def schema(folder: Path) -> Schema:
    """Return what the folder's `features.json` says; ValueError naming it when that is not of the TFDS kind."""
    path = folder / FEATURES
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is none; expected it beside the .tfrecord files: fetch it with them")
    state = path.stat()
    return _schema(folder, state.st_size, state.st_mtime_ns)


def shards(folder: Path) -> list[tuple[Path, str, int, int]]:
    """Return path, split, number and count of episodes of each shard, in order.

    `dataset_info.json` says how many episodes there are; without it, each file is gone through once. A file that breaks
    off counts one episode more than it holds, so that reading that one says so.
    """
    promised = _lengths(folder)
    found = []
    for path in folder.iterdir():
        named = SHARD.fullmatch(path.name)
        if named:
            split, number = named["split"], int(named["number"])
            lengths = promised.get(split, [])
            if number < len(lengths):
                episodes = lengths[number]
            else:
                held = records(path)
                episodes = len(held) + (held.damage is not None)
            found.append((path, split, number, episodes))
    return sorted(found, key=lambda shard: shard[1:3])


@lru_cache(maxsize=64)
def _schema(folder: Path, size: int, _modified: int) -> Schema:
    path = folder / FEATURES
    features: dict[str, Feature] = {}
    try:
        _flatten(load(path), "", features, 0)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(
            f"{path}: no description of features as TFDS writes it ({type(error).__name__}: {error}); expected nested "
            '"featuresDict" entries: the file is damaged or older than TFDS 4.6'
        ) from error
    info = folder / INFO
    name = load(info).get("name") if info.is_file() else None
    return Schema(name=name if isinstance(name, str) else folder.parent.name, path=path, features=features)


def _flatten(node: dict[str, Any], name: str, features: dict[str, Feature], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested more than {_MAX_DEPTH} deep")
    if "featuresDict" in node:
        for key, inner in node["featuresDict"]["features"].items():
            _flatten(inner, f"{name}/{key}" if name else key, features, depth + 1)
    elif "sequence" in node and name in ("", "steps"):
        _flatten(node["sequence"]["feature"], name, features, depth + 1)
    elif "image" in node:
        features[name] = _feature("image", node["image"])
    elif "text" in node:
        features[name] = Feature(kind="text", dtype="string", shape=(), encoding="none")
    elif "tensor" in node:
        found = _feature("tensor", node["tensor"])
        text = found.dtype in ("string", "object") and not found.shape
        features[name] = Feature(kind="text", dtype="string", shape=(), encoding="none") if text else found
    elif not depth:
        raise ValueError(f"it holds {', '.join(map(repr, node)) or 'nothing'}")
    else:
        features[name] = Feature(kind="other", dtype="", shape=(), encoding="none")


def _feature(kind: str, node: dict[str, Any]) -> Feature:
    shape = tuple(int(side) for side in node.get("shape", {}).get("dimensions", ()))
    if any(side < 1 for side in shape):  # of unknown length; pictures know theirs
        kind = kind if kind == "image" else "other"
    return Feature(
        kind=kind, dtype=str(node.get("dtype", "")), shape=shape, encoding=str(node.get("encoding", "none")).lower()
    )


def _lengths(folder: Path) -> dict[str, list[int]]:
    path = folder / INFO
    if not path.is_file():
        return {}
    try:
        splits = load(path).get("splits", [])
        return {str(split["name"]): [int(count) for count in split.get("shardLengths", [])] for split in splits}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f'{path}: "splits" is not as TFDS writes it ({error}); fetch the file again') from error
