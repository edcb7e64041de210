"""LPIPS against an independent implementation, and what happens when its weights are absent."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tokenizer import perceptual
from tokenizer.perceptual import LPIPS, STAGES, WIDTHS, load_lpips

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def backbone() -> Weights:
    """A VGG16 with random weights, under its published names."""
    generator = torch.Generator().manual_seed(0)
    weights: Weights = {"classifier.0.weight": torch.zeros(1)}
    width = 3
    for stage, out in zip(STAGES, WIDTHS, strict=True):
        for layer in stage:
            scale = (2 / (9 * width)) ** 0.5
            weights[f"features.{layer}.weight"] = scale * torch.randn(out, width, 3, 3, generator=generator)
            weights[f"features.{layer}.bias"] = 0.1 * torch.randn(out, generator=generator)
            width = out
    return weights


@pytest.fixture(scope="module")
def heads() -> Weights:
    generator = torch.Generator().manual_seed(1)
    return {
        f"lin{stage}.model.1.weight": torch.rand(1, width, 1, 1, generator=generator)
        for stage, width in enumerate(WIDTHS)
    }


def images(seed: int) -> Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def features(backbone: Weights) -> nn.Sequential:
    """The same backbone as a plain stack of layers."""
    layers: list[nn.Module] = []
    for stage in STAGES:
        for layer in stage:
            conv = nn.Conv2d(*reversed(backbone[f"features.{layer}.weight"].shape[:2]), 3, padding=1)
            conv.load_state_dict({part: backbone[f"features.{layer}.{part}"] for part in ("weight", "bias")})
            layers += [conv, nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def test_agrees_with_torchmetrics(backbone: Weights, heads: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = pytest.importorskip("torchmetrics.functional.image.lpips")
    # Its own way to a backbone goes through torchvision, which has no place here.
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda net, pretrained=False: features(backbone))
    reference = theirs._LPIPS(pretrained=False, net="vgg", pnet_rand=True, use_dropout=False).eval()
    reference.load_state_dict({name.replace("model.1", "model.0"): head for name, head in heads.items()}, strict=False)
    with torch.no_grad():
        expected = reference(images(1), images(2), normalize=True).mean()
        assert LPIPS(backbone, heads)(images(1), images(2)).item() == pytest.approx(expected.item(), rel=1e-5)


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
    with pytest.raises(FileNotFoundError, match=r"none.pth does not exist; expected the LPIPS heads"):
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

    monkeypatch.setattr(perceptual, "hf_hub_download", download)
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
