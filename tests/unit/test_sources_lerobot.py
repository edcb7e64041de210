"""LeRobotDatasets of every version read here become the same episodes; what does not fit together is named."""

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from layout_files import levels, rows, save_video, write_lerobot

from ivideo.data import open_episodes
from ivideo.data.sources import hub_files, parquet
from ivideo.data.sources.discovery import find
from ivideo.data.sources.lerobot_stream import stream
from ivideo.data.sources.source import Options

VERSIONS = [("v2.0", False), ("v2.1", False), ("v2.1", True), ("v3.0", False), ("v3.0", True)]


@pytest.mark.parametrize(("version", "pictures"), VERSIONS)
def test_every_version(tmp_path: Path, version: str, pictures: bool) -> None:
    write_lerobot(tmp_path / "so100", [5, 7, 4], version, pictures=pictures)
    for place in (tmp_path / "so100", tmp_path):
        store = open_episodes(place, size=64)
        assert "LeRobot" in store.source
        assert [len(episode) for episode in store] == [5, 7, 4]
    assert store.names == [f"so100/episode_{number:06d}" for number in range(3)]
    for episode, length in zip(store, (5, 7, 4), strict=True):
        assert levels(episode) == list(range(length)), "the view that is not on the wrist"
        assert episode.actions is not None
        assert episode.rewards is not None
        assert episode.actions.tolist() == rows(length)[:-1].tolist()
        assert episode.rewards.tolist() == list(range(length - 1)), "the reward of the step that follows"
        assert episode.terminal
        assert episode.fps == 10
    assert [episode.instruction for episode in store] == ["push the block", "lift the block", "push the block"]
    for camera in ("wrist", "observation.images.wrist"):
        assert levels(open_episodes(tmp_path, camera=camera)[1]) == [6, 5, 4, 3, 2, 1, 0]
    assert open_episodes(tmp_path, split="train").names == store.names[:2]
    assert open_episodes(tmp_path, split="valid").names == store.names[2:]
    with pytest.raises(ValueError, match=r"camera is 'side'; .*so100 has 'observation.images.wrist'"):
        open_episodes(tmp_path, camera="side")
    with pytest.raises(ValueError, match=r"split is 'test'; .*info\.json has 'train', 'val'"):
        open_episodes(tmp_path, split="test")


def test_the_task_of_the_rows_where_episodes_name_none(tmp_path: Path) -> None:
    write_lerobot(tmp_path, [3, 3])
    lines = [{"episode_index": number, "length": 3} for number in range(2)]
    (tmp_path / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [episode.instruction for episode in open_episodes(tmp_path)] == ["push the block", "lift the block"]


def edit_info(root: Path, **changes: Any) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps(info | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"codebase_version": "v1.6"}, r"info\.json: LeRobot's format v1\.6; expected v2\.0, v2\.1 or v3\.0"),
        ({"fps": "fast"}, r"fast"),
        ({"features": {}}, "none of its features are pictures"),
        ({"features": {"action": {}}}, r"info\.json: no description as LeRobot writes it"),
        ({"data_path": "data/{no_such}.parquet"}, "asks for 'no_such', which nothing says"),
        ({"data_path": "../{episode_index:06d}.parquet"}, "expected one below"),
        ({"data_path": "/etc/passwd"}, "'/etc/passwd'; expected one below"),
        ({"data_path": "data/{episode_index.__class__}"}, "no such file|expected one below"),
        ({"video_path": "videos/../../{video_key}.mp4"}, "the data set is not safe"),
    ],
)
def test_descriptions_that_are_wrong_or_lead_elsewhere(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    write_lerobot(tmp_path / "set", [3])
    edit_info(tmp_path / "set", **changes)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        open_episodes(tmp_path / "set")
    assert "\n" not in str(caught.value)


def test_files_that_are_cut_short_missing_or_of_another_data_set(tmp_path: Path) -> None:
    write_lerobot(tmp_path, [5, 4])
    table = tmp_path / "data/chunk-000/episode_000001.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"episode_000001\.parquet: no readable parquet .*truncated or damaged"):
        open_episodes(tmp_path)
    table.write_bytes(b"")
    with pytest.raises(ValueError, match=r"episode_000001\.parquet: the file is empty"):
        open_episodes(tmp_path)
    pq.write_table(pq.read_table(tmp_path / "data/chunk-000/episode_000000.parquet"), table)
    with pytest.raises(ValueError, match=r"episode_000001\.parquet: 0 rows of episode 1; expected 4"):
        open_episodes(tmp_path)
    table.unlink()
    with pytest.raises(FileNotFoundError, match=r"episode_000001\.parquet: there is no such file"):
        open_episodes(tmp_path)
    table.write_bytes(whole)
    shuffled = pq.read_table(table).take([0, 2, 1, 3])
    pq.write_table(shuffled, table)
    with pytest.raises(ValueError, match="the rows of episode 1 are not frames 0 to 3 in order"):
        open_episodes(tmp_path)
    table.write_bytes(whole)
    save_video(tmp_path / "videos/chunk-000/observation.images.top/episode_000001.mp4", np.zeros((3, 64, 64, 3), "u1"))
    with pytest.raises(ValueError, match=r"episode_000001\.mp4: 3 frames beside 4 rows"):
        open_episodes(tmp_path)
    (tmp_path / "meta/episodes.jsonl").write_text('{"episode_index": 0')
    with pytest.raises(ValueError, match=r"episodes\.jsonl: line 1 is no JSON"):
        open_episodes(tmp_path)


def test_actions_of_several_lengths_or_none(tmp_path: Path) -> None:
    write_lerobot(tmp_path, [3], pictures=True)
    path = tmp_path / "data/chunk-000/episode_000000.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("action")
    pq.write_table(table.set_column(place, "action", pa.array([[1.0], [1.0, 2.0], [3.0]])), path)
    with pytest.raises(ValueError, match=r"'action' is no column of numbers .*differ in length"):
        open_episodes(tmp_path)
    pq.write_table(table.set_column(place, "action", pa.array(["a", "b", "c"])), path)
    with pytest.raises(ValueError, match=r"actions hold|no column of numbers"):
        open_episodes(tmp_path)
    pq.write_table(table.drop_columns(["action", "next.reward", "next.done"]), path)
    episode = open_episodes(tmp_path)[0]
    assert (episode.actions, episode.rewards, episode.terminal) == (None, None, False)
    pq.write_table(table.drop_columns(["observation.images.top"]), path)
    with pytest.raises(ValueError, match=r"no column 'observation\.images\.top'"):
        open_episodes(tmp_path)


def test_episodes_that_lie_elsewhere_in_their_film_than_meta_says(tmp_path: Path) -> None:
    write_lerobot(tmp_path, [5, 4], "v3.0")
    path = tmp_path / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    name = "videos/observation.images.top/{}_timestamp"

    def moved(seconds: float) -> None:
        changed = table
        for side in ("from", "to"):
            column = changed[name.format(side)].to_pylist()
            column[1] += seconds
            changed = changed.set_column(
                changed.schema.get_field_index(name.format(side)), name.format(side), pa.array(column)
            )
        pq.write_table(changed, path)
        edit_info(tmp_path, moved=seconds)

    moved(0.3)
    with pytest.raises(ValueError, match=r"file-000\.mp4: 1 frames from 0\.800 s on; expected 4"):
        open_episodes(tmp_path)
    moved(60)
    with pytest.raises(ValueError, match=r"file-000\.mp4: 0 frames from 60\.500 s on; expected 4"):
        open_episodes(tmp_path)
    wrong = table.set_column(table.schema.get_field_index(name.format("to")), name.format("to"), pa.array([0.5, 3.0]))
    pq.write_table(wrong, path)
    edit_info(tmp_path, moved="wrong")
    with pytest.raises(ValueError, match=r"episode 1 lies from 0\.500 to 3\.000 s, 25\.0 frames; expected 4"):
        open_episodes(tmp_path)


def test_a_column_that_would_unpack_to_too_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lerobot(tmp_path, [20], pictures=True)
    monkeypatch.setattr(parquet, "MAX_BYTES", 2500)  # the numbers take less, the pictures more
    with pytest.raises(ValueError, match=r"episode_000000\.parquet: .* would unpack to"):
        open_episodes(tmp_path)
    write_lerobot(tmp_path / "filmed", [20])
    assert len(open_episodes(tmp_path / "filmed")) == 1


def test_a_picture_named_by_a_row_stays_inside(tmp_path: Path) -> None:
    write_lerobot(tmp_path / "set", [2], pictures=True)
    path = tmp_path / "set/data/chunk-000/episode_000000.parquet"
    table = pq.read_table(path)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    name = "observation.images.top"
    stored = table[name].to_pylist()
    for number, picture in enumerate(stored):
        (tmp_path / f"set/frame{number}.png").write_bytes(picture["bytes"])

    def named(*paths: str) -> None:
        column = pa.array([{"bytes": None, "path": text} for text in paths], kind)
        pq.write_table(table.set_column(table.schema.get_field_index(name), name, column), path)

    named("frame0.png", "frame1.png")
    assert levels(open_episodes(tmp_path / "set")[0]) == [0, 1]
    (tmp_path / "outside.png").write_bytes(stored[0]["bytes"])
    for evil in ("../outside.png", str(tmp_path / "outside.png"), "a/../../outside.png", "..\\outside.png"):
        named("frame0.png", evil)
        with pytest.raises(ValueError, match="expected one below"):
            open_episodes(tmp_path / "set")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """A data set on a Hub that keeps a list of what was fetched from it; its snapshot starts without data."""
    write_lerobot(tmp_path / "remote", [3, 4], "v2.1")
    root = tmp_path / "cache/datasets--lab--so100/snapshots/c0ffee"
    fetched: list[str] = []

    def copy(name: str) -> Path:
        fetched.append(name)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((tmp_path / "remote" / name).read_bytes())
        return root / name

    def snapshot_download(repo: str, *, repo_type: str, revision: str | None, allow_patterns: list[str]) -> str:
        assert (repo, repo_type, revision, allow_patterns) == ("lab/so100", "dataset", "v2.1", ["meta/*"])
        for path in sorted((tmp_path / "remote/meta").iterdir()):
            copy(f"meta/{path.name}")
        return str(root)

    def hf_hub_download(repo: str, file: str, *, repo_type: str, revision: str) -> str:
        assert (repo, repo_type, revision) == ("lab/so100", "dataset", "c0ffee")
        return str(copy(file))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    hub_files._snapshot.cache_clear()
    return root, fetched


def test_from_the_hub_only_what_is_read_is_fetched(hub: tuple[Path, list[str]]) -> None:
    _, fetched = hub
    address = "hf://datasets/lab/so100@v2.1"
    store = open_episodes(address, limit=1)
    assert levels(store[0]) == [0, 1, 2]
    assert fetched == [
        "meta/episodes.jsonl",
        "meta/info.json",
        "meta/tasks.jsonl",
        "data/chunk-000/episode_000000.parquet",
        "videos/chunk-000/observation.images.top/episode_000000.mp4",
    ]
    before = len(fetched)
    assert torch.equal(open_episodes(address, limit=1)[0].frames, store[0].frames)
    assert len(fetched) == before, "and only once"
    assert len(open_episodes(address)) == 2


def test_offline_says_what_to_fetch(hub: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    open_episodes("hf://datasets/lab/so100@v2.1", limit=1)

    def offline(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no network\nat all")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    missing = r"data/chunk-000/episode_000001\.parquet cannot be fetched .*`hf download lab/so100 --repo-type dataset"
    with pytest.raises(OSError, match=missing) as caught:
        open_episodes("hf://datasets/lab/so100@v2.1")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    hub_files._snapshot.cache_clear()
    with pytest.raises(OSError, match=r"hf://datasets/lab/other: meta/\* cannot be fetched"):
        open_episodes("hf://datasets/lab/other")
    with pytest.raises(ValueError, match="expected hf://datasets/<owner>/<name>"):
        open_episodes("hf://datasets/only-a-name")


@pytest.mark.parametrize(("version", "pictures"), [("v2.1", True), ("v3.0", True), ("v3.0", False)])
def test_streamed_episodes_are_the_same(
    tmp_path: Path, version: str, pictures: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    write_lerobot(tmp_path / "set", [3, 5, 4], version, pictures=pictures)
    options = Options(size=32, camera="wrist", split="train")
    opened = [item.read(options) for item in find(tmp_path / "set", options=options)]
    streamed = list(stream(tmp_path / "set", options))
    assert [episode.name for episode in streamed] == ["episode_000000", "episode_000001"]
    for one, other in zip(opened, streamed, strict=True):
        assert torch.equal(one.frames, other.frames)
        assert one.actions is not None
        assert other.actions is not None
        assert torch.equal(one.actions, other.actions)
        assert one.rewards is not None
        assert other.rewards is not None
        assert torch.equal(one.rewards, other.rewards)
        assert (one.instruction, one.fps, one.terminal) == (other.instruction, other.fps, other.terminal)


def test_streaming_fetches_the_description_alone(
    hub: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    _, fetched = hub
    asked = []
    whole = datasets.load_dataset

    def load_dataset(kind: str, *, data_files: str, **options: Any) -> Any:
        asked.append(data_files)
        return whole(
            kind, data_files=data_files.replace("hf://datasets/lab/so100@c0ffee", str(tmp_path / "remote")), **options
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    first = next(stream("hf://datasets/lab/so100@v2.1", Options(size=64)))
    assert levels(first) == [0, 1, 2]
    assert asked == ["hf://datasets/lab/so100@c0ffee/data/chunk-000/episode_000000.parquet"]
    assert not [name for name in fetched if name.endswith(".parquet")]
