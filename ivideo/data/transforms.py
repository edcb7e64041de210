"""Changes of framing and colour that a model should not care about: one draw per clip, the same for all its frames."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

DRAWS = 12
"""Uniform numbers that decide one clip: four for the crop, four for the order of the colours' changes, four factors."""

_LUMA = (0.2989, 0.587, 0.114)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Random resized crop, then colour jitter, its operations in random order (iVideoGPT paper, appendix A.2)."""

    crop_area: tuple[float, float] = (0.8, 1.0)
    """Smallest and largest area of the crop, as a share of the centred square; (1, 1) keeps the frame as it is."""
    crop_aspect: tuple[float, float] = (0.9, 1.1)
    """Smallest and largest width / height of the crop, before it is stretched back to the frame's size."""
    brightness: float = 0.1
    """Brightness is multiplied by a factor in [1 - brightness, 1 + brightness]."""
    contrast: float = 0.1
    """Contrast is multiplied by a factor in [1 - contrast, 1 + contrast]."""
    saturation: float = 0.1
    """Saturation is multiplied by a factor in [1 - saturation, 1 + saturation]."""
    hue: float = 0.05
    """Hue is turned by up to this share of the colour circle, at most 0.5."""

    def __post_init__(self) -> None:
        low, high = self.crop_area
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_area is {self.crop_area}; expected two shares, 0 < smallest <= largest <= 1")
        low, high = self.crop_aspect
        if not 0 < low <= high:
            raise ValueError(f"crop_aspect is {self.crop_aspect}; expected 0 < smallest <= largest")
        for name, limit in (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.5)):
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 (off) to {limit}")

    def __call__(self, frames: UInt8[Tensor, "b t 3 h w"], draws: Float[Tensor, "b 12"]) -> UInt8[Tensor, "b t 3 h w"]:
        """Return changed clips of the same shape; `draws` are uniform in [0, 1) and decide each clip on its own."""
        out = torch.empty_like(frames)
        for row, (clip, drawn) in enumerate(zip(frames, draws.tolist(), strict=True)):
            changed = self._jitter(self._crop(clip.float() / 255.0, drawn[:4]), drawn[4:])
            out[row] = (changed * 255.0).round_().clamp_(0, 255).to(torch.uint8)
        return out

    def _crop(self, clip: Float[Tensor, "t 3 h w"], drawn: list[float]) -> Float[Tensor, "t 3 h w"]:
        if self.crop_area == (1.0, 1.0) and self.crop_aspect == (1.0, 1.0):
            return clip
        height, width = clip.shape[2:]
        area = _between(self.crop_area, drawn[0]) * min(height, width) ** 2
        aspect = math.exp(_between((math.log(self.crop_aspect[0]), math.log(self.crop_aspect[1])), drawn[1]))
        # Sides in pixels; where one would leave the frame, the crop touches the frame's edges instead.
        wide, high = min(math.sqrt(area * aspect), width), min(math.sqrt(area / aspect), height)
        left, top = drawn[2] * (width - wide), drawn[3] * (height - high)
        # An affine map from output to input coordinates, both in [-1, 1].
        maps = torch.tensor(
            [
                [
                    [wide / width, 0.0, (2 * left + wide) / width - 1],
                    [0.0, high / height, (2 * top + high) / height - 1],
                ]
            ]
        )
        grid = F.affine_grid(maps.to(clip.device), [1, 1, height, width], align_corners=False)
        stacked = rearrange(clip, "t c h w -> 1 (t c) h w")
        cropped = F.grid_sample(stacked, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return rearrange(cropped, "1 (t c) h w -> t c h w", c=3)

    def _jitter(self, clip: Float[Tensor, "t 3 h w"], drawn: list[float]) -> Float[Tensor, "t 3 h w"]:
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        middles = (1.0, 1.0, 1.0, 0.0)
        for operation in sorted(range(4), key=drawn[:4].__getitem__):
            middle, strength = middles[operation], strengths[operation]
            if strength:
                clip = _change(clip, operation, _between((middle - strength, middle + strength), drawn[4 + operation]))
        return clip


def turn_hue(frames: Float[Tensor, "*b 3 h w"], turn: Float[Tensor, "*#b"]) -> Float[Tensor, "*b 3 h w"]:
    """Return RGB frames in [0, 1] with their hue turned by a share of the colour circle; grey stays as it is."""
    red, green, blue = frames.unbind(-3)
    value = frames.amax(-3)
    chroma = value - frames.amin(-3)
    safe = chroma.clamp(min=1e-8)
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe),
    )
    sector = sector + 6.0 * turn[..., None, None]
    # A channel is highest within one sector of its own place on the circle (red 5, green 3, blue 1 in this formula).
    offsets = torch.tensor([5.0, 3.0, 1.0], device=frames.device)
    place = (offsets[:, None, None] + sector.unsqueeze(-3)) % 6.0
    return value.unsqueeze(-3) - chroma.unsqueeze(-3) * torch.minimum(place, 4.0 - place).clamp(0.0, 1.0)


def _change(clip: Float[Tensor, "t 3 h w"], operation: int, factor: float) -> Float[Tensor, "t 3 h w"]:
    if operation == 3:
        return turn_hue(clip, torch.tensor(factor, device=clip.device))
    if operation == 0:
        return (clip * factor).clamp_(0, 1)
    grey = sum(weight * clip[:, channel] for channel, weight in enumerate(_LUMA))
    assert isinstance(grey, Tensor)
    grey = grey.mean().expand_as(clip) if operation == 1 else grey.unsqueeze(1).expand_as(clip)
    return torch.lerp(grey, clip, factor).clamp_(0, 1)


def _between(bounds: tuple[float, float], draw: float) -> float:
    low, high = bounds
    return low + (high - low) * draw
