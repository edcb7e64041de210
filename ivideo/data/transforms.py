"""Changes of framing and colour that a model should not care about: one draw per clip, the same for all its frames."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

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

    def __call__(
        self, frames: UInt8[Tensor, "b t 3 h w"], generator: torch.Generator | None = None
    ) -> UInt8[Tensor, "b t 3 h w"]:
        """Return changed clips of the same shape; `generator` is a CPU generator, wherever the frames are."""
        clips = frames.float() / 255.0
        if self.crop_area != (1.0, 1.0) or self.crop_aspect != (1.0, 1.0):
            clips = self._crop(clips, generator)
        clips = self._jitter(clips, generator)
        return (clips * 255.0).round_().clamp_(0, 255).to(torch.uint8)

    def _crop(self, clips: Float[Tensor, "b t 3 h w"], generator: torch.Generator | None) -> Float[Tensor, "b t 3 h w"]:
        size, _, _, height, width = clips.shape
        side = min(height, width)
        area = _uniform(size, self.crop_area, generator) * side**2
        logs = (math.log(self.crop_aspect[0]), math.log(self.crop_aspect[1]))
        aspect = _uniform(size, logs, generator).exp()
        # Sides in pixels; where one would leave the frame, the crop touches the frame's edges instead.
        wide = (area * aspect).sqrt().clamp(max=width)
        high = (area / aspect).sqrt().clamp(max=height)
        left = torch.rand(size, generator=generator) * (width - wide)
        top = torch.rand(size, generator=generator) * (height - high)
        # An affine map from output to input coordinates, both in [-1, 1].
        maps = torch.zeros(size, 2, 3)
        maps[:, 0, 0], maps[:, 0, 2] = wide / width, (2 * left + wide) / width - 1
        maps[:, 1, 1], maps[:, 1, 2] = high / height, (2 * top + high) / height - 1
        grid = F.affine_grid(maps.to(clips.device), [size, 1, height, width], align_corners=False)
        stacked = rearrange(clips, "b t c h w -> b (t c) h w")
        cropped = F.grid_sample(stacked, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return rearrange(cropped, "b (t c) h w -> b t c h w", c=3)

    def _jitter(
        self, clips: Float[Tensor, "b t 3 h w"], generator: torch.Generator | None
    ) -> Float[Tensor, "b t 3 h w"]:
        size = len(clips)
        orders = torch.rand(size, 4, generator=generator).argsort(dim=1)
        factors = torch.stack(
            [_uniform(size, (1 - x, 1 + x), generator) for x in (self.brightness, self.contrast, self.saturation)]
            + [_uniform(size, (-self.hue, self.hue), generator)]
        ).to(clips.device)
        # Clips with the same operation next are changed together: four rounds of at most four calls.
        for turn in range(4):
            for operation in range(4):
                rows = (orders[:, turn] == operation).nonzero()[:, 0].to(clips.device)
                if len(rows) and self._strength(operation):
                    clips[rows] = _change(clips[rows], operation, factors[operation, rows])
        return clips

    def _strength(self, operation: int) -> float:
        return (self.brightness, self.contrast, self.saturation, self.hue)[operation]


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


def _change(
    clips: Float[Tensor, "b t 3 h w"], operation: int, factor: Float[Tensor, "b"]
) -> Float[Tensor, "b t 3 h w"]:
    if operation == 3:
        return turn_hue(clips, factor[:, None])
    by = factor[:, None, None, None, None]
    if operation == 0:
        return (clips * by).clamp_(0, 1)
    grey = sum(weight * clips[:, :, channel] for channel, weight in enumerate(_LUMA))
    assert isinstance(grey, Tensor)
    grey = grey.unsqueeze(2)
    if operation == 1:
        grey = grey.mean((2, 3, 4), keepdim=True)
    return torch.lerp(grey.expand_as(clips), clips, by).clamp_(0, 1)


def _uniform(size: int, bounds: tuple[float, float], generator: torch.Generator | None) -> Float[Tensor, "b"]:
    low, high = bounds
    return low + (high - low) * torch.rand(size, generator=generator)
