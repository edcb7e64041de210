"""Building blocks that both halves of the tokenizer share.

Submodules carry the names of the released checkpoints, so that a checkpoint is a plain state dict of the model.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .codes import KeysValues
from .config import TokenizerConfig
from .convolution import Convolution
from .reduced import Reducible, ReducibleConv2d, ReducibleLinear

NORM_EPS = 1e-6
ATTENTION_NORM_EPS = 1e-5  # the released cross-attention differs from everything around it


def group_norm(groups: int, channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups, channels, eps=NORM_EPS)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each after group normalisation and SiLU, around a skip connection."""

    def __init__(self, channels_in: int, channels_out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = group_norm(groups, channels_in)
        self.conv1 = Convolution(channels_in, channels_out)
        self.norm2 = group_norm(groups, channels_out)
        self.conv2 = Convolution(channels_out, channels_out)
        if channels_in != channels_out:
            self.conv_shortcut = ReducibleConv2d(channels_in, channels_out, 1)

    def forward(self, x: Float[Tensor, "b d_in h w"]) -> Float[Tensor, "b d_out h w"]:
        fresh = not torch.is_grad_enabled()  # no gradient asks for what a norm gave, so its memory is taken over
        y: Tensor = self.conv1(F.silu(self.norm1(x), inplace=fresh))
        y = self.conv2(F.silu(self.norm2(y), inplace=fresh))
        return y + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class SelfAttention(nn.Module):
    """Single-head attention among the positions of one map, around a skip connection."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = group_norm(groups, channels)
        self.to_q = ReducibleLinear(channels, channels)
        self.to_k = ReducibleLinear(channels, channels)
        self.to_v = ReducibleLinear(channels, channels)
        self.to_out = nn.Sequential(ReducibleLinear(channels, channels))

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        tokens = rearrange(self.group_norm(x), "b d h w -> b (h w) d")
        mixed = attend(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens))
        out: Tensor = self.to_out(mixed)
        return x + rearrange(out, "b (h w) d -> b d h w", h=x.shape[-2])


class Downsample(nn.Module):
    """Halves a map with a strided 3x3 convolution, padded on the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ReducibleConv2d(channels, channels, 3, stride=2)

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h2 w2"]:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class Upsample(nn.Module):
    """Doubles a map by repeating pixels, then smooths it with a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Convolution(channels, channels)

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h2 w2"]:
        return self.conv.after_doubling(x)


class DownBlock(nn.Module):
    """One level of an encoder: residual blocks, then half the resolution."""

    def __init__(self, channels_in: int, channels_out: int, *, blocks: int, groups: int, downsample: bool) -> None:
        super().__init__()
        widths = [channels_in] + [channels_out] * blocks
        self.resnets = nn.Sequential(*(ResidualBlock(a, b, groups) for a, b in pairwise(widths)))
        self.downsamplers = nn.Sequential(*([Downsample(channels_out)] if downsample else []))

    def forward(self, x: Float[Tensor, "b d_in h w"]) -> Float[Tensor, "b d_out h2 w2"]:
        out: Tensor = self.downsamplers(self.resnets(x))
        return out


class UpBlock(nn.Module):
    """One level of a decoder: residual blocks, then twice the resolution."""

    def __init__(self, channels_in: int, channels_out: int, *, blocks: int, groups: int, upsample: bool) -> None:
        super().__init__()
        widths = [channels_in] + [channels_out] * blocks
        self.resnets = nn.Sequential(*(ResidualBlock(a, b, groups) for a, b in pairwise(widths)))
        self.upsamplers = nn.Sequential(*([Upsample(channels_out)] if upsample else []))

    def forward(self, x: Float[Tensor, "b d_in h w"]) -> Float[Tensor, "b d_out h2 w2"]:
        out: Tensor = self.upsamplers(self.resnets(x))
        return out


class MidBlock(nn.Module):
    """Residual blocks at the coarsest resolution, with self-attention after the first when asked for."""

    def __init__(self, channels: int, *, blocks: int, groups: int, attention: bool) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([SelfAttention(channels, groups)] if attention and blocks else [])
        self.resnets = nn.ModuleList(ResidualBlock(channels, channels, groups) for _ in range(blocks))

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        for index, block in enumerate(self.resnets):
            x = block(x)
            if index == 0:
                for attention in self.attentions:
                    x = attention(x)
        return x


class Projections(Reducible):
    """Query, key and value projections stacked in one matrix, and the projection of their result."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = ReducibleLinear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def query(self, x: Tensor) -> Tensor:
        return self.linear(x, self.in_proj_weight, self.in_proj_bias, slice(None, x.shape[-1]))

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        both = self.linear(x, self.in_proj_weight, self.in_proj_bias, slice(x.shape[-1], None))
        key, value = both.chunk(2, dim=-1)
        return key, value


class CrossAttention(nn.Module):
    """Lets every position of a future frame's map look at all positions of all context frames' maps.

    The context is projected once by `keys_values`; any number of future frames then reads it, folded with their
    forks into the query axis so that keys and values are never repeated.

    Source: the iVideoGPT paper, arXiv 2405.15223, section 3.1 (multi-scale conditioning).
    """

    def __init__(self, config: TokenizerConfig, channels: int, side: int) -> None:
        super().__init__()
        positions = side * side
        self.heads = config.attention_heads
        self.dropout = config.dropout
        self.kv_pos_emb = nn.Parameter(torch.zeros(config.context_frames * positions, channels))
        self.q_pos_emb = nn.Parameter(torch.zeros(positions, channels))
        self.att = Projections(channels)
        self.kv_norm = nn.GroupNorm(config.norm_groups, channels, eps=ATTENTION_NORM_EPS)
        self.q_norm = nn.GroupNorm(config.norm_groups, channels, eps=ATTENTION_NORM_EPS)

    def keys_values(self, maps: Float[Tensor, "r c d h w"]) -> KeysValues:
        """What the context maps, one per context frame, offer to attention."""
        side_by_side = rearrange(maps, "r c d h w -> r d (c h) w")  # all context frames share the norm's statistics
        tokens = rearrange(self.kv_norm(side_by_side), "r d l w -> r (l w) d")
        keys, values = self.att.key_value(tokens + self.kv_pos_emb)
        return KeysValues(keys=self._split(keys), values=self._split(values))

    def forward(self, x: Float[Tensor, "bf d h w"], context: KeysValues) -> Float[Tensor, "bf d h w"]:
        rows, (height, width) = context.keys.shape[0], x.shape[-2:]
        tokens = rearrange(self.q_norm(x), "q d h w -> q (h w) d") + self.q_pos_emb
        queries = self._split(rearrange(self.att.query(tokens), "(r q) p d -> r (q p) d", r=rows))
        dropout = self.dropout if self.training else 0.0
        seen = attend(queries, context.keys, context.values, dropout)
        seen = self.att.out_proj(rearrange(seen, "r heads l e -> r l (heads e)"))
        seen = F.dropout(seen, dropout)
        return F.silu(x + rearrange(seen, "r (q h w) d -> (r q) d h w", h=height, w=width))

    def _split(self, tokens: Tensor) -> Tensor:
        return rearrange(tokens, "r l (heads e) -> r heads l e", heads=self.heads)


def attend(query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0) -> Tensor:
    """Attention of [... s e] queries to [... t e] keys and values."""
    if not dropout and query.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        # PyTorch's fused kernel is slow in bfloat16 gradients on a CPU.
        scores: Tensor = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        return scores.softmax(-1) @ value
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
