"""`ivideo bench`: how fast this machine imagines, beside the released implementation's way on the same weights."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.table import Table

from ivideo.bench.measure import Timing, measure
from ivideo.bench.roofline import Machine
from ivideo.bench.workloads import NAMES, Ways, all_workloads
from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.controls import ActionInput
from ivideo.embedding import EmbeddingConfig
from ivideo.files import check_new_file, replace_file
from ivideo.graphs import FrameGraphs
from ivideo.heads import HeadsConfig
from ivideo.hub import check_device
from ivideo.memory import check_rollout
from ivideo.world_model import Precision, WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import TokenizerConfig, VideoTokenizer
from transformer import TransformerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What to measure."""

    size: Literal["nano", "base"] = "nano"
    """Random weights in the sizes of the released 64 px model (base), or small ones that take a minute (nano)."""
    precision: Precision = "float32"
    """In what our layers multiply; in fewer bits, results are not the same and their distance is told."""
    only: str = ""
    """Only the rows whose name contains this."""
    horizon: int = 3
    """Frames of a rollout or plan."""
    batch: int = 4
    """Environments of an MBPO rollout, each with its own context."""
    branches: int = 8
    """Candidates of a plan, which share one context."""
    parts: int = 1
    """Equal parts of an MBPO rollout or plan of which the released way does one, its time counted that often."""
    pairs: int = 5
    """Runs of either way, in turn."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    graphs: bool = False
    """Replay our frames from CUDA graphs."""
    threads: int = 1
    """Processor threads; with one, processor time is what the work took, whatever else runs beside it."""
    out: str | None = None
    """Write the figures to this JSON file too."""
    plot: str | None = None
    """Draw instead, into this png or svg, what a frame costs as batch, horizon and branches grow; needs matplotlib."""
    overwrite: bool = False
    """Replace such a file."""

    def __post_init__(self) -> None:
        if self.plot is not None and Path(self.plot).suffix not in (".png", ".svg"):
            raise ValueError(f"plot is {self.plot!r}; expected a file that ends in .png or .svg")
        check_least(self, horizon=1, batch=1, branches=1, parts=1, pairs=1, threads=1)


def main(argv: list[str]) -> int:
    """`ivideo bench`."""
    wanted = parse(Bench, argv, prog="ivideo bench", description="Measure how fast a model imagines on this machine.")
    for path in (wanted.out, wanted.plot):
        if path is not None:
            check_new_file(Path(path), overwrite=wanted.overwrite)
    torch.set_num_threads(wanted.threads)
    check_device(wanted.device)
    torch.backends.cudnn.allow_tf32 = False  # both ways in the float32 they say
    model = random_model(wanted.size).to(wanted.device)
    if wanted.plot is not None:
        return _plot(model, wanted, Path(wanted.plot))
    if wanted.horizon > model.max_frames:
        raise ValueError(f"horizon is {wanted.horizon}; the released way ends after {model.max_frames} frames")
    most = max(wanted.batch, wanted.branches)
    check_rollout(model, contexts=most, branches=most, frames=wanted.horizon)
    machine = Machine.measured(model.device)
    timings = []
    exact = wanted.precision == "float32"
    ways = Ways(model, wanted.precision)
    if wanted.graphs:
        FrameGraphs.of(ways.model)
    sizes = {"horizon": wanted.horizon, "batch": wanted.batch, "branches": wanted.branches, "parts": wanted.parts}
    for row in all_workloads(ways, wanted.only, **sizes):
        print(f"{row.name}, {row.shape} ...", end="", flush=True)
        timings.append(measure(row, machine, pairs=wanted.pairs, exact=exact, device=model.device))
        print(f" {timings[-1].ratio:.1f} times as fast", flush=True)
    if not timings:
        raise ValueError(f"no row's name contains {wanted.only!r}; there are {', '.join(NAMES)}")
    results = "same results" if exact else "results apart as shown"
    title = f"{wanted.size} model, {wanted.threads} thread(s): the released way in float32, ours in {wanted.precision}"
    Console(width=130).print(_table(f"{title}; {results}", timings, exact=exact))
    if wanted.out is not None:
        rows = [asdict(each) for each in timings]
        _write(Path(wanted.out), wanted, {"machine": asdict(machine), "rows": rows})
    return 0


def _plot(model: WorldModel, wanted: Bench, path: Path) -> int:
    """Draw the sweeps, and write them down where a file was named."""
    try:
        from ivideo.bench.sweep import draw, sweep
    except ImportError as error:
        raise ImportError("plots need matplotlib; install it: pip install matplotlib") from error
    curves = []
    for curve in sweep(model.reduce(wanted.precision)):
        print(f"{curve.panel}, {curve.name}: {1e3 * curve.seconds[0]:.0f} to {1e3 * curve.seconds[-1]:.0f} ms a frame")
        curves.append(curve)
    draw(curves, f"{wanted.size} model, {wanted.threads} thread(s), {wanted.precision}", path)
    if wanted.out is not None:
        _write(Path(wanted.out), wanted, {"curves": [asdict(curve) for curve in curves]})
    print(f"wrote {path}")
    return 0


def _write(path: Path, wanted: Bench, results: dict[str, object]) -> None:
    figures = {"settings": asdict(wanted), "torch": torch.__version__} | results
    text = json.dumps(figures, indent=2) + "\n"
    replace_file(path, lambda stage: stage.write_text(text, encoding="utf-8"))


def random_model(size: Literal["nano", "base"]) -> WorldModel:
    """A model of the released architecture with actions and rewards, its weights random (seed 0)."""
    torch.manual_seed(0)
    tokenizer, transformer = TokenizerConfig(), TransformerConfig()
    if size == "nano":
        tokenizer = replace(tokenizer, channels=(32, 64, 128), context_codes=512, dynamics_codes=512)
        transformer = replace(transformer, width=256, layers=4, heads=4, ffn_width=1024)
    config = WorldModelConfig(
        transformer=transformer, embedding=EmbeddingConfig(action_dim=4), heads=HeadsConfig(reward=True)
    )
    model = WorldModel(VideoTokenizer(tokenizer), config).eval()
    assert isinstance(model.embedding.action, ActionInput)
    torch.nn.init.normal_(model.embedding.action.weight, std=0.02)  # zero at first, which would hide a mistake
    start, stop = model.layout.dynamics_ids
    with torch.no_grad():  # so that the likeliest of all ids is a dynamics code, as in a trained model
        model.transformer.head.weight[:start] = 0
        model.transformer.head.weight[stop:] = 0
        for codebook in (model.tokenizer.context_codebook, model.tokenizer.dynamics_codebook):
            codebook.normal_(std=0.2)  # as wide as what is looked up: codes far apart, as in a trained tokenizer
    return model


def _table(title: str, timings: list[Timing], *, exact: bool) -> Table:
    table = Table(title=title)
    for name in ("workload", "shape"):
        table.add_column(name)
    for name in ("released way, s", "ours, s", "ratio", "of the limit", "per second"):
        table.add_column(name, justify="right")
    if not exact:
        table.add_column("apart")
    for each in timings:
        ratio = f"{each.ratio:.1f} ±{each.spread:.1f}"
        seconds = (f"{each.reference_s:.3f}", f"{each.ours_s:.3f}")
        columns = [each.name, each.shape, *seconds, ratio, f"{each.share:.0%}", f"{each.frames_per_s:.1f}"]
        table.add_row(*columns, *([] if exact else [_apart(each.apart)]))
    return table


def _apart(distances: dict[str, float]) -> str:
    return ", ".join(f"{name} {distance:.2g}" for name, distance in distances.items())
