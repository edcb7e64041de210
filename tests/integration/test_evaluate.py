"""`ivideo evaluate`: cards, comparisons, interruptions, faults, on a model too small to know anything."""

import json
import math
import os
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_rollouts import build

from ivideo import rollout
from ivideo.cli import main
from ivideo.embedding import EmbeddingConfig
from ivideo.evaluation import runner
from ivideo.evaluation.card import Card
from ivideo.evaluation.compare import differences
from ivideo.evaluation.measurement import measure

EVERYTHING = ("--measures", "[all]", "--frames", "3", "--horizons", "1,3", "--held_out", "all")
FILES = ["card.json", "report.html", "report.png", "table.md"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    build(EmbeddingConfig(action_dim=2, action_on="frame", guide=8), heads=True, full=False).save_pretrained(folder)
    return str(folder)


def save_episode(folder: Path, number: int, *, length: int = 5, scale: float = 1.0) -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(number)
    np.savez(
        folder / f"{number:02}.npz",
        image=rng.integers(256, size=(length, 32, 32, 3), dtype=np.uint8),
        actions=scale * rng.normal(size=(length, 2)).astype(np.float32),
        rewards=rng.normal(size=length).astype(np.float32),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "noise"
    for number in range(6):
        save_episode(folder, number)
    return folder


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages and pictures take longer than all else here, and have tests of their own."""
    for name in ("write_page", "write_picture"):
        monkeypatch.setattr(f"ivideo.evaluation.evaluate.{name}", lambda path, *_: path.touch())


@pytest.fixture(scope="module")
def whole_folder(model: str, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the verb leaves without further options, with page and picture, for all who only look at it."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main(["evaluate", model, "--source", str(data), "--out", str(out), *EVERYTHING]) == 0
    return out


@pytest.fixture(scope="module")
def whole(whole_folder: Path) -> Card:
    """Its card."""
    assert sorted(path.name for path in whole_folder.iterdir()) == FILES
    return Card.load(whole_folder)


@pytest.fixture
def evaluate(model: str, data: Path, tmp_path: Path):
    """Runs the verb on that model and data, into a folder of that name; the card."""

    def run(name: str, *options: str, source: Path = data) -> Card:
        out = tmp_path / name
        assert main(["evaluate", model, "--source", str(source), "--out", str(out), *EVERYTHING, *options]) == 0
        assert sorted(path.name for path in out.iterdir()) == FILES
        return Card.load(out)

    return run


def values(card: Card) -> dict[tuple[str, str, str], list[float]]:
    return {(e.quantity, e.source, e.per): [each.value for each in e.values] for e in card.figures}


def test_a_card_says_what_was_measured_of_what_and_how(model: str, data: Path, whole_folder: Path, whole: Card) -> None:
    card = whole
    assert "<svg" in (whole_folder / "report.html").read_text()
    assert (whole_folder / "report.png").stat().st_size > 10_000
    assert card.model["name"] == model
    assert len(card.model["sha256"]) == len(card.data["sha256"]) == 64
    assert card.data["clips"] == 6
    assert (card.protocol.context, card.protocol.resolution, card.protocol.seeds) == (2, 32, (0,))
    assert set(card.versions) == {"ivideo", "torch", "python"}
    assert f"--source {data}" in card.command
    assert card.left_out == ()
    found = values(card)
    for source in ("prediction", "copy-last-frame", "shuffled actions", "teacher-forced", "tokenizer's ceiling"):
        assert len(found["PSNR, dB", source, "frame"]) == 3
        assert len(found["PSNR, dB", source, "clip"]) == 1
    for quantity in ("SSIM x100", "Reward, R2", "Cross-entropy, nats per token", "Frames repeated, %"):
        assert any(name == quantity for name, _, _ in found), quantity
    assert sum(card.histograms["dynamics codes"]) == 6 * 3 * 4
    assert sum(count for _, _, count in card.reliability["reward"]) == 6 * 3
    assert "| reward predicted | true | frames |" in (whole_folder / "table.md").read_text()


def test_a_card_survives_its_file(whole: Card, tmp_path: Path) -> None:
    whole.save(tmp_path / "again.json")
    again = Card.load(tmp_path / "again.json")
    assert repr(again) == repr(whole)  # NaN is unlike itself, but reads alike
    assert "NaN" not in (tmp_path / "again.json").read_text()


def test_two_evaluations_of_the_same_are_the_same_and_can_be_compared(
    evaluate, whole_folder: Path, whole: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = evaluate("b")
    assert repr(whole.figures) == repr(second.figures)
    assert differences(whole, second) == []
    capsys.readouterr()
    assert main(["evaluate", "--compare", str(whole_folder / "card.json"), str(tmp_path / "b")]) == 0
    assert "PSNR, dB" in capsys.readouterr().out


def test_unlike_cards_refuse_to_be_compared_and_say_why(
    evaluate, whole_folder: Path, whole: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        save_episode(tmp_path / "other", number + 10)
    drawn = evaluate("b", "--samples", "3", "--temperature", "1.0", "--reduce", "best", source=tmp_path / "other")
    assert main(["evaluate", "--compare", str(whole_folder), str(tmp_path / "b")]) == 2
    said = capsys.readouterr().err
    for word in ("samples: 1 and 3", "reduce: mean and best", "temperature: 0.0 and 1.0", "data: 6 clips of"):
        assert word in said
    assert "title" not in said
    network = replace(drawn, networks={"lpips": {"name": "vgg", "sha256": "ab" * 32}})
    assert differences(drawn, network) == ["network of lpips: none and vgg (abababababab)"]
    assert differences(whole, replace(whole, protocol=replace(whole.protocol, title="mine"))) == []


def test_the_best_of_several_futures_is_better_than_their_mean(evaluate) -> None:
    drawn = ("--samples", "5", "--temperature", "1.0", "--qualities", "[mse, psnr]", "--seeds", "0,1")
    best, mean = (values(evaluate(how, *drawn, "--reduce", how)) for how in ("best", "mean"))
    assert best["PSNR, dB", "prediction", "clip"] > mean["PSNR, dB", "prediction", "clip"]
    assert best["MSE x1000", "prediction", "clip"] < mean["MSE x1000", "prediction", "clip"]
    still = ("PSNR, dB", "copy-last-frame", "clip")
    assert best[still] == mean[still]


def test_counted_context_frames_are_the_tokenizer_s(evaluate) -> None:
    counted, future = (evaluate(name, "--count_context", name) for name in ("true", "false"))
    whole, later = values(counted), values(future)
    key = ("PSNR, dB", "prediction", "frame")
    assert whole[key] == later[key]  # single frames are imagined ones in both
    shown = 5 * whole["PSNR, dB", "prediction", "clip"][0] - 3 * later["PSNR, dB", "prediction", "clip"][0]
    copied = 5 * whole["PSNR, dB", "copy-last-frame", "clip"][0] - 3 * later["PSNR, dB", "copy-last-frame", "clip"][0]
    assert shown == pytest.approx(copied)  # the two reconstructed context frames are the same for every source
    assert shown / 2 < 40.0


def test_clips_are_the_same_alone_and_beside_others(evaluate, whole: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "BATCH", 2)
    parts = evaluate("parts")
    assert parts.data["clips"] == whole.data["clips"]
    found, other = values(parts), values(whole)
    for key in (
        ("PSNR, dB", "prediction", "frame"),
        ("Cross-entropy, nats per token", "prediction", "frame"),
        ("PSNR, dB", "teacher-forced", "frame"),
        ("Perplexity of codes", "imagined codes", "set"),
    ):
        assert found[key] == pytest.approx(other[key], rel=1e-5)


def test_an_evaluation_that_is_stopped_goes_on(evaluate, model: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(runner, "BATCH", 2)
    whole, calls = evaluate("whole"), []

    def stopping(*arguments, **how):
        calls.append(how)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*arguments, **how)

    monkeypatch.setattr(runner, "measure", stopping)
    command = shlex.split(whole.command)[1:]
    place = command.index("--out") + 1
    command[place] = str(tmp_path / "stopped")
    assert main(command) == 130
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["parts"]
    capsys.readouterr()
    assert main([*command, "--top_k", "7"]) == 2
    assert "unfinished evaluation of something else (top_k 100, now 7)" in capsys.readouterr().err
    assert main(command) == 0
    assert len(calls) == 4  # of three batches, one twice
    assert repr(Card.load(tmp_path / "stopped").figures) == repr(whole.figures)
    assert main(command) == 2
    assert "card.json exists already" in capsys.readouterr().err


def test_a_damaged_part_is_measured_again(whole: Card, tmp_path: Path, monkeypatch) -> None:
    command = shlex.split(whole.command)[1:]
    command[command.index("--out") + 1] = str(tmp_path / "stopped")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ivideo.evaluation.evaluate.gather", stop)
        assert main(command) == 130
    part = tmp_path / "stopped/parts/0-00000.safetensors"
    part.write_bytes(part.read_bytes()[:-100])
    assert main(command) == 0
    assert repr(Card.load(tmp_path / "stopped").figures) == repr(whole.figures)


def test_a_prediction_that_is_not_finite_is_reported_and_not_averaged(
    evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, step = tmp_path / "many", rollout.step
    for number in range(24):
        save_episode(folder, number)
    save_episode(folder, 24, scale=1000.0)

    def lost(model, state, action, **how):
        """What a model that overflows where actions are large would say."""
        state, seen = step(model, state, action, **how)
        return state, replace(seen, log_likelihood=seen.log_likelihood.where(action.abs().amax(dim=1) < 50, torch.nan))

    monkeypatch.setattr(rollout, "step", lost)
    card = evaluate("out", "--measures", "[changes, rewards]", source=folder)
    assert card.left_out == (("24 from frame 0", "the prediction is not finite"),)
    assert card.data["clips"] == 24
    (folder / "24.npz").unlink()
    without = evaluate("without", "--measures", "[changes, rewards]", source=folder)
    for key in (("PSNR, dB", "prediction", "frame"), ("PSNR, dB", "copy-last-frame", "clip")):
        assert values(card)[key] == pytest.approx(values(without)[key])
    assert math.isfinite(values(card)["Reward, R2", "prediction", "frame"][0])


def test_a_damaged_clip_is_listed_and_too_many_are_an_error(evaluate, tmp_path: Path, model: str, capsys) -> None:
    folder = tmp_path / "many"
    for number in range(24):
        save_episode(folder, number)
    (folder / "11.npz").write_bytes(b"PK\x03\x04 cut short")
    card = evaluate("out", source=folder)
    assert [name for name, _ in card.left_out] == ["11"]
    assert card.data["clips"] == 23
    (folder / "12.npz").write_bytes(b"PK\x03\x04 cut short")
    command = ["evaluate", model, "--source", str(folder), *EVERYTHING]
    assert main(command) == 2
    assert "2 of 24 clips and episodes could not be used, more than 5%: 11: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--fvd", "random3d"), "fvd is asked for with 6 clips; expected at least 64"),
        (("--fvd", "i3d", "--min_clips", "2"), "pass --trust"),
        (("--qualities", "[lpips]"), "hf download"),
        (("--context", "1"), "the protocol has context 1 and the model 2"),
        (("--config", "evaluate/bair64"), "resolution 64"),
        (("--fvd", "i4d", "--min_clips", "2"), "'i4d' is no network; expected i3d"),
        (("--samples", "3"), "temperature 0 makes all 3 samples the same one"),
        (("--measures", "[colour]"), "colour"),
        (("--beside", "pushing_table"), "pushing_table cannot stand beside"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_work(
    model: str, data: Path, monkeypatch, capsys, options: tuple[str, ...], words: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(runner, "measure", lambda *_, **__: pytest.fail("it was begun"))
    command = ["evaluate", model, "--source", str(data), "--clips", "6", *EVERYTHING, *options]
    if "--config" in options:  # but for the network and the other context, the protocol is for such a model
        command += ["--qualities", "[psnr]", "--fvd", "null", "--context", "2"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_distances_between_sets_compare_equally_many_clips(evaluate) -> None:
    options = ("--fvd", "random3d", "--fid", "random2d", "--min_clips", "4", "--seeds", "0,1", "--temperature", "1.0")
    card = evaluate("out", *options)
    found = {(e.quantity, e.source): e.values[0] for e in card.figures if e.per == "set"}
    for kind in ("FVD", "FID"):
        assert found[kind, "prediction"].value > 0
        assert found[kind, "prediction"].low <= found[kind, "prediction"].value <= found[kind, "prediction"].high
        assert found[kind, "copy-last-frame"].value > 0
    assert set(card.networks) == {"fvd", "fid"}


def test_another_model_imagines_beside_it(evaluate, model: str) -> None:
    found = values(evaluate("out", "--beside", model))
    assert found["PSNR, dB", model, "frame"] == found["PSNR, dB", "prediction", "frame"]


def test_a_card_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("a.json", "{}"), ("b.json", "[1"), ("c.json", json.dumps({"format": 1, "model": 3}))):
        (tmp_path / name).write_text(text)
        assert main(["evaluate", "--compare", str(tmp_path / name), str(tmp_path / name)]) == 2
        said = capsys.readouterr().err
        assert name in said
        assert said.count("\n") == 1
    assert main(["evaluate", "--compare", str(tmp_path / "a.json")]) == 2
    assert "second is missing" in capsys.readouterr().err
    assert main(["evaluate", "--compare", str(tmp_path / "none.json"), os.devnull]) == 2
    assert "none.json does not exist" in capsys.readouterr().err


def test_figures_are_written_into_a_document_and_nothing_else_is(evaluate, tmp_path: Path, capsys) -> None:
    document = tmp_path / "results.md"
    document.write_text("before\n<!-- evaluation out -->\nold\n<!-- end of evaluation -->\nafter\n")
    card = evaluate("out", "--fill", str(document))
    text = document.read_text()
    assert text.startswith("before\n<!-- evaluation out -->\n\n```sh\nivideo evaluate")
    assert text.endswith("![out](out/report.png)\n\n<!-- end of evaluation -->\nafter\n")
    assert "old" not in text
    value = values(card)["PSNR, dB", "prediction", "clip"][0]
    assert f"| PSNR, dB | prediction | {value:.2f} [" in text
    assert main(["evaluate", "x", "--fill", str(document), "--out", str(tmp_path / "else")]) == 2
    assert "has no place for else" in capsys.readouterr().err
    assert main(["evaluate", "x", "--fill", str(document)]) == 2
    assert "--fill needs --out" in capsys.readouterr().err
