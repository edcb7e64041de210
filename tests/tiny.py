"""The smallest architectures that have every part, for tests that need a model but no skill of it."""

import torch

from ivideo.episode import Batch
from tokenizer import TokenizerConfig
from transformer import TransformerConfig

TINY_TOKENIZER = TokenizerConfig(
    resolution=32, stem_stride=4, channels=(8, 16), blocks_per_level=1, mid_blocks=0, latent_channels=8, code_dim=4,
    context_codes=16, dynamics_codes=24, patch_size=2, norm_groups=4, attention_heads=2, max_attention_resolution=4,
)  # fmt: skip
"""32 px; two context frames of 4x4 tokens, then 2x2 tokens a frame."""
TINY_TRANSFORMER = TransformerConfig(width=16, layers=1, heads=2, ffn_width=24, max_positions=128)


def clips(index: int) -> Batch:
    """Two clips of noise with noise for actions, always the same for an index."""
    generator = torch.Generator().manual_seed(index)
    return Batch(
        frames=torch.randint(0, 255, (2, 4, 3, 32, 32), generator=generator, dtype=torch.uint8),
        actions=torch.randn(2, 3, 2, generator=generator),
    )
