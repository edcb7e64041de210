"""The same from Python: a call with the wrong thing says what is wrong, what was expected and what to do."""

import re
from pathlib import Path

import jaxtyping
import pytest
import torch
from broken_files import episode, tiny_model

import ivideo
from ivideo import WorldModel
from ivideo.episode import Batch, Episode

CLIP = episode(frames=2).frames
NAN = float("nan")


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return tiny_model()


@pytest.fixture(autouse=True)
def as_outside_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip": CLIP / 255}, "torch.float32 [2, 3, 32, 32]; expected RGB uint8 [c 3 h w]"),
        ({"clip": CLIP[:, :1]}, "torch.uint8 [2, 1, 32, 32]; expected RGB uint8"),
        ({"clip": CLIP[0]}, "expected RGB uint8 [c 3 h w]"),
        ({"clip": CLIP[..., :16]}, "frames are 16x32 pixels; this model sees 32x32: resize them"),
        ({"clip": CLIP[:1]}, "1 context frames were given; this model starts from exactly 2: give a longer clip"),
        ({"clip": CLIP.repeat(2, 1, 1, 1)}, "starts from exactly 2: pass the last 2, clip[-2:]"),
        ({"actions": torch.zeros(3, 5)}, "an action has 5 values; this model takes 2"),
        ({"actions": torch.zeros(2)}, "actions have shape [2]; expected [frames, action]"),
        ({"actions": torch.tensor([[0.0, 0.0], [0.0, NAN]])}, "actions hold NaN or infinite values"),
        ({"actions": torch.zeros(3, 2), "frames": 4}, "4 frames need 4 actions; 3 were given: ask for fewer frames"),
        ({"frames": None}, "say how many frames to predict"),
        ({"frames": 0}, "frames is 0 and samples 1; expected at least 1 of each"),
        ({"frames": 1, "samples": 0}, "samples 0; expected at least 1"),
        ({"goal": CLIP[0]}, "this model takes no goal: leave it out"),
        ({"seed": 2**64}, "expected a whole number between -2**62 and 2**62"),
    ],
)
def test_predict(model: WorldModel, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        model.predict(**{"clip": CLIP, "frames": None if "actions" in arguments else 2, **arguments})


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (torch.zeros(3), "an action has 3 values; this model takes 2"),
        (torch.tensor(1.0), "an action has 0 values; this model takes 2"),
        (torch.zeros(3, 2), "actions have shape [3, 2]; expected [2], one for all 4 branches, or [4, 2]"),
        (torch.zeros(1, 4, 2), "actions have shape [1, 4, 2]; expected [2]"),
        (torch.full((2,), NAN), "actions hold NaN or infinite values"),
    ],
)
def test_step(model: WorldModel, action: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        model.step(model.start(CLIP).fork(4), action)


def test_a_model_without_actions_takes_none() -> None:
    model = tiny_model(action_dim=0)
    with pytest.raises(ValueError, match="this model is action-free; leave the actions out"):
        model.step(model.start(CLIP), torch.zeros(2))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Batch(frames=CLIP[None]), "segments of 2 frames leave nothing to predict after 2"),
        (Batch(frames=episode(size=16).frames[None]), "expected [batch, time, 3, 32, 32] (RGB): resize them"),
        (Batch(frames=episode().frames[None], actions=torch.zeros(1, 7, 3)), "an action has 3 values"),
        (Batch(frames=episode().frames[None], actions=torch.zeros(1, 7, 2)), "the batch holds no rewards"),
    ],
)
def test_loss(model: WorldModel, batch: Batch, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        model.loss(batch)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.full((1, 3, 3, 32, 32), NAN), "frames hold values from nan to nan; expected uint8, or finite floats"),
        (torch.full((1, 3, 3, 32, 32), float("inf")), "from inf to inf"),
        (torch.full((1, 3, 3, 32, 32), 255.0), "from 255 to 255; expected uint8, or finite floats in [0, 1]: divide"),
        (torch.zeros(1, 3, 3, 32, 32, dtype=torch.int64), "frames are torch.int64; expected uint8, or floats"),
        (torch.zeros(1, 3, 1, 32, 32), "expected [batch, time, 3, 32, 32] (RGB)"),
        (torch.zeros(1, 1, 3, 32, 32), "a clip of 1 frames is too short"),
    ],
)
def test_encode(model: WorldModel, frames: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        model.tokenizer.encode(frames)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": torch.full((7, 2), NAN)}, "actions hold NaN or infinite values"),
        ({"rewards": torch.full((7,), NAN)}, "rewards hold NaN or infinite values"),
        ({"actions": torch.zeros(8, 2)}, "8 actions beside 8 frames; expected one less"),
        ({"frames": torch.zeros(8, 3, 4, 4)}, "frames are torch.float32 [8, 3, 4, 4]; expected uint8"),
    ],
)
def test_an_episode(changes: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Episode(**{"frames": episode().frames, "name": "one", **changes})


def test_saving_spares_what_is_there(model: WorldModel, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine\n")
    with pytest.raises(FileExistsError, match="exists already and is not empty; choose another name"):
        model.save_pretrained(tmp_path)
    with pytest.raises(FileExistsError, match="mine is a file; expected a folder"):
        model.save_pretrained(tmp_path / "mine")
    with pytest.raises(NotADirectoryError, match=r"cannot be written, for .*mine is a file"):
        model.save_pretrained(tmp_path / "mine/model")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("mine", "mine\n")]


def test_saving_that_fails_leaves_nothing(model: WorldModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ivideo.checkpoint.write_tensors", fail)
    with pytest.raises(OSError, match="No space left on device"):
        model.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_model_is_not_loaded_for_a_device_that_is_none() -> None:
    with pytest.raises(ValueError, match="'cuba' is no device; expected cpu, or cuda"):
        WorldModel.from_pretrained("nowhere", device="cuba")


def test_an_unknown_model_names_its_neighbours(model: WorldModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match=re.escape(f"did you mean {tmp_path / 'model'}?")):
        WorldModel.from_pretrained(tmp_path / "modle")


def test_a_video_that_is_not_there_names_its_neighbours(tmp_path: Path) -> None:
    ivideo.write_video(tmp_path / "pick.mp4", CLIP)
    with pytest.raises(FileNotFoundError, match=re.escape(f"did you mean {tmp_path / 'pick.mp4'}?")):
        ivideo.read_video(tmp_path / "pik.mp4")
