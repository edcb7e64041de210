"""The benchmark compares what is equal, and says so where it is not."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_rollouts import OPTIONS, build

from ivideo.bench import sweep
from ivideo.bench.measure import agree, apart, measure
from ivideo.bench.reference import Reference
from ivideo.bench.roofline import Machine, Work
from ivideo.bench.workloads import Ways, Workload, all_workloads
from ivideo.cli import main
from ivideo.heads import HeadsConfig
from ivideo.world_model import WorldModel

SLOW = Machine(flops_per_s=1e9, bytes_per_s=1e9)


@pytest.fixture
def model() -> WorldModel:
    """A tiny model whose likeliest id is always a dynamics code."""
    model = build(OPTIONS[1], plain=True)
    model.heads = type(model.heads)(HeadsConfig(reward=True), model.config.transformer.width, model.action_dim)
    start, stop = model.layout.dynamics_ids
    with torch.no_grad():
        model.transformer.head.weight[:start] = 0
        model.transformer.head.weight[stop:] = 0
    return model.eval()


def test_both_ways_agree_on_every_row(model: WorldModel) -> None:
    rows = list(all_workloads(Ways(model)))
    assert len({(row.name, row.shape) for row in rows}) == len(rows) == 12
    for row in rows:
        agree(row, row.reference(), row.ours())
        agree(row, row.reference(), row.ours())  # live rows go on from where they are


@pytest.mark.parametrize("only", ["MBPO rollout", "plan by pixels"])
def test_the_released_way_by_parts(model: WorldModel, only: str) -> None:
    (row,) = all_workloads(Ways(model), only, batch=6, branches=6, parts=3)
    theirs, ours = row.reference(), row.ours()
    assert {name: len(value) for name, value in theirs.items() if name != "context"} == {"codes": 2, "pixels": 2}
    assert len(ours["codes"]) == len(ours["pixels"]) == 6
    assert "2 rows x 3" in row.shape
    agree(row, theirs, ours)
    assert apart(theirs, ours)["codes"] == 0
    theirs["codes"] = theirs["codes"].flip(0) + 1
    with pytest.raises(ArithmeticError, match="codes differ"):
        agree(row, theirs, ours)
    with pytest.raises(ValueError, match="6 rows cannot be divided into 4 equal parts"):
        list(all_workloads(Ways(model), only, batch=6, branches=6, parts=4))


def test_a_wrong_result_is_no_result(model: WorldModel) -> None:
    ways = Ways(model)
    with torch.no_grad():
        model.transformer.blocks[0].ffn.down.weight.neg_()  # the reference reads the same weights
        ways.reference.language.load_state_dict(ways.reference.language.state_dict(), assign=True)
        model.transformer.norm.weight = torch.nn.Parameter(model.transformer.norm.weight * 1.5)
    for row in all_workloads(ways, only="token step"):
        with pytest.raises(ArithmeticError, match=r"token step, B=.*: logits differ by up to .* more than 0.0001"):
            measure(row, SLOW, pairs=1)


def test_fewer_bits_are_told_apart_and_not_refused(model: WorldModel) -> None:
    (row,) = all_workloads(Ways(model, "bfloat16"), only="MBPO frame")
    timing = measure(row, SLOW, pairs=1, exact=False)
    assert set(timing.apart) == {"codes", "pixels"}
    (row,) = all_workloads(Ways(model), only="encoder")
    assert measure(row, SLOW, pairs=1).apart == {"context": 0, "dynamics": 0}


def test_distances() -> None:
    theirs = {"codes": torch.tensor([1, 2, 3, 4]), "logits": torch.tensor([0.0, 3.0])}
    ours = {"codes": torch.tensor([1, 9, 3, 4]), "logits": torch.tensor([4.0, 3.0])}
    assert apart(theirs, ours) == {"codes": 0.25, "logits": pytest.approx(8**0.5)}


def test_curves_and_their_picture(model: WorldModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BATCHES", "HORIZONS", "BRANCHES"):
        monkeypatch.setattr(sweep, name, (1, 3))
    curves = list(sweep.sweep(model))
    assert [(curve.name, curve.sizes) for curve in curves] == [("with pixels", [1, 3])] * 3 + [
        ("tokens only", [1, 3])
    ] * 3
    assert all(second > 0 for curve in curves for second in curve.seconds)
    sweep.draw(curves, "title", tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert text.count("tokens only") == 3
    sweep.draw(curves, "title", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_without_matplotlib(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ivideo.bench.sweep", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["bench", "--plot", str(tmp_path / "plot.png")]) == 2
    assert "plots need matplotlib; install it" in capsys.readouterr().err


def test_figures_of_a_row() -> None:
    calls: list[str] = []

    def way(name: str, work: int) -> dict[str, torch.Tensor]:
        calls.append(name)
        square = torch.eye(work)
        return {"ones": (square @ square).diagonal()[:1]}

    row = Workload(
        name="row",
        shape="any",
        frames=2,
        reference=lambda: way("theirs", 1500),
        ours=lambda: way("ours", 100),
        least=[Work(flops=1e6, bytes=0), Work(flops=0, bytes=2e6)],
    )
    timing = measure(row, SLOW, pairs=3)
    assert calls == ["theirs", "ours"] * 4
    assert timing.ratio > 2
    assert timing.reference_s > timing.ours_s > 0
    assert timing.share == pytest.approx(0.003 * timing.frames_per_s / 2)
    often = measure(replace(row, parts=100), SLOW, pairs=3)
    assert often.ratio > 20 * timing.ratio


def test_only_the_released_architecture_has_a_reference() -> None:
    for options in OPTIONS[2:]:
        with pytest.raises(ValueError, match="no code vectors, no guide"):
            Reference(build(options, plain=True))
    with pytest.raises(ValueError, match="no mask"):
        Reference(build(OPTIONS[1]))


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    assert main(["bench", "--only", "encoder", "--pairs", "1", "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert [row["name"] for row in figures["rows"]] == ["encoder"]
    assert figures["rows"][0]["ratio"] > 0
    assert "2+10 frames" in capsys.readouterr().out
    for arguments, words in (
        (["--only", "zzz"], "no row's name contains 'zzz'; there are token step, decoder"),
        (["--horizon", "31"], "the released way ends after 30 frames"),
        (["--branches", "1000000"], "1,000,000 futures of 3 frames would take"),
        (["--pairs", "0"], "pairs is 0; expected at least 1"),
        (["--size", "huge"], "size is 'huge'"),
        (["--out", str(out)], "exists"),
        (["--device", "cuba"], "'cuba' is no device"),
        (["--plot", "picture.txt"], "expected a file that ends in .png or .svg"),
        (["--precision", "int4"], "precision is 'int4'"),
    ):
        assert main(["bench", *arguments]) == 2
        assert words in capsys.readouterr().err
