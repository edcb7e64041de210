"""Loading a model in the thread that will compute with it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel

_LARGE = 50_000_000
"""Parameters from which on a frame is worth several threads."""


def load_to_serve(source: str, *, device: str, threads: int | None) -> "WorldModel":
    """The model, and as many processor threads for the calling thread as are said, or suit the model's size."""
    import torch

    from ivideo.world_model import WorldModel

    model = WorldModel.from_pretrained(source, device=device)
    if threads or sum(each.numel() for each in model.parameters()) < _LARGE:
        torch.set_num_threads(threads or 1)
    return model
