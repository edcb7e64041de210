"""Random shifts of image observations: the augmentation that DrQ-v2 rests on (arXiv 2107.09645, section 3.1)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PAD = 4


def random_shift(
    images: Float[Tensor, "b c s s"], *, pad: int = PAD, generator: torch.Generator | None = None
) -> Float[Tensor, "b c s s"]:
    """Every image moved by a whole number of pixels in -pad..pad along x and y, its edge repeated where it left.

    All channels of an image, which are stacked frames, move together; each image moves by itself.
    """
    batch, size = len(images), images.shape[-1]
    padded = F.pad(images, (pad, pad, pad, pad), mode="replicate")
    first = torch.randint(2 * pad + 1, (2, batch, 1), generator=generator).to(images.device)
    places = torch.arange(size, device=images.device)
    rows, columns = first[0] + places, first[1] + places
    which = torch.arange(batch, device=images.device)
    shifted: Tensor = padded.permute(0, 2, 3, 1)[which[:, None, None], rows[:, :, None], columns[:, None, :]]
    return shifted.permute(0, 3, 1, 2).contiguous()
