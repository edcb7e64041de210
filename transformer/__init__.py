"""A LLaMA-style transformer over token ids: hidden states, logits, an explicit cache, sampling.

It knows nothing of frames, images, actions or what an id stands for.
"""

from .cache import KVCache
from .config import TransformerConfig
from .model import Transformer
from .ragged import RaggedCache
from .sampling import Sampling, choose, refuse_non_finite, sample
from .seat import Seat, grown, seating

__all__ = [
    "KVCache", "RaggedCache", "Sampling", "Seat", "Transformer", "TransformerConfig", "choose", "grown",
    "refuse_non_finite", "sample", "seating",
]  # fmt: skip
