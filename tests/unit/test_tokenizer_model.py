"""A tokenizer's promises to its callers: any split of the work gives the same codes and the same frames."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tokenizer import EMAVQ, FSQ, ContextFeatures, FrameCodes, GradientVQ, SimVQ, TokenizerConfig, VideoTokenizer
from tokenizer.blocks import CrossAttention

SMALL = TokenizerConfig(
    resolution=16, channels=(8, 16), blocks_per_level=1, latent_channels=8, code_dim=4, context_codes=32,
    dynamics_codes=64, patch_size=2, context_frames=2, max_attention_resolution=8, attention_heads=2, norm_groups=4,
)  # fmt: skip
CONFIGS = {
    "released shape": SMALL,
    "attention on two scales": replace(SMALL, max_attention_resolution=16),
    "one level, one frame": replace(SMALL, channels=(8,), context_frames=1, max_attention_resolution=16, patch_size=4),
    "patch stem and blend": replace(
        SMALL, resolution=32, stem_stride=4, max_attention_resolution=4, mask_blend="decoded"
    ),
    "blend over what was seen": replace(SMALL, mask_blend="observed"),
    "frames on their own": replace(SMALL, max_attention_resolution=0),
    "no mid blocks": replace(SMALL, mid_blocks=0),
    "attention in the context half": replace(SMALL, context_mid_attention=True, dynamics_mid_attention=False),
    "codes as wide as latents": replace(SMALL, code_dim=None),
    "moving average": replace(SMALL, quantizer=EMAVQ()),
    "grid": replace(SMALL, quantizer=FSQ(context_levels=(4, 8), dynamics_levels=(4, 4, 4))),
    "frozen codebook": replace(SMALL, quantizer=SimVQ()),
}


def build(config: TokenizerConfig) -> VideoTokenizer:
    """A tokenizer in evaluation mode whose codebooks and key positions matter to its output."""
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(config).eval()
    with torch.no_grad():
        for module in tokenizer.modules():
            if isinstance(module, CrossAttention):
                module.kv_pos_emb.normal_()
                module.q_pos_emb.normal_()
        if isinstance(config.quantizer, GradientVQ):
            tokenizer.quantize.embedding.weight.normal_(std=0.3)
            tokenizer.dynamics_quantize.embedding.weight.normal_(std=0.3)
    return tokenizer


def clip(config: TokenizerConfig, batch: int = 2, frames: int = 5) -> Tensor:
    shape = (batch, frames, 3, config.resolution, config.resolution)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def tokenizer() -> VideoTokenizer:
    return build(CONFIGS["patch stem and blend"])


@pytest.fixture(scope="module")
def frames(tokenizer: VideoTokenizer) -> Tensor:
    return clip(tokenizer.config)


@pytest.fixture(scope="module")
def context(tokenizer: VideoTokenizer, frames: Tensor) -> ContextFeatures:
    with torch.no_grad():
        return tokenizer.encode_context(frames[:, :2])


def close(made: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_a_clip_makes_the_round_trip(name: str) -> None:
    config = CONFIGS[name]
    tokenizer, frames = build(config), clip(config)
    codes = tokenizer.encode(frames)
    assert codes.context.shape == (2, config.context_frames, config.context_tokens)
    assert codes.dynamics.shape == (2, 5 - config.context_frames, config.dynamics_tokens)
    assert 0 <= codes.context.min() <= codes.context.max() < config.context_codes
    assert 0 <= codes.dynamics.min() <= codes.dynamics.max() < config.dynamics_codes
    assert tokenizer.context_codebook.shape == (config.context_codes, config.code_width)
    assert tokenizer.dynamics_codebook.shape == (config.dynamics_codes, config.code_width)
    decoded = tokenizer.decode(codes)
    assert decoded.shape == frames.shape
    output = tokenizer(frames)  # the training path, without its gradients
    assert torch.equal(output.codes.context, codes.context)
    assert torch.equal(output.codes.dynamics, codes.dynamics)
    context = tokenizer.encode_context(frames[:, : config.context_frames])
    close(output.context, decoded[:, : config.context_frames])
    close(output.frames, tokenizer.decode_frames(codes.dynamics, context))
    if config.mask_blend != "observed":  # then codes are all that decoding needs
        close(output.frames, decoded[:, config.context_frames :])


@torch.no_grad()
def test_frames_are_blended_over_the_last_context_frame_as_seen_or_as_decoded() -> None:
    tokenizer, frames = build(CONFIGS["blend over what was seen"]), clip(SMALL)
    tokenizer.cond_decoder.conv_out.bias[3::4] = -1e4  # the mask: nothing is new
    context = tokenizer.encode_context(frames[:, :2])
    codes = tokenizer.encode_frames(frames[:, 2:], context)
    close(tokenizer.decode_frames(codes, context), (frames[:, 1:2] / 255).expand(-1, 3, -1, -1, -1))
    blind = tokenizer.context_from_codes(context.codes)
    close(tokenizer.decode_frames(codes, blind), tokenizer.decode_context(context)[:, 1:].expand(-1, 3, -1, -1, -1))


@torch.no_grad()
def test_frames_on_their_own_see_nothing_of_the_context() -> None:
    config = CONFIGS["frames on their own"]
    own, frames = build(config), clip(config)
    other = torch.cat([255 - frames[:, :2], frames[:, 2:]], dim=1)
    codes, others = own.encode(frames), own.encode(other)
    assert not torch.equal(codes.context, others.context)
    assert torch.equal(codes.dynamics, others.dynamics)
    assert torch.equal(own.decode(codes)[:, 2:], own.decode(others)[:, 2:])
    assert torch.equal(own(frames).frames, own(other).frames)
    seeing = build(SMALL)  # the same clips, told apart by one whose frames attend to the context
    assert not torch.equal(seeing(frames).frames, seeing(other).frames)


@torch.no_grad()
def test_frames_encoded_one_by_one_or_together(
    tokenizer: VideoTokenizer, frames: Tensor, context: ContextFeatures
) -> None:
    together = tokenizer.encode_frames(frames[:, 2:], context)
    one_by_one = [tokenizer.encode_frames(frames[:, t : t + 1], context) for t in range(2, 5)]
    assert torch.equal(together, torch.cat(one_by_one, dim=1))
    assert torch.equal(together, tokenizer.encode(frames).dynamics)


@torch.no_grad()
def test_only_wanted_frames_are_decoded(tokenizer: VideoTokenizer, frames: Tensor, context: ContextFeatures) -> None:
    codes = tokenizer.encode_frames(frames[:, 2:], context)
    close(tokenizer.decode_frames(codes[:, 1:2], context), tokenizer.decode_frames(codes, context)[:, 1:2])


@torch.no_grad()
def test_the_context_can_be_rebuilt_from_its_codes(
    tokenizer: VideoTokenizer, frames: Tensor, context: ContextFeatures
) -> None:
    codes = tokenizer.encode_frames(frames[:, 2:], context)
    rebuilt = tokenizer.context_from_codes(context.codes)
    close(tokenizer.decode_frames(codes, rebuilt), tokenizer.decode_frames(codes, context))
    with pytest.raises(ValueError, match="built from codes, which cannot encode frames; use encode_context"):
        tokenizer.encode_frames(frames[:, 2:], rebuilt)


@torch.no_grad()
def test_forked_rows_behave_like_repeated_ones(
    tokenizer: VideoTokenizer, frames: Tensor, context: ContextFeatures
) -> None:
    forked = context.fork(3)
    repeated = frames.repeat_interleave(3, dim=0).clone()
    repeated[:, 2:] = clip(tokenizer.config, batch=6, frames=3)  # every fork goes its own way
    plain = tokenizer.encode_context(repeated[:, :2])
    assert torch.equal(forked.codes, plain.codes)
    codes = tokenizer.encode_frames(repeated[:, 2:], forked)
    assert torch.equal(codes, tokenizer.encode_frames(repeated[:, 2:], plain))
    close(tokenizer.decode_frames(codes, forked), tokenizer.decode_frames(codes, plain))
    close(tokenizer.decode_context(forked), tokenizer.decode_context(plain))


def test_forking_copies_nothing(context: ContextFeatures) -> None:
    forked = context.fork(4).fork(2)
    assert forked.batch == 16
    assert forked.decoder[0].keys is context.decoder[0].keys
    assert forked.background is context.background
    with pytest.raises(ValueError, match="cannot fork a context 0 times"):
        context.fork(0)


@pytest.mark.parametrize("rows", [[0], [3, 0, 3], [5, 4, 3, 2, 1, 0]])
@torch.no_grad()
def test_selected_rows_are_those_rows(
    rows: list[int], tokenizer: VideoTokenizer, frames: Tensor, context: ContextFeatures
) -> None:
    index = torch.tensor(rows)
    forked = context.fork(3)
    selected = forked.select(index)
    assert torch.equal(selected.codes, forked.codes[index])
    later = clip(tokenizer.config, batch=6, frames=2)
    codes = tokenizer.encode_frames(later, forked)
    assert torch.equal(tokenizer.encode_frames(later[index], selected), codes[index])
    close(tokenizer.decode_frames(codes[index], selected), tokenizer.decode_frames(codes, forked)[index])


def test_selecting_from_one_stored_row_copies_nothing(context: ContextFeatures) -> None:
    single = context.select(torch.tensor([1]))
    chosen = single.fork(8).select(torch.tensor([7, 0, 2]))
    assert chosen.batch == 3
    assert chosen.decoder[0].keys is single.decoder[0].keys


@torch.no_grad()
def test_context_pixels_are_decoded_only_when_asked_for() -> None:
    tokenizer = build(SMALL)
    runs: list[str] = []
    tokenizer.decoder.up_blocks[0].register_forward_hook(lambda *_: runs.append("up"))
    tokenizer.decoder.mid_block.register_forward_hook(lambda *_: runs.append("mid"))
    context = tokenizer.encode_context(clip(SMALL)[:, :2])
    assert runs == ["mid"]
    tokenizer.decode_context(context)
    assert runs == ["mid", "mid", "up"]


@torch.no_grad()
def test_floats_in_unit_range_mean_the_same_as_bytes(tokenizer: VideoTokenizer, frames: Tensor) -> None:
    assert torch.equal(tokenizer.encode(frames).dynamics, tokenizer.encode(frames.float() / 255).dynamics)


@torch.no_grad()
def test_a_clip_of_context_alone(tokenizer: VideoTokenizer, frames: Tensor) -> None:
    codes = tokenizer.encode(frames[:, :2])
    assert codes.dynamics.shape == (2, 0, tokenizer.config.dynamics_tokens)
    close(tokenizer.decode(codes), tokenizer.decode(tokenizer.encode(frames))[:, :2])
    with pytest.raises(ValueError, match="all context; training needs at least one frame after them"):
        tokenizer(frames[:, :2])


@torch.no_grad()
def test_fewer_context_frames_keep_the_last_positions(tokenizer: VideoTokenizer, frames: Tensor) -> None:
    one = tokenizer.with_context_frames(1)
    assert one.config == replace(tokenizer.config, context_frames=1)
    assert tokenizer.config.context_frames == 2
    positions = tokenizer.cond_decoder.cross_att_blocks[0].kv_pos_emb
    assert torch.equal(one.cond_decoder.cross_att_blocks[0].kv_pos_emb, positions[positions.shape[0] // 2 :])
    codes = one.encode(frames[:, 1:])
    assert torch.equal(codes.context[:, 0], tokenizer.encode(frames).context[:, 1])
    assert one.decode(codes).shape == frames[:, 1:].shape
    assert one.encode(frames[:, 1:]).dynamics.shape[1] == 3
    for wrong in (0, 3):
        with pytest.raises(ValueError, match=f"cannot turn 2 context frames into {wrong}; expected 1 to 2"):
            tokenizer.with_context_frames(wrong)


def test_every_parameter_is_trained() -> None:
    tokenizer = build(replace(CONFIGS["patch stem and blend"], quantizer=GradientVQ())).train()
    output = tokenizer(clip(tokenizer.config))
    loss = output.frames.square().mean() + output.context.square().mean()
    (loss + output.context_vq_loss + output.dynamics_vq_loss).backward()
    without = [name for name, p in tokenizer.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias that a normalisation takes away again has rounding noise for a gradient, now and then exactly zero.
    assert [name for name in without if "bias" not in name] == []


def test_dropout_acts_in_training_only() -> None:
    tokenizer = build(replace(SMALL, dropout=0.5))
    frames = clip(SMALL)
    assert torch.equal(tokenizer(frames).frames, tokenizer(frames).frames)
    tokenizer.train()
    assert not torch.equal(tokenizer(frames).frames, tokenizer(frames).frames)


def test_a_blended_frame_lies_between_new_pixels_and_the_last_context_frame(
    tokenizer: VideoTokenizer, frames: Tensor
) -> None:
    closed = build(tokenizer.config)
    with torch.no_grad():
        bias = closed.cond_decoder.conv_out.bias
        assert bias is not None
        bias.view(4, -1)[3] = -100.0  # the mask lets nothing new through
        decoded = closed.decode(closed.encode(frames))
    for t in range(2, 5):
        close(decoded[:, t], decoded[:, 1])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 5, 3, 64, 64), r"shape \(2, 5, 3, 64, 64\); expected \[batch, time, 3, 32, 32\].*resize"),
        ((2, 1, 3, 32, 32), "1 frames is too short; expected the 2 context frames"),
    ],
)
def test_clips_of_the_wrong_shape_are_refused(shape: tuple[int, ...], message: str, tokenizer: VideoTokenizer) -> None:
    with pytest.raises(ValueError, match=message):
        tokenizer.encode(torch.zeros(shape, dtype=torch.uint8))


def test_misused_contexts_and_codes_are_refused(
    tokenizer: VideoTokenizer, frames: Tensor, context: ContextFeatures
) -> None:
    with pytest.raises(ValueError, match="3 context frames given; expected 2"):
        tokenizer.encode_context(frames[:, :3])
    with pytest.raises(ValueError, match="batch of 1 does not match a context of 2 rows"):
        tokenizer.encode_frames(frames[:1, 2:], context)
    with pytest.raises(ValueError, match=r"codes have shape \(2, 1, 5\); expected \[batch, 1, 4\]"):
        tokenizer.decode_frames(torch.zeros(2, 1, 5, dtype=torch.long), context)
    with pytest.raises(ValueError, match="codes span 64 to 64; expected indices of a codebook of 64"):
        tokenizer.decode_frames(torch.full((2, 1, 4), 64), context)
    with pytest.raises(ValueError, match="codes span -1 to -1"):
        tokenizer.decode(
            FrameCodes(context=torch.full((2, 2, 16), -1), dynamics=torch.zeros(2, 1, 4, dtype=torch.long))
        )
