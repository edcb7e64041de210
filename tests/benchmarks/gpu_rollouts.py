"""What a GPU imagines: frames a second of every shape that docs/performance.md has a goal for, one call for all.

    PYTHONPATH=. python tests/benchmarks/gpu_rollouts.py --out FOLDER                  # on a CUDA device
    PYTHONPATH=. python tests/benchmarks/gpu_rollouts.py --device cpu --size nano      # that it runs at all

First, in float32, frames replayed from graphs must be those drawn without: the same codes, pixels within one level.
Then everything is in bfloat16. A row is the median wall time of `--runs` runs after one that is not counted, each
begun and ended with the device idle, and its ratio to the same without graphs, run in turn with it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ivideo.bench.command import random_model
from ivideo.bench.roofline import settle
from ivideo.bench.workloads import GREEDY, random_actions, random_clip
from ivideo.graphs import FrameGraphs
from ivideo.state import RolloutState
from ivideo.world_model import WorldModel

GOALS = {
    "interactive, pixels": "250 frames/s",
    "32 own contexts x 10": "2,100 frames/s",
    "200 branches x 10, pixels": "0.33 s",
    "800 branches x 10, pixels": "1.3 s",
    "800 branches x 10, no pixels": "25,000 frames/s",
    "decoder, 64 frames": "60% of the matrix rate",
}


def rollout(model: WorldModel, start: RolloutState, horizon: int, *, decode: bool) -> torch.Tensor:
    """Codes of `horizon` frames of every row; with pixels, those are computed together at the end."""
    state, actions = start, random_actions(model, start.batch, horizon).to(model.transformer.norm.weight.dtype)
    for index in range(horizon):
        state, _ = model.step(
            state, actions[:, index], decode=False, sampling=GREEDY, guess=False, reward=index == horizon - 1
        )
    if decode:
        model.frames(state)
    return state.ids


def live(model: WorldModel, start: RolloutState, frames: int) -> torch.Tensor:
    """Frame after frame, each with its pixels, as a player sees them."""
    state, actions = start, random_actions(model, 1, frames).to(model.transformer.norm.weight.dtype)
    for index in range(frames):
        state, seen = model.step(state, actions[:, index], sampling=GREEDY, guess=False)
        assert seen.frame is not None
        seen.frame.cpu()
    return state.ids


def timed(model: WorldModel, run: Callable[[], object]) -> float:
    settle(model.device)
    began = time.perf_counter()
    run()
    settle(model.device)
    return time.perf_counter() - began


def compare(model: WorldModel, graphs: FrameGraphs | None, run: Callable[[], object], runs: int) -> dict[str, float]:
    """Median seconds without graphs and with them, in turn."""
    plain, replayed = [], []
    for count in range(runs + 1):
        model.graphs = None
        plain.append(timed(model, run))
        model.graphs = graphs
        replayed.append(timed(model, run))
        if not count:
            print(f"    first run: {plain[0]:.2f} s, recording {replayed[0]:.2f} s", flush=True)
    ratios = [slow / fast for slow, fast in zip(plain[1:], replayed[1:], strict=True)]
    return {
        "plain_s": statistics.median(plain[1:]),
        "graphs_s": statistics.median(replayed[1:]),
        "ratio": statistics.median(ratios),
    }


def agree(model: WorldModel, graphs: FrameGraphs) -> None:
    """Both ways give the same frames in float32."""
    for batch in (1, 3):
        clip, actions = random_clip(model, batch), random_actions(model, batch, 4)
        found = []
        for each in (None, graphs):
            model.graphs, state = each, model.start(clip)
            for index in range(4):
                state, seen = model.step(state, actions[:, index], sampling=GREEDY, guess=False)
            found.append((state.ids, seen.frame, seen.reward))
        (ids, frame, reward), (other_ids, other_frame, other_reward) = found
        assert torch.equal(ids, other_ids), f"{(ids != other_ids).float().mean():.1%} of the tokens differ"
        assert int((frame.int() - other_frame.int()).abs().max()) <= 1
        torch.testing.assert_close(reward, other_reward, rtol=1e-3, atol=1e-3)
        print(f"batch of {batch}: replayed frames are the drawn ones", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", default="base", choices=("nano", "base"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    model = random_model(given.size).to(given.device)
    graphs = FrameGraphs.of(model) if model.device.type == "cuda" else None
    if graphs is not None:
        agree(model, graphs)
        model.graphs = None
        model = model.to(torch.bfloat16)
        graphs = FrameGraphs.of(model)
    small = given.device == "cpu"
    horizon, many, more, most = (2, 2, 3, 4) if small else (10, 32, 200, 800)
    live_frames = 4 if small else model.remembered_frames
    one, own = model.start(random_clip(model, 1)), random_clip(model, many)
    codes = torch.randint(model.layout.dynamics_codes, (1, 64, model.layout.dynamics_tokens), device=model.device)
    rows: dict[str, tuple[int, Callable[[], object]]] = {
        "interactive, pixels": (live_frames, lambda: live(model, one, live_frames)),
        "32 own contexts x 10": (many * horizon, lambda: rollout(model, model.start(own), horizon, decode=False)),
        "200 branches x 10, pixels": (more * horizon, lambda: rollout(model, one.fork(more), horizon, decode=True)),
        "800 branches x 10, pixels": (most * horizon, lambda: rollout(model, one.fork(most), horizon, decode=True)),
        "800 branches x 10, no pixels": (most * horizon, lambda: rollout(model, one.fork(most), horizon, decode=False)),
        "decoder, 64 frames": (64, torch.inference_mode()(lambda: model.tokenizer.decode_frames(codes, one.context))),
    }
    results = {}
    for name, (frames, run) in rows.items():
        print(name, flush=True)
        found = compare(model, graphs, run, given.runs)
        results[name] = found | {"frames": frames, "frames_per_s": frames / found["graphs_s"]}
        print(
            f"    {found['graphs_s']:.4f} s, {frames / found['graphs_s']:,.0f} frames/s, {found['ratio']:.2f} times "
            f"those without graphs; goal {GOALS[name]}",
            flush=True,
        )
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        name = torch.cuda.get_device_name() if model.device.type == "cuda" else "cpu"
        figures = {"device": name, "torch": torch.__version__, "size": given.size, "rows": results}
        (given.out / "gpu_rollouts.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
