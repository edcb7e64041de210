"""What a model's change of shape promises to leave as it was, it leaves: to the bit where that is said."""

from dataclasses import replace

import pytest
import torch
from tiny import TINY_TOKENIZER
from tiny_rollouts import OPTIONS, actions_for, build, clip
from torch import Tensor

from ivideo import Changes, WorldModel, adapt
from ivideo.embedding import EmbeddingConfig
from ivideo.embodiments import Domain
from ivideo.instructions import TextConfig
from ivideo.migration import Migration
from ivideo.migration.adaptation import take_over
from tokenizer import EMAVQ, FSQ, FrameCodes, GradientVQ, SimVQ, VideoTokenizer

FREE = [option for option in OPTIONS if not option.action_dim]
ACTING = [option for option in OPTIONS if option.action_dim]
CLIP = clip(5)
ROUNDING = {"atol": 1e-4, "rtol": 1e-4}


def changed(model: WorldModel, **changes: int | bool) -> WorldModel:
    return adapt(model, Changes(**changes))[0]  # type: ignore[arg-type]


def strengths(report: Migration) -> list[str]:
    return [promise.strength for promise in report.promises]


@torch.no_grad()
def logits(model: WorldModel, actions: Tensor | None, codes: FrameCodes | None = None) -> Tensor:
    hidden = model.forward(model.tokenizer.encode(CLIP) if codes is None else codes, actions)
    return model.logits(hidden, "full")


@pytest.mark.parametrize("embedding", FREE)
def test_an_action_that_is_added_changes_nothing(embedding: EmbeddingConfig) -> None:
    model = build(embedding)
    other, report = adapt(model, Changes(action_dim=3))
    assert strengths(report) == ["bit for bit"]
    assert torch.equal(logits(other, torch.randn(2, 3, 3)), logits(model, None))
    before = model.predict(CLIP[0, :2], frames=3)
    assert torch.equal(other.predict(CLIP[0, :2], torch.randn(3, 3)), before)


@pytest.mark.parametrize("embedding", ACTING)
def test_actions_that_are_taken_away_are_actions_not_given(embedding: EmbeddingConfig) -> None:
    model = build(embedding)
    other, report = adapt(model, Changes(action_dim=0))
    assert strengths(report) == ["bit for bit"]
    assert torch.equal(logits(other, None), logits(model, None))


@pytest.mark.parametrize("embedding", ACTING)
def test_further_numbers_of_an_action_have_no_effect_at_first(embedding: EmbeddingConfig) -> None:
    model, actions = build(embedding), actions_for(build(embedding), 3)
    assert actions is not None
    other, report = adapt(model, Changes(action_dim=7))
    assert strengths(report) == ["up to rounding"]
    wide = torch.cat([actions, 9 * torch.randn(2, 3, 5)], -1)
    torch.testing.assert_close(logits(other, wide), logits(model, actions), **ROUNDING)
    again = changed(other, action_dim=2)
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("embedding", ACTING)
def test_numbers_of_an_action_that_are_dropped_count_as_zero(embedding: EmbeddingConfig) -> None:
    model, actions = build(embedding), actions_for(build(embedding), 3)
    assert actions is not None
    other = changed(model, action_dim=1)
    actions[..., 1] = 0
    torch.testing.assert_close(logits(other, actions[..., :1]), logits(model, actions), **ROUNDING)


@pytest.mark.parametrize("wanted", [1, 3, 5])
def test_another_number_of_context_frames_leaves_their_codes(wanted: int) -> None:
    model = build(OPTIONS[3])
    other = changed(model, context_frames=wanted)
    frames = clip(max(2, wanted), batch=1)
    mine, theirs = (each.tokenizer.encode_context(frames[:, -each.context_frames :]).codes for each in (other, model))
    shared = min(2, wanted)
    assert torch.equal(mine[:, -shared:], theirs[:, -shared:])


@pytest.mark.parametrize("wanted", [3, 4, 7])
def test_without_its_further_context_frames_a_model_is_the_old_one(wanted: int) -> None:
    model = build(OPTIONS[3])
    other, report = adapt(model, Changes(context_frames=wanted))
    assert strengths(report) == ["bit for bit"]
    assert other.context_frames == wanted
    back = changed(other, context_frames=2)
    assert back.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name


def test_a_single_context_frame_repeated_stays_the_same_context() -> None:
    tokenizer = changed(build(OPTIONS[0]), context_frames=1).tokenizer
    more = tokenizer.refitted(replace(tokenizer.config, context_frames=3))
    short, long = CLIP[:, 1:], torch.cat([CLIP[:, 1:2], CLIP[:, 1:2], CLIP[:, 1:]], 1)
    codes = tokenizer.encode(short).dynamics
    assert (more.encode(long).dynamics == codes).float().mean() > 0.95
    context = more.encode_context(long[:, :3])
    before = tokenizer.decode_frames(codes, tokenizer.encode_context(short[:, :1]))
    torch.testing.assert_close(more.decode_frames(codes, context), before, **ROUNDING)


@pytest.mark.parametrize("blend", [None, "observed"])
def test_a_wider_stem_sees_enlarged_frames_as_the_frames(blend: str | None) -> None:
    model = build(OPTIONS[3], plain=blend is None)
    other, report = adapt(model, Changes(resolution=96, stem_stride=12))
    assert strengths(report) == ["up to rounding"]
    large = CLIP.repeat_interleave(3, -1).repeat_interleave(3, -2)
    mine, theirs = other.tokenizer.encode(large), model.tokenizer.encode(CLIP)
    assert (mine.dynamics == theirs.dynamics).float().mean() > 0.95
    assert (mine.context == theirs.context).float().mean() > 0.95
    decoded = other.tokenizer.decode(theirs)
    expected = model.tokenizer.decode(theirs).repeat_interleave(3, -1).repeat_interleave(3, -2)
    torch.testing.assert_close(decoded, expected, **ROUNDING)
    actions = actions_for(model, 3)
    torch.testing.assert_close(logits(other, actions, theirs), logits(model, actions, theirs), **ROUNDING)


def test_a_higher_resolution_makes_more_tokens_or_larger_patches() -> None:
    model = build(OPTIONS[3])
    more, report = adapt(model, Changes(resolution=64, max_positions=512))
    assert strengths(report) == ["nothing", "bit for bit"]
    assert (more.layout.context_tokens, more.layout.dynamics_tokens) == (64, 16)
    same = changed(model, resolution=64, patch_size=4, max_positions=512)
    assert (same.layout.context_tokens, same.layout.dynamics_tokens) == (64, 4)
    for other in (more, same):
        seen = clip(2, 1)[0].repeat_interleave(2, -1).repeat_interleave(2, -2)
        assert other.predict(seen, torch.randn(2, 2)).shape == (1, 4, 3, 64, 64)


def test_a_position_table_is_interpolated_frame_by_frame() -> None:
    model = build(OPTIONS[0])
    attention = model.tokenizer.cond_encoder.cross_att_blocks[0]
    side = model.tokenizer.config.context_grid
    ramp = torch.arange(side, dtype=torch.float32)[:, None].expand(side, side).flatten()
    with torch.no_grad():
        attention.kv_pos_emb.copy_(torch.cat([ramp, 100 + ramp])[:, None].expand_as(attention.kv_pos_emb))  # type: ignore[union-attr,operator]
    table = changed(model, resolution=64, max_positions=512).tokenizer.cond_encoder.cross_att_blocks[0].kv_pos_emb
    first, second = table[:, 0].reshape(2, 2 * side, 2 * side)  # type: ignore[union-attr,index]
    assert torch.equal(second, first + 100)
    assert bool((first.diff(dim=0) >= 0).all())
    assert (float(first.detach().min()), float(first.detach().max())) == (0, side - 1)


@pytest.mark.parametrize("quantizer", [GradientVQ(), EMAVQ(), SimVQ()])
def test_larger_codebooks_read_and_show_frames_as_before(quantizer: GradientVQ | EMAVQ | SimVQ) -> None:
    torch.manual_seed(0)
    model = build(OPTIONS[3])
    config = replace(model.tokenizer.config, quantizer=quantizer)
    model = WorldModel(VideoTokenizer(config), model.config).eval()
    other, report = adapt(model, Changes(context_codes=20, dynamics_codes=48))
    assert strengths(report) == ["up to rounding"] * 2
    actions = actions_for(model, 3)
    before, after = model.tokenizer.encode(CLIP), other.tokenizer.encode(CLIP)
    torch.testing.assert_close(other.tokenizer.decode(after), model.tokenizer.decode(before), **ROUNDING)
    was, now = logits(model, actions), logits(other, actions)
    torch.testing.assert_close(now[..., :16], was[..., :16], **ROUNDING)
    torch.testing.assert_close(now[..., 20:44], was[..., 16:40], **ROUNDING)
    torch.testing.assert_close(now[..., 44:68], was[..., 16:40], **ROUNDING)
    torch.testing.assert_close(now[..., 68:], was[..., 40:], **ROUNDING)


@pytest.mark.parametrize("heads", [False, True])
def test_heads_come_and_go_without_a_trace(heads: bool) -> None:
    model = build(OPTIONS[3], heads=heads)
    other, report = adapt(model, Changes(reward=not heads, termination=not heads))
    assert strengths(report) == ["bit for bit"] * 2
    actions = actions_for(model, 3)
    assert torch.equal(logits(other, actions), logits(model, actions))
    if not heads:
        _, seen = other.step(other.start(CLIP[:, :2]), torch.zeros(2))
        assert seen.reward is not None
        assert seen.terminal is not None
        assert (seen.reward.tolist(), seen.terminal.tolist()) == ([0, 0], [0.5, 0.5])


@pytest.mark.parametrize("limit", [64, 4096])
def test_a_position_limit_changes_nothing_below_it(limit: int) -> None:
    model = build(OPTIONS[3])
    other, report = adapt(model, Changes(max_positions=limit))
    assert strengths(report) == ["bit for bit"]
    actions = actions_for(model, 3)
    assert torch.equal(logits(other, actions), logits(model, actions))


@pytest.mark.parametrize("layers", [3, 5, 6])
def test_further_layers_add_nothing_until_they_are_trained(layers: int) -> None:
    model = changed(build(OPTIONS[3]), layers=2)
    for name, parameter in model.transformer.named_parameters():
        if name.startswith("blocks.1."):
            torch.nn.init.normal_(parameter, std=0.3)
    other, report = adapt(model, Changes(layers=layers))
    assert strengths(report) == ["bit for bit"]
    actions = actions_for(model, 3)
    assert actions is not None
    before = logits(model, actions)
    assert torch.equal(logits(other, actions), before)
    assert torch.equal(other.predict(CLIP[0, :2], actions[0]), model.predict(CLIP[0, :2], actions[0]))
    silent = [block for block in other.transformer.blocks if not block.ffn.down.weight.any()]  # type: ignore[union-attr,operator]
    assert len(silent) == layers - 2
    other(other.tokenizer.encode(CLIP), actions).square().sum().backward()
    assert all(block.ffn.down.weight.grad.any() for block in silent)  # type: ignore[union-attr,operator]
    assert all(line.fate != "dropped" for line in report.lines)
    torch.nn.init.normal_(silent[0].ffn.down.weight)  # type: ignore[arg-type,union-attr]
    assert not torch.equal(logits(other, actions), before)


def test_further_views_are_further_context_frames_before_the_own_ones() -> None:
    model = build(OPTIONS[1])
    other = changed(model, views=2)
    assert other.context_frames == 4
    own, wrist = clip(2, seed=3), clip(2, seed=4)
    codes = other.tokenizer.encode_context(torch.cat([wrist, own], 1)).codes
    assert torch.equal(codes[:, 2:], model.tokenizer.encode_context(own).codes)


def test_no_promise_is_kept_by_accident() -> None:
    """Training the new weights a little breaks what the tests above hold."""
    model = build(OPTIONS[0])
    other = changed(model, action_dim=3)
    with torch.no_grad():
        other.embedding.action.weight[0, 0] = 1.0  # type: ignore[union-attr]
    assert not torch.equal(logits(other, torch.randn(2, 3, 3)), logits(model, None))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resolution": 36}, "resolution is 36; expected a multiple of 8.*take 32 or 40"),
        ({"stem_stride": 6, "resolution": 48}, "stem_stride cannot change from 4 to 6.*take 4 or 8"),
        ({"stem_stride": 1, "max_positions": 999}, "stem_stride cannot change from 4 to 1.*keep 4"),
        ({"patch_size": 3, "resolution": 48}, "patch_size cannot change from 2 to 3.*take 2 or 4"),
        ({"context_codes": 12}, "context_codes cannot shrink from 16 to 12.*keep 16"),
        ({"dynamics_codes": 12}, "dynamics_codes cannot shrink from 24 to 12.*keep 24"),
        ({"max_positions": 20}, "max_positions is 20.*set it to 38 at least"),
        ({"context_frames": 30}, "max_positions is 128, but 30 context frames.*set it to 514 at least"),
        ({"action_dim": -1}, "action_dim is -1; expected 0, for no actions, or more"),
        ({"context_frames": 0}, "context_frames is 0; expected at least 1"),
        ({"views": 0}, "views is 0; expected at least 1"),
        ({"layers": 0}, "layers is 0; expected at least 1"),
    ],
)
def test_what_cannot_be_names_what_could(changes: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        adapt(build(OPTIONS[1]), Changes(**changes))  # type: ignore[arg-type]


def test_layers_are_not_taken_away() -> None:
    with pytest.raises(ValueError, match="layers is 2, and 3 are there to start from; keep them, or take more"):
        adapt(changed(build(OPTIONS[1]), layers=3), Changes(layers=2))


def test_a_fixed_grid_of_codes_cannot_grow() -> None:
    config = replace(TINY_TOKENIZER, quantizer=FSQ(context_levels=(4, 4), dynamics_levels=(4, 6)))
    with pytest.raises(ValueError, match="make 24 codes but dynamics_codes is 48; set dynamics_codes=24"):
        adapt(WorldModel(VideoTokenizer(config), build(OPTIONS[0]).config), Changes(dynamics_codes=48))


def test_a_model_held_in_fewer_bits_keeps_its_shape() -> None:
    with pytest.raises(ValueError, match="reduced to int8, which cannot change its shape"):
        adapt(build(OPTIONS[0]).reduce("int8"), Changes(action_dim=2))


def test_a_model_that_learns_of_domains_and_instructions_is_promised_what_it_was() -> None:
    plain = build(OPTIONS[0])
    told = EmbeddingConfig(
        domains=(Domain(name="arm", action_dim=2),), text=TextConfig(encoder="nowhere", size=4), action_dropout=0.1
    )
    other = WorldModel(plain.tokenizer, replace(plain.config, embedding=told))
    report = take_over(other, plain, source="plain")
    assert {promise.change for promise in report.promises} == {"action_dim 0 -> 2", "text added"}
    assert set(strengths(report)) == {"bit for bit"}
    again = WorldModel(plain.tokenizer, replace(plain.config, embedding=replace(told, bins=8)))
    assert "nothing" in strengths(take_over(again, other, source="other"))
