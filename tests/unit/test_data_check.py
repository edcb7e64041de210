"""`ivideo data check` finds planted faults, names damaged files and leaves good episodes alone."""

import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ivideo.data.check.digest import Digest, digest
from ivideo.data.check.inspection import inspect, judge
from ivideo.data.check.looks import TURNS, vote
from ivideo.data.check.motion import LAGS, fit
from ivideo.data.check.reading import Recorded, read_all
from ivideo.data.check.trial import FAULTS, SET_FAULTS, Trial, try_out
from ivideo.data.conversion import Conversion, convert
from ivideo.data.opening import pushing_table
from ivideo.data.recorder import save_episodes
from ivideo.data.sources import arrays
from ivideo.data.sources.source import Options
from ivideo.episode import Episode
from ivideo.video import write_video

OPTIONS = Options(size=None, min_frames=1)


@pytest.fixture(scope="module")
def table() -> list[Episode]:
    """Twenty episodes without a fault, of 40 frames each."""
    whole = [each for each in pushing_table(40, seed=0, size=32) if len(each) >= 40][:20]
    return [
        replace(each, frames=each.frames[:40], actions=_cut(each.actions), rewards=_cut(each.rewards), fps=10.0)
        for each in whole
    ]


@pytest.fixture(scope="module")
def trials(table: list[Episode]) -> dict[str, Trial]:
    return {trial.fault: trial for trial in try_out(table)}


def codes(episodes: list[Episode], like: list[Episode] | None = None) -> set[tuple[str, int | None]]:
    return {(finding.lint.code, finding.place) for finding in judge(digests(episodes), like and digests(like))[0]}


def digests(episodes: list[Episode]) -> list[Digest]:
    return [digest(each, place=place, file="", keep_motion=True) for place, each in enumerate(episodes)]


def _cut(values: Tensor | None) -> Tensor | None:
    return None if values is None else values[:39]


def test_good_episodes_have_no_findings(trials: dict[str, Trial]) -> None:
    assert trials["nothing"].false_alarms == {}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_in_every_fifth_episode_is_found(trials: dict[str, Trial], fault: str) -> None:
    trial = trials[fault]
    assert trial.planted == 4
    assert trial.found >= 3, trial
    assert not set(trial.false_alarms) - {"action-unexplained"}, trial


@pytest.mark.parametrize("fault", sorted(SET_FAULTS))
def test_a_fault_in_all_episodes_is_found(trials: dict[str, Trial], fault: str) -> None:
    assert trials[fault].found == 1


def test_a_set_is_compared_with_one_that_is_right(table: list[Episode]) -> None:
    """All of a set in BGR agree with each other, and nothing but another set shows it."""
    wrong = [
        replace(each, frames=each.frames.flip(1), fps=5.0, actions=None if each.actions is None else each.actions * 20)
        for each in table[:10]
    ]
    assert not {code for code, _ in codes(wrong)} & {*TURNS, "fps", "action-size"}
    found = codes(wrong, like=table[10:])
    assert {place for code, place in found if code == "swapped-colours"} == set(range(10))
    assert {("fps", None), ("action-size", None)} <= found
    assert not {code for code, _ in codes(table[:10], like=table[10:])}


def test_scenes_are_not_taken_for_turned_ones() -> None:
    """Episodes that look like nothing else are left alone, and so are two scenes that mirror each other."""
    generator = torch.Generator().manual_seed(0)
    unlike = [torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8, generator=generator) for _ in range(12)]
    assert vote(unlike) == [None] * 12
    left, right = unlike[0], unlike[0].flip(-1)
    assert vote([left, right] * 6) == [None] * 12
    assert vote(unlike[:2]) == [None, None]


def test_a_blocked_robot_is_noted_and_lost_frames_are_a_problem(table: list[Episode]) -> None:
    frames = table[3].frames.clone()
    frames[20:] = frames[20]
    blocked = [*table[:3], replace(table[3], frames=frames), *table[4:]]
    assert ("still", 3) in codes(blocked)
    assert ("frozen", 3) not in codes(blocked)
    without = [replace(each, actions=None, rewards=None) for each in blocked]
    assert ("still", 3) in codes(without)
    frames = table[3].frames.clone()
    frames[5:15] = frames[5]
    lost = [*table[:3], replace(table[3], frames=frames), *table[4:]]
    assert ("frozen", 3) in codes(lost)


def test_a_robot_at_rest_may_stand_still(table: list[Episode]) -> None:
    episode = table[3]
    assert episode.actions is not None
    frames, actions = episode.frames.clone(), episode.actions.clone()
    frames[5:15], actions[5:15] = frames[5], 0.0
    found = codes([*table[:3], replace(episode, frames=frames, actions=actions), *table[4:]])
    assert not {code for code, place in found if place == 3} & {"frozen", "still", "static"}


def test_lag_has_the_sign_of_the_file() -> None:
    """Targets that come a step after the change they cause are explained at lag 1."""
    generator = torch.Generator().manual_seed(0)
    changes = [torch.randn(60, 5, generator=generator) for _ in range(8)]
    for lag in LAGS:
        targets = [each.roll(lag, 0)[:, :2] for each in changes]
        found = fit(changes, targets)
        assert found is not None
        assert found.best == lag
        assert found.at(lag) > 0.95
        assert max(found.at(other) for other in LAGS if other != lag) < 0.1
    noise = fit(changes, [torch.randn(60, 2, generator=generator) for _ in changes])
    assert noise is not None
    assert noise.overall.max() < 0.1, "what was not fitted is not explained"
    assert fit(changes[:1], targets[:1]) is not None
    assert fit([each[:8] for each in changes[:2]], [each[:8] for each in changes[:2]]) is None, "too few steps"


def test_noise_and_constants_are_no_crash() -> None:
    """Where nothing explains anything, episodes disagree with every fit; something has to be left to fit on."""
    generator = torch.Generator().manual_seed(0)
    for episodes in (1, 2, 3, 5, 6, 9, 14):
        for steps in (20, 60):
            changes = [torch.randn(steps, 5, generator=generator) for _ in range(episodes)]
            for targets in (
                [torch.randn(steps, 3, generator=generator) for _ in changes],
                [torch.zeros(steps, 3) for _ in changes],
                [each[:, :3] for each in changes],
                [each[:, :3] * (-1) ** place for place, each in enumerate(changes)],
            ):
                found = fit(changes, targets)
                assert found is None or all(bool(each.isfinite().all()) for each in found.predictions)


def test_only_one_episode_is_held_at_a_time() -> None:
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    class Item:
        name, path = "one", Path("one")

        def read(self, options: Options) -> Episode:
            frames = torch.randint(0, 255, (4, 3, 8, 8), dtype=torch.uint8)
            alive.add(frames)
            return Episode(frames=frames)

    for _ in read_all([Item() for _ in range(20)], OPTIONS):
        most = max(most, len(alive))
    assert most <= 1


def test_motion_is_kept_of_so_many_episodes() -> None:
    frames = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    items = [Recorded(name=str(n), path=Path(), episode=Episode(frames=frames)) for n in range(10)]
    for moving, kept in ((0, 0), (3, 3), (10, 10), (50, 10)):
        read = [each for each in read_all(items, OPTIONS, moving=moving) if isinstance(each, Digest)]
        assert sum(each.motion is not None for each in read) == kept


def _half(path: Path) -> bytes:
    return path.read_bytes()[: path.stat().st_size // 2]


DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "cut.npz": lambda whole, path: path.write_bytes(_half(whole)),
    "empty.npz": lambda whole, path: path.touch(),
    "text.npz": lambda whole, path: path.write_text("not an archive"),
    "grey.npz": lambda whole, path: np.savez(path, frames=np.zeros((5, 8, 8, 1), np.uint8)),
    "none.npz": lambda whole, path: np.savez(path, frames=np.zeros((0, 8, 8, 3), np.uint8)),
    "float.npz": lambda whole, path: np.savez(path, frames=np.zeros((5, 8, 8, 3), np.float32)),
    "nan.npz": lambda whole, path: np.savez(
        path, frames=np.zeros((5, 8, 8, 3), np.uint8), actions=np.full((4, 2), np.nan)
    ),
    "inf.npz": lambda whole, path: np.savez(path, frames=np.zeros((5, 8, 8, 3), np.uint8), rewards=np.full(4, np.inf)),
    "short.npz": lambda whole, path: np.savez(path, frames=np.zeros((9, 8, 8, 3), np.uint8), actions=np.zeros((3, 2))),
    "loop.npz": lambda whole, path: path.symlink_to(path.name),
    "gone.npz": lambda whole, path: path.symlink_to("nowhere.npz"),
    "named.mp4": lambda whole, path: path.write_bytes(whole.read_bytes()),
}


def test_every_damaged_file_is_named_and_every_good_one_is_read(tmp_path: Path, table: list[Episode]) -> None:
    paths = save_episodes(tmp_path, table[:6])
    flipped = bytearray(paths[5].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    paths[5].write_bytes(flipped)
    for name, damage in DAMAGE.items():
        damage(paths[0], tmp_path / name)
    found = inspect(str(tmp_path), OPTIONS)
    damaged = {Path(each.file).name for each in found.findings if each.lint.code == "unreadable"}
    assert damaged == {*DAMAGE, paths[5].name}
    assert all(str(each.file) in each.detail for each in found.findings if each.lint.code == "unreadable")
    assert {each.name for each in found.digests} == {path.stem for path in paths[:5]}
    assert found.episodes == 6 + len(DAMAGE)


def test_videos_that_break_off_are_named(tmp_path: Path, table: list[Episode]) -> None:
    for suffix in (".mp4", ".webm", ".gif"):
        write_video(tmp_path / f"good{suffix}", table[0].frames, zoom=2)
        content = (tmp_path / f"good{suffix}").read_bytes()
        (tmp_path / f"cut{suffix}").write_bytes(content[: int(0.7 * len(content))])
        (tmp_path / f"empty{suffix}").touch()
    found = inspect(str(tmp_path), OPTIONS)
    damaged = {Path(each.file).name for each in found.findings if each.lint.code == "unreadable"}
    assert damaged == {f"{kind}{suffix}" for kind in ("cut", "empty") for suffix in (".mp4", ".webm", ".gif")}
    assert len(found.digests) == 3


def test_several_layouts_are_a_finding_and_all_are_read(tmp_path: Path, table: list[Episode]) -> None:
    save_episodes(tmp_path / "arrays", table[:3])
    write_video(tmp_path / "clip.mp4", table[4].frames, zoom=2)
    found = inspect(str(tmp_path), OPTIONS)
    assert found.findings[0].lint.code == "layout"
    assert [each.name for each in found.digests] == ["arrays/000000", "arrays/000001", "arrays/000002", "clip"]


def test_an_error_nobody_foresaw_is_a_finding(
    tmp_path: Path, table: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_episodes(tmp_path, table[:3])

    def explode(*_: object) -> None:
        raise ZeroDivisionError("in the middle of a library")

    monkeypatch.setattr(arrays, "frames_from_array", explode)
    found = inspect(str(tmp_path), OPTIONS)
    assert [each.lint.code for each in found.findings] == ["reader-failed"] * 3
    assert "ZeroDivisionError: in the middle of a library" in found.findings[0].detail


def test_every_byte_of_a_stored_folder_is_hashed(tmp_path: Path, table: list[Episode]) -> None:
    save_episodes(tmp_path / "set", table[:6])
    folder = tmp_path / "stored"
    convert(Conversion(source=str(tmp_path / "set"), out=str(folder), size=32, workers=1, episodes_per_shard=6))
    found = inspect(str(folder), OPTIONS)
    assert not found.findings
    assert [each.name for each in found.digests] == [f"{number:06d}" for number in range(6)]
    generator = torch.Generator().manual_seed(0)
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"):
        whole = path.read_bytes()
        content = bytearray(whole)
        bit = int(torch.randint(8 * len(content), (), generator=generator))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        flipped = inspect(str(folder), OPTIONS)
        assert "hash-mismatch" in {each.lint.code for each in flipped.findings}, path
        assert str(path) in " ".join(each.detail for each in flipped.findings)
        path.unlink()
        assert "hash-mismatch" in {each.lint.code for each in inspect(str(folder), OPTIONS).findings}, path
        path.write_bytes(whole)
    (folder / "manifest.json").write_text("{")
    assert inspect(str(folder), OPTIONS).problems


def test_workers_find_what_one_process_finds(tmp_path: Path, table: list[Episode]) -> None:
    paths = save_episodes(tmp_path, [*table[:6], table[0]])
    paths[2].write_bytes(b"")
    one, two = (inspect(str(tmp_path), OPTIONS, workers=workers) for workers in (1, 2))
    assert [each.name for each in one.digests] == [each.name for each in two.digests]
    assert one.findings == two.findings
    assert {each.lint.code for each in one.findings} == {"unreadable", "duplicate"}
