"""LPIPS as a figure: frame by frame, with the weights that were meant or none."""

import hashlib
from pathlib import Path

import pytest
import torch
from random_lpips import random_backbone, random_heads
from safetensors.torch import save_file
from torch import Tensor

from ivideo.evaluation.metrics.perceptual import load_perceptual, lpips
from tokenizer.perceptual import BACKBONES, LPIPS, Network, read_tensors
from tokenizer.published import check


@pytest.fixture(scope="module")
def network() -> LPIPS:
    return LPIPS(random_backbone("alex"), random_heads("alex"), "alex")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("lpips")
    save_file(random_backbone("alex"), folder / "backbone.safetensors")
    torch.save(random_heads("alex"), folder / "heads.pth")
    return [folder / "backbone.safetensors", folder / "heads.pth"]


def clips(seed: int) -> Tensor:
    return torch.randint(256, (2, 5, 3, 32, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_frame_has_the_distance_of_its_own_pair_whatever_the_chunk(network: LPIPS) -> None:
    truth, predicted = clips(0), clips(1)
    values = lpips(truth, predicted, network, chunk=3)
    assert values.shape == (2, 5)
    assert torch.allclose(values, lpips(truth, predicted, network), rtol=1e-5)
    assert torch.allclose(values, lpips(truth / 255, predicted / 255, network), rtol=1e-5)
    alone = network(predicted[1, 3, None] / 255, truth[1, 3, None] / 255)
    assert values[1, 3].item() == pytest.approx(alone.item(), rel=1e-5)
    assert lpips(truth, truth, network).eq(0).all()


def test_a_broken_frame_has_no_value_and_spoils_no_other(network: LPIPS) -> None:
    truth, predicted = clips(0) / 255, clips(1) / 255
    predicted[0, 2, 1, 9, 9] = torch.nan
    assert lpips(truth, predicted, network).isnan().nonzero().tolist() == [[0, 2]]


def test_frames_too_small_for_the_network_are_refused(network: LPIPS) -> None:
    with pytest.raises(ValueError, match="at least 31 x 31, for AlexNet"):
        lpips(clips(0)[..., :30], clips(0)[..., :30], network)


def test_weights_that_are_meant_are_loaded_and_named(network: LPIPS, files: list[Path]) -> None:
    backbone, heads = map(str, files)
    loaded = load_perceptual("alex", backbone=backbone, heads=heads, sha256=[sha256(path).upper() for path in files])
    assert loaded.name == "alex"
    assert loaded.sha256 == network.sha256
    assert torch.equal(lpips(clips(0), clips(1), loaded), lpips(clips(0), clips(1), network))


def test_other_weights_are_refused_with_both_hashes(files: list[Path]) -> None:
    backbone, heads = map(str, files)
    found, published = sha256(files[0]), BACKBONES["alex"].weights.sha256[0]
    with pytest.raises(ValueError, match=rf"{found}; expected .*{published}.*--lpips_sha256 {found}"):
        load_perceptual("alex", backbone=backbone, heads=heads)
    with pytest.raises(ValueError, match=rf"{sha256(files[1])}; expected .*{found}.*--lpips_sha256 {found},"):
        load_perceptual("alex", backbone=backbone, heads=heads, sha256=[found])


@pytest.mark.parametrize("name", ["vgg", "alex"])
def test_the_published_heads_are_known_by_their_hash(name: Network) -> None:
    theirs = Path(pytest.importorskip("torchmetrics.functional.image.lpips").__file__).parent / "lpips_models"
    heads = theirs / f"{name}.pth"  # as the authors published them
    assert check(heads, BACKBONES[name].heads, option="lpips_sha256") == sha256(heads)
    assert LPIPS(random_backbone(name), read_tensors(heads), name)(clips(0)[0] / 255, clips(1)[0] / 255) > 0


def test_absent_weights_are_an_error_with_the_command_that_fetches_them(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"hf download timm/vgg16.tv_in1k model.safetensors.*--lpips_backbone"):
        load_perceptual("vgg")
    with pytest.raises(OSError, match=r"AlexNet is missing: .*curl -LO https://download.pytorch.org/.*_backbone"):
        load_perceptual("alex")
    with pytest.raises(OSError, match=r"none.pth does not exist; expected the LPIPS backbone VGG16"):
        load_perceptual("vgg", backbone=str(tmp_path / "none.pth"))
