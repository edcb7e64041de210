"""LPIPS against an independent implementation, and what happens when its weights are absent."""

import logging
from pathlib import Path

import pytest
import torch
from random_lpips import random_backbone, random_heads
from safetensors.torch import save_file
from torch import Tensor, nn

from tokenizer import published
from tokenizer.perceptual import BACKBONES, LPIPS, Network, load_lpips, read_tensors

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def backbone() -> Weights:
    return random_backbone("vgg")


@pytest.fixture(scope="module")
def heads() -> Weights:
    return random_heads("vgg")


def images(seed: int) -> Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def features(network: Network, backbone: Weights) -> nn.Sequential:
    """The same backbone as a plain stack of layers, as torchvision lays them out."""
    layers: list[nn.Module] = []
    for stage in BACKBONES[network].stages:
        layers += [nn.MaxPool2d(stage.pool, 2)] if stage.pool else []
        for place in stage.convolutions:
            weight, bias = (backbone[f"features.{place.layer}.{part}"] for part in ("weight", "bias"))
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], place.stride, place.padding)
            conv.load_state_dict({"weight": weight, "bias": bias})
            layers += [conv, nn.ReLU()]
            assert layers[place.layer] is conv
    return nn.Sequential(*layers)


@pytest.mark.parametrize("network", ["vgg", "alex"])
def test_agrees_with_torchmetrics(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = pytest.importorskip("torchmetrics.functional.image.lpips")
    backbone, heads = random_backbone(network), random_heads(network)
    # Its own way to a backbone goes through torchvision, which has no place here.
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda net, pretrained=False: features(network, backbone))
    reference = theirs._LPIPS(pretrained=False, net=network, pnet_rand=True, use_dropout=False).eval()
    reference.load_state_dict({name.replace("model.1", "model.0"): head for name, head in heads.items()}, strict=False)
    lpips = LPIPS(backbone, heads, network)
    with torch.no_grad():
        expected = reference(images(1), images(2), normalize=True).flatten()
        assert lpips.distances(images(1), images(2)).tolist() == pytest.approx(expected.tolist(), rel=1e-5)
        assert lpips(images(1), images(2)).item() == pytest.approx(expected.mean().item(), rel=1e-5)


@pytest.mark.parametrize("network", ["vgg", "alex"])
def test_the_smallest_images_are_just_large_enough(network: Network) -> None:
    lpips, size = LPIPS(random_backbone(network), random_heads(network), network), BACKBONES[network].smallest
    assert lpips(torch.zeros(1, 3, size, size), torch.ones(1, 3, size, size)) > 0
    with pytest.raises(RuntimeError, match="too small"):
        lpips(torch.zeros(1, 3, size - 1, size), torch.ones(1, 3, size - 1, size))


def test_a_distance_that_trains_its_first_argument(backbone: Weights, heads: Weights) -> None:
    lpips = LPIPS(backbone, heads)
    made, real = images(1).requires_grad_(), images(2).requires_grad_()
    assert lpips(real, real).item() == 0
    distance = lpips(made, real)
    assert distance > 0
    distance.backward()
    assert made.grad is not None
    assert torch.isfinite(made.grad).all()
    assert made.grad.any()
    assert real.grad is None
    assert not list(lpips.parameters())
    assert not lpips.state_dict()


def test_black_images_have_finite_gradients(backbone: Weights, heads: Weights) -> None:
    silent = {name: torch.zeros_like(tensor) for name, tensor in backbone.items()}
    made = torch.zeros(1, 3, 32, 32, requires_grad=True)
    LPIPS(silent, heads)(made, images(1)[:1]).backward()
    assert made.grad is not None
    assert torch.isfinite(made.grad).all()


def test_weights_from_local_files(backbone: Weights, heads: Weights, tmp_path: Path) -> None:
    save_file(backbone, tmp_path / "vgg16.safetensors")
    torch.save(heads, tmp_path / "heads.pth")
    lpips = load_lpips(str(tmp_path / "vgg16.safetensors"), str(tmp_path / "heads.pth"))
    assert lpips is not None
    assert torch.equal(lpips(images(1), images(2)), LPIPS(backbone, heads)(images(1), images(2)))
    with pytest.raises(FileNotFoundError, match=r"none.pth does not exist; expected the LPIPS heads.*hf download"):
        load_lpips(str(tmp_path / "vgg16.safetensors"), str(tmp_path / "none.pth"))


def test_weights_from_the_hub(
    backbone: Weights, heads: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = {
        ("timm/vgg16.tv_in1k", "model.safetensors"): backbone,
        ("vivym/lpips", "vgg_lpips_linear.safetensors"): heads,
    }

    def download(repository: str, file: str) -> str:
        save_file(shelf[repository, file], tmp_path / file)
        return str(tmp_path / file)

    monkeypatch.setattr(published, "hf_hub_download", download)
    assert load_lpips("timm/vgg16.tv_in1k", "vivym/lpips") is not None


def test_absent_weights_are_announced_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert load_lpips("ivideo-tests/absent", "ivideo-tests/absent") is None
    assert len(caplog.records) == 1
    assert "The perceptual loss (LPIPS) is OFF" in caplog.text


def test_other_weights_are_refused(backbone: Weights, heads: Weights) -> None:
    with pytest.raises(ValueError, match=r"backbone has no tensor features.0.weight; expected the weights of a plain"):
        LPIPS({}, heads)
    with pytest.raises(ValueError, match="heads have shapes"):
        LPIPS(backbone, {name: head for name, head in heads.items() if "lin3" not in name})
    with pytest.raises(ValueError, match="expected the weights of a plain AlexNet classifier"):
        LPIPS(backbone, heads, "alex")


def test_the_same_weights_have_the_same_hash_in_every_file(backbone: Weights, heads: Weights, tmp_path: Path) -> None:
    save_file(heads, tmp_path / "heads.safetensors")
    torch.save(heads, tmp_path / "heads.pth")
    hashes = {LPIPS(backbone, read_tensors(tmp_path / f"heads.{kind}")).sha256 for kind in ("safetensors", "pth")}
    assert len(hashes) == 1
    assert LPIPS(backbone, {name: head + 1 for name, head in heads.items()}).sha256 not in hashes


@pytest.mark.parametrize("kept", [0, 1000])
@pytest.mark.parametrize("name", ["heads.pth", "heads.safetensors"])
def test_damaged_weights_are_named(name: str, kept: int, heads: Weights, tmp_path: Path) -> None:
    torch.save(heads, tmp_path / "heads.pth")
    save_file(heads, tmp_path / "heads.safetensors")
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"{name} (cannot be read|is not a whole).*truncated or damaged"):
        read_tensors(tmp_path / name)


def test_pickled_code_does_not_run(tmp_path: Path) -> None:
    torch.save({"lin0": Path(tmp_path)}, tmp_path / "heads.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        read_tensors(tmp_path / "heads.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="expected tensors by their names"):
        read_tensors(tmp_path / "list.pth")
