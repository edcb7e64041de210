"""The context half: every context frame is encoded and decoded in full, on its own.

Encoder and decoder hand out their maps one by one, since the dynamics half attends to them, and since a reader that
stops early spares the rest of the work.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .blocks import DownBlock, MidBlock, UpBlock, group_norm
from .config import TokenizerConfig


def stem(config: TokenizerConfig) -> nn.Conv2d:
    """Reads pixels: a 3x3 convolution, or one step per patch when the stem strides."""
    if config.stem_stride == 1:
        return nn.Conv2d(3, config.channels[0], 3, padding=1)
    return nn.Conv2d(3, config.channels[0], config.stem_stride, stride=config.stem_stride)


def down_path(config: TokenizerConfig) -> nn.ModuleList:
    """Levels of an encoder, finest first; all but the last halve the resolution."""
    widths = (config.channels[0], *config.channels)
    last = len(config.channels) - 1
    return nn.ModuleList(
        DownBlock(a, b, blocks=config.blocks_per_level, groups=config.norm_groups, downsample=level < last)
        for level, (a, b) in enumerate(pairwise(widths))
    )


def up_path(config: TokenizerConfig) -> nn.ModuleList:
    """Levels of a decoder, coarsest first; all but the last double the resolution."""
    widths = (config.channels[-1], *reversed(config.channels))
    last = len(config.channels) - 1
    return nn.ModuleList(
        UpBlock(a, b, blocks=config.blocks_per_level + 1, groups=config.norm_groups, upsample=level < last)
        for level, (a, b) in enumerate(pairwise(widths))
    )


def mid_block(config: TokenizerConfig, *, attention: bool) -> MidBlock:
    return MidBlock(config.channels[-1], blocks=config.mid_blocks, groups=config.norm_groups, attention=attention)


def pixel_conv(config: TokenizerConfig, *, channels: int) -> nn.Conv2d:
    """Last convolution of a decoder: `channels` values for each pixel under one position."""
    return nn.Conv2d(config.channels[0], channels * config.stem_stride**2, 3, padding=1)


class Encoder(nn.Module):
    """Pixels to latents: Float[b 3 h w] in, Float[b latent grid grid] out."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.conv_in = stem(config)
        self.down_blocks = down_path(config)
        self.mid_block = mid_block(config, attention=config.context_mid_attention)
        self.conv_norm_out = group_norm(config.norm_groups, config.channels[-1])
        self.conv_out = nn.Conv2d(config.channels[-1], config.latent_channels, 3, padding=1)

    def maps(self, frames: Float[Tensor, "b 3 h w"]) -> Iterator[Float[Tensor, "b d h2 w2"]]:
        """The map after every level, finest first."""
        x = self.conv_in(frames)
        for block in self.down_blocks:
            x = block(x)
            yield x

    def latents(self, last: Float[Tensor, "b d h w"]) -> Float[Tensor, "b latent h w"]:
        """Latents from the last of the maps."""
        x: Tensor = self.conv_out(F.silu(self.conv_norm_out(self.mid_block(last))))
        return x


class Decoder(nn.Module):
    """Latents to pixels: Float[b latent grid grid] in, Float[b 3 h w] out, not clamped."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.stem_stride = config.stem_stride
        self.conv_in = nn.Conv2d(config.latent_channels, config.channels[-1], 3, padding=1)
        self.mid_block = mid_block(config, attention=config.context_mid_attention)
        self.up_blocks = up_path(config)
        self.conv_norm_out = group_norm(config.norm_groups, config.channels[0])
        self.conv_out = pixel_conv(config, channels=3)

    def maps(self, latents: Float[Tensor, "b latent h w"]) -> Iterator[Float[Tensor, "b d h2 w2"]]:
        """The map after the mid block, then after every level; computed only as far as it is read."""
        x = self.mid_block(self.conv_in(latents))
        yield x
        for block in self.up_blocks:
            x = block(x)
            yield x

    def climb(self, map_: Float[Tensor, "b d h w"], depth: int) -> Float[Tensor, "b d2 h2 w2"]:
        """The last of the maps, from the one that was read at `depth` (1 is the first)."""
        for block in self.up_blocks[depth - 1 :]:
            map_ = block(map_)
        return map_

    def pixels(self, last: Float[Tensor, "b d h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Frames from the last of the maps."""
        x = self.conv_out(F.silu(self.conv_norm_out(last)))
        return F.pixel_shuffle(x, self.stem_stride)
