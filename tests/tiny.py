"""The smallest architectures that have every part, for tests that need a model but no skill of it."""

from tokenizer import TokenizerConfig
from transformer import TransformerConfig

TINY_TOKENIZER = TokenizerConfig(
    resolution=32, stem_stride=4, channels=(8, 16), blocks_per_level=1, mid_blocks=0, latent_channels=8, code_dim=4,
    context_codes=16, dynamics_codes=24, patch_size=2, norm_groups=4, attention_heads=2, max_attention_resolution=4,
)  # fmt: skip
"""32 px; two context frames of 4x4 tokens, then 2x2 tokens a frame."""
TINY_TRANSFORMER = TransformerConfig(width=16, layers=1, heads=2, ffn_width=24, max_positions=128)
