"""The video tokenizer: frames to codes and back, the context in full and later frames in a few codes each."""

from dataclasses import dataclass, replace
from itertools import islice

import torch
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from .autoencoder import Decoder, Encoder
from .codes import ContextFeatures, FrameCodes
from .conditional import ConditionalDecoder, ConditionalEncoder
from .config import TokenizerConfig
from .elastic import refit
from .quantize import Quantized, build_quantizer
from .reduced import Reducible


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerOutput:
    """A clip after one pass through encoder, codebooks and decoder; frames are not clamped to [0, 1]."""

    context: Float[Tensor, "b c 3 h w"]
    frames: Float[Tensor, "b f 3 h w"]
    codes: FrameCodes
    context_vq_loss: Float[Tensor, ""]
    dynamics_vq_loss: Float[Tensor, ""]


class VideoTokenizer(nn.Module):
    """Compresses a clip to codebook indices and restores it, each later frame conditioned on the context frames.

        context frames --encoder--> latents --quantize--> codes --decoder--> context frames
                           |                                         |
                           v keys, values                            v keys, values
        later frames --cond_encoder--> patches --dynamics_quantize--> codes --cond_decoder--> later frames

    Frames go in as uint8, or as floats in [0, 1], RGB; they come out as floats, not clamped. Whoever follows a clip
    over time calls `encode_context` once and passes its result to every `encode_frames` and `decode_frames`.

    Source: the iVideoGPT paper, arXiv 2405.15223, section 3.1.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        latent, code = config.latent_channels, config.code_width
        patch = latent * config.patch_size**2
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(latent, code, 1)
        self.quantize = build_quantizer(config.quantizer, codes=config.context_codes, width=code, half="context")
        self.post_quant_conv = nn.Conv2d(code, latent, 1)
        self.cond_encoder = ConditionalEncoder(config)
        self.cond_decoder = ConditionalDecoder(config)
        self.quant_linear = nn.Linear(patch, code)
        self.dynamics_quantize = build_quantizer(
            config.quantizer, codes=config.dynamics_codes, width=code, half="dynamics"
        )
        self.post_quant_linear = nn.Linear(code, patch)

    @property
    def context_codebook(self) -> Float[Tensor, "k v"]:
        """Code vectors of context frames."""
        return self.quantize.codebook

    @property
    def dynamics_codebook(self) -> Float[Tensor, "k v"]:
        """Code vectors of later frames."""
        return self.dynamics_quantize.codebook

    def encode_context(self, frames: UInt8[Tensor, "b c 3 h w"] | Float[Tensor, "b c 3 h w"]) -> ContextFeatures:
        """Codes of the context frames, and all that later frames are encoded and decoded with."""
        frames = self._pixels(frames, context=True)
        maps, quantized = self._encode_context(frames)
        codes = rearrange(quantized.indices, "(b c) h w -> b c (h w)", b=frames.shape[0])
        context = self._context(codes, observed=frames[:, -1])
        return replace(context, encoder=self.cond_encoder.keys_values(maps))

    def context_from_codes(self, codes: Int[Tensor, "b c n"]) -> ContextFeatures:
        """All that later frames are decoded with; encoding frames takes the context's pixels as well."""
        self._check_codes(codes, self.config.context_codes, (self.config.context_frames, self.config.context_tokens))
        return self._context(codes, observed=None)

    def encode_frames(
        self, frames: UInt8[Tensor, "b f 3 h w"] | Float[Tensor, "b f 3 h w"], context: ContextFeatures
    ) -> Int[Tensor, "b f m"]:
        """Codes of later frames, each encoded on its own given the context."""
        if context.encoder is None:
            raise ValueError("this context was built from codes, which cannot encode frames; use encode_context")
        frames = self._pixels(frames, context=False)
        self._check_rows(frames, context)
        if frames.shape[1] == 0:
            return torch.empty(frames.shape[0], 0, self.config.dynamics_tokens, dtype=torch.long, device=frames.device)
        quantized = self._encode_frames(frames, context)
        return rearrange(quantized.indices, "(b f) m -> b f m", b=frames.shape[0])

    def decode_context(self, context: ContextFeatures) -> Float[Tensor, "b c 3 h w"]:
        """The context frames as their codes describe them."""
        *_, last = self.decoder.maps(self._context_latents(context.stored_codes))
        frames = _by_clip(self.decoder.pixels(last), context.stored_codes.shape[0])
        return frames.repeat_interleave(context.forks, dim=0)

    def decode_frames(self, codes: Int[Tensor, "b f m"], context: ContextFeatures) -> Float[Tensor, "b f 3 h w"]:
        """Later frames, each decoded on its own given the context: pass only the codes of frames that are wanted."""
        self._check_codes(codes, self.config.dynamics_codes, (codes.shape[1], self.config.dynamics_tokens))
        self._check_rows(codes, context)
        if codes.shape[1] == 0:
            side = self.config.resolution
            return self.post_quant_linear.weight.new_empty(codes.shape[0], 0, 3, side, side)
        return self._decode_frames(self.dynamics_codebook[codes], context)

    def encode(self, frames: UInt8[Tensor, "b t 3 h w"] | Float[Tensor, "b t 3 h w"]) -> FrameCodes:
        """Codes of a clip that starts with the context frames."""
        head, tail = self._split(frames)
        context = self.encode_context(head)
        return FrameCodes(context=context.codes, dynamics=self.encode_frames(tail, context))

    def decode(self, codes: FrameCodes) -> Float[Tensor, "b t 3 h w"]:
        """The clip that `codes` describe."""
        context = self.context_from_codes(codes.context)
        return torch.cat([self.decode_context(context), self.decode_frames(codes.dynamics, context)], dim=1)

    def forward(self, frames: UInt8[Tensor, "b t 3 h w"] | Float[Tensor, "b t 3 h w"]) -> TokenizerOutput:
        """Reconstructs a clip with gradients, for training; at least one frame follows the context."""
        head, tail = self._split(frames)
        if tail.shape[1] == 0:
            raise ValueError(f"{frames.shape[1]} frames are all context; training needs at least one frame after them")
        head, tail = self._pixels(head, context=True), self._pixels(tail, context=False)
        rows = head.shape[0]
        encoder_maps, context_codes = self._encode_context(head)
        decoder_maps = list(self.decoder.maps(self.post_quant_conv(_channels_first(context_codes.vectors))))
        decoded = _by_clip(self.decoder.pixels(decoder_maps[-1]), rows)
        read = decoder_maps[: self.cond_decoder.depth]
        over = {None: None, "decoded": decoded, "observed": head}[self.config.mask_blend]
        context = ContextFeatures(
            stored_codes=rearrange(context_codes.indices, "(b c) h w -> b c (h w)", b=rows),
            encoder=self.cond_encoder.keys_values(encoder_maps),
            decoder=self.cond_decoder.keys_values([_by_clip(m, rows) for m in read]),
            background=None if over is None else over[:, -1],
        )
        frame_codes = self._encode_frames(tail, context)
        dynamics = rearrange(frame_codes.indices, "(b f) m -> b f m", b=rows)
        return TokenizerOutput(
            context=decoded,
            frames=self._decode_frames(rearrange(frame_codes.vectors, "(b f) m v -> b f m v", b=rows), context),
            codes=FrameCodes(context=context.stored_codes, dynamics=dynamics),
            context_vq_loss=context_codes.loss,
            dynamics_vq_loss=frame_codes.loss,
        )

    def reduce(self, dtype: torch.dtype) -> None:
        """Have layers multiply in bfloat16 or int8 where nothing is learned and the processor can; see `reduced`."""
        for module in self.modules():
            if isinstance(module, Reducible):
                module.reduced = dtype

    def with_context_frames(self, frames: int) -> "VideoTokenizer":
        """A copy for clips that start with fewer context frames: the same weights, the last key positions."""
        if not 1 <= frames <= self.config.context_frames:
            raise ValueError(
                f"cannot turn {self.config.context_frames} context frames into {frames}; expected 1 to "
                f"{self.config.context_frames}, since positions of further frames were never learned"
            )
        return self.refitted(replace(self.config, context_frames=frames))

    def refitted(self, config: TokenizerConfig) -> "VideoTokenizer":
        """A copy in other shapes; `elastic` says which there are, and a ValueError which there are not."""
        refits = refit(self.state_dict(), self.config, config)
        clone = VideoTokenizer(config).to(self.quant_linear.weight)
        clone.load_state_dict({name: made.tensor for name, made in refits.items()})
        return clone.train(self.training)

    def _encode_context(self, frames: Tensor) -> tuple[list[Tensor], Quantized]:
        """The encoder's maps as [b c d h w], finest first, and the quantized latents as rows of (b c)."""
        maps = list(self.encoder.maps(frames.flatten(0, 1)))
        latents = self.quant_conv(self.encoder.latents(maps[-1]))
        return [_by_clip(m, frames.shape[0]) for m in maps], self.quantize(rearrange(latents, "r v h w -> r h w v"))

    def _context(self, codes: Tensor, observed: Tensor | None) -> ContextFeatures:
        """What decoding later frames reads, given the last context frame's pixels or without them."""
        maps = self.decoder.maps(self._context_latents(codes))
        read = list(islice(maps, self.cond_decoder.depth))
        background = None
        if self.config.mask_blend == "observed" and observed is not None:
            background = observed
        elif self.config.mask_blend is not None:
            # Maps lie clip by clip, frame by frame: only the last frame of every clip goes on to pixels.
            frames = codes.shape[1]
            last = read[-1][frames - 1 :: frames]
            background = self.decoder.pixels(self.decoder.climb(last, self.cond_decoder.depth))
        return ContextFeatures(
            stored_codes=codes,
            encoder=None,
            decoder=self.cond_decoder.keys_values([_by_clip(m, codes.shape[0]) for m in read]),
            background=background,
        )

    def _context_latents(self, codes: Tensor) -> Tensor:
        vectors = self.context_codebook[codes.flatten(0, 1)]
        latents: Tensor = self.post_quant_conv(rearrange(vectors, "r (h w) v -> r v h w", h=self.config.context_grid))
        return latents

    def _encode_frames(self, frames: Tensor, context: ContextFeatures) -> Quantized:
        assert context.encoder is not None
        latents = self.cond_encoder(frames.flatten(0, 1), context.encoder)
        p = self.config.patch_size
        patches = rearrange(latents, "r d (h p) (w q) -> r (h w) (p q d)", p=p, q=p)
        quantized: Quantized = self.dynamics_quantize(self.quant_linear(patches))
        return quantized

    def _decode_frames(self, vectors: Tensor, context: ContextFeatures) -> Tensor:
        patches = self.post_quant_linear(vectors.flatten(0, 1))
        p, grid = self.config.patch_size, self.config.dynamics_grid
        latents = rearrange(patches, "r (h w) (p q d) -> r d (h p) (w q)", h=grid, p=p, q=p)
        frames = self.cond_decoder(latents, context.decoder, context.background)
        return _by_clip(frames, vectors.shape[0])

    def _split(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        self._check_frames(frames)
        if frames.shape[1] < self.config.context_frames:
            raise ValueError(
                f"a clip of {frames.shape[1]} frames is too short; expected the {self.config.context_frames} context "
                "frames and what follows them"
            )
        return frames[:, : self.config.context_frames], frames[:, self.config.context_frames :]

    def _pixels(self, frames: Tensor, *, context: bool) -> Tensor:
        """Checked frames as floats in [0, 1], in the precision of the weights."""
        self._check_frames(frames)
        if context and frames.shape[1] != self.config.context_frames:
            raise ValueError(
                f"{frames.shape[1]} context frames given; expected {self.config.context_frames} "
                "(with_context_frames makes a tokenizer for fewer)"
            )
        dtype = self.quant_linear.weight.dtype
        if frames.dtype == torch.uint8:
            return frames.to(dtype) / 255
        _check_range(frames)
        return frames.to(dtype)

    def _check_frames(self, frames: Tensor) -> None:
        side = self.config.resolution
        if frames.ndim != 5 or tuple(frames.shape[2:]) != (3, side, side):
            raise ValueError(
                f"frames have shape {tuple(frames.shape)}; expected [batch, time, 3, {side}, {side}] (RGB): resize them"
            )

    def _check_codes(self, codes: Tensor, size: int, shape: tuple[int, int]) -> None:
        if tuple(codes.shape[1:]) != shape:
            raise ValueError(f"codes have shape {tuple(codes.shape)}; expected [batch, {shape[0]}, {shape[1]}]")
        # On an accelerator this would stall the queue at every frame; there the lookup itself raises.
        if codes.device.type == "cpu" and codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < size:
            raise ValueError(
                f"codes span {int(codes.min())} to {int(codes.max())}; expected indices of a codebook of {size} "
                "(0 is its first code, with no vocabulary offset)"
            )

    def _check_rows(self, rows: Tensor, context: ContextFeatures) -> None:
        if rows.shape[0] != context.batch:
            raise ValueError(
                f"a batch of {rows.shape[0]} does not match a context of {context.batch} rows; fork or select it"
            )


def _check_range(frames: Tensor) -> None:
    """Refuses what are no pixels; frames that a tokenizer decoded reach somewhat beyond [0, 1]."""
    if not frames.is_floating_point():
        raise ValueError(f"frames are {frames.dtype}; expected uint8, or floats in [0, 1]")
    low, high = (float(value) for value in frames.detach().aminmax()) if frames.numel() else (0.0, 0.0)
    if not -4 < low <= high < 5:  # false for NaN as well
        raise ValueError(
            f"frames hold values from {low:g} to {high:g}; expected uint8, or finite floats in [0, 1]: divide by 255, "
            "or repair the frames"
        )


def _by_clip(maps: Tensor, clips: int) -> Tensor:
    return rearrange(maps, "(b t) ... -> b t ...", b=clips)


def _channels_first(vectors: Tensor) -> Tensor:
    return rearrange(vectors, "r h w v -> r v h w")
