"""RoboNet, VP2 and any other HDF5 become episodes; nothing outside a file is followed, nothing huge is read."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from layout_files import encoded, levels, numbered, rows, write_robonet, write_vp2

from ivideo.data import open_episodes
from ivideo.data.sources import hdf5


@pytest.mark.parametrize("kind", ["mp4", "jpg"])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_robonet(tmp_path: Path, kind: str, order: str) -> None:
    write_robonet(tmp_path / "traj_1.hdf5", 5, kind=kind, order=order)
    store = open_episodes(tmp_path, size=64)
    assert "RoboNet" in store.source
    episode = store[0]
    assert levels(episode) == [0, 1, 2, 3, 4], "red, whatever order it was kept in"
    assert episode.actions is not None
    assert episode.actions.tolist() == rows(5)[:-1].tolist()
    assert levels(open_episodes(tmp_path, camera=1)[0]) == [4, 3, 2, 1, 0]
    other = "rgb" if order == kind.upper().replace("MP4", "BGR").replace("JPG", "RGB") else "bgr"
    assert levels(open_episodes(tmp_path, colours=other)[0], 2) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"camera is '7'; .*traj_1\.hdf5 has '0', '1'"):
        open_episodes(tmp_path, camera=7)


def test_robonet_by_robot(tmp_path: Path) -> None:
    for number, robot in enumerate(("sawyer", "baxter", "sawyer")):
        write_robonet(tmp_path / f"{robot}_{number}.hdf5", 3, robot=robot)
    assert open_episodes(tmp_path, robot="sawyer").names == ["sawyer_0", "sawyer_2"]
    with pytest.raises(ValueError, match="robot is 'franka'; the files are of 'baxter', 'sawyer'"):
        open_episodes(tmp_path, robot="franka")


def test_robonet_that_does_not_fit_together(tmp_path: Path) -> None:
    path = tmp_path / "one.hdf5"
    write_robonet(path, 5)
    with h5py.File(path, "a") as file:
        del file["policy/actions"]
        file["policy/actions"] = rows(3)
    assert len(open_episodes(path)[0]) == 4, "frames that no action leads to are left out"
    with h5py.File(path, "a") as file:
        del file["policy/actions"]
        file["policy/actions"] = rows(9)
    with pytest.raises(ValueError, match=r"one\.hdf5: 9 actions beside 5 frames"):
        open_episodes(path)
    with h5py.File(path, "a") as file:
        film = file["env/cam0_video/frames"][:]
        del file["env/cam0_video/frames"]
        file["env/cam0_video/frames"] = film[: len(film) // 2]
    with pytest.raises(ValueError, match=r"one\.hdf5: the mp4 of camera 0: .*truncated, damaged"):
        open_episodes(path)


def test_vp2(tmp_path: Path) -> None:
    write_vp2(tmp_path / "push.hdf5", [4, 3, 5])
    store = open_episodes(tmp_path, size=16)
    assert "VP2" in store.source
    assert store.names == ["push/demo_0", "push/demo_1", "push/demo_2"]
    assert [levels(episode) for episode in store] == [list(range(length)) for length in (4, 3, 5)]
    assert store[0].actions is not None
    assert store[0].actions.tolist() == rows(4)[:-1].tolist()
    assert open_episodes(tmp_path, split="train").names == ["push/demo_0", "push/demo_1"]
    assert open_episodes(tmp_path, split="validation").names == ["push/demo_2"]
    assert levels(open_episodes(tmp_path, camera="side")[1]) == [2, 1, 0]
    with pytest.raises(ValueError, match=r"camera is 'top'; .*'demo_0' has 'agentview_shift_2', 'side'"):
        open_episodes(tmp_path, camera="top")
    with pytest.raises(ValueError, match=r"split is 'test'; .*push\.hdf5 has 'train', 'valid'"):
        open_episodes(tmp_path, split="test")
    write_vp2(tmp_path / "desk.hdf5", [3], "camera")
    for place in ("desk.hdf5", "."):
        if place == ".":
            (tmp_path / "push.hdf5").unlink()
        with pytest.raises(ValueError, match="none of its episodes is in the split 'train'"):
            open_episodes(tmp_path / place, split="train")
    assert open_episodes(tmp_path / "desk.hdf5").names == ["desk/demo_0"]
    with h5py.File(tmp_path / "desk.hdf5", "a") as file:
        file["data/demo_0/rewards"] = np.array([1.0, 2, 3])
        file["data/demo_0/dones"] = np.array([0, 0, 1])
    ended = open_episodes(tmp_path / "desk.hdf5")[0]
    assert ended.rewards is not None
    assert ended.rewards.tolist() == [1, 2]
    assert ended.terminal
    with h5py.File(tmp_path / "desk.hdf5", "a") as file:
        del file["data/demo_0/actions"]
        file["data/demo_0/actions"] = rows(7)
    with pytest.raises(ValueError, match=r"desk\.hdf5: 'demo_0': 7 actions beside 3 frames"):
        open_episodes(tmp_path / "desk.hdf5")


def test_one_episode_a_file(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        with h5py.File(tmp_path / f"episode_{number}.hdf5", "w") as file:
            file["observations/images/top"] = numbered(3 + number)
            file["observations/images/wrist"] = numbered(3 + number)[::-1]
            file["observations/qpos"] = np.zeros((3 + number, 14))
            file["action"] = rows(3 + number)
    store = open_episodes(tmp_path, size=16, key="top")
    assert store.names == ["episode_1", "episode_2", "episode_10"]
    assert levels(store[0]) == [0, 1, 2, 3]
    assert store[0].actions is not None
    assert store[0].actions.tolist() == rows(4)[:-1].tolist()
    assert levels(open_episodes(tmp_path, camera="wrist", limit=1)[0]) == [3, 2, 1, 0]
    with pytest.raises(ValueError, match=r"no single array 'side' .* 'observations/images/top'"):
        open_episodes(tmp_path, camera="side")


def test_one_group_an_episode(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for number in (2, 10, 1):
            file[f"episode_{number}/rgb"] = numbered(2 + number).transpose(0, 3, 1, 2)
            file[f"episode_{number}/actions"] = rows(2 + number)[:-1]
            file[f"episode_{number}/reward"] = np.arange(2.0 + number)
    store = open_episodes(tmp_path, size=16)
    assert store.names == ["all/episode_1", "all/episode_2", "all/episode_10"]
    assert [len(episode) for episode in store] == [3, 4, 12]
    assert store[1].rewards is not None
    assert store[1].rewards.tolist() == [0, 1, 2]


@pytest.mark.parametrize("ends", ["meta/episode_ends", "episode_ends", "ep_len"])
def test_flat_arrays_with_the_ends_of_episodes(tmp_path: Path, ends: str) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["pixels"] = np.concatenate([numbered(4), numbered(3)])
        file["action"] = np.concatenate([rows(4), rows(3)])
        file[ends] = np.array([4, 3] if ends == "ep_len" else [4, 7])
    store = open_episodes(tmp_path, size=16)
    assert store.names == ["all/0", "all/1"]
    assert [levels(episode) for episode in store] == [[0, 1, 2, 3], [0, 1, 2]]
    assert store[1].actions is not None
    assert store[1].actions.tolist() == rows(3)[:-1].tolist()
    with h5py.File(tmp_path / "all.h5", "a") as file:
        del file[ends]
        file[ends] = np.array([4, 0])
    with pytest.raises(ValueError, match=r"all\.h5: the ends of episodes are"):
        open_episodes(tmp_path)


def test_files_that_are_damaged(tmp_path: Path) -> None:
    write_vp2(tmp_path / "push.hdf5", [4, 3])
    whole = (tmp_path / "push.hdf5").read_bytes()
    for content, words in (
        (whole[: len(whole) // 2], "no readable HDF5"),
        (b"", "the file is empty"),
        (b"no such file" * 100, "no readable HDF5"),
    ):
        (tmp_path / "push.hdf5").write_bytes(content)
        with pytest.raises(ValueError, match=rf"push\.hdf5: {words}") as caught:
            open_episodes(tmp_path)
        assert "\n" not in str(caught.value)
    with h5py.File(tmp_path / "push.hdf5", "w") as file:
        file["states"] = np.zeros((4, 2))
    with pytest.raises(ValueError, match=r"push\.hdf5: no frames .*'states': name them with key="):
        open_episodes(tmp_path)


def test_links_that_lead_elsewhere_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    with h5py.File(tmp_path / "secret/other.h5", "w") as file:
        file["frames"] = numbered(3)
    for number, link in enumerate((h5py.ExternalLink("secret/other.h5", "frames"), h5py.SoftLink("/elsewhere"))):
        path = tmp_path / f"link{number}.hdf5"
        write_vp2(path, [3])
        with h5py.File(path, "a") as file:
            file["elsewhere"] = numbered(3)
            del file["data/demo_0/obs/agentview_shift_2_image"]
            file["data/demo_0/obs/agentview_shift_2_image"] = link
        with pytest.raises(ValueError, match=rf"link{number}\.hdf5: .*is a link .*could lead out of the file"):
            open_episodes(path)
    with h5py.File(tmp_path / "external.h5", "w") as file:
        (tmp_path / "raw").write_bytes(numbered(3).tobytes())
        file.create_dataset("frames", (3, 16, 16, 3), "u1", external=[(str(tmp_path / "raw"), 0, 2304)])
    with pytest.raises(ValueError, match=r"external\.h5: 'frames' keeps its numbers in another file"):
        open_episodes(tmp_path / "external.h5")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((3, 16, 16, 3), "u1")
        layout[:] = h5py.VirtualSource(tmp_path / "secret/other.h5", "frames", (3, 16, 16, 3))
        file.create_virtual_dataset("frames", layout)
    with pytest.raises(ValueError, match=r"virtual\.h5: 'frames' keeps its numbers in another file"):
        open_episodes(tmp_path / "virtual.h5")


def test_names_in_a_file_are_only_names(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for name in ("..", "a b", "x\\y", "é"):
            file.create_group(name)["frames"] = numbered(3)
    names = open_episodes(tmp_path).names
    assert len(names) == 4
    assert not any(".." in name or "\\" in name for name in names)


def test_objects_and_bombs_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("frames", (10**7, 1000, 1000, 3), "u1", chunks=(1, 1000, 1000, 3), compression="gzip")
    assert (tmp_path / "bomb.h5").stat().st_size < 10**5
    with pytest.raises(ValueError, match=r"bomb\.h5: 'frames' has shape .* GiB; expected at most 8 GiB"):
        open_episodes(tmp_path / "bomb.h5")
    with h5py.File(tmp_path / "objects.h5", "w") as file:
        file["frames"] = numbered(3)
        file.create_dataset("actions", (3, 2), h5py.special_dtype(vlen=np.dtype("f4")))
    with pytest.raises(ValueError, match=r"objects\.h5: 'actions' holds objects"):
        open_episodes(tmp_path / "objects.h5")
    write_vp2(tmp_path / "push.hdf5", [3])
    monkeypatch.setattr(hdf5, "MAX_ARRAY_BYTES", 1000)
    with pytest.raises(ValueError, match=r"push\.hdf5: 'obs/agentview_shift_2_image' has shape"):
        open_episodes(tmp_path / "push.hdf5")


def test_a_jpeg_of_robonet_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "one.hdf5"
    write_robonet(path, 3, kind="jpg")
    with h5py.File(path, "a") as file:
        del file["env/cam0_video/frame1"]
        file["env/cam0_video/frame1"] = np.frombuffer(encoded(numbered(1)[0], "JPEG")[:200], np.uint8)
    with pytest.raises(ValueError, match=r"one\.hdf5: frame 1 of camera 0"):
        open_episodes(path)
