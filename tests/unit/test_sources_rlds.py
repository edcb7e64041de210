"""RLDS episodes in TFDS folders become episodes with arriving rewards; what is missing or damaged is named."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layout_files import encoded, levels, numbered, rows
from record_files import RLDS_STEP, TEXT, example, nested, picture, rlds_episode, tensor, write_tfds

from ivideo.data import open_episodes
from ivideo.data.sources.discovery import find
from ivideo.data.sources.open_x import OPEN_X

NOISE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def write(root: Path, name: str, step: dict[str, Any], features: dict[str, Any]) -> Path:
    write_tfds(root / name / "0.1.0", step, {"train": [[example(features)]]})
    return root / name


def test_a_data_set_with_shards_and_splits(tmp_path: Path) -> None:
    long, short = example(rlds_episode(5)), example(rlds_episode(3, "open the drawer"))
    write_tfds(tmp_path / "some_set/1.0.0", RLDS_STEP, {"train": [[long, short], [short]], "val": [[long]]})
    store = open_episodes(tmp_path, size=16)
    assert "RLDS" in store.source
    prefix = "some_set/1.0.0/"
    assert store.names == [
        f"{prefix}train-00000-00000",
        f"{prefix}train-00000-00001",
        f"{prefix}train-00001-00000",
        f"{prefix}val-00000-00000",
    ]
    first = store[0]
    assert levels(first) == [0, 1, 2, 3, 4]
    assert first.actions is not None
    assert first.rewards is not None
    assert first.actions.tolist() == rows(5)[:-1].tolist()
    assert first.rewards.tolist() == [0, 1, 2, 3], "the reward of the last step is void"
    assert first.terminal
    assert first.instruction == "pick up the can"
    assert first.fps is None, "nothing is known of this set"
    assert store[1].instruction == "open the drawer"
    assert len(open_episodes(tmp_path / "some_set", split="valid")) == 1
    assert levels(open_episodes(tmp_path, camera="wrist_image", limit=1)[0]) == [4, 3, 2, 1, 0]
    shard = tmp_path / "some_set/1.0.0/some_set-train.tfrecord-00001-of-00002"
    assert open_episodes(shard).names == ["train-00001-00000"]
    with pytest.raises(ValueError, match=r"camera is 'depth'; .*features\.json has 'image', 'wrist_image'"):
        open_episodes(tmp_path, camera="depth")
    with pytest.raises(ValueError, match=r"split is 'test'; .* has 'train', 'val'"):
        open_episodes(tmp_path, split="test")


def test_the_number_of_episodes_is_found_without_dataset_info(tmp_path: Path) -> None:
    one = example(rlds_episode(3))
    write_tfds(tmp_path / "a/1.0.0", RLDS_STEP, {"train": [[one, one], [one]]}, info=False)
    assert len(open_episodes(tmp_path)) == 3


def test_actions_in_a_dictionary_are_joined_as_the_table_says(tmp_path: Path) -> None:
    step = nested(
        observation=nested(image=picture(16), natural_language_instruction=TEXT),
        action=nested(
            gripper_closedness_action=tensor("float32", 1),
            rotation_delta=tensor("float32", 3),
            terminate_episode=tensor("int32", 3),
            world_vector=tensor("float32", 3),
        ),
    )
    features = {
        "steps/observation/image": [encoded(image) for image in numbered(3)],
        "steps/observation/natural_language_instruction": [b"move it"] * 3,
        "steps/action/gripper_closedness_action": np.array([7.0, 17, 27]),
        "steps/action/rotation_delta": np.array([4.0, 5, 6, 14, 15, 16, 24, 25, 26]),
        "steps/action/world_vector": np.array([1.0, 2, 3, 11, 12, 13, 21, 22, 23]),
        "steps/action/terminate_episode": np.zeros(9, np.int64),
    }
    known = open_episodes(write(tmp_path, "fractal20220817_data", step, features))[0]
    assert known.actions is not None
    assert known.actions.tolist() == [[1, 2, 3, 4, 5, 6, 7], [11, 12, 13, 14, 15, 16, 17]]
    assert known.instruction == "move it"
    assert known.fps == 3
    assert known.rewards is None
    unknown = open_episodes(write(tmp_path, "no_such_set", step, features))[0]
    assert unknown.actions is not None
    assert unknown.actions.tolist() == [[7, 4, 5, 6, 1, 2, 3], [17, 14, 15, 16, 11, 12, 13]], "by name"


def test_the_first_numbers_of_bc_z_and_the_letters_of_language_table(tmp_path: Path) -> None:
    wide = nested(
        observation=nested(image=picture(16)),
        action=nested(
            **{
                "future/xyz_residual": tensor("float32", 30),
                "future/axis_angle_residual": tensor("float32", 30),
                "future/target_close": tensor("int64", 10),
            }
        ),
    )
    features = {
        "steps/observation/image": [encoded(image) for image in numbered(2)],
        "steps/action/future/xyz_residual": np.arange(60.0),
        "steps/action/future/axis_angle_residual": 100 + np.arange(60.0),
        "steps/action/future/target_close": np.ones(20, np.int64),
    }
    episode = open_episodes(write(tmp_path, "bc_z", wide, features))[0]
    assert episode.actions is not None
    assert episode.actions.tolist() == [[0, 1, 2, 100, 101, 102, 1]]

    letters = nested(observation=nested(rgb=picture(16), instruction=tensor("int32", 32)), action=tensor("float32", 2))
    text = "push the réd star"
    codes = np.array([ord(letter) for letter in text] + [0] * (32 - len(text)), np.int64)
    features = {
        "steps/observation/rgb": [encoded(image) for image in numbered(3)],
        "steps/observation/instruction": np.tile(codes, 3),
        "steps/action": rows(3),
    }
    episode = open_episodes(write(tmp_path, "language_table", letters, features))[0]
    assert episode.instruction == text
    assert episode.fps == 10


def test_blue_green_red_is_put_right_where_it_is_known(tmp_path: Path) -> None:
    swapped = [encoded(image[..., ::-1]) for image in numbered(4)]
    step = nested(observation=nested(image=picture(16)), action=tensor("float32", 2))
    features = {"steps/observation/image": swapped, "steps/action": rows(4)}
    known, unknown = write(tmp_path, "utaustin_mutex", step, features), write(tmp_path, "other", step, features)
    assert levels(open_episodes(known)[0], 0) == [0, 1, 2, 3]
    assert levels(open_episodes(known, colours="rgb")[0], 2) == [0, 1, 2, 3]
    assert levels(open_episodes(unknown)[0], 2) == [0, 1, 2, 3]
    assert levels(open_episodes(unknown, colours="bgr")[0], 0) == [0, 1, 2, 3]


def test_tensors_kept_as_bytes_or_packed(tmp_path: Path) -> None:
    step = nested(
        observation=nested(image=tensor("uint8", 16, 16, 3)),
        action=tensor("float32", 2, encoding="zlib"),
        reward=tensor("float32", encoding="bytes"),
    )
    features = {
        "steps/observation/image": numbered(3).astype(np.int64),
        "steps/action": [zlib.compress(row.tobytes()) for row in rows(3)],
        "steps/reward": [np.float32(value).tobytes() for value in (0.5, 1, 2)],
    }
    place = write(tmp_path, "packed", step, features)
    episode = open_episodes(place)[0]
    assert levels(episode) == [0, 1, 2]
    assert episode.actions is not None
    assert episode.rewards is not None
    assert episode.actions.tolist() == rows(3)[:-1].tolist()
    assert episode.rewards.tolist() == [0.5, 1]
    bomb = zlib.compress(bytes(10**7))
    features["steps/action"] = [bomb] * 3
    with pytest.raises(ValueError, match=r"'steps/action' has .* numbers for 3 steps|cannot be unpacked"):
        open_episodes(write(tmp_path, "bomb", step, features))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps/action": rows(4)}, "'steps/action' has 8 numbers for 5 steps; expected 2 for each"),
        ({"steps/reward": np.zeros(4, np.float32)}, "'steps/reward' has 4 numbers for 5 steps"),
        ({"steps/action": rows(5) * np.nan}, "actions are NaN or infinite at step 0"),
        ({"steps/observation/image": [b"no picture"] * 5}, "'steps/observation/image' of step 0: no png or jpeg"),
        ({"steps/observation/image": [b""] * 5}, "of step 0: no png or jpeg"),
        (
            {"steps/observation/image": [encoded(NOISE)[:400]] * 5},
            "of step 0: it cannot be decoded .*; expected a whole png or jpeg",
        ),
        (
            {"steps/observation/image": [encoded(NOISE, "JPEG")[:400]] * 5},
            "of step 0: it cannot be decoded .*; expected a whole png or jpeg",
        ),
        ({"steps/observation/image": [encoded(numbered(1, side)[0]) for side in (16, 16, 8)]}, "one size throughout"),
        ({"steps/observation/image": []}, "there are no pictures"),
    ],
)
def test_wrong_records_are_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    place = write(tmp_path, "wrong", RLDS_STEP, rlds_episode(5) | change)
    with pytest.raises(ValueError, match=words) as caught:
        open_episodes(place)
    assert "wrong-train.tfrecord-00000-of-00001: record 0" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    bomb = bytearray(encoded(numbered(1)[0]))
    bomb[16:24] = (60000).to_bytes(4, "big") * 2  # width and height in the png's header
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    place = write(tmp_path, "bomb", RLDS_STEP, rlds_episode(2) | {"steps/observation/image": [bytes(bomb)] * 2})
    with pytest.raises(ValueError, match=r"record 0: .*(exceeds limit|megapixels)"):
        open_episodes(place)


def test_a_shard_that_breaks_off_costs_only_its_last_episodes(tmp_path: Path) -> None:
    one = example(rlds_episode(3))
    for info in (True, False):
        folder = tmp_path / f"info{info}/1.0.0"
        write_tfds(folder, RLDS_STEP, {"train": [[one, one, one]]}, info=info)
        shard = next(folder.glob("*.tfrecord-*"))
        shard.write_bytes(shard.read_bytes()[:-1000])
        items = find(folder)
        assert len(items) == 3
        from ivideo.data.sources.source import Options

        for item in items[:2]:
            assert len(item.read(Options(size=16))) == 3
        with pytest.raises(ValueError, match="record 2 cannot be read: the file breaks off within record 2"):
            items[2].read(Options())


def test_a_folder_without_its_description(tmp_path: Path) -> None:
    place = write(tmp_path, "some", RLDS_STEP, rlds_episode(3)) / "0.1.0"
    info = (place / "features.json").read_text()
    for text, words in (("{", "no valid JSON"), ("{}", "no description of features"), ("[]", "expected an object")):
        (place / "features.json").write_text(text)
        with pytest.raises(ValueError, match=rf"features\.json: .*{words}"):
            open_episodes(place)
    (place / "features.json").write_text(info.replace('"image"', '"depth"').replace('"3"', '"1"'))
    with pytest.raises(ValueError, match="no coloured pictures"):
        open_episodes(place)
    (place / "features.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"without features\.json"):
        open_episodes(place)
    (place / "features.json").write_text(info)
    (place / "dataset_info.json").write_text(json.dumps({"splits": [{"shardLengths": "many"}]}))
    with pytest.raises(ValueError, match=r'dataset_info\.json: "splits"'):
        open_episodes(place)


def test_the_published_mixture_is_in_the_table() -> None:
    """35 data sets of Open X-Embodiment (iVideoGPT paper, appendix A.2), of which three have no known rate."""
    mixture = list(OPEN_X)[:35]
    assert mixture[-1] == "cmu_stretch"
    assert [name for name in mixture if OPEN_X[name].hz is None] == [
        "robo_net",
        "stanford_mask_vit_converted_externally_to_rlds",
        "uiuc_d3field",
    ]
