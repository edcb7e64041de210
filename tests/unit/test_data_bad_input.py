"""Each broken file is one clear line: the file, what is wrong, what was expected, what to do."""

import json
import os
import pickle
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

from ivideo.data import open_episodes
from ivideo.data.sources import npz
from ivideo.video import write_video

FRAMES = np.zeros((4, 8, 8, 3), np.uint8)
ACTIONS = np.zeros((3, 2), np.float32)


def refused(path: Path, *words: str, kind: type[Exception] = ValueError, **options: int) -> None:
    """Opening must fail in one line that names the path and holds the words."""
    with pytest.raises(kind) as caught:
        open_episodes(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in (path.name, *words):
        assert word in message, f"{word!r} is not in {message!r}"


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("member", ["image", "actions"])
def test_an_object_array_is_refused_and_not_unpickled(tmp_path: Path, member: str) -> None:
    objects = np.empty(4, object)
    objects[:] = [Evil(tmp_path / "ran") for _ in range(4)]
    np.savez(tmp_path / "one.npz", **({"image": FRAMES} | {member: objects}))
    refused(tmp_path / "one.npz", repr(member), "Python objects", "save it again as a numeric array")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".pt", ".npz"])
def test_a_pickle_is_refused_and_not_unpickled(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"one{suffix}").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    refused(tmp_path / f"one{suffix}", "no readable .npz archive" if suffix == ".npz" else "pickles are refused")
    if suffix != ".npz":
        refused(tmp_path, "no episodes there", f"{suffix} files are refused")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_truncated_npz(tmp_path: Path, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), np.uint8)
    np.savez_compressed(tmp_path / "one.npz", image=noise)
    content = (tmp_path / "one.npz").read_bytes()
    (tmp_path / "one.npz").write_bytes(content[: int(len(content) * share)])
    refused(tmp_path / "one.npz", "truncated or damaged")


def test_a_damaged_npz(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), np.uint8)
    np.savez_compressed(tmp_path / "one.npz", image=noise)
    content = bytearray((tmp_path / "one.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "one.npz").write_bytes(content)
    refused(tmp_path / "one.npz", "truncated or damaged")


def test_an_empty_file_and_an_empty_archive(tmp_path: Path) -> None:
    (tmp_path / "one.npz").touch()
    refused(tmp_path / "one.npz", "the file is empty")
    with zipfile.ZipFile(tmp_path / "two.npz", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    refused(tmp_path / "two.npz", "holds no arrays")
    (tmp_path / "three.mp4").touch()
    refused(tmp_path / "three.mp4", "the file is empty")


def claim(path: Path, shape: tuple[int, ...], content: bytes) -> None:
    """Write an archive whose array claims a shape of its own."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", header.getvalue() + content)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(tmp_path / "one.npz", (10**6, 1000, 1000, 3), b"")
    refused(tmp_path / "one.npz", "holds 0 bytes but claims", "3000000000000 bytes")
    monkeypatch.setattr(npz, "MAX_ARRAY_BYTES", 10**5)
    claim(tmp_path / "two.npz", (4, 8, 8, 3), b"\0" * 10**7)  # larger than its header says
    refused(tmp_path / "two.npz", "10000000 bytes", "damaged")
    claim(tmp_path / "three.npz", (4 * 10**4, 8, 8, 3), b"\0" * 768 * 10**4)
    refused(tmp_path / "three.npz", "would unpack to 0.0 GiB", "split the file")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"image": FRAMES[..., :1]}, ["1 channels", "expected 3 (RGB)"]),
        ({"image": np.zeros((4, 8, 8, 4), np.uint8)}, ["4 channels", "drop an alpha channel"]),
        ({"image": FRAMES[0]}, ["[8, 8, 3]", "expected frames [t h w 3]"]),
        ({"image": FRAMES / 255}, ["float64", "whole numbers from 0 to 255"]),
        ({"image": FRAMES.astype(np.int64) + 300}, ["300", "from 0 to 255"]),
        ({"image": FRAMES.astype(np.int16) - 1}, ["-1 to -1", "from 0 to 255"]),
        ({"image": FRAMES.astype("S1")}, ["whole numbers"]),
        ({"image": FRAMES[:, :0]}, ["it is empty"]),
        ({"image": FRAMES[:1]}, ["1 frames", "at least 2"]),
        ({"image": FRAMES[:0]}, ["empty"]),
        ({"image": FRAMES, "action": ACTIONS[:2]}, ["2 actions beside 4 frames", "expected 3"]),
        ({"image": FRAMES, "action": np.zeros((5, 2))}, ["5 actions beside 4 frames"]),
        ({"image": FRAMES, "reward": np.zeros(2)}, ["2 rewards beside 4 frames"]),
        ({"image": FRAMES, "action": np.full((3, 2), np.nan)}, ["NaN or infinite at step 0", "repair or drop"]),
        ({"image": FRAMES, "reward": np.array([0, np.inf, 0])}, ["rewards are NaN or infinite at step 1"]),
        ({"image": FRAMES, "action": np.zeros((3, 2, 2))}, ["[3, 2, 2]", "[t a]"]),
        ({"image": FRAMES, "action": np.array(["a", "b", "c"])}, ["<U1", "numbers"]),
        ({"image": FRAMES, "action": np.array(1.0)}, ["single value"]),
        ({"picture": FRAMES}, ["no array 'image'", "it holds 'picture'", "key="]),
    ],
)
def test_wrong_arrays(tmp_path: Path, arrays: dict[str, np.ndarray], words: list[str]) -> None:
    np.savez(tmp_path / "one.npz", **arrays)
    refused(tmp_path / "one.npz", *words)


def test_min_frames(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", image=FRAMES)
    refused(tmp_path / "one.npz", "4 frames; expected at least 5", min_frames=5)
    refused(tmp_path, "one.npz", "4 frames; expected at least 5", min_frames=5)
    with pytest.raises(ValueError, match="min_frames is 1"):
        open_episodes(tmp_path, min_frames=1)
    with pytest.raises(ValueError, match="limit is 0"):
        open_episodes(tmp_path, limit=0)


def test_episodes_must_be_of_one_kind(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", image=FRAMES, action=ACTIONS)
    np.savez(tmp_path / "two.npz", image=FRAMES, action=np.zeros((3, 5)))
    with pytest.raises(ValueError, match="'two' has action dimension 5, but 'one' has 2"):
        open_episodes(tmp_path)
    np.savez(tmp_path / "two.npz", image=np.zeros((4, 9, 9, 3), np.uint8), action=ACTIONS)
    with pytest.raises(ValueError, match=r"\(9, 9\), but 'one' has \(8, 8\).*give a size"):
        open_episodes(tmp_path, size=None)
    assert len(open_episodes(tmp_path, size=8)) == 2


def test_metaworld_rows_must_match(tmp_path: Path) -> None:
    stacked = np.zeros((4, 9, 8, 8), np.uint8)
    np.savez(tmp_path / "one.npz", observation=stacked, action=np.zeros((3, 2)))
    refused(tmp_path / "one.npz", "3 rows of 'action' beside 4 observations")
    np.savez(tmp_path / "one.npz", observation=stacked, action=np.full((4, 2), np.nan))
    refused(tmp_path / "one.npz", "NaN")


def video(path: Path, frames: int = 4) -> None:
    write_video(path, torch.zeros(frames, 3, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"actions": [[1, 2]', ["no valid JSON", "truncated or damaged"]),
        ("[1, 2]", ["a JSON list", "expected an object"]),
        ('{"actions": [[1, 2], [3]]}', ["'actions' is no table of numbers"]),
        ('{"actions": [["a"], ["b"], ["c"]]}', ["'actions' is no table of numbers"]),
        ('{"actions": [1, 2, 3]}', ["shape [3]"]),
        ('{"actions": [[1, 2], [3, 4]]}', ["2 actions beside 4 frames"]),
        ('{"actions": [[1, 2], [NaN, 4], [5, 6]]}', ["NaN or infinite at step 1"]),
        ("", ["0 bytes"]),
    ],
)
def test_wrong_annotations(tmp_path: Path, text: str, words: list[str]) -> None:
    video(tmp_path / "one.mp4")
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(ValueError, match=r"one\.(json|mp4)") as caught:
        open_episodes(tmp_path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_droid_needs_its_videos_and_as_many_states(tmp_path: Path) -> None:
    video(tmp_path / "videos/1/0.mp4")
    (tmp_path / "annotation").mkdir()
    (tmp_path / "annotation/1.json").write_text(json.dumps({"states": [[0.0] * 7] * 2}))
    with pytest.raises(ValueError, match=r"1\.json: 2 states beside 4 frames"):
        open_episodes(tmp_path)
    (tmp_path / "annotation/1.json").write_text(json.dumps({"states": [[0.0] * 6] * 4}))
    with pytest.raises(ValueError, match="rows of 7 numbers"):
        open_episodes(tmp_path)
    (tmp_path / "annotation/2.json").write_text("{}")
    (tmp_path / "annotation/1.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"videos/2: no \.mp4 there"):
        open_episodes(tmp_path)


def test_places_without_episodes(tmp_path: Path) -> None:
    (tmp_path / "robots").mkdir()
    refused(tmp_path / "robot", "no such file or folder", "robots", kind=FileNotFoundError)
    refused(tmp_path / "robots", "no episodes there, only no files", ".npz, .mp4")
    (tmp_path / "robots/readme.txt").touch()
    refused(tmp_path / "robots", "only .txt")
    refused(tmp_path / "robots/readme.txt", "unknown kind")


def test_more_than_the_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "one.npz", image=FRAMES)
    np.savez(tmp_path / "two.npz", image=FRAMES)
    monkeypatch.setattr("ivideo.data.opening._free_memory", lambda: FRAMES.nbytes * 1.5)
    with pytest.raises(ValueError, match=r"2 of 2 episodes take .* limit="):
        open_episodes(tmp_path, size=None)
    assert len(open_episodes(tmp_path, size=None, limit=1)) == 1
