"""What is learned to be watched in a frame: a few places, each a pair of coordinates."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ivideo.config.limits import check_least
from ivideo.spatial import places

_SHARPNESS = 4.0
"""Factor on the maps under the softmax: a channel that is as strong everywhere has no place."""
_REACH = 4.0
"""Factor on coordinates: objects touch or miss each other by few hundredths of the picture's side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EyesConfig:
    """The architecture."""

    width: int = 16
    """Channels between the two convolutions."""
    watched: int = 12
    """Places that are watched."""
    hidden: int = 96
    """Width of the layers that decide by them."""

    def __post_init__(self) -> None:
        check_least(self, width=1, watched=1, hidden=1)


class Eyes(nn.Module):
    """Two convolutions, and for every channel the place in which it is strongest.

    A frame is looked at by itself, so that what is seen of a goal can be compared with what is seen now.
    """

    def __init__(self, config: EyesConfig) -> None:
        super().__init__()
        self.seen = 2 * config.watched
        self.first = nn.Conv2d(3, config.width, 4, stride=2, padding=1)
        self.second = nn.Conv2d(config.width, config.watched, 1)

    def forward(self, frames: UInt8[Tensor, "b 3 s s"]) -> Float[Tensor, "b n"]:
        """Coordinates, -4 to 4 across the picture."""
        maps = self.second(F.gelu(self.first(frames.float() / 127.5 - 1.0)))
        return _REACH * places(_SHARPNESS * maps)
