"""Files and folders are written whole or not at all, and paths that do not exist name what they could have meant."""

import os
from pathlib import Path

import pytest

from ivideo.files import check_new_file, near_names, nearby, replace_file, staged_folder


def tree(folder: Path) -> dict[str, str | None]:
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def test_a_file_is_replaced_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new/one.txt"
    replace_file(path, lambda part: part.write_text("first"))

    def half(part: Path) -> None:
        part.write_text("sec")
        assert path.read_text() == "first"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"one\.txt cannot be written \(No space left on device\); make room"):
        replace_file(path, half)
    assert tree(tmp_path) == {"new": None, "new/one.txt": "first"}


def test_a_folder_takes_the_old_ones_place_once_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "new/one"
    for content in ("first", "second"):
        with staged_folder(folder, overwrite=True) as stage:
            (stage / "a.txt").write_text(content)
    with pytest.raises(FileNotFoundError), staged_folder(folder, overwrite=True) as stage:
        ((stage / "a.txt").write_text("third"), (stage / "b.txt").read_text())
    assert tree(tmp_path) == {"new": None, "new/one": None, "new/one/a.txt": "second"}


def test_folders_made_for_nothing_are_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    with pytest.raises(FileNotFoundError), staged_folder(tmp_path / "kept/a/b/c") as stage:
        (stage / "a.txt").read_text()
    with pytest.raises(NotADirectoryError):
        replace_file(tmp_path / "kept/a/b/c", lambda part: (part / "a.txt").read_text())
    assert tree(tmp_path) == {"kept": None}


def test_a_folder_that_cannot_be_moved_into_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a.txt").write_text("first")
    replace = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if path.parent == tmp_path and target == tmp_path / "one":
            raise OSError(5, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="Input/output error"), staged_folder(tmp_path / "one", overwrite=True) as stage:
        (stage / "a.txt").write_text("second")
    assert tree(tmp_path) == {"one": None, "one/a.txt": "first"}


def test_a_place_is_tried_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    check_new_file(tmp_path / "new/folder/file")
    check_new_file(tmp_path / "file", overwrite=True)
    with pytest.raises(FileExistsError, match="file exists already; choose another --out, or pass --overwrite"):
        check_new_file(tmp_path / "file")
    with pytest.raises(IsADirectoryError, match="is a folder; expected the name of a file"):
        check_new_file(tmp_path, overwrite=True)
    with pytest.raises(NotADirectoryError, match=r"cannot be written, for .*/file is a file; expected a folder"):
        check_new_file(tmp_path / "file/a/b")
    assert tree(tmp_path) == {"file": "mine"}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a file system nobody can write to")
def test_a_place_that_nobody_can_write_to() -> None:
    with pytest.raises(OSError, match=r"/proc/one/two cannot be written \(.*\); make room, or choose a place"):
        check_new_file(Path("/proc/one/two"))


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match=r"one cannot be written \(Permission denied\)"):
        check_new_file(tmp_path / "one")


def test_names_that_are_spelt_alike_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("robots", "robotics", "videos", ".robot"):
        (tmp_path / name).mkdir()
    assert near_names(tmp_path / "robot") == [str(tmp_path / name) for name in ("robots", "robotics")]
    assert near_names(tmp_path / "robot/one/two.mp4") == near_names(tmp_path / "robot")
    assert near_names(tmp_path / "zzz") == []
    assert nearby(tmp_path / "video") == f"there is no such file or folder; did you mean {tmp_path / 'videos'}?"
    (tmp_path / ".loop").symlink_to(tmp_path / ".loop")
    assert nearby(tmp_path / ".loop") == "it is a link that leads nowhere, or to itself"
    assert nearby(tmp_path / "zzz").endswith(f"{tmp_path} holds robotics, robots, videos")
    assert nearby(tmp_path / "videos/zzz").endswith(f"{tmp_path / 'videos'} is empty")
    monkeypatch.chdir(tmp_path)
    assert near_names(Path("robot"))[0] == "robots"
    assert nearby(Path("zzz")).endswith("; this folder holds robotics, robots, videos")
