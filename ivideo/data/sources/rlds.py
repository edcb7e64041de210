"""RLDS episodes in TFDS folders, the form of Open X-Embodiment: `features.json` and `*-<split>.tfrecord-X-of-Y`.

Step t of an episode holds the observation o_t, the action taken there and the reward it earned; both are void in the
last step. So actions and rewards lead from frame t to frame t+1 as they stand, without the last of each; a reward
that a data set gives to its last step is not kept. `is_terminal` in the last step says that the episode ended in
itself.
"""

import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from ivideo.data.sources.encoded_image import decode_images
from ivideo.data.sources.example import Damaged, Example
from ivideo.data.sources.open_x import OPEN_X, Facts
from ivideo.data.sources.source import Array, Item, Layout, Options, alias, frames_from_array, leaving, make_episode
from ivideo.data.sources.tfds import FEATURES, SHARD, Feature, Schema, schema, shards
from ivideo.data.sources.tfrecord import records
from ivideo.episode import Episode

OBSERVATION, ACTION = "steps/observation/", "steps/action"
INSTRUCTIONS = (
    "steps/language_instruction",
    "steps/observation/natural_language_instruction",
    "steps/natural_language_instruction",
    "steps/observation/language_instruction",
    "steps/observation/instruction",
    "language_instruction",
    "episode_metadata/language_instruction",
)
_HANDS = ("wrist", "hand", "gripper", "finger", "depth")
_MAX_UNPACKED = 2**28


def matches(names: set[str]) -> bool:
    """Whether a folder of these names is one that TFDS has written."""
    return FEATURES in names and any(SHARD.fullmatch(name) for name in names)


def items(folder: Path, name: str, options: Options, only: Path | None = None) -> list[Item]:
    """Return the episodes of a folder, or those of one of its files, named `<split>-<shard>-<record>`."""
    wanted = None if options.split is None else alias(options.split)
    found = shards(folder)
    splits = sorted({split for _, split, _, _ in found})
    if wanted is not None and wanted not in map(alias, splits):
        raise ValueError(f"split is {options.split!r}; {folder} has {', '.join(map(repr, splits))}: choose one")
    return [
        Item(layout=LAYOUT, path=path, name=f"{name}{split}-{number:05d}-{record:05d}", part=record)
        for path, split, number, episodes in found
        if wanted in (None, alias(split)) and only in (None, path)
        for record in range(episodes)
    ]


def read(item: Item, options: Options) -> Episode:
    """Return one episode; `options.camera` names a picture below `observation`."""
    assert isinstance(item.part, int)
    where = f"{item.path}: record {item.part}"
    known = schema(item.path.parent)
    facts = OPEN_X.get(known.name, Facts())
    camera = _camera(known, facts, options)
    payload = records(item.path).read(item.part)
    try:
        example = Example(payload)
        frames = _frames(where, example, known, camera, options)
        steps = len(frames)
        if options.colours == "bgr" or (options.colours is None and camera in facts.bgr):
            frames = frames.flip(1)
        actions = _actions(where, example, known, facts, steps)
        rewards = _numbers(where, example, known, "steps/reward", steps)
        terminal = _numbers(where, example, known, "steps/is_terminal", steps)
        return make_episode(
            where,
            item.name,
            frames,
            options,
            actions=None if actions is None else leaving(where, "actions", actions, steps),
            rewards=None if rewards is None else leaving(where, "rewards", rewards[:, 0], steps),
            terminal=terminal is not None and bool(terminal[-1, 0]),
            instruction=_instruction(where, example, known),
            fps=facts.hz,
        )
    except Damaged as error:
        raise ValueError(f"{where}: {error}; expected an example of {known.path}: the file is damaged") from error


def _camera(known: Schema, facts: Facts, options: Options) -> str:
    """Return the name of a picture below `observation`."""
    views = [
        name
        for name, feature in known.below(OBSERVATION).items()
        if len(feature.shape) == 3 and feature.shape[2] == 3 and feature.dtype in ("uint8", "")
        if feature.kind in ("image", "tensor")
    ]
    if not views:
        raise ValueError(f"{known.path}: no coloured pictures below 'steps/observation'; expected at least one camera")
    if options.camera is not None:
        if options.camera not in views:
            raise ValueError(
                f"camera is {options.camera!r}; {known.path} has {', '.join(map(repr, views))}: choose one"
            )
        return options.camera
    outside = [name for name in views if not any(word in name for word in _HANDS)]
    return next((name for name in (facts.image, "image", *outside) if name in views), views[0])


def _frames(where: str, example: Example, known: Schema, camera: str, options: Options) -> UInt8[Tensor, "t 3 h w"]:
    name = OBSERVATION + camera
    feature = known.features[name]
    if name not in example:
        raise Damaged(f"there is no {name!r}")
    if example.kind(name) == "bytes":
        pictures = example.bytes_list(name)
        return decode_images(pictures, lambda step: f"{where}: {name!r} of step {step}", options.size, options.crop)
    pixels = example.numbers(name)
    if len(pixels) % feature.numbers:
        raise Damaged(f"{name!r} has {len(pixels)} numbers, no multiple of {list(feature.shape)}")
    return frames_from_array(where, name, pixels.reshape(-1, *feature.shape))


def _actions(where: str, example: Example, known: Schema, facts: Facts, steps: int) -> Array | None:
    """Return `[t a]`: a vector as it is, of a dictionary the parts that are known, or all numbers by name."""
    if ACTION in known.features:
        return _numbers(where, example, known, ACTION, steps)
    parts = known.below(ACTION + "/")
    if not parts:
        return None
    numeric = [name for name, part in parts.items() if part.kind == "tensor"]
    chosen = facts.actions or tuple(sorted(name for name in numeric if not name.endswith("terminate_episode")))
    columns = []
    for name in chosen:
        key, _, width = name.partition(":")
        values = _numbers(where, example, known, f"{ACTION}/{key}", steps)
        if values is None:
            raise ValueError(f"{known.path}: no {key!r} below 'steps/action', only {', '.join(map(repr, parts))}")
        columns.append(values[:, : int(width)] if width else values)
    return np.concatenate(columns, axis=1) if columns else None


def _numbers(where: str, example: Example, known: Schema, name: str, steps: int) -> Array | None:
    """Return a feature of every step as `[t n]`; None where the data set has none."""
    feature = known.features.get(name)
    if feature is None or feature.kind != "tensor":
        return None
    if name not in example:
        raise Damaged(f"there is no {name!r}")
    values = _unpacked(example, name, feature) if example.kind(name) == "bytes" else example.numbers(name)
    if len(values) != steps * feature.numbers:
        raise ValueError(
            f"{where}: {name!r} has {len(values)} numbers for {steps} steps; expected {feature.numbers} for each, as "
            f"{known.path} says: the file is damaged or mixes two data sets"
        )
    return values.reshape(steps, feature.numbers)


def _unpacked(example: Example, name: str, feature: Feature) -> Array:
    """Return a tensor that is kept as bytes, a step at a time."""
    try:
        dtype = np.dtype(feature.dtype)
        expected = feature.numbers * dtype.itemsize
        if dtype.hasobject or expected > _MAX_UNPACKED:
            raise Damaged(f"{name!r} would be {expected} bytes a step of {feature.dtype}")
        steps = example.bytes_list(name)
        if feature.encoding == "zlib":
            steps = [zlib.decompressobj().decompress(step, expected + 1) for step in steps]
        return np.concatenate([np.frombuffer(step, dtype) for step in steps])
    except (TypeError, ValueError, zlib.error) as error:
        raise Damaged(f"{name!r} cannot be unpacked ({error})") from error


def _instruction(where: str, example: Example, known: Schema) -> str:
    """Return the first text there is; Language Table keeps the numbers of its characters, padded with zeros."""
    for name in INSTRUCTIONS:
        feature = known.features.get(name)
        if feature is None or name not in example:
            continue
        if feature.kind == "text" and example.kind(name) == "bytes":
            for text in example.bytes_list(name):
                if text.strip():
                    return text.decode("utf-8", "replace").strip()
        elif feature.kind == "tensor" and feature.dtype.startswith(("int", "uint")) and len(feature.shape) == 1:
            codes = example.numbers(name)[: feature.numbers]
            return "".join(chr(code) for code in codes.tolist() if 0 < code < 0x110000).strip()
    return ""


LAYOUT = Layout(name="RLDS", read=read, knows=("camera", "split", "colours"))
