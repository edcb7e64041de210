"""What a video tokenizer is made of, as one frozen value.

The defaults are the released 64 px model; every field that leads beyond the released architecture is off by default.
"""

from dataclasses import dataclass, field
from math import prod
from typing import Literal

from .quantize import EMAVQ, FSQ, GradientVQ, QuantizerConfig, SimVQ

_MOST_FSQ_CODES = 1 << 20  # all of them are laid out in memory, and no file of that size has to stand behind them


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """Fixes every shape of a `VideoTokenizer`; raises `ValueError` for shapes that do not fit together.

    Both halves share one channel plan. A frame of `resolution` pixels is divided by `stem_stride` and then halved
    after every level but the last:

        64 px, channels (128, 256, 512):   64 -> 32 -> 16 -> 16 = context grid;  16 / patch_size 4 -> 4 = dynamics grid

    Source: the iVideoGPT paper, arXiv 2405.15223, section 3.1 and appendix A.
    """

    resolution: int = 64
    """Height and width of a frame in pixels."""
    channels: tuple[int, ...] = (128, 256, 512)
    """Width of every level, from the finest to the coarsest."""
    blocks_per_level: int = 2
    """Residual blocks per level of an encoder; a decoder has one more."""
    stem_stride: int = 1
    """1: a 3x3 convolution reads the pixels. p > 1: p x p patches in, pixel shuffle out (smaller and faster)."""
    latent_channels: int = 64
    """Channels of the latent map between encoder and decoder."""
    code_dim: int | None = 64
    """Width of a code vector; null means `latent_channels`."""
    context_codes: int = 8192
    """Size of the codebook of context frames."""
    dynamics_codes: int = 8192
    """Size of the codebook of future frames."""
    patch_size: int = 4
    """A future frame's latent map is cut in patch_size x patch_size patches, one token each."""
    context_frames: int = 2
    """Frames at the start of a clip that are encoded on their own, in full."""
    max_attention_resolution: int = 16
    """Future frames attend to the context wherever a map is at most this wide; 0: nowhere, and every future frame is
    encoded and decoded on its own, as per-frame tokenizers do."""
    attention_heads: int = 4
    """Heads of the cross-attention to the context."""
    dropout: float = 0.1
    """Dropout of attention weights and of their result, while training."""
    norm_groups: int = 32
    """Groups of every group normalisation; divides every entry of `channels`."""
    mid_blocks: int = 2
    """Residual blocks of each coarsest (mid) block; 0 leaves the mid blocks out."""
    context_mid_attention: bool = False
    """Self-attention in the mid blocks of the context half."""
    dynamics_mid_attention: bool = True
    """Self-attention in the mid blocks of the dynamics half."""
    mask_blend: Literal["decoded", "observed"] | None = None
    """Predict a mask as well: frame = mask * new pixels + (1 - mask) * last context frame, either as decoded from its
    codes or as observed. Where only codes are known, it is decoded in both cases."""
    quantizer: GradientVQ | EMAVQ | FSQ | SimVQ = field(default_factory=GradientVQ)
    """How latents become codes; the released models use GradientVQ."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        self._check_positive()
        self._check_grid()
        self._check_widths()
        self._check_codebooks()

    @classmethod
    def ivideogpt_64(cls) -> "TokenizerConfig":
        """The released 64 px tokenizer, 114,159,174 parameters."""
        return cls()

    @classmethod
    def ivideogpt_256(cls) -> "TokenizerConfig":
        """The released 256 px tokenizer, 310,472,774 parameters."""
        return cls(resolution=256, channels=(128, 256, 256, 512, 768), max_attention_resolution=32)

    @property
    def code_width(self) -> int:
        """Width of a code vector."""
        return self.latent_channels if self.code_dim is None else self.code_dim

    @property
    def level_sides(self) -> tuple[int, ...]:
        """Side of the map that each level hands on, finest first."""
        stem = self.resolution // self.stem_stride
        last = len(self.channels) - 1
        return tuple(stem >> min(level + 1, last) for level in range(len(self.channels)))

    @property
    def context_grid(self) -> int:
        """Side of the token grid of a context frame."""
        return self.level_sides[-1]

    @property
    def dynamics_grid(self) -> int:
        """Side of the token grid of a future frame."""
        return self.context_grid // self.patch_size

    @property
    def context_tokens(self) -> int:
        """Tokens of one context frame."""
        return self.context_grid**2

    @property
    def dynamics_tokens(self) -> int:
        """Tokens of one future frame."""
        return self.dynamics_grid**2

    def _check_positive(self) -> None:
        if not self.channels:
            raise ValueError("channels is empty; give one width per level, for example (32, 64)")
        for name in (
            "resolution", "blocks_per_level", "stem_stride", "latent_channels", "context_codes", "dynamics_codes",
            "patch_size", "context_frames", "attention_heads", "norm_groups",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.code_dim is not None and self.code_dim < 1:
            raise ValueError(f"code_dim is {self.code_dim}; expected at least 1, or null for latent_channels")
        for name in ("mid_blocks", "max_attention_resolution"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; expected a probability in [0, 1)")

    def _check_grid(self) -> None:
        shrink = self.stem_stride << (len(self.channels) - 1)
        if self.resolution % shrink:
            raise ValueError(
                f"resolution {self.resolution} is not a multiple of {shrink}, by which stem_stride {self.stem_stride} "
                f"and {len(self.channels)} levels shrink a frame; change one of them"
            )
        if self.context_grid % self.patch_size:
            raise ValueError(
                f"patch_size {self.patch_size} does not divide the context grid of {self.context_grid}; "
                f"choose a divisor of {self.context_grid}"
            )
        if self.context_grid > self.max_attention_resolution > 0:
            raise ValueError(
                f"max_attention_resolution {self.max_attention_resolution} is below the context grid of "
                f"{self.context_grid}, so future frames could not see the context; raise it to {self.context_grid}, "
                "or set it to 0 for frames on their own"
            )
        if self.mask_blend is not None and self.max_attention_resolution == 0:
            raise ValueError(
                f"mask_blend {self.mask_blend!r} lays future frames over the context, which max_attention_resolution 0 "
                "keeps from them; leave one of the two out"
            )

    def _check_widths(self) -> None:
        for width in self.channels:
            if width % self.norm_groups or width % self.attention_heads:
                raise ValueError(
                    f"channels {self.channels} holds {width}, which norm_groups {self.norm_groups} and "
                    f"attention_heads {self.attention_heads} do not both divide; change one of them"
                )

    def _check_codebooks(self) -> None:
        if isinstance(self.quantizer, FSQ):
            for name, levels in (
                ("context_codes", self.quantizer.context_levels),
                ("dynamics_codes", self.quantizer.dynamics_levels),
            ):
                if prod(levels) > _MOST_FSQ_CODES:
                    raise ValueError(f"FSQ levels make {prod(levels):,} codes; expected {_MOST_FSQ_CODES:,} at most")
                if prod(levels) != getattr(self, name):
                    raise ValueError(
                        f"FSQ levels {tuple(levels)} make {prod(levels)} codes but {name} is {getattr(self, name)}; "
                        f"set {name}={prod(levels)}"
                    )


__all__ = ["EMAVQ", "FSQ", "GradientVQ", "QuantizerConfig", "SimVQ", "TokenizerConfig"]
