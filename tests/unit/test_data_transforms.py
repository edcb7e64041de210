"""Augmentation draws once per clip, stays in range, and does to colours what it says."""

import colorsys

import pytest
import torch
from torch import Tensor

from ivideo.data import Augmentation
from ivideo.data.transforms import DRAWS, turn_hue

OFF = {
    "crop_area": (1.0, 1.0),
    "crop_aspect": (1.0, 1.0),
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
}


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def drawn(clips: int, seed: int = 0) -> Tensor:
    return torch.rand(clips, DRAWS, generator=torch.Generator().manual_seed(seed))


def test_all_frames_of_a_clip_change_alike_and_clips_differently() -> None:
    still = noise(1, 1, 3, 16, 16).expand(3, 5, -1, -1, -1)
    out = Augmentation()(still, drawn(3))
    assert (out == out[:, :1]).all()
    assert not torch.equal(out[0, 0], out[1, 0])
    assert not torch.equal(out[0, 0], still[0, 0])
    assert torch.equal(out, Augmentation()(still, drawn(3)))
    assert not torch.equal(out, Augmentation()(still, drawn(3, 1)))


def test_off_changes_nothing() -> None:
    clips = noise(2, 3, 3, 12, 16)
    assert torch.equal(Augmentation(**OFF)(clips, drawn(2)), clips)


def test_the_input_stays_as_it_was() -> None:
    clips = noise(2, 3, 3, 8, 8)
    before = clips.clone()
    Augmentation()(clips, drawn(len(clips)))
    assert torch.equal(clips, before)


def test_a_crop_shows_a_window_of_the_frame() -> None:
    """On a ramp, a crop is a flatter ramp: its slopes are the crop's sides, its ends lie inside the frame."""
    across = (torch.arange(64) * 4).to(torch.uint8).expand(64, 64)
    clips = torch.stack([across, across.T, across]).expand(200, 1, 3, 64, 64)
    augmentation = Augmentation(**(OFF | {"crop_area": (0.5, 0.8), "crop_aspect": (0.8, 1.25)}))
    out = augmentation(clips, drawn(len(clips))).float()
    wide = (out[:, 0, 0, 32, 56] - out[:, 0, 0, 32, 8]) / (48 * 4)
    high = (out[:, 0, 1, 56, 32] - out[:, 0, 1, 8, 32]) / (48 * 4)
    area, aspect = wide * high, wide / high
    assert 0.49 < area.min() < 0.55
    assert 0.75 < area.max() < 0.81
    assert 0.78 < aspect.min() < 0.9
    assert 1.15 < aspect.max() < 1.28
    assert (out[:, 0, 0, :, 0] < 100).all()
    assert out[:, 0, 0, :, 0].amin() < 10 < 30 < out[:, 0, 0, :, 0].amax(), "crops lie left and right"
    assert (out[:, 0, 0] == out[:, 0, 2]).all()


@pytest.mark.parametrize("turn", [-0.5, -0.05, 0.0, 0.03, 0.4])
def test_hue_turns_as_in_the_standard_library(turn: float) -> None:
    pixels = noise(3, 6, 6).float() / 255
    pixels[:, 0, 0] = 0.5  # grey has no hue
    turned = turn_hue(pixels, torch.tensor(turn))
    for row in range(6):
        for column in range(6):
            h, s, v = colorsys.rgb_to_hsv(*pixels[:, row, column].tolist())
            expected = torch.tensor(colorsys.hsv_to_rgb((h + turn) % 1.0, s, v))
            assert torch.allclose(turned[:, row, column], expected, atol=1e-5)


def test_each_jitter_moves_what_it_is_named_for() -> None:
    clips = (64 + noise(64, 2, 3, 8, 8) // 2).to(torch.uint8)
    before = clips.float()

    def after(**strength: float) -> Tensor:
        return Augmentation(**(OFF | strength))(clips, drawn(len(clips))).float()

    ratio = after(brightness=0.2).mean((1, 2, 3, 4)) / before.mean((1, 2, 3, 4))
    assert 0.79 < ratio.min() < 0.85
    assert 1.15 < ratio.max() < 1.21
    spread = after(contrast=0.2).std((1, 2, 3, 4)) / before.std((1, 2, 3, 4))
    assert 0.75 < spread.min() < 0.9 < 1.1 < spread.max() < 1.25
    chroma = (after(saturation=0.2) - after(saturation=0.2).mean(2, keepdim=True)).abs().mean((1, 2, 3, 4))
    ratio = chroma / (before - before.mean(2, keepdim=True)).abs().mean((1, 2, 3, 4))
    assert 0.79 < ratio.min() < 0.85
    assert 1.15 < ratio.max() < 1.21
    hue = after(hue=0.1)
    assert ((hue.amax(2) - before.amax(2)).abs() <= 1).all(), "hue alone leaves the largest channel's value"
    assert (hue - before).abs().mean() > 5


def test_every_clip_gets_all_operations_in_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def write_down(clip: Tensor, operation: int, factor: float) -> Tensor:
        return clip * 10 + operation + 1

    monkeypatch.setattr("ivideo.data.transforms._change", write_down)
    blank = torch.zeros(1, 3, 2, 2)
    orders = [int(Augmentation()._jitter(blank, row[4:])[0, 0, 0, 0]) for row in drawn(400).tolist()]
    assert {"".join(sorted(str(order))) for order in orders} == {"1234"}
    assert len(set(orders)) == 24


def test_a_clip_comes_out_the_same_whatever_stands_beside_it() -> None:
    clips, draws = noise(5, 4, 3, 16, 16), drawn(5)
    together = Augmentation()(clips, draws)
    for row in range(5):
        assert torch.equal(Augmentation()(clips[row : row + 1], draws[row : row + 1])[0], together[row])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crop_area": (0.0, 1.0)}, "crop_area"),
        ({"crop_aspect": (1.2, 1.0)}, "crop_aspect"),
        ({"hue": 0.6}, "hue is 0.6"),
    ],
)
def test_ranges_are_checked(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**wrong)
