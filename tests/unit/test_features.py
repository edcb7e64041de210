"""Feature networks: what they compute, and what has to be said before code from a file runs."""

import hashlib
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ivideo.evaluation.metrics.features import SCRIPTS, load_features
from ivideo.evaluation.metrics.frechet import Moments, frechet_distance


class StandIn(nn.Module):
    """Takes what the published I3D takes; its features tell what it was given."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        assert rescale
        assert resize
        assert return_features
        means = (x / 255 * 2 - 1).mean(dim=[3, 4]).flatten(1)  # channel by channel, each over time
        return torch.nn.functional.pad(means, [0, 400 - means.shape[1]])


class ImageStandIn(nn.Module):
    """Takes what the published Inception takes."""

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        assert return_features
        assert img.dtype == torch.uint8
        return img.float().mean(dim=[2, 3]).repeat(1, 683)[:, :2048]


class Short(nn.Module):
    """Another network: its features are of another length."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        return x.flatten(1)[:, :5]


def saved(module: nn.Module, path: Path) -> dict[str, str]:
    """The arguments that name a script: its file and its SHA-256."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, in which these networks are published
        torch.jit.script(module).save(str(path))
    return {"weights": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def clips(seed: int, count: int = 11, frames: int = 10) -> Tensor:
    return torch.randint(
        256, (count, frames, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def test_i3d_gets_clips_as_the_published_evaluators_give_them(tmp_path: Path) -> None:
    network = load_features("i3d", trust=True, **saved(StandIn(), tmp_path / "i3d.pt"))
    assert (network.name, network.kind, network.dim, network.min_frames) == ("i3d", "video", 400, 10)
    found = network(clips(0))
    expected = (clips(0).float() / 127.5 - 1).mean(dim=(3, 4)).transpose(1, 2).flatten(1)
    assert found.shape == (11, 400)
    assert torch.allclose(found[:, :30], expected, atol=1e-5)


def test_inception_gets_bytes(tmp_path: Path) -> None:
    network = load_features("inception", trust=True, **saved(ImageStandIn(), tmp_path / "inception.pt"))
    images = clips(0).flatten(0, 1)
    assert torch.allclose(network(images)[:, :3], images.float().mean(dim=(2, 3)))
    assert network.sha256 == hashlib.sha256((tmp_path / "inception.pt").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["i3d", "inception"])
def test_no_script_is_looked_at_without_trust(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"can run code when it is opened.*pass --trust"):
        load_features(name, weights=str(tmp_path / "does not exist.pt"))


def test_a_file_of_another_hash_is_not_opened(tmp_path: Path) -> None:
    path, published = tmp_path / "i3d.pt", SCRIPTS["i3d"].file.sha256[0]
    path.write_bytes(b"PK: no TorchScript at all")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=rf"{found}; expected .*{published}.*hf download.*--fvd_sha256 {found}"):
        load_features("i3d", trust=True, weights=str(path))
    with pytest.raises(ValueError, match=rf"{found}; expected .*{'0' * 64}"):
        load_features("i3d", trust=True, weights=str(path), sha256="0" * 64)
    with pytest.raises(ValueError, match=r"i3d.pt cannot be read as TorchScript"):
        load_features("i3d", trust=True, weights=str(path), sha256=found)


def test_absent_files_are_an_error_with_the_command_that_fetches_them(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"hf download flateon/FVD-I3D-torchscript i3d_torchscript.pt.*--fvd_weights"):
        load_features("i3d", trust=True)
    with pytest.raises(OSError, match=r"curl -LO https://nvlabs.*inception-2015-12-05.pt.*--fid_weights"):
        load_features("inception", trust=True)
    with pytest.raises(ValueError, match=r"'my i3d' is neither a file .* nor the name of a Hub repository"):
        load_features("i3d", trust=True, weights="my i3d")
    with pytest.raises(FileNotFoundError, match=r"none.pt does not exist; expected the I3D network"):
        load_features("i3d", trust=True, weights=str(tmp_path / "none.pt"))


def test_clips_too_short_and_features_of_another_length_are_refused(tmp_path: Path) -> None:
    network = load_features("i3d", trust=True, **saved(Short(), tmp_path / "i3d.pt"))
    with pytest.raises(ValueError, match="clips have 9 frames; i3d needs at least 10"):
        network(clips(0, frames=9))
    with pytest.raises(ValueError, match=r"made \[8, 5\]; expected 400"):
        network(clips(0))
    with pytest.raises(ValueError, match=r"i3d looks at clips \[n t 3 h w\]"):
        network(clips(0)[0])


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("random3d", "6fc001d8a00a8a5b5bd9122da70f1afa69f24bdbb7036af2a37641e1ba256217"),
        ("random2d", "6e9b85e2a57b5a74ca131aa5832600727bcad756a9e65973a992e4f0a30989f3"),
    ],
)
def test_random_networks_are_the_same_everywhere(name: str, sha256: str) -> None:
    assert load_features(name, sha256=sha256).sha256 == sha256
    with pytest.raises(ValueError, match="which is another network"):
        load_features(name, sha256="0" * 64)


def test_random_networks_look_at_each_clip_alone() -> None:
    network = load_features("random3d", kind="video")
    found = network(clips(0, count=20))
    assert found.shape == (20, network.dim)
    assert torch.allclose(found[17:18], network(clips(0, count=20)[17:18]), atol=1e-5)
    images = load_features("random2d", kind="image")
    assert images(clips(0)[:, 0]).shape == (11, images.dim)
    assert network(clips(0)[:, :2]).isfinite().all()
    with pytest.raises(ValueError, match="at least 2"):
        network(clips(0)[:, :1])


def moving_squares(seed: int, count: int = 150) -> Tensor:
    """Squares, each of its own colour and on its own way; UInt8 [n 8 3 24 24]."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.randint(60, 256, (count, 1, 3, 1, 1), generator=generator)
    start = torch.randint(4, 20, (count, 2), generator=generator)
    way = torch.randint(0, 2, (count, 2), generator=generator) * 4 - 2
    places = start[:, None] + way[:, None] * torch.arange(8)[:, None]  # n 8 2
    near = [(places[..., axis, None] - torch.arange(24)).abs() < 4 for axis in (0, 1)]
    inside = near[0].unsqueeze(-1) & near[1].unsqueeze(-2)
    return (inside.unsqueeze(2) * colours).to(torch.uint8)


def test_random_features_tell_motion_from_stillness_and_order_from_disorder() -> None:
    network = load_features("random3d")
    clips, further = moving_squares(0), moving_squares(1)
    real = Moments.of(network(clips))
    alike = frechet_distance(real, Moments.of(network(further)))
    still = frechet_distance(real, Moments.of(network(further[:, :1].expand(-1, 8, -1, -1, -1))))
    disordered = frechet_distance(real, Moments.of(network(further[:, [3, 7, 0, 5, 1, 6, 2, 4]])))
    assert 0 < alike < 0.5 * still
    assert alike < 0.5 * disordered


OWN = """
import torch

def brightness(clips):
    return clips.float().mean(dim=(3, 4)).flatten(1)

brightness.min_frames = 3

def rows(images):
    return images.float().mean(dim=(1, 3))

rows.kind = "image"

@torch.no_grad()
def decorated(clips):
    return clips.flatten(1)[:, :3]

class Callable:
    dim = 3

    def __call__(self, clips):
        return clips.flatten(1)[:, :3]

instance = Callable()

def nothing(clips):
    return None

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_features_for_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "own_features_for_test.py"


def test_a_function_of_ones_own(own: Path) -> None:
    with pytest.raises(ValueError, match="is not run unasked: pass --trust"):
        load_features("own_features_for_test:brightness")
    network = load_features("own_features_for_test:brightness", trust=True)
    assert (network.kind, network.min_frames) == ("video", 3)
    assert network.sha256 == hashlib.sha256(own.read_bytes()).hexdigest()
    assert torch.equal(network(clips(0)), clips(0).float().mean(dim=(3, 4)).flatten(1))
    assert load_features("own_features_for_test:rows", trust=True).kind == "image"
    for name in ("decorated", "instance"):
        other = load_features(f"own_features_for_test:{name}", trust=True)
        assert other.sha256 == network.sha256, "of the file it is written in"
        assert other(clips(0)).shape == (11, 3)
    with pytest.raises(ValueError, match="looks at images; fvd needs a network for videos: i3d or random3d"):
        load_features("own_features_for_test:rows", trust=True, kind="video")
    with pytest.raises(ValueError, match=r"made NoneType of 11 videos"):
        load_features("own_features_for_test:nothing", trust=True)(clips(0))
    with pytest.raises(ValueError, match="it was changed"):
        load_features("own_features_for_test:rows", trust=True, sha256="0" * 64)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("i4d", "'i4d' is no network; expected i3d, inception, random3d, random2d, or module:function"),
        ("no_such_module_at_all:features", "cannot be imported"),
        ("own_features_for_test:absent", "cannot be imported"),
        (":features", "cannot be imported"),
        ("own_features_for_test:number", "is no function"),
        ("math:sin", "is no function with a Python source"),
    ],
)
def test_names_that_name_nothing(name: str, message: str, own: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_features(name, trust=True)


def test_networks_of_the_other_kind_are_refused_before_anything_is_loaded() -> None:
    with pytest.raises(ValueError, match="inception looks at images; fvd needs a network for videos: i3d or random3d"):
        load_features("inception", kind="video", trust=True)
    with pytest.raises(ValueError, match="random3d has random weights of its own"):
        load_features("random3d", weights="owner/repository")
