"""`ivideo data convert SOURCE OUT`: episodes of any layout into the stored form that training maps into memory."""

import hashlib
import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.data.labour import performed
from ivideo.data.moments import Moments
from ivideo.data.npy import GrowingArray
from ivideo.data.quarantine import Quarantine, most_common_kind, of_kind, read_or_tell
from ivideo.data.shards import ShardFolder, is_stored, new_shard
from ivideo.data.sources.discovery import find
from ivideo.data.sources.source import OPTIONAL, Item, Options, SourceOptions
from ivideo.data.store import Damaged, EpisodeStore
from ivideo.data.stored import FORMAT, ROW, TABLE, TEXT, VERSION, open_stored
from ivideo.data.table import Kind
from ivideo.episode import Episode

_PROBED = 9
_LARGEST_SHARD, _SHARDS = 256, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion(SourceOptions):
    """What to convert, and to what."""

    source: str
    """A file or folder of episodes; see `ivideo data show`."""
    out: str
    """Folder for the stored form; the same command goes on with one that was interrupted."""
    size: int = 64
    """Side of the square frames in pixels."""
    crop: bool = True
    """Cut frames that are not square to their centre square; false squeezes them."""
    limit: int | None = None
    """Convert at most so many episodes."""
    max_damaged: float = 0.01
    """Share of the episodes that may be unusable; they are left out and listed. More is an error."""
    licence: str = ""
    """Under which terms the data may be used; kept in the manifest."""
    workers: int | None = None
    """Processes that read episodes; null takes one per core. The result does not depend on it."""
    episodes_per_shard: int | None = None
    """Episodes in a shard; null takes 256, or fewer where that would make fewer than 64 shards."""

    def __post_init__(self) -> None:
        check_least(self, size=1, limit=1, workers=1, episodes_per_shard=1)


def main(argv: list[str]) -> int:
    """`ivideo data convert SOURCE OUT [...]`."""
    wanted = parse(
        Conversion,
        argv,
        prog="ivideo data convert",
        description="Write episodes in the stored form that training maps into memory.",
        positional=("source", "out"),
    )
    store = convert(wanted, progress=lambda line: print(line, file=sys.stderr))
    size = sum(path.stat().st_size for path in Path(wanted.out).rglob("*.npy"))
    for damaged in store.damaged:
        print(f"left out {damaged.name}: {damaged.reason}")
    print(f"{store!r}, {size / 2**30:.2f} GiB, {len(store.damaged)} damaged episodes left out")
    if store.damaged:
        print(f"{wanted.out} is complete and stays as it is; once they are repaired, convert into a new folder")
    print(f"next: ivideo train tokenizer --data.source {wanted.out}")
    return 0


def convert(wanted: Conversion, progress: Callable[[str], None] = lambda line: None) -> EpisodeStore:
    """Write the stored form and return it, opened; what an interrupted call left is gone on with.

    What that call found damaged is tried again. A form that is complete stays as it is, whatever becomes of its source.
    The bytes written are a function of the source and of `wanted` alone, however many processes work and however often
    they are killed. Memory holds one episode per process.

    Raises:
        ValueError: more than `max_damaged` of the episodes cannot be used, or what `find` raises.
        FileExistsError: `out` holds something else.
        OSError: the disk does not take it; what is complete stays.
    """
    source, out = Path(wanted.source).expanduser(), Path(wanted.out).expanduser()
    if is_stored(source, FORMAT):
        raise ValueError(f"{source} is in the stored form already; convert the episodes that it was made from")
    options = Options.of(wanted, size=wanted.size, crop=wanted.crop)
    items = find(source, wanted.limit, options)
    per_shard = wanted.episodes_per_shard or max(1, min(_LARGEST_SHARD, math.ceil(len(items) / _SHARDS)))
    plan = {
        "format": FORMAT,
        "version": VERSION,
        "source": source.name,
        "layout": items[0].layout.name,
        **{name: getattr(options, name) for name in ("size", "crop", *OPTIONAL)},
        "licence": wanted.licence,
        "items": len(items),
        "names": hashlib.sha256("\n".join(item.name for item in items).encode()).hexdigest(),
        "episodes_per_shard": per_shard,
    }
    count = math.ceil(len(items) / per_shard)
    quarantine = Quarantine(source=str(source), total=len(items), max_damaged=wanted.max_damaged)
    with ShardFolder(out, plan) as folder:
        if not folder.done:
            kind = _kind(source, items, options)
            parts = [items[number * per_shard : (number + 1) * per_shard] for number in range(count)]
            for number in sorted(set(range(count)) - set(folder.missing(count))):
                left_out = _damaged(folder, number)
                if _any_repaired(parts[number], left_out, options, kind):
                    folder.discard(number)
                else:
                    quarantine.add(left_out)
            missing = folder.missing(count)
            jobs = [partial(_write_shard, out, number, parts[number], options, kind) for number in missing]
            said = time.monotonic()
            for done, damaged in enumerate(performed(jobs, wanted.workers), start=1):
                quarantine.add(damaged)
                if time.monotonic() - said > 5:
                    said = time.monotonic()
                    ready = min((count - len(missing) + done) * per_shard, len(items))
                    progress(f"{ready:,} of {len(items):,} episodes, {len(quarantine.damaged)} damaged")
            _finish(folder, count, kind)
    return open_stored(out)


def _kind(source: Path, items: list[Item], options: Options) -> Kind:
    """The kind of most episodes, judged by a few that lie evenly among them."""
    places = np.linspace(0, len(items) - 1, min(_PROBED, len(items))).round().astype(int)
    read = [read_or_tell(items[place], options) for place in dict.fromkeys(places.tolist())]
    kind = most_common_kind(found for found in read if isinstance(found, Episode))
    if kind is None:
        tried = "; ".join(f"{found.name}: {found.reason}" for found in read[:2] if isinstance(found, Damaged))
        raise ValueError(f"{source}: none of the {len(read)} episodes tried can be used; see what is wrong: {tried}")
    return kind


def _write_shard(out: Path, number: int, items: list[Item], options: Options, kind: Kind) -> list[Damaged]:
    """Write one shard; return what was left out of it."""
    said: dict[str, Any] = {"episodes": [], "damaged": []}
    moments = None if kind.action_dim is None else Moments(kind.action_dim)
    with new_shard(out, number, said) as stage:
        with ExitStack() as stack:
            height, width = kind.frame_size
            frames = stack.enter_context(GrowingArray(stage / "frames.npy", np.uint8, (3, height, width)))
            actions = rewards = None
            if kind.action_dim is not None:
                actions = stack.enter_context(GrowingArray(stage / "actions.npy", np.float32, (kind.action_dim,)))
            if kind.has_rewards:
                rewards = stack.enter_context(GrowingArray(stage / "rewards.npy", np.float32, ()))
            for item in items:
                found = of_kind(read_or_tell(item, options), kind)
                if isinstance(found, Damaged):
                    said["damaged"].append(found._asdict())
                    continue
                frames.append(found.frames.numpy())
                if actions is not None and moments is not None and found.actions is not None:
                    actions.append(found.actions.numpy())
                    moments.add(found.actions.double().numpy())
                if rewards is not None and found.rewards is not None:
                    rewards.append(found.rewards.numpy())
                said["episodes"].append(_row(found))
        said["actions"] = None if moments is None else moments.state()
    return [Damaged(**entry) for entry in said["damaged"]]


def _row(episode: Episode) -> dict[str, Any]:
    return {
        "name": episode.name,
        "length": len(episode),
        "terminal": episode.terminal,
        "fps": episode.fps,
        "instruction": episode.instruction,
    }


def _damaged(folder: ShardFolder, number: int) -> list[Damaged]:
    return [Damaged(**entry) for entry in folder.said(number)["damaged"]]


def _any_repaired(items: list[Item], damaged: list[Damaged], options: Options, kind: Kind) -> bool:
    """Whether one of the items that were damaged when their shard was written can be used now."""
    names = {each.name for each in damaged}
    return any(isinstance(of_kind(read_or_tell(item, options), kind), Episode) for item in items if item.name in names)


def _finish(folder: ShardFolder, count: int, kind: Kind) -> None:
    """Write the table of all episodes and the manifest."""
    rows: list[tuple[Any, ...]] = []
    text = bytearray()
    damaged: list[dict[str, str]] = []
    moments = None if kind.action_dim is None else Moments(kind.action_dim)
    frames = 0
    for number in range(count):
        said = folder.said(number)
        damaged += said["damaged"]
        first = step = 0
        for episode in said["episodes"]:
            name = len(text)
            text += episode["name"].encode("utf-8", errors="replace")
            instruction = len(text)
            text += episode["instruction"].encode("utf-8", errors="replace")
            fps = math.nan if episode["fps"] is None else episode["fps"]
            length = episode["length"]
            rows.append(
                (number, length, first, step, name, instruction, len(text), fps, episode["terminal"], (0, 0, 0))
            )
            first, step = first + length, step + length - 1
        frames += first
        if moments is not None:
            moments.merge(Moments.of(said["actions"], len(moments.mean)))
    if not rows:
        raise ValueError(f"{folder.path}: not one episode can be used; see {folder.path}/shard-00000/shard.json")
    folder.write_array(TABLE, np.array(rows, ROW))
    folder.write_array(TEXT, np.frombuffer(bytes(text), np.uint8))
    known = [row[7] for row in rows if not math.isnan(row[7])]
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "licence": folder.plan["licence"],
        "episodes": len(rows),
        "frames": frames,
        "frame_size": kind.frame_size,
        "action_dim": kind.action_dim,
        "has_rewards": kind.has_rewards,
        "fps": {"lowest": min(known), "highest": max(known), "known_of": len(known)} if known else None,
        "actions": None if moments is None else moments.figures(),
        "damaged": damaged,
    }
    folder.finish(facts, count, files=(TABLE, TEXT))
