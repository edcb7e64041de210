"""What tells one model from another, wherever it was loaded from."""

import hashlib
from typing import TYPE_CHECKING

from tokenizer import VideoTokenizer

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel


def fingerprint(model: "VideoTokenizer | WorldModel") -> str:
    """Return the SHA-256 of a model's settings and weights."""
    settings = repr(model.config)
    if not isinstance(model, VideoTokenizer):
        settings += repr(model.tokenizer.config)
    summed = hashlib.sha256(settings.encode())
    for name, value in sorted(model.state_dict().items()):
        summed.update(f"{name} {list(value.shape)}".encode())
        summed.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return summed.hexdigest()
