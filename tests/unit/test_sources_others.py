"""BAIR's TFRecords, Something-Something V2, captioned pictures; what finding episodes does for all layouts."""

import json
import os
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from layout_files import encoded, levels, numbered, save_video, write_lerobot, write_robonet, write_ssv2, write_vp2
from record_files import RLDS_STEP, example, rlds_episode, softmotion_example, write_records, write_tfds

from ivideo.data import open_episodes, show
from ivideo.data.sources.discovery import LAYOUTS, find
from ivideo.data.sources.source import OPTIONAL, Options

DOCS = Path(__file__).parents[2] / "docs/layouts.md"


def write_softmotion(root: Path) -> None:
    write_records(root / "train/traj_0_to_1.tfrecords", [softmotion_example(4), softmotion_example(3)])
    write_records(root / "test/traj_0_to_0.tfrecords", [softmotion_example(5)])


def write_pictures(root: Path) -> None:
    root.mkdir(parents=True)
    for number in (3, 20):
        (root / f"{number}.png").write_bytes(encoded(numbered(number + 1)[-1]))
        (root / f"{number}.txt").write_text(f"caption {number}\n")


def write_pairs(root: Path) -> None:
    save_video(root / "0.mp4", numbered(3, 64))
    np.savez(root / "0.npz", np.zeros((3, 10), np.float32))


def write_annotated(root: Path) -> None:
    save_video(root / "0.mp4", numbered(3, 64), fps=5)
    (root / "0.json").write_text(json.dumps({"texts": ["push the star"], "actions": [[0.0, 1.0]] * 2}))


def write_droid(root: Path) -> None:
    save_video(root / "videos/7/0.mp4", numbered(3, 64), fps=4)
    (root / "annotation").mkdir()
    (root / "annotation/7.json").write_text(json.dumps({"texts": ["pick it"], "states": [[0.0] * 7] * 3}))


def write_plain_hdf5(root: Path) -> None:
    import h5py

    root.mkdir(parents=True)
    with h5py.File(root / "one.h5", "w") as file:
        file["frames"] = numbered(3)


def write_npz(root: Path, **arrays: np.ndarray) -> None:
    root.mkdir(parents=True)
    np.savez(root / "one.npz", **arrays)


def made(write: Callable[[Path], None]) -> Callable[[Path], None]:
    def wrapped(root: Path) -> None:
        root.mkdir(parents=True)
        write(root)

    return wrapped


WRITERS: dict[str, Callable[[Path], None]] = {
    "Meta-World npz": lambda root: write_npz(root, observation=np.zeros((4, 9, 8, 8), np.uint8)),
    "BAIR npz": lambda root: write_npz(root, aux1_image=numbered(3), image=numbered(3)),
    "npz": lambda root: write_npz(root, image=numbered(3)),
    "mp4 with npz actions": made(write_pairs),
    "video with json actions": write_annotated,
    "DROID": write_droid,
    "video": lambda root: save_video(root / "a.webm", numbered(3, 64)),
    "LeRobot": lambda root: write_lerobot(root, [3, 4], "v3.0"),
    "RLDS": lambda root: write_tfds(root / "1.0.0", RLDS_STEP, {"train": [[example(rlds_episode(3))]]}),
    "BAIR tfrecord": write_softmotion,
    "Something-Something V2": write_ssv2,
    "RoboNet HDF5": made(lambda root: write_robonet(root / "one.hdf5", 3)),
    "VP2 HDF5": made(lambda root: write_vp2(root / "all.hdf5", [3, 4])),
    "HDF5": write_plain_hdf5,
    "pictures": write_pictures,
}


def test_every_layout_has_a_name_and_a_writer() -> None:
    assert [layout.name for layout in LAYOUTS] == list(WRITERS)


@pytest.mark.parametrize("name", list(WRITERS))
def test_every_layout_is_recognised_shown_and_read_the_same_from_threads(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    WRITERS[name](tmp_path / "data")
    items = find(tmp_path / "data")
    assert {item.layout.name for item in items} == {name}
    assert len({item.name for item in items}) == len(items)
    alone = [item.read(Options(size=16)) for item in items]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda item: item.read(Options(size=16)), 3 * items))
    for place, episode in enumerate(together):
        assert torch.equal(episode.frames, alone[place % len(items)].frames)
    assert pickle.loads(pickle.dumps(items)) == items, "an item travels to another process"
    assert show.main([str(tmp_path / "data"), "--size", "16", "--out", str(tmp_path / "look.png")]) == 0
    assert f"({name}): {len(items)} episodes" in capsys.readouterr().out
    assert (tmp_path / "look.png").is_file()


@pytest.mark.parametrize("name", list(WRITERS))
def test_an_option_that_a_layout_does_not_know_is_an_error(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / "data")
    layout = next(layout for layout in LAYOUTS if layout.name == name)
    given = {name: {"placeholder": 3, "colours": "bgr", "moves": "words"}.get(name, "strange") for name in OPTIONAL}
    assert set(OPTIONAL) < {field.name for field in fields(Options)}
    for option, value in given.items():
        if option not in layout.knows:
            with pytest.raises(
                ValueError, match=rf"{option} is {value!r}, but the layout '{re.escape(name)}' knows no"
            ):
                open_episodes(tmp_path / "data", **{option: value})
        elif value == "strange":
            with pytest.raises((ValueError, FileNotFoundError), match="strange"):
                open_episodes(tmp_path / "data", **{option: value})


def test_colours_that_there_are_not_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="colours is 'gbr'; expected 'rgb' or 'bgr'"):
        show.main([str(tmp_path), "--colours", "gbr"])


def test_every_layout_and_option_is_described() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for layout in LAYOUTS:
        section = re.search(rf"^## {re.escape(layout.name)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        assert section, f"docs/layouts.md has no section {layout.name!r}"
        for option in layout.knows:
            assert f"`{option}`" in section[1], f"{layout.name}: {option} is not described"


def test_softmotion(tmp_path: Path) -> None:
    write_softmotion(tmp_path)
    store = open_episodes(tmp_path)
    assert store.names == ["test/traj_0_to_0-00000", "train/traj_0_to_1-00000", "train/traj_0_to_1-00001"]
    assert levels(store[1]) == [3, 2, 1, 0], "aux1"
    assert store[1].actions is not None
    assert store[1].actions.tolist() == [[0, 1, 2, 3], [1, 1, 2, 3], [2, 1, 2, 3]]
    assert levels(open_episodes(tmp_path, camera="main")[1]) == [0, 1, 2, 3]
    assert open_episodes(tmp_path, split="train").names == store.names[1:]
    assert open_episodes(tmp_path / "train", split="train").total_frames == 7
    with pytest.raises(ValueError, match="split is 'valid'; no file lies in a folder of that name"):
        open_episodes(tmp_path, split="valid")
    path = tmp_path / "test/traj_0_to_0.tfrecords"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"traj_0_to_0\.tfrecords: record 0 cannot be read: the file breaks off"):
        open_episodes(tmp_path)
    write_records(path, [example({"0/image_aux1/encoded": [b"abc"], "0/action": np.zeros(4, np.float32)})])
    with pytest.raises(ValueError, match=r"record 0: '0/image_aux1/encoded': no png or jpeg \(3 bytes\)"):
        open_episodes(path)
    write_records(path, [example({"0/image_aux1/encoded": [bytes(12288)], "0/action": np.zeros(5, np.float32)})])
    with pytest.raises(ValueError, match="'0/action' has 5 numbers, not 4"):
        open_episodes(path)
    write_records(path, [b"another kind of record"])
    with pytest.raises(ValueError, match="records of an unknown kind; expected BAIR robot pushing, or RLDS"):
        open_episodes(path)


@pytest.mark.parametrize("prefix", ["", "something-something-v2-"])
def test_something_something(tmp_path: Path, prefix: str) -> None:
    write_ssv2(tmp_path / "ssv2", prefix)
    store = open_episodes(tmp_path / "ssv2", size=64)
    assert store.names == ["train/2", "train/10", "validation/3", "test/4"]
    assert store[0].instruction == "holding a cup next to a book"
    assert store[3].instruction == ""
    assert {episode.fps for episode in store} == {12}
    assert levels(store[1]) == [0, 1, 2, 3]
    assert open_episodes(tmp_path / "ssv2", split="valid").names == ["validation/3"]
    chosen = tmp_path / "chosen.txt"
    chosen.write_text("Pushing [something] from left to right\n\n")
    assert open_episodes(tmp_path / "ssv2", classes=str(chosen)).names == ["train/10", "validation/3"]
    chosen.write_text("Pushing something from left to rigth\n")
    with pytest.raises(
        ValueError, match=r"chosen\.txt: the class .* did you mean 'pushing something from left to right'"
    ):
        open_episodes(tmp_path / "ssv2", classes=str(chosen))
    clip = tmp_path / "ssv2/20bn-something-something-v2/2.webm"
    assert open_episodes(clip)[0].instruction == "holding a cup next to a book"
    (tmp_path / f"ssv2/labels/{prefix}train.json").write_text('[{"id": "2"')
    with pytest.raises(ValueError, match=r"train\.json: no list of objects"):
        open_episodes(tmp_path / "ssv2")


def test_pictures_are_white_frames_and_then_the_picture(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a")
    (tmp_path / "a/20.txt").unlink()
    (tmp_path / "a/captions.json").write_text(json.dumps({"20.png": "in the list", "3.png": "not this"}))
    (tmp_path / "a/4.jpg").write_bytes(encoded(numbered(5)[-1], "JPEG"))
    store = open_episodes(tmp_path, size=16)
    assert store.names == ["a/3", "a/4", "a/20"]
    assert [episode.instruction for episode in store] == ["caption 3", "", "in the list"]
    assert (store[0].frames[:2] == 255).all()
    assert levels(store[0])[2] == 3
    assert [levels(episode)[-1] for episode in store] == [3, 4, 20]
    assert len(open_episodes(tmp_path, placeholder=5)[0]) == 6
    with pytest.raises(ValueError, match="placeholder is 0"):
        open_episodes(tmp_path, placeholder=0)
    (tmp_path / "a/3.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    with pytest.raises(ValueError, match=r"3\.png: no png or jpeg"):
        open_episodes(tmp_path)
    save_video(tmp_path / "b.mp4", numbered(3, 64))
    assert open_episodes(tmp_path).names == ["b"], "beside episodes, pictures only show what is in them"


def test_damaged_files_among_whole_ones_are_single_items(tmp_path: Path) -> None:
    for kind in ("npz", "hdf5"):
        folder = tmp_path / kind
        folder.mkdir()
        for number in range(4):
            if kind == "npz":
                np.savez(folder / f"{number}.npz", image=numbered(3))
            else:
                write_vp2(folder / f"{number}.hdf5", [3])
        (folder / f"0.{kind}").write_bytes(b"damaged")
        (folder / f"2.{kind}").write_bytes(b"")
        (folder / f"8.{kind}").symlink_to(folder / f"8.{kind}")
        (folder / f"9.{kind}").symlink_to(folder / "nowhere")
        zero, one, two, three, eight, nine = find(folder)
        for item in (one, three):
            assert len(item.read(Options(size=16))) == 3
        for item in (zero, two, eight, nine):
            with pytest.raises((ValueError, OSError), match=re.escape(item.path.name)):
                item.read(Options(size=16))


def test_names_of_files_are_only_names(tmp_path: Path) -> None:
    for name in ("-rf", "a b", "²", "%03d", "http:", "CON", "x" * 200, "tab\tnew\nline", "concat:1|2"):
        save_video(tmp_path / f"{name}.mp4", numbered(3, 64))
    assert len(open_episodes(tmp_path)) == 9


def test_a_loop_of_links_is_walked_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", image=numbered(3))
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper/back").symlink_to(tmp_path)
    assert open_episodes(tmp_path).names == ["one"]


def test_many_files_are_found_without_opening_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    for number in range(300):
        np.savez(tmp_path / f"{number}.npz", image=np.zeros((2, 4, 4, 3), np.uint8))
    from ivideo.data.sources import discovery

    whole = discovery.Arrays
    monkeypatch.setattr(discovery, "Arrays", lambda path: opened.append(path) or whole(path))
    assert [item.name for item in find(tmp_path)] == [str(number) for number in range(300)]
    assert len(opened) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("name", ["LeRobot", "RLDS", "VP2 HDF5", "RoboNet HDF5"])
def test_reading_after_a_fork(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / "data")
    item = find(tmp_path / "data")[0]
    before = item.read(Options(size=16)).frames
    end, start = os.pipe()
    child = os.fork()
    if child == 0:
        same = False
        try:
            same = torch.equal(item.read(Options(size=16)).frames, before)
        finally:
            os.write(start, b"1" if same else b"0")
            os._exit(0)
    os.waitpid(child, 0)
    os.close(start)
    assert os.read(end, 1) == b"1"
    os.close(end)
