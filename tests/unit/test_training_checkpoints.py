"""A checkpoint is whole or not there, whatever happens while it is written or afterwards."""

import errno
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from ivideo.training import checkpoints


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


TENSORS = {"model": {"a": torch.arange(6.0).view(2, 3), "count": torch.tensor(3)}, "optimizer": {"m": torch.ones(4)}}


def publish(folder: Path, step: int, keep: int = 3) -> Path:
    return checkpoints.publish(folder, step, TENSORS, {"step": step}, keep=keep)


def test_what_is_read_is_what_was_published(tmp_path: Path) -> None:
    path = publish(tmp_path, 7)
    found, warnings = checkpoints.newest(tmp_path)
    assert found is not None
    assert (found.path, found.step, found.state, warnings) == (path, 7, {"step": 7}, [])
    for group, tensors in TENSORS.items():
        assert found.tensors[group].keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(found.tensors[group][name], tensor)


def test_tensors_that_share_memory_are_saved(tmp_path: Path) -> None:
    shared = torch.ones(3)
    checkpoints.publish(tmp_path, 1, {"model": {"a": shared, "b": shared[:2]}}, {}, keep=1)
    found, _ = checkpoints.newest(tmp_path)
    assert found is not None
    assert torch.equal(found.tensors["model"]["b"], torch.ones(2))


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 100_000_000, 15):
        publish(tmp_path, step, keep=2)
    assert [path.name for path in checkpoints.listed(tmp_path)] == ["step-100000000", "step-00000015"]


def damages() -> list[Callable[[Path], None]]:
    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        bit = random.Random(path.name).randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)

    return [flip, lambda path: path.write_bytes(path.read_bytes()[:-1]), lambda path: path.unlink(),
            lambda path: path.write_bytes(b"")]  # fmt: skip


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", range(4))
def test_damage_is_found_named_and_the_one_before_is_used(tmp_path: Path, name: str, damage: int) -> None:
    publish(tmp_path, 1)
    newest = publish(tmp_path, 2)
    damages()[damage](newest / name)
    found, warnings = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert len(warnings) == 1
    assert str(newest) in warnings[0]
    assert name in warnings[0]


real = json.dumps
STRANGE = {
    "nested too deeply": "[" * 100_000 + "]" * 100_000,
    "no valid JSON": '{"step": ',
    "Exceeds the limit": '{"step": ' + "1" * 5000 + "}",
    "a JSON list, not an object": "[1]",
    "at most": " " * 2000 + "{}",
}


@pytest.mark.parametrize("problem", STRANGE)
def test_a_state_that_no_run_writes_is_named_and_the_one_before_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    """The file is as its manifest says: it was made to be so."""
    publish(tmp_path, 1)
    monkeypatch.setattr(checkpoints, "_MAX_JSON", 10**6 if problem != "at most" else 1000)
    with monkeypatch.context() as patch:
        patch.setattr(
            checkpoints.json, "dumps", lambda value, **how: STRANGE[problem] if "step" in value else real(value, **how)
        )
        newest = publish(tmp_path, 2)
    found, warnings = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert str(newest) in warnings[0]
    assert "state.json" in warnings[0]
    assert problem in warnings[0]
    assert checkpoints.started_with(tmp_path, "step") == 1


def test_a_manifest_that_no_run_writes_is_named(tmp_path: Path) -> None:
    path = publish(tmp_path, 1)
    (path / "manifest.json").write_text("[" * 100_000)
    assert checkpoints.damage(path) == "manifest.json is missing or unreadable"


def test_of_300_damages_300_are_found(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    newest = publish(tmp_path, 2)
    files, draw = sorted(newest.iterdir()), random.Random(0)
    for number in range(300):
        file = files[number % len(files)]
        good, kind = file.read_bytes(), number // len(files) % 3
        if kind == 0:
            file.unlink()
        elif kind == 1:
            file.write_bytes(good[: draw.randrange(len(good))])
        else:
            bad = bytearray(good)
            bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
            file.write_bytes(bad)
        found, warnings = checkpoints.newest(tmp_path)
        assert found is not None
        assert found.step == 1, (number, file.name)
        assert file.name in warnings[0]
        file.write_bytes(good)
    found, warnings = checkpoints.newest(tmp_path)
    assert found is not None
    assert (found.step, warnings) == (2, [])


def test_every_flipped_bit_of_a_tensor_file_is_found(tmp_path: Path) -> None:
    path = publish(tmp_path, 1) / "model.safetensors"
    good = path.read_bytes()
    for position in range(0, 8 * len(good), 37):
        data = bytearray(good)
        data[position // 8] ^= 1 << position % 8
        path.write_bytes(data)
        assert "model.safetensors" in checkpoints.damage(path.parent)


CALLS = [("os", "fsync"), ("path", "rename"), ("path", "write_text"), ("module", "save_file"), ("module", "digest")]


@pytest.mark.parametrize(("owner", "call"), CALLS)
@pytest.mark.parametrize("after", range(3))
def test_a_failure_at_any_point_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str, call: str, after: int
) -> None:
    publish(tmp_path, 1, keep=1)
    target = {"os": os, "path": Path, "module": checkpoints}[owner]
    real, calls = getattr(target, call), iter(range(100))

    def fail(*arguments: object, **options: object) -> object:
        if next(calls) == after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(target, call, fail)
        try:
            publish(tmp_path, 2, keep=1)
        except OSError as error:
            assert "No space left" in str(error)  # noqa: PT017  (a call may be made fewer times than that)
    found, warnings = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step in (1, 2)
    assert warnings == []
    assert all(checkpoints.damage(path) == "" for path in checkpoints.listed(tmp_path))
    checkpoints.sweep(tmp_path)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_full_disk_is_one_line_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: dict[str, Tensor], path: Path) -> None:
        path.write_bytes(b"half of it")
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match=r"checkpoint of step 1 in .*No space left.*make room") as caught:
        publish(tmp_path, 1)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, value: float) -> None:
    publish(tmp_path, 1)
    with pytest.raises(ValueError, match="model tensor a holds NaN or infinite values at step 2"):
        checkpoints.publish(tmp_path, 2, {"model": {"a": torch.tensor([1.0, value])}}, {}, keep=1)
    assert [path.name for path in checkpoints.listed(tmp_path)] == ["step-00000001"]


def test_a_step_saved_twice_is_saved_once_unless_it_was_damaged(tmp_path: Path) -> None:
    path = publish(tmp_path, 1)
    before = (path / "manifest.json").stat().st_mtime_ns
    assert publish(tmp_path, 1) == path
    assert (path / "manifest.json").stat().st_mtime_ns == before
    (path / "state.json").write_text("{}")
    publish(tmp_path, 1)
    assert checkpoints.damage(path) == ""
