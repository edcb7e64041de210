"""The dynamics half: a future frame is encoded and decoded given the context, so that few tokens suffice.

              context frames                          future frame
    64 px     E_c level 1  ------------------------>  E_p level 1       the keys and values behind every arrow are
              E_c level 2  ------------------------>  E_p level 2       computed once per clip (`keys_values`)
              D_c mid block (quantised context)  -->  D_p mid block

Source: the iVideoGPT paper, arXiv 2405.15223, section 3.1.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .autoencoder import down_path, mid_block, pixel_conv, stem, up_path
from .blocks import CrossAttention, group_norm
from .codes import KeysValues
from .config import TokenizerConfig

_MASK_BIAS = -2.0  # a new decoder keeps 96% of what lies behind and learns where not to
_MASK_STRETCH = 1.2  # the sigmoid spans -0.1 to 1.1 and is cut to [0, 1], so that the mask can be 0 and 1 exactly


class ConditionalEncoder(nn.Module):
    """Pixels to latents given the context: Float[bf 3 h w] in, Float[bf latent grid grid] out."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.conv_in = stem(config)
        self.down_blocks = down_path(config)
        self.mid_block = mid_block(config, attention=config.dynamics_mid_attention)
        self.conv_norm_out = group_norm(config.norm_groups, config.channels[-1])
        self.conv_out = nn.Conv2d(config.channels[-1], config.latent_channels, 3, padding=1)
        self.cross_att_blocks = nn.ModuleList(
            CrossAttention(config, width, side)
            for width, side in zip(config.channels, config.level_sides, strict=True)
            if side <= config.max_attention_resolution
        )

    @property
    def attended(self) -> slice:
        """Which of the context encoder's maps are read: the coarsest ones."""
        return slice(len(self.down_blocks) - len(self.cross_att_blocks), None)

    def keys_values(self, maps: Sequence[Float[Tensor, "r c _d _h _w"]]) -> tuple[KeysValues, ...]:
        """What all of the context encoder's maps offer to this encoder's attention."""
        return tuple(
            attention.keys_values(context)  # type: ignore[operator]
            for attention, context in zip(self.cross_att_blocks, maps[self.attended], strict=True)
        )

    def forward(
        self, frames: Float[Tensor, "bf 3 h w"], context: tuple[KeysValues, ...]
    ) -> Float[Tensor, "bf latent h2 w2"]:
        x = self.conv_in(frames)
        first = self.attended.start
        for level, block in enumerate(self.down_blocks):
            x = block(x)
            if level >= first:
                x = self.cross_att_blocks[level - first](x, context[level - first])
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))
        return out


class ConditionalDecoder(nn.Module):
    """Latents to pixels given the context: Float[bf latent grid grid] in, Float[bf 3 h w] out, not clamped."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.stem_stride = config.stem_stride
        self.conv_in = nn.Conv2d(config.latent_channels, config.channels[-1], 3, padding=1)
        self.up_blocks = up_path(config)
        self.mid_block = mid_block(config, attention=config.dynamics_mid_attention)
        self.conv_norm_out = group_norm(config.norm_groups, config.channels[0])
        self.conv_out = pixel_conv(config, channels=4 if config.mask_blend else 3)
        if config.mask_blend and self.conv_out.bias is not None:
            nn.init.constant_(self.conv_out.bias[3 * config.stem_stride**2 :], _MASK_BIAS)
        self.cross_att_blocks = nn.ModuleList(
            CrossAttention(config, width, side)
            for width, side in _decoder_maps(config)
            if side <= config.max_attention_resolution
        )

    @property
    def depth(self) -> int:
        """How many of the context decoder's maps are read: the coarsest ones."""
        return len(self.cross_att_blocks)

    def keys_values(self, maps: Sequence[Float[Tensor, "r c _d _h _w"]]) -> tuple[KeysValues, ...]:
        """What the first `depth` of the context decoder's maps offer to this decoder's attention."""
        return tuple(
            attention.keys_values(context)  # type: ignore[operator]
            for attention, context in zip(self.cross_att_blocks, maps[: self.depth], strict=True)
        )

    def forward(
        self,
        latents: Float[Tensor, "bf latent h w"],
        context: tuple[KeysValues, ...],
        background: Float[Tensor, "r 3 h2 w2"] | None = None,
    ) -> Float[Tensor, "bf 3 h2 w2"]:
        x = self.conv_in(latents)
        for level, block in enumerate((self.mid_block, *self.up_blocks)):
            x = block(x)
            if level < self.depth:
                x = self.cross_att_blocks[level](x, context[level])
        x = F.pixel_shuffle(self.conv_out(F.silu(self.conv_norm_out(x))), self.stem_stride)
        return x if background is None else _blend(x, background)


def _decoder_maps(config: TokenizerConfig) -> list[tuple[int, int]]:
    """Width and side of every map a decoder hands out, coarsest first: the mid block's, then each level's."""
    sides = [config.resolution // config.stem_stride >> level for level in range(len(config.channels))]
    ups = [*reversed(sides[:-1]), sides[0]]
    return [(config.channels[-1], sides[-1]), *zip(reversed(config.channels), ups, strict=True)]


def _blend(x: Float[Tensor, "bf 4 h w"], background: Float[Tensor, "r 3 h w"]) -> Float[Tensor, "bf 3 h w"]:
    """Lays new pixels over the background where the mask says so; each background serves several frames.

    The mask is a hard sigmoid in the manner of Louizos et al., arXiv 1712.01312, section 2.2.
    """
    frames = x.unflatten(0, (background.shape[0], -1))
    mask = ((torch.sigmoid(frames[:, :, 3:]) - 0.5) * _MASK_STRETCH + 0.5).clamp(0, 1)
    blended: Tensor = mask * frames[:, :, :3] + (1 - mask) * background[:, None]
    return blended.flatten(0, 1)
