"""Figures of frames that the released reference decoded, in the published protocol, against a plain computation.

`data/tiny64/frames_cropped` holds the middle of the first frames that thuml/iVideoGPT (MIT) at commit 2ae0381 decodes
with small random weights, not clamped: a reconstruction and two greedy continuations, taken as three samples. With the
environment variable IVIDEO_GOLDEN naming the folder of the whole record, all of the frames are compared.

The protocol (arXiv 2405.15223 and the released evaluator): values of all frames are averaged, with the reconstructed
context frames or without; then the best sample is taken, for every metric by itself.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from random_lpips import random_backbone, random_heads
from safetensors.torch import load_file
from torch import Tensor

from ivideo.evaluation.case import Case as EvaluationCase
from ivideo.evaluation.instruments import Instruments
from ivideo.evaluation.measurement import measure
from ivideo.evaluation.metrics.reduction import qualities, reduce_samples
from ivideo.evaluation.protocol import QUALITIES, Protocol
from ivideo.evaluation.series import PREDICTION
from ivideo.world_model import WorldModel
from tokenizer.perceptual import LPIPS

CONTEXT = 2
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    truth: Tensor
    """UInt8 [1 t 3 h w]."""
    samples: Tensor
    """Float32 [1 3 t 3 h w], as decoded."""


@pytest.fixture(scope="module", params=["excerpt", "tiny64_context2"])
def case(request: pytest.FixtureRequest) -> Case:
    if request.param == "excerpt":
        io = load_file(Path(__file__).parent / "data" / "tiny64" / "frames_cropped.safetensors")
    elif "IVIDEO_GOLDEN" in os.environ:
        io = load_file(Path(os.environ["IVIDEO_GOLDEN"]) / request.param / "io.safetensors")
    else:
        pytest.skip("IVIDEO_GOLDEN does not name the folder of the reference's whole record")
    shown = io["detok.frames"][:1]
    continued = [torch.cat([shown[:, :CONTEXT], io[f"{kind}.greedy_frames"]], dim=1) for kind in ("af", "ac")]
    return Case(truth=io["pixel_uint8"][:1], samples=torch.stack([shown, *continued], dim=1))


def plain_mse(x: Array, y: Array) -> float:
    return float(np.mean((x - y) ** 2))


def plain_psnr(x: Array, y: Array) -> float:
    return float(10 * np.log10(1 / plain_mse(x, y)))


def plain_ssim(x: Array, y: Array) -> float:
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / np.outer(line, line).sum()
    values = []
    for a, b in zip(x, y, strict=True):
        near_a, near_b = sliding_window_view(a, (11, 11)), sliding_window_view(b, (11, 11))
        mean_a, mean_b = (near_a * window).sum((2, 3)), (near_b * window).sum((2, 3))
        off_a, off_b = near_a - mean_a[..., None, None], near_b - mean_b[..., None, None]
        spread = (off_a**2 * window).sum((2, 3)) + (off_b**2 * window).sum((2, 3))
        shared = (off_a * off_b * window).sum((2, 3))
        above = (2 * mean_a * mean_b + 0.01**2) * (2 * shared + 0.03**2)
        values.append((above / ((mean_a**2 + mean_b**2 + 0.01**2) * (spread + 0.03**2))).mean())
    return float(np.mean(values))


def plain_vgg(x: Array, weights: dict[str, Tensor]) -> list[Array]:
    """What VGG16 has after each of its five stages, every channel vector scaled to length one."""
    x = (2 * x - 1 - np.array([-0.030, -0.088, -0.188])[:, None, None]) / np.array([0.458, 0.448, 0.450])[:, None, None]
    found = []
    for stage in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
        if found:
            height, width = (side // 2 * 2 for side in x.shape[1:])
            x = x[:, :height, :width].reshape(len(x), height // 2, 2, width // 2, 2).max((2, 4))
        for layer in stage:
            weight, bias = (weights[f"features.{layer}.{part}"].double().numpy() for part in ("weight", "bias"))
            near = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
            x = np.maximum(np.tensordot(weight, near, ((1, 2, 3), (0, 3, 4))) + bias[:, None, None], 0)
        found.append(x / np.sqrt((x**2).sum(0) + 1e-8))
    return found


def plain_distance(x: list[Array], y: list[Array], heads: dict[str, Tensor]) -> float:
    stages = zip(x, y, heads.values(), strict=True)
    return float(sum(((a - b) ** 2 * head[0].double().numpy()).sum(0).mean() for a, b, head in stages))


@pytest.fixture(scope="module")
def plain(case: Case) -> dict[str, Array]:
    """Every metric of every frame of every sample [3 t], on the scale of tables."""
    true, decoded = case.truth[0].double().numpy() / 255, case.samples[0].clamp(0, 1).double().numpy()
    weights, heads = random_backbone("vgg"), random_heads("vgg")
    seen = [plain_vgg(frame, weights) for frame in true]

    def table(value: Callable[[int, Array], float]) -> Array:
        return np.array([[value(t, frame) for t, frame in enumerate(sample)] for sample in decoded])

    return {
        "mse": 1000 * table(lambda t, frame: plain_mse(true[t], frame)),
        "psnr": table(lambda t, frame: plain_psnr(true[t], frame)),
        "ssim": 100 * table(lambda t, frame: plain_ssim(true[t], frame)),
        "lpips": 100 * table(lambda t, frame: plain_distance(seen[t], plain_vgg(frame, weights), heads)),
    }


@pytest.mark.parametrize("count_context", [True, False])
def test_the_published_protocol(case: Case, plain: dict[str, Array], count_context: bool) -> None:
    first = 0 if count_context else CONTEXT
    truth, samples = case.truth[:, first:], case.samples[:, :, first:]
    for quality in qualities(QUALITIES, LPIPS(random_backbone("vgg"), random_heads("vgg"), "vgg")):
        averages = plain[quality.name][:, first:].mean(axis=1)
        best = averages.argmax() if quality.name in ("psnr", "ssim") else averages.argmin()
        values = quality.measure_samples(truth, samples)
        assert values[0].numpy() == pytest.approx(plain[quality.name][:, first:], rel=1e-5), quality.name
        reduced = reduce_samples(values, "best", quality.better)
        assert reduced.score.item() == pytest.approx(averages[best], rel=1e-5), quality.name
        assert reduced.curve.mean().item() == pytest.approx(averages[best], rel=1e-5)
        assert reduced.chosen is not None
        assert reduced.chosen.item() == best
        assert reduce_samples(values, "mean", quality.better).score.item() == pytest.approx(averages.mean(), rel=1e-5)


@pytest.mark.parametrize("count_context", [True, False])
def test_an_evaluation_of_the_reference_model_gives_the_figures_of_the_reference_s_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count_context: bool
) -> None:
    step = WorldModel.step  # the reference draws from all ids, which matters where weights are random
    monkeypatch.setattr(WorldModel, "step", lambda *given, **how: step(*given, **how, vocabulary="full"))
    if "IVIDEO_GOLDEN" not in os.environ:
        pytest.skip("IVIDEO_GOLDEN does not name the folder of the reference's whole record")
    golden = Path(os.environ["IVIDEO_GOLDEN"]) / "tiny64_context2"
    shutil.copytree(golden / "tokenizer", tmp_path / "tokenizer")
    shutil.copytree(golden / "transformer_action", tmp_path / "transformer")
    io = load_file(golden / "io.safetensors")
    case = EvaluationCase(names=("a",), frames=io["pixel_uint8"][:1], actions=io["actions"][:1, :-1])
    frames = case.frames.shape[1] - CONTEXT
    protocol = Protocol(frames=frames, horizons=(frames,), count_context=count_context)
    instruments = Instruments(measures=frozenset(), qualities=qualities(protocol.qualities))
    found = measure(WorldModel.from_pretrained(tmp_path), case, protocol, instruments, seed=0)
    own = [each for each in found.series if each.per == "clip" and each.source == PREDICTION]
    measured = {each.quantity: each.values.item() for each in own}
    shown = torch.cat([io["detok.frames"][:1, :CONTEXT], io["ac.greedy_frames"]], dim=1)[0]
    decoded = (shown.clamp(0, 1) * 255).round().double().numpy() / 255  # an evaluation sees frames as people do
    first, true = 0 if count_context else CONTEXT, case.frames[0].double().numpy() / 255
    pairs = list(zip(true[first:], decoded[first:], strict=True))
    assert measured["MSE x1000"] == pytest.approx(np.mean([1000 * plain_mse(*pair) for pair in pairs]), rel=1e-5)
    assert measured["PSNR, dB"] == pytest.approx(np.mean([plain_psnr(*pair) for pair in pairs]), rel=1e-5)
    # Frames of random weights are noise, of hardly any SSIM, and a level or two are rounded the other way.
    assert measured["SSIM x100"] == pytest.approx(np.mean([100 * plain_ssim(*pair) for pair in pairs]), abs=1e-4)
