"""TFRecord files as TensorFlow, TFDS and BAIR write them: Examples by protobuf, framing by TensorBoard's writer."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from layout_files import encoded, numbered, rows

Features = Mapping[str, Sequence[bytes] | np.ndarray]


def example(features: Features) -> bytes:
    """A serialised tf.train.Example, by protobuf itself."""
    message = _example_class()()
    for name, values in features.items():
        feature = message.features.feature[name]
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            feature.float_list.value.extend(values.ravel().tolist())
        elif isinstance(values, np.ndarray):
            feature.int64_list.value.extend(values.ravel().tolist())
        else:
            feature.bytes_list.value.extend(values)
    return message.SerializeToString(deterministic=True)


def write_records(path: Path, payloads: Sequence[bytes]) -> None:
    """A TFRecord file, by TensorBoard's writer."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for payload in payloads:
            writer.write(payload)


def _example_class() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tf", syntax="proto3")
    lists = {"BytesList": 12, "FloatList": 2, "Int64List": 3}
    for name, kind in lists.items():
        field = file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=3)
        if kind != 12:
            field.options.packed = True
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (field_name, kind_name) in enumerate(
        (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")), start=1
    ):
        feature.field.add(name=field_name, number=number, type=11, label=1, type_name=f".tf.{kind_name}", oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, label=1, type_name=".tf.Feature")
    features.field.add(name="feature", number=1, type=11, label=3, type_name=".tf.Features.FeatureEntry")
    whole = file.message_type.add(name="Example")
    whole.field.add(name="features", number=1, type=11, label=1, type_name=".tf.Features")
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tf.Example"))


def tensor(dtype: str, *shape: int, encoding: str = "none") -> dict[str, Any]:
    dimensions = {"dimensions": [str(side) for side in shape]} if shape else {}
    return {
        "pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor",
        "tensor": {"shape": dimensions, "dtype": dtype, "encoding": encoding},
    }


def picture(side: int, channels: int = 3, kind: str = "jpeg") -> dict[str, Any]:
    return {
        "pythonClassName": "tensorflow_datasets.core.features.image_feature.Image",
        "image": {
            "shape": {"dimensions": [str(side), str(side), str(channels)]},
            "dtype": "uint8" if channels == 3 else "uint16",
            "encodingFormat": kind,
        },
    }


TEXT = {"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}


def nested(**features: Any) -> dict[str, Any]:
    return {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }


def write_tfds(
    folder: Path, step: dict[str, Any], shards: Mapping[str, Sequence[Sequence[bytes]]], info: bool = True
) -> None:
    """A TFDS folder: `shards` gives the examples of each shard of each split."""
    folder.mkdir(parents=True)
    steps = {
        "pythonClassName": "tensorflow_datasets.core.features.dataset_feature.Dataset",
        "sequence": {"feature": step},
    }
    features = nested(steps=steps, episode_metadata=nested(file_path=TEXT))
    (folder / "features.json").write_text(json.dumps(features))
    name = folder.parent.name
    for split, parts in shards.items():
        for number, payloads in enumerate(parts):
            write_records(folder / f"{name}-{split}.tfrecord-{number:05d}-of-{len(parts):05d}", payloads)
    if info:
        splits = [
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": split,
                "numBytes": "1",
                "shardLengths": [str(len(payloads)) for payloads in parts],
            }
            for split, parts in shards.items()
        ]
        (folder / "dataset_info.json").write_text(
            json.dumps({"name": name, "splits": splits, "version": folder.name, "fileFormat": "tfrecord"})
        )


def rlds_episode(frames: int, text: str = "pick up the can", **more: Any) -> dict[str, Any]:
    """The features of an episode with a vector of actions; `more` replaces or adds some."""
    ends = np.zeros(frames, np.int64)
    ends[-1] = 1
    return {
        "steps/observation/image": [encoded(image, "JPEG") for image in numbered(frames)],
        "steps/observation/wrist_image": [encoded(image[::-1]) for image in numbered(frames)[::-1]],
        "steps/action": rows(frames),
        "steps/reward": np.arange(frames, dtype=np.float32),
        "steps/is_first": ends[::-1].copy(),
        "steps/is_last": ends,
        "steps/is_terminal": ends,
        "steps/language_instruction": [text.encode()] * frames,
        "steps/language_embedding": np.zeros(frames * 4, np.float32),
        "episode_metadata/file_path": [b"../../etc/passwd"],
    } | more


RLDS_STEP = nested(
    observation=nested(image=picture(16), wrist_image=picture(16, kind="png"), depth=picture(16, 1)),
    action=tensor("float32", 2),
    reward=tensor("float32"),
    is_first=tensor("bool"),
    is_last=tensor("bool"),
    is_terminal=tensor("bool"),
    language_instruction=TEXT,
    language_embedding=tensor("float32", 4),
)


def softmotion_example(frames: int) -> bytes:
    """An episode of BAIR robot pushing: the main view runs forwards, the other backwards."""
    features: dict[str, Any] = {}
    for step, (main, aux) in enumerate(zip(numbered(frames, 64), numbered(frames, 64)[::-1], strict=True)):
        features[f"{step}/image_main/encoded"] = [main.tobytes()]
        features[f"{step}/image_aux1/encoded"] = [aux.tobytes()]
        features[f"{step}/action"] = np.array([step, 1, 2, 3], np.float32)
        features[f"{step}/endeffector_pos"] = np.zeros(3, np.float32)
    return example(features)
