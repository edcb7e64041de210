"""Data and models that are broken, missing or do not fit: one line that names them and says what to do."""

import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub  # noqa: F401  (so that its import, of seconds, is not taken for the answer's time)
import pytest
from broken_files import BROKEN_MODELS

Refuse = Callable[..., None]
HUB = "thuml/ivideogpt-oxe-64-act-free"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("predict model wide --frames 3", "wide: an action has 7 values; this model takes 2"),
        ("evaluate model --source wide --frames 3 --horizons 3", "wide: an action has 7 values; this model takes 2"),
        ("demo --model free --out new", "the pushing table: this model is action-free"),
        (
            "train world-model --config tiny_world.yaml --data.source wide --model.embedding.action_dim 2",
            "model.embedding.action_dim is 2, but wide holds actions of 7 numbers; set it to 7",
        ),
        (
            "train world-model --config tiny_world.yaml --data.source clip.mp4 --data.held_out_source clip.mp4 "
            "--model.heads.reward",
            "model.heads.reward is set, but clip.mp4 holds no rewards",
        ),
        ("predict model data", "14 frames need 14 actions and the video has 6 after its context; pass --frames 6"),
        ("predict model short --frames 3", "3 frames need 3 actions and the video has 0 after its context; give"),
        ("predict model single.mp4", "single.mp4: 1 frames; expected at least 2"),
        ("predict model data --start 7 --frames 1", "has 8 frames, of which start 7 and stride 1 leave 1; expected 2"),
        ("predict model data --episode 9", "episode is 9, but data holds 3; expected 0 to 2"),
        ("evaluate model --source data --frames 20", "the longest has 8: pass --frames 6"),
        ("evaluate model --source short", "no held-out episode of short has 12 frames"),
        ("evaluate model --source data --frames 3 --horizons 3", "there is 1 clip; expected two or more"),
        ("evaluate model --source clip.mp4", "evaluate on every episode with --held_out all"),
        ("train tokenizer --config tiny.yaml --data.source clip.mp4", "clip.mp4 holds a single episode"),
    ],
)
def test_data_that_do_not_fit_the_model(refuse: Refuse, command: str, words: str) -> None:
    refuse(command, words)


READERS = (
    "predict model {}",
    "evaluate model --source {} --held_out all",
    "data show {}",
    "train tokenizer --config tiny.yaml --data.source {}",
)


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cut.mp4", "of the 16 its header promises; the file is truncated or damaged"),
        ("cut.webm", "truncated"),
        ("cut.gif", "expected a complete gif: the file is truncated"),
        ("empty.mp4", "the file is empty; expected an mp4, webm or gif"),
        ("empty.webm", "the file is empty"),
        ("empty.gif", "the file is empty"),
        ("cut.npz", "truncated or damaged, fetch or record it again"),
        ("empty.npz", "the file is empty; expected an .npz"),
        ("object.npz", "array of Python objects, which could run code when read"),
        ("pickle.npz", "no readable .npz archive"),
        ("model.pt", "pickles are refused, they could run code when read"),
        ("grey.npz", "that is 1 channels; expected 3 (RGB)"),
        ("float.npz", "holds float64; expected whole numbers from 0 to 255"),
        ("nan.npz", "actions are NaN or infinite at step 0; expected numbers: repair or drop the file"),
        ("inf.npz", "rewards are NaN or infinite at step 0"),
        ("told.mp4", "told.json: no valid JSON"),
        ("file", "unknown kind; expected .npz, .mp4, .webm, .gif"),
        ("clp.mp4", "there is no such file or folder; did you mean clip.mp4"),
        ("nowhere/clip.mp4", "there is no such file or folder; this folder holds"),
        ("model/tokenizer", "no episodes there, only .json, .safetensors; expected .npz"),
    ],
)
def test_files_that_cannot_be_read(refuse: Refuse, command: str, name: str, words: str) -> None:
    refuse(command.format(name), name.partition(".")[0], words)


@pytest.mark.parametrize("command", ["predict {} clip.mp4", "info {}"])
@pytest.mark.parametrize(("damage", "words"), BROKEN_MODELS)
def test_models_that_are_damaged(
    refuse: Refuse, tmp_path: Path, command: str, damage: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    shutil.copytree("model", tmp_path / "broken")
    damage(tmp_path / "broken")
    refuse(command.format(tmp_path / "broken"), str(tmp_path / "broken"), *words)


def test_a_model_whose_tensors_do_not_fit(refuse: Refuse, tmp_path: Path) -> None:
    shutil.copytree("model", tmp_path / "mixed")
    shutil.copy("free/transformer/model.safetensors", tmp_path / "mixed/transformer")
    refuse(f"predict {tmp_path / 'mixed'} clip.mp4", "transformer/model.safetensors lacks action_linear.bias")


MODELS = (
    "predict {} clip.mp4",
    "evaluate {}",
    "demo --out new --model {}",
    "info {}",
    "convert {} new",
    "train world-model --config tiny_world.yaml --tokenizer {}",
    "train world-model --config tiny_world.yaml --init {}",
    "train tokenizer --config tiny.yaml --init {}",
)


@pytest.mark.parametrize("command", MODELS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("modle", "there is no model 'modle': it is neither a folder here nor"),
        ("modle", "did you mean model?"),
        ("./data/x", "there is no model './data/x'"),
        ("model.pt", "model.pt is a pickled checkpoint, which could run code when it is opened"),
        ("clip.mp4", "clip.mp4 is a file; expected a model"),
        ("data", "data is no model: expected the subfolders tokenizer/ and transformer/, but it holds 000000.npz"),
    ],
)
def test_what_is_no_model(refuse: Refuse, command: str, name: str, words: str) -> None:
    refuse(command.format(name), words)


@pytest.mark.parametrize("command", MODELS)
def test_a_hub_id_while_offline_is_answered_at_once(
    refuse: Refuse, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: object) -> None:
        pytest.fail("it waits or asks")

    monkeypatch.setattr(time, "sleep", wait)
    monkeypatch.setattr(socket, "getaddrinfo", wait)
    began = time.process_time()
    refuse(command.format(HUB), f"there is no folder '{HUB}' here", "Hub cannot be reached", "connect and try again")
    assert time.process_time() - began < 3  # of this process alone
