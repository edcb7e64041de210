"""A clip to look at: what happened, what was imagined, and where they differ."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

AMPLIFIED = 4
"""How many times brighter than it is a difference is shown; beyond white it is cut."""
COLUMNS = 16
"""Frames side by side in a sheet; longer clips go on below, for browsers limit how wide a picture may be."""
KINDS = ("truth", "prediction", "difference")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownClip:
    """A clip for the report, and why it is shown."""

    label: str
    """Its place among all clips: "best", "median", "worst"."""
    name: str
    """As in the case: "hammer/0 from frame 12"."""
    score: str
    """What it was placed by, and the baseline: "PSNR 24.2 dB over 10 frames (copy-last-frame 18.1)"."""
    context: int
    """Frames that the model was shown, at the front of both."""
    truth: UInt8[Tensor, "t 3 h w"]
    prediction: UInt8[Tensor, "t 3 h w"]

    def __post_init__(self) -> None:
        assert self.truth.shape == self.prediction.shape, f"{self.name}: truth and prediction differ in shape"
        assert 0 <= self.context <= len(self.truth), f"{self.name}: {self.context} context frames of {len(self.truth)}"

    def rows(self) -> UInt8[Tensor, "3 t 3 h w"]:
        """Truth, prediction and the absolute difference of both, `AMPLIFIED`."""
        truth, prediction = self.truth.cpu(), self.prediction.cpu()
        apart = (truth.int() - prediction.int()).abs() * AMPLIFIED
        return torch.stack([truth, prediction, apart.clamp(max=255).to(torch.uint8)])


def sheet(clip: ShownClip) -> UInt8[Tensor, "3 H W"]:
    """All frames in one picture: `COLUMNS` to the right, each above its prediction and their difference, and so on.

    | truth 0      | truth 1      | ... | truth 15      |
    | prediction 0 | prediction 1 | ... | prediction 15 |
    | difference 0 | difference 1 | ... | difference 15 |
    | truth 16     | truth 17     | ...
    """
    rows = clip.rows()
    columns = min(COLUMNS, rows.shape[1])
    missing = -rows.shape[1] % columns
    whole = torch.cat([rows, rows.new_zeros(3, missing, *rows.shape[2:])], dim=1)
    return rearrange(whole, "r (block column) k h w -> k (block r h) (column w)", column=columns).contiguous()
