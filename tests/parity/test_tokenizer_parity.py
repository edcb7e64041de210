"""The tokenizer computes what the released reference computes, in the released layout.

`data/tiny64` holds a small random checkpoint as the reference wrote it and an excerpt of the reference's inputs and
outputs. With the environment variable IVIDEO_GOLDEN naming the folder of the whole record, all of it is compared.
"""

import filecmp
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tokenizer import FrameCodes, TokenizerLoss, VideoTokenizer
from tokenizer.checkpoint import CONFIG_FILE, load_tokenizer, save_tokenizer
from tokenizer.weights import WEIGHTS_FILE

EXCERPT = Path(__file__).parent / "data" / "tiny64"
GOLDEN = os.environ.get("IVIDEO_GOLDEN")
LOSSES = {
    "fwd.loss": "loss",
    "fwd.commit_loss": "context/vq",
    "fwd.dyn_commit_loss": "dynamics/vq",
    "fwd.l1_ref": "context/l1",
    "fwd.l1": "dynamics/l1",
}


@dataclass(frozen=True)
class Case:
    """A checkpoint with what the reference computes; `frames` maps (row, frame) to pixels it decodes."""

    folder: Path
    io: dict[str, Tensor]
    grad_norms: dict[str, float]
    frames: dict[tuple[int, int], Tensor]
    shorter_frames: dict[tuple[int, int], Tensor]

    @property
    def pixels(self) -> Tensor:
        return self.io["pixel_uint8"]


def excerpt() -> Case:
    io = load_file(EXCERPT / "tokenizer_io.safetensors")
    first, fifth = io["detok.frames_0_1_4"]
    return Case(
        folder=EXCERPT / "tokenizer",
        io=io,
        grad_norms=json.loads((EXCERPT / "tokenizer_meta.json").read_text())["tok_grad_norm"],
        frames={(0, 1): first, (0, 4): fifth},
        shorter_frames={(0, 2): io["ctx1.frames_0_2"][0]},
    )


def whole(name: str) -> Case:
    if not GOLDEN:
        pytest.skip("IVIDEO_GOLDEN does not name the folder of the reference's whole record")
    folder = Path(GOLDEN) / name
    io = load_file(folder / "io.safetensors")

    def by_place(frames: Tensor) -> dict[tuple[int, int], Tensor]:
        return {(row, t): frames[row, t] for row in range(frames.shape[0]) for t in range(frames.shape[1])}

    return Case(
        folder=folder / "tokenizer",
        io=io,
        grad_norms=json.loads((folder / "meta.json").read_text())["tok_grad_norm"],
        frames=by_place(io["detok.frames"]),
        shorter_frames=by_place(io["ctx1.frames"]) if "ctx1.frames" in io else {},
    )


@pytest.fixture(scope="module", params=["excerpt", "tiny64_context2", "tiny256_context2"])
def case(request: pytest.FixtureRequest) -> Case:
    return excerpt() if request.param == "excerpt" else whole(request.param)


@pytest.fixture(scope="module")
def tokenizer(case: Case) -> VideoTokenizer:
    return load_tokenizer(case.folder)


def flat(codes: FrameCodes, tokenizer: VideoTokenizer) -> Tensor:
    """The reference's one sequence: dynamics codes after context codes, a marker before every frame but the first."""
    sizes = tokenizer.config.context_codes, tokenizer.config.dynamics_codes
    context = torch.nn.functional.pad(codes.context, (1, 0), value=sum(sizes)).flatten(1)[:, 1:]
    dynamics = torch.nn.functional.pad(codes.dynamics + sizes[0], (1, 0), value=sum(sizes) + 1).flatten(1)
    return torch.cat([context, dynamics], dim=1)


def assert_decodes_to(tokenizer: VideoTokenizer, codes: FrameCodes, expected: dict[tuple[int, int], Tensor]) -> None:
    decoded = tokenizer.decode(codes)
    for place, frame in expected.items():
        torch.testing.assert_close(decoded[place], frame, atol=2e-4, rtol=0)


@torch.no_grad()
def test_codes_equal_and_frames_agree(case: Case, tokenizer: VideoTokenizer) -> None:
    codes = tokenizer.encode(case.pixels)
    assert torch.equal(flat(codes, tokenizer), case.io["tok.ids"].long())
    assert_decodes_to(tokenizer, codes, case.frames)


@torch.no_grad()
def test_fewer_context_frames(case: Case, tokenizer: VideoTokenizer) -> None:
    if "ctx1.ids" not in case.io:
        pytest.skip("this record has no case with one context frame")
    shorter = tokenizer.with_context_frames(1)
    expected = case.io["ctx1.ids"].long()
    frames = 1 + (expected.shape[1] - 256) // 17
    codes = shorter.encode(case.pixels[:, :frames])
    assert torch.equal(flat(codes, shorter), expected)
    assert_decodes_to(shorter, codes, case.shorter_frames)


def test_losses_and_gradient_norms(case: Case, tokenizer: VideoTokenizer) -> None:
    tokenizer.zero_grad()
    loss, logs = TokenizerLoss()(tokenizer, case.pixels)
    for theirs, ours in LOSSES.items():
        assert logs[ours].item() == pytest.approx(case.io[theirs].item(), rel=1e-5), ours
    loss.backward()
    norms = {name: p.grad.norm().item() for name, p in tokenizer.named_parameters() if p.grad is not None}
    # Biases before a normalisation have no gradient but rounding noise.
    assert norms == pytest.approx(case.grad_norms, rel=1e-3, abs=1e-5)


def test_saving_gives_the_released_bytes_back(case: Case, tokenizer: VideoTokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert filecmp.cmp(case.folder / name, tmp_path / name, shallow=False), name
