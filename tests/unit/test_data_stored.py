"""The stored form gives back what it was made from, is whole or not there, and says what it left out."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ivideo.data import EpisodeStore, SegmentSampler, conversion, npy, open_episodes, shards
from ivideo.data.conversion import Conversion, convert
from ivideo.data.labour import performed
from ivideo.data.moments import Moments
from ivideo.data.recorder import save_episodes
from ivideo.data.shards import verify
from ivideo.episode import Episode
from ivideo.video import write_video


def made(count: int, *, actions: int = 2, rewards: bool = True, size: int = 8) -> list[Episode]:
    generator = torch.Generator().manual_seed(count)
    return [
        Episode(
            frames=torch.randint(0, 256, (length, 3, size, size), dtype=torch.uint8, generator=generator),
            actions=torch.randn(length - 1, actions, generator=generator) if actions else None,
            rewards=torch.randn(length - 1, generator=generator) if rewards else None,
            terminal=number % 3 == 0,
        )
        for number, length in enumerate(2 + n % 7 for n in range(count))
    ]


def conversion_of(source: Path, out: Path, **how: Any) -> Conversion:
    return Conversion(source=str(source), out=str(out), **({"size": 8, "workers": 1, "episodes_per_shard": 3} | how))


def same(one: EpisodeStore, other: EpisodeStore) -> None:
    assert one.names == other.names
    assert repr(one).partition(":")[2] == repr(other).partition(":")[2]
    assert torch.equal(one.table.lengths, other.table.lengths)
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine.frames, theirs.frames)
        for name in ("actions", "rewards"):
            a, b = getattr(mine, name), getattr(theirs, name)
            assert (a is None) == (b is None)
            assert a is None or torch.equal(a, b)
        assert (mine.terminal, mine.name, mine.fps, mine.instruction) == (
            theirs.terminal,
            theirs.name,
            theirs.fps,
            theirs.instruction,
        )


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", [{}, {"actions": 0}, {"rewards": False}, {"actions": 0, "rewards": False}])
def test_a_stored_set_is_the_set_it_was_made_from(tmp_path: Path, kind: dict[str, Any]) -> None:
    save_episodes(tmp_path / "raw", made(10, **kind))
    stored = convert(conversion_of(tmp_path / "raw", tmp_path / "out"))
    raw = open_episodes(tmp_path / "raw", size=8)
    same(stored, raw)
    same(open_episodes(tmp_path / "out", size=8), raw)
    same(open_episodes(tmp_path / "out", size=None, limit=4), raw[:4])
    for one, other in zip(stored.split(3), raw.split(3), strict=True):
        same(one, other)
    mine, theirs = (SegmentSampler(store, frames=4, seed=1).batch(2, 6) for store in (stored, raw))
    assert torch.equal(mine.frames, theirs.frames)
    assert verify(tmp_path / "out") == []
    with pytest.raises(ValueError, match="frames of 8x8, asked for is size 64"):
        open_episodes(tmp_path / "out")


def test_what_is_written_into_a_frame_never_reaches_the_disk(tmp_path: Path) -> None:
    save_episodes(tmp_path / "raw", made(2))
    stored = convert(conversion_of(tmp_path / "raw", tmp_path / "out"))
    before = content(tmp_path / "out")
    stored[0].frames.zero_()
    assert content(tmp_path / "out") == before


def test_the_manifest_says_what_is_there(tmp_path: Path) -> None:
    episodes = made(7)
    save_episodes(tmp_path / "raw", episodes)
    convert(conversion_of(tmp_path / "raw", tmp_path / "out", licence="CC BY 4.0"))
    manifest = shards.read_said(tmp_path / "out" / "manifest.json")
    assert (manifest["episodes"], manifest["frames"]) == (7, sum(map(len, episodes)))
    assert manifest["licence"] == "CC BY 4.0"
    every = torch.cat([episode.actions for episode in episodes if episode.actions is not None])
    for name, expected in (("mean", every.mean(0)), ("std", every.std(0, correction=0)), ("max", every.amax(0))):
        assert torch.allclose(torch.tensor(manifest["actions"][name]), expected, atol=1e-6), name
    assert set(manifest["files"]) | {"manifest.json"} == set(content(tmp_path / "out"))


def test_however_often_it_is_killed_the_result_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process does the work and dies at its n-th step on the disk, ever later, until it gets through."""
    save_episodes(tmp_path / "raw", made(10))
    wanted = conversion_of(tmp_path / "raw", tmp_path / "out")
    convert(conversion_of(tmp_path / "raw", tmp_path / "whole"))
    steps = 0

    def dying_at(last: int, work: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == last:
                os._exit(9)
            return work(*arguments)

        return step

    deaths = 0
    for last in (1, 2, 3, 4, 5, 7, 9, 10, 11, 13, 12, 14, 6, 2, 3, 4, 5, 6, 7, 8, 100):
        child = os.fork()
        if not child:
            for owner, name in ((shards, "sync"), (npy.GrowingArray, "append"), (Path, "rename"), (Path, "replace")):
                monkeypatch.setattr(owner, name, dying_at(last, getattr(owner, name)))
            convert(wanted)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
        deaths += 1
        if not (tmp_path / "out" / "manifest.json").exists() and (tmp_path / "out" / "plan.json").exists():
            with pytest.raises(ValueError, match="is not complete"):
                open_episodes(tmp_path / "out", size=8)
    assert deaths > 8
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_the_result_does_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    save_episodes(tmp_path / "raw", made(7))
    convert(conversion_of(tmp_path / "raw", tmp_path / "one"))
    convert(conversion_of(tmp_path / "raw", tmp_path / "two", workers=2))
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_worker_that_dies_is_an_error_and_not_a_wait() -> None:
    with pytest.raises(OSError, match="a worker was killed"):
        list(performed([os.abort, os.abort], workers=2))


def test_another_plan_or_another_folder_is_refused(tmp_path: Path) -> None:
    save_episodes(tmp_path / "raw", made(4))
    convert(conversion_of(tmp_path / "raw", tmp_path / "out"))
    before = content(tmp_path / "out")
    convert(conversion_of(tmp_path / "raw", tmp_path / "out"))  # nothing left to do
    with pytest.raises(FileExistsError, match="was made with size 8, now it is 16"):
        convert(conversion_of(tmp_path / "raw", tmp_path / "out", size=16))
    assert content(tmp_path / "out") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="mine exists already and is not empty"):
        convert(conversion_of(tmp_path / "raw", tmp_path / "mine"))
    with pytest.raises(ValueError, match="in the stored form already"):
        convert(conversion_of(tmp_path / "out", tmp_path / "again"))


def test_two_conversions_into_one_folder_are_refused(tmp_path: Path) -> None:
    save_episodes(tmp_path / "raw", made(2))
    with (
        shards.ShardFolder(tmp_path / "out", {"format": "x"}),
        pytest.raises(BlockingIOError, match="another process is writing"),
    ):
        shards.ShardFolder(tmp_path / "out", {"format": "x"})


def test_a_full_disk_keeps_what_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_episodes(tmp_path / "raw", made(10))
    append, left = npy.GrowingArray.append, 20

    def full(self: npy.GrowingArray, values: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")
        append(self, values)

    wanted = conversion_of(tmp_path / "raw", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(npy.GrowingArray, "append", full)
        with pytest.raises(OSError, match=r"out cannot be written \(No space left on device\); what is complete stays"):
            convert(wanted)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["plan.json", "shard-00000", "shard-00001"]
    same(convert(wanted), open_episodes(tmp_path / "raw", size=8))


@pytest.mark.parametrize("name", ["episodes.npy", "text.npy", "shard-00000/frames.npy", "manifest.json"])
def test_damage_to_the_stored_form_is_found(tmp_path: Path, name: str) -> None:
    save_episodes(tmp_path / "raw", made(5))
    convert(conversion_of(tmp_path / "raw", tmp_path / "out"))
    file = tmp_path / "out" / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    with pytest.raises(ValueError, match=name.rpartition("/")[2]):
        open_episodes(tmp_path / "out", size=8)
    file.unlink()
    with pytest.raises(ValueError, match=r"is missing|no episodes there"):
        open_episodes(tmp_path / "out", size=8)
    flipped = bytearray(whole)
    flipped[-1] ^= 0x10
    file.write_bytes(flipped)
    if name == "manifest.json":
        with pytest.raises(ValueError, match="no valid JSON"):
            open_episodes(tmp_path / "out", size=8)
    else:
        assert [found for found, _ in verify(tmp_path / "out")] == [name]


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    save_episodes(tmp_path / "raw", made(2))
    convert(conversion_of(tmp_path / "raw", tmp_path / "out"))
    for name in ("../raw/000000.npz", "/etc/passwd", "shard-00000/../../x.npy", "shard-00000/x.pkl"):
        manifest = tmp_path / "out" / "manifest.json"
        text = manifest.read_text()
        manifest.write_text(text.replace('"episodes.npy"', f'"{name}"'))
        with pytest.raises(ValueError, match="which no stored folder holds"):
            open_episodes(tmp_path / "out", size=8)
        manifest.write_text(text)


def spoil(folder: Path, places: list[int]) -> None:
    """Damage episodes in every way that files are found damaged."""
    frames = np.zeros((5, 8, 8, 3), np.uint8)
    steps = {"actions": np.zeros((4, 2)), "rewards": np.zeros(4)}
    for turn, place in enumerate(places):
        path = folder / f"{place:06d}.npz"
        whole = path.read_bytes()
        path.unlink()
        spoilt: list[Callable[[Path], object]] = [
            lambda path, whole=whole: path.write_bytes(whole[: len(whole) // 2]),
            lambda path: path.touch(),
            lambda path: np.savez(path, frames=frames[..., :1], **steps),
            lambda path: np.savez(path, frames=frames / 255, **steps),
            lambda path: np.savez(path, frames=frames, actions=np.zeros((4, 3)), rewards=np.zeros(4)),
            lambda path: np.savez(path, frames=frames, actions=np.full((4, 2), np.nan), rewards=np.zeros(4)),
            lambda path: np.savez(path, frames=frames[:0], actions=np.zeros((0, 2)), rewards=np.zeros(0)),
            lambda path: np.savez(path, frames=frames[:1], actions=np.zeros((0, 2)), rewards=np.zeros(0)),
            lambda path: path.symlink_to(path),
            lambda path: (
                write_video(path.with_suffix(".gif"), torch.zeros(3, 3, 8, 8, dtype=torch.uint8))
                or path.with_suffix(".gif").rename(path)
            ),
            lambda path, whole=whole: path.write_bytes(whole[:200] + bytes([whole[200] ^ 255]) + whole[201:]),
            lambda path: np.savez(path, frames=frames, actions=np.zeros((9, 2)), rewards=np.zeros(4)),
            lambda path: np.savez(path, frames=frames, actions=np.zeros((4, 2))),
        ]
        spoilt[turn % len(spoilt)](path)


def test_a_thousand_episodes_a_hundred_of_them_damaged(tmp_path: Path) -> None:
    episodes = made(1000)
    bad = list(range(4, 1000, 10))
    save_episodes(tmp_path / "raw", episodes)
    spoil(tmp_path / "raw", bad)
    good = [place for place in range(1000) if place not in set(bad)]
    save_episodes(tmp_path / "clean", [episodes[place] for place in good])
    clean = open_episodes(tmp_path / "clean", size=8)
    with pytest.raises(ValueError, match=r"cannot be used, more than max_damaged 0\.01 allows"):
        convert(conversion_of(tmp_path / "raw", tmp_path / "refused", episodes_per_shard=100))
    stored = convert(conversion_of(tmp_path / "raw", tmp_path / "out", episodes_per_shard=100, max_damaged=0.1))
    opened = open_episodes(tmp_path / "raw", size=8, max_damaged=0.1)
    for store in (stored, opened):
        assert len(store) == 900
        assert [damaged.name for damaged in store.damaged] == [f"{place:06d}" for place in bad]
        assert all(damaged.reason for damaged in store.damaged)
        for step in range(3):
            mine, theirs = (SegmentSampler(each, frames=4, seed=2).batch(step, 16) for each in (store, clean))
            for name in ("frames", "actions", "rewards", "terminals", "mask"):
                assert torch.equal(getattr(mine, name), getattr(theirs, name)), name


def test_what_is_repaired_after_a_refusal_is_read_again(tmp_path: Path) -> None:
    save_episodes(tmp_path / "raw", made(12))
    convert(conversion_of(tmp_path / "raw", tmp_path / "clean"))
    good = {place: (tmp_path / "raw" / f"{place:06d}.npz").read_bytes() for place in (1, 4, 9)}
    for place in good:
        (tmp_path / "raw" / f"{place:06d}.npz").write_bytes(b"")
    wanted = conversion_of(tmp_path / "raw", tmp_path / "out", max_damaged=0.2)
    with pytest.raises(ValueError, match=r"3 of 12 episodes cannot be used.* repair them and say the same again"):
        convert(wanted)
    before = {path.parent.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard-*/shard.json")}
    assert len(before) == 4
    (tmp_path / "raw" / "000004.npz").write_bytes(good[4])
    stored = convert(wanted)
    assert [each.name for each in stored.damaged] == ["000001", "000009"]
    after = {path.parent.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard-*/shard.json")}
    assert [name for name in sorted(before) if before[name] != after[name]] == ["shard-00001"]
    for place, whole in good.items():
        (tmp_path / "raw" / f"{place:06d}.npz").write_bytes(whole)
    assert [each.name for each in convert(wanted).damaged] == ["000001", "000009"], "what is complete stays"
    convert(conversion_of(tmp_path / "raw", tmp_path / "new", max_damaged=0.2))
    assert content(tmp_path / "new") == content(tmp_path / "clean")


def test_the_verb_says_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_episodes(tmp_path / "raw", made(4))
    (tmp_path / "raw" / "000001.npz").write_bytes(b"")
    how = ["--size", "8", "--workers", "1", "--max_damaged", "0.25"]
    assert conversion.main([str(tmp_path / "raw"), str(tmp_path / "out"), *how]) == 0
    said = capsys.readouterr().out
    assert "left out 000001: " in said
    assert "the file is empty" in said
    assert "3 episodes" in said
    assert "1 damaged episodes left out" in said
    assert "once they are repaired, convert into a new folder" in said


def test_moments_are_the_same_from_parts_as_from_the_whole() -> None:
    rows = np.random.default_rng(0).normal(1e6, 1e-2, (200, 3))
    parts = Moments(3)
    for part in np.array_split(rows, [0, 1, 50, 51]):
        one = Moments(3)
        one.add(part)
        parts.merge(Moments.of(one.state(), 3))
    figures = parts.figures()
    assert figures is not None
    assert np.allclose(figures["std"], rows.std(0), rtol=1e-6)
    assert np.allclose(figures["mean"], rows.mean(0), rtol=1e-12)


def test_a_million_episodes_open_without_a_tensor_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table alone decides what windows there are: no episode is made before a window of it is drawn."""
    save_episodes(tmp_path / "raw", made(100))
    convert(conversion_of(tmp_path / "raw", tmp_path / "out", episodes_per_shard=50))
    read: list[str] = []
    check = Episode.__post_init__
    monkeypatch.setattr(Episode, "__post_init__", lambda self: (read.append(self.name), check(self))[1])
    train, _ = open_episodes(tmp_path / "out", size=8).split(5)
    sampler = SegmentSampler(train.few(10), frames=4)
    assert len(read) < 20, "only the type checks of the tests have looked at some"
    sampler.batch(0, 3)
