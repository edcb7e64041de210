"""What a model is told: domains with action spaces of their own, bins, words, and what happens where it is withheld."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_rollouts import actions_for, build, clip
from tiny_text import SIZE, save_text_encoder

from ivideo.controls import Controls, Range, ranged
from ivideo.embedding import EmbeddingConfig
from ivideo.embodiments import Domain, Embodiments
from ivideo.episode import Batch
from ivideo.heads import HeadsConfig
from ivideo.instructions import ControlWords, InstructionEncoder, TextConfig
from ivideo.world_model import WorldModel
from tokenizer import FrameCodes

ARM, TABLE, FILM = Domain(name="arm", action_dim=3), Domain(name="table", action_dim=2), Domain(name="film")
DOMAINS = (ARM, TABLE, FILM)
BODIES = Embodiments(action_dim=3, domains=DOMAINS)
MIXED = torch.tensor([0, 1, 2, 1])


def several(**options: object) -> WorldModel:
    return build(EmbeddingConfig(domains=DOMAINS, **options))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- bins


@given(
    st.lists(st.tuples(st.floats(-100, 100), st.floats(0.01, 100), st.floats(0, 1)), min_size=1, max_size=4),
    st.sampled_from([2, 256, 4096]),
)
def test_a_binned_value_comes_back_within_half_a_bin(controls: list[tuple[float, float, float]], count: int) -> None:
    low, width, place = (torch.tensor(values) for values in zip(*controls, strict=True))
    stated = Domain(
        name="arm", action_dim=len(low), low=tuple(low.tolist()), high=tuple((low + width).double().tolist())
    )
    values, bins = low + place * width, Range(stated)
    index = bins.bin(values, count)
    assert ((index >= 0) & (index < count)).all()
    rounding = 1e-6 * (low.abs() + width)
    assert ((bins.centre(index, count) - values).abs() <= width / count / 2 + rounding).all()


def test_values_outside_the_range_are_clipped_and_counted() -> None:
    bins = Range(Domain(name="table", action_dim=2, low=(-1.0, 0.0), high=(1.0, 2.0)))
    values = torch.tensor([[-3.0, 1.0], [0.0, 5.0], [1.0, 0.0]])
    assert bins.bin(values, 8).tolist() == [[0, 4], [4, 7], [7, 0]]
    assert bins.outside(values).tolist() == [[True, False], [False, True], [False, False]]


def test_bins_take_their_range_from_the_training_data_and_keep_it(tmp_path: Path) -> None:
    model = several(bins=16, guide=8)
    tokens = model.tokenize(Batch(frames=clip(4, 4), actions=torch.rand(4, 3, 3), domains=MIXED))
    with pytest.raises(ValueError, match="range of domain arm's actions is not known"):
        model.token_loss(tokens)
    seen = {"arm": torch.tensor([[-1.0, 0.0, 5.0], [1.0, 2.0, 5.0]]), "table": torch.tensor([[0.0, 0.0], [1.0, 1.0]])}
    model.state_ranges(seen)
    assert model.config.embedding.domains[0].low[:2] == (-1.0, 0.0)
    assert model.config.embedding.domains[0].low[2] < 5.0 < model.config.embedding.domains[0].high[2]  # never moved
    actions = torch.zeros(4, 2, 3)
    actions[0, 0, 0] = 9.0
    actions[0, :, 2] = 5.0
    told = replace(tokens, actions=actions)
    _, parts = model.token_loss(told)
    assert float(parts["clipped_controls"]) == pytest.approx(1 / (2 * (3 + 2 + 2)))
    model.save_pretrained(tmp_path / "model")
    again = WorldModel.from_pretrained(tmp_path / "model")
    assert again.config.embedding == model.config.embedding
    assert torch.equal(again(told.codes, told.controls), model(told.codes, told.controls))


def test_a_stated_range_is_not_changed_by_data() -> None:
    stated = replace(TABLE, low=(-2.0, -2.0), high=(2.0, 2.0))
    assert ranged(stated, torch.rand(5, 2)) == stated


def test_scaled_actions_need_no_common_unit() -> None:
    domains = (replace(TABLE, low=(0.0, -0.1), high=(1000.0, 0.1)),)
    model = build(EmbeddingConfig(domains=domains, scale_actions=True))
    one = build(EmbeddingConfig(action_dim=2))
    one.embedding.action.load_state_dict(model.embedding.action["table"].state_dict())
    model.embedding.domain["table"].data.zero_()
    codes, raw = model.tokenizer.encode(clip(4)), torch.tensor([[[500.0, 0.1]] * 2] * 2)
    one.load_state_dict(one.state_dict() | {k: v for k, v in model.state_dict().items() if k in one.state_dict()})
    assert torch.equal(model(codes, raw), one(codes, torch.tensor([[[0.0, 1.0]] * 2] * 2)))


# ------------------------------------------------------------------------------------------------------ domains


@pytest.mark.parametrize("options", [{}, {"guide": 8, "action_on": "frame"}])
def test_a_row_is_told_by_its_own_domain_alone(options: dict[str, object]) -> None:
    model = several(**options)
    codes, actions = model.tokenizer.encode(clip(4, 4)), torch.randn(4, 2, 3)
    together = model(codes, Controls(actions=actions, domains=MIXED))
    for row, number in enumerate(MIXED.tolist()):
        padded = actions[row : row + 1].clone()
        padded[..., DOMAINS[number].action_dim :] = 7.0  # padding, whatever it holds
        part = Controls(actions=padded, domains=MIXED[row : row + 1])
        alone = model(
            replace(codes, context=codes.context[row : row + 1], dynamics=codes.dynamics[row : row + 1]), part
        )
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-4)
    other = model(codes, Controls(actions=actions, domains=MIXED.flip(0)))
    assert not torch.allclose(other, together, atol=1e-3)


def test_every_domain_has_a_gradient_in_every_batch() -> None:
    """Or processes that average gradients would wait for one another for ever."""
    model = several(guide=8).train()
    total, _ = model.loss(Batch(frames=clip(4), actions=torch.randn(2, 3, 3), domains=torch.tensor([1, 1])))
    total.backward()
    told = [parameter for part in ("action", "domain") for parameter in getattr(model.embedding, part).parameters()]
    assert all(parameter.grad is not None for parameter in told)


@pytest.mark.parametrize(
    ("size", "named", "message"),
    [
        (3, "table", "an action has 3 values; domain table takes 2"),
        (2, "arm", "an action has 2 values; domain arm takes 3"),
        (2, "film", "domain film takes no actions"),
        (2, "robot", "domain is 'robot'; this model knows arm .3 values., table"),
        (2, 5, "domain is 5; this model knows"),
        (2, None, "say whose actions these are with domain="),
        (2, ["table", "arm", "arm"], "3 domains are named for 2 rows"),
    ],
)
def test_actions_of_another_body_are_refused(size: int, named: object, message: str) -> None:
    model = several()
    with pytest.raises(ValueError, match=message):
        model.step(model.start(clip(2), domain=named), torch.ones(size))  # type: ignore[arg-type]


def test_padded_actions_of_mixed_rows_are_taken() -> None:
    model = several()
    state = model.start(clip(2), domain=["table", "arm"])
    padded = torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 3.0]])
    after, _ = model.step(state, padded)
    single, _ = model.step(model.start(clip(2)[0], domain="table"), padded[0, :2])
    assert torch.equal(after.ids[0], single.ids[0])
    with pytest.raises(ValueError, match="domain table takes 2"):
        model.step(state, padded + 1)


def test_one_domain_need_not_be_named_and_a_model_without_any_refuses_one() -> None:
    model = build(EmbeddingConfig(domains=(TABLE,)))
    assert model.start(clip(2)).domains.tolist() == [0, 0]
    model.step(model.start(clip(2)), torch.ones(2))
    with pytest.raises(ValueError, match="this model knows no domains"):
        build(EmbeddingConfig(action_dim=2)).start(clip(2), domain="table")


def test_the_batch_must_say_whose_its_actions_are() -> None:
    with pytest.raises(ValueError, match="does not say of which of arm, table, film"):
        several().loss(Batch(frames=clip(4), actions=torch.randn(2, 3, 3)))
    with pytest.raises(ValueError, match="rows of domains 0 to 3; this model knows arm"):
        several().loss(Batch(frames=clip(4), actions=torch.randn(2, 3, 3), domains=torch.tensor([0, 3])))


def test_narrow_batches_are_padded_and_wide_ones_refused() -> None:
    model, domains = several(), torch.tensor([1, 1])
    codes, actions = model.tokenizer.encode(clip(4)), torch.randn(2, 2, 2)
    padded = torch.nn.functional.pad(actions, (0, 1))
    narrow, wide = (model(codes, Controls(actions=each, domains=domains)) for each in (actions, padded))
    assert torch.equal(narrow, wide)
    with pytest.raises(ValueError, match="domain table takes 2"):
        model(codes, Controls(actions=torch.randn(2, 2, 4), domains=domains))


def test_states_keep_what_they_were_told(tmp_path: Path) -> None:
    text = TextConfig(encoder=save_text_encoder(tmp_path / "t5"), size=SIZE)
    model = several(text=text)
    state = model.start(clip(2), domain=["table", "arm"], instruction=["push left", "pick the can"])
    actions = torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 3.0]])
    after, _ = model.step(state, actions)
    forked, _ = model.step(state.fork(2), actions.repeat_interleave(2, dim=0))
    chosen, _ = model.step(state.select(torch.tensor([1, 0])), actions.flip(0))
    assert torch.equal(forked.ids, after.ids.repeat_interleave(2, dim=0))
    assert torch.equal(chosen.ids, after.ids.flip(0))
    moved, _ = model.step(state, torch.ones(3), domain="arm")
    assert moved.domains.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "3d"}, "expected a letter"),
        ({"name": "items"}, "expected a letter"),
        ({"name": "arm", "action_dim": -1}, "expected 0 or more"),
        ({"name": "arm", "action_dim": 1, "low": (0.0,)}, "expected both"),
        ({"name": "arm", "action_dim": 1, "low": (1.0,), "high": (1.0,)}, "every low below its high"),
        ({"name": "arm", "action_dim": 2, "low": (1.0,), "high": (2.0,)}, "expected 2 numbers each"),
    ],
)
def test_domains_that_cannot_be_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Domain(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"domains": (ARM, ARM)}, "expected every name once"),
        ({"domains": DOMAINS, "action_dim": 2}, "the widest domain takes 3"),
        ({"bins": 8}, "bins needs domains"),
        ({"scale_actions": True}, "scale_actions needs domains"),
        ({"domains": DOMAINS, "bins": 8, "scale_actions": True}, "both set"),
        ({"action_dropout": 1.0}, "expected a share"),
        ({"domains": DOMAINS, "text": TextConfig(actions=True)}, "there are none; set bins"),
    ],
)
def test_embeddings_that_cannot_be_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EmbeddingConfig(**fields)  # type: ignore[arg-type]


def test_reconstructed_actions_are_the_row_s_own() -> None:
    torch.manual_seed(0)
    from ivideo.heads import Heads

    heads = Heads(HeadsConfig(action_reconstruction=1.0), width=4, action_dim=3)
    hidden, actions = torch.randn(1, 2, 5, 4), torch.randn(1, 2, 3)
    absent = {"rewards": None, "terminals": None, "mask": None}
    own = heads.losses(hidden, actions=actions, sizes=torch.tensor([2]), **absent)["action"]
    expected = (heads.action(hidden) - actions[:, :, None])[..., :2].square().mean()
    torch.testing.assert_close(own, expected)


# -------------------------------------------------------------------------------------------------- instructions


def test_instructions_are_read_once_and_the_same_in_any_company(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import T5EncoderModel

    reads, forward = [], T5EncoderModel.forward

    def counted(self: T5EncoderModel, *arguments: object, **named: torch.Tensor) -> object:
        reads.append(named["input_ids"].tolist())
        return forward(self, *arguments, **named)

    monkeypatch.setattr(T5EncoderModel, "forward", counted)
    encoder = InstructionEncoder(TextConfig(encoder=save_text_encoder(tmp_path / "t5"), size=SIZE))
    assert torch.equal(encoder([""]), torch.zeros(1, SIZE))
    assert not reads  # nothing is loaded for no words
    both = encoder(["push left", "pick the can", "push left"])
    assert len(reads) == 2
    assert torch.equal(both[0], both[2])
    assert not torch.equal(both[0], both[1])
    fresh = InstructionEncoder(encoder.config)
    assert torch.equal(fresh(["pick the can"])[0], both[1])
    assert not both.requires_grad


def test_an_encoder_that_is_not_there_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = build(EmbeddingConfig(text=TextConfig(encoder=str(tmp_path / "nowhere"))))
    with pytest.raises(OSError, match=r"nowhere' is no folder with a T5 model .* embedding.text.encoder"):
        model.start(clip(2), instruction="push")


def test_instructions_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    encoder = save_text_encoder(tmp_path / "t5")
    with pytest.raises(ValueError, match=r"states of width 8, but embedding\.text\.size is 512; write 8"):
        InstructionEncoder(TextConfig(encoder=encoder))(["push"])
    with pytest.raises(ValueError, match="reads no instructions"):
        build(EmbeddingConfig()).start(clip(2), instruction="push")
    model = build(EmbeddingConfig(text=TextConfig(encoder=encoder, size=SIZE)))
    with pytest.raises(ValueError, match="3 instructions are given for 2 rows"):
        model.start(clip(2), instruction=["push"] * 3)


def test_words_change_what_is_imagined_and_are_no_part_of_the_saved_model(tmp_path: Path) -> None:
    text = TextConfig(encoder=save_text_encoder(tmp_path / "t5"), size=SIZE)
    model = build(EmbeddingConfig(text=text))
    pushed, picked, silent = (
        model.step(model.start(clip(2), instruction=words))[1].log_likelihood for words in ("push", "pick the can", "")
    )
    none = model.step(model.start(clip(2)))[1].log_likelihood
    assert not torch.allclose(pushed, picked)
    assert torch.equal(silent, none)
    batch = Batch(frames=clip(4), instructions=("push left", ""))
    assert torch.equal(model.tokenize(batch).text[1], torch.zeros(SIZE))
    model.save_pretrained(tmp_path / "model")
    assert not any("t5" in path.name for path in (tmp_path / "model").rglob("*"))
    again = WorldModel.from_pretrained(tmp_path / "model")
    assert torch.equal(again.loss(batch)[0], model.loss(batch)[0])


# ---------------------------------------------------------------------------------------------- controls in words


def test_controls_are_said_to_the_decimal_that_their_range_needs(tmp_path: Path) -> None:
    said: list[str] = []

    class Reader(InstructionEncoder):
        def __call__(self, texts: Sequence[str]) -> torch.Tensor:
            said.extend(texts)
            return torch.zeros(len(texts), SIZE)

    words = ControlWords(Reader(TextConfig(size=SIZE)), 4)
    words(torch.tensor([[0.4999, -0.001, 512.3], [-1.0, 0.25, 3.0]]), torch.tensor([2.0, 0.5, 1000.0]))
    assert said == [
        *("control 1 is 0.50", "control 2 is -0.001", "control 3 is 512"),
        *("control 1 is -1.00", "control 2 is 0.250", "control 3 is 3"),
    ]
    said.clear()
    words(torch.tensor([[-0.001, -0.0001, -0.4]]), torch.tensor([2.0, 0.5, 1000.0]))
    assert said == ["control 1 is 0.00", "control 2 is 0.000", "control 3 is 0"]


@pytest.mark.parametrize("options", [{}, {"guide": 8, "action_on": "frame"}])
def test_controls_in_words_train_and_roll_out_step_by_step_as_in_one_pass(
    options: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read = InstructionEncoder._read
    monkeypatch.setattr(InstructionEncoder, "_read", lambda self, text: reads.append(text) or read(self, text))
    words = ["control", "is", *"0123456789", ".", "-", "push"]
    text = TextConfig(encoder=save_text_encoder(tmp_path / "t5", words=words), size=SIZE, actions=True)
    domains = tuple(
        replace(each, low=(-1.0,) * each.action_dim, high=(1.0,) * each.action_dim) for each in (ARM, TABLE)
    )
    model = build(EmbeddingConfig(domains=domains, bins=16, text=text, **options))  # type: ignore[arg-type]
    actions = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1
    actions[1, :, 2] = 0
    batch = Batch(frames=clip(5), actions=actions, domains=torch.tensor([0, 1]), instructions=("push", ""))
    model.loss(batch)[0].backward()
    learned = model.embedding.action["arm"].words.project.weight.grad  # type: ignore[index,union-attr]
    assert learned is not None
    assert learned.any()
    assert len(reads) == len(set(reads)) <= 1 + 3 * 16

    state = model.start(clip(5)[:, :2], domain=["arm", "table"], instruction=["push", ""])
    seen, before = [], reads[:]
    for step in range(3):
        state, made = model.step(state, actions[:, 1 + step])
        seen.append(made.log_likelihood)
    assert reads == before, "a control that was read is not read again"
    told = Controls(actions=actions[:, 1:], domains=batch.domains, text=model.text_of(batch.instructions))
    codes = model.tokenizer.encode_context(clip(5)[:, :2]).codes
    ids = model.layout.dynamics_index(state.ids, clamp=True)
    hidden = model.layout.split_frames(model(FrameCodes(context=codes, dynamics=ids), told))
    scores = model.logits(hidden[:, :, :-1], "dynamics").log_softmax(-1)
    expected = scores.gather(-1, ids[..., None])[..., 0].sum(-1)
    torch.testing.assert_close(torch.stack(seen, dim=1), expected, atol=1e-3, rtol=1e-3)

    with torch.no_grad():
        for name, parameter in model.embedding.action.named_parameters():
            if "words" in name:
                parameter.zero_()
    silent, _ = model.step(model.start(clip(5)[:, :2], domain=["arm", "table"]), actions[:, 1])
    plain = build(EmbeddingConfig(domains=domains, bins=16, text=replace(text, actions=False), **options))  # type: ignore[arg-type]
    missing = plain.load_state_dict(model.state_dict(), strict=False)
    assert not missing.missing_keys
    same, _ = plain.step(plain.start(clip(5)[:, :2], domain=["arm", "table"]), actions[:, 1])
    assert torch.equal(silent.ids, same.ids)


def test_a_model_with_controls_in_words_is_saved_and_one_without_is_written_as_ever(tmp_path: Path) -> None:
    text = TextConfig(encoder=save_text_encoder(tmp_path / "t5"), size=SIZE, actions=True)
    stated = replace(TABLE, low=(-1.0, -1.0), high=(1.0, 1.0))
    model = build(EmbeddingConfig(domains=(stated,), bins=8, text=text))
    model.save_pretrained(tmp_path / "model")
    again = WorldModel.from_pretrained(tmp_path / "model")
    batch = Batch(frames=clip(4), actions=torch.rand(2, 3, 2))
    assert torch.equal(again.loss(batch)[0], model.loss(batch)[0])
    build(EmbeddingConfig(domains=(stated,), bins=8, text=replace(text, actions=False))).save_pretrained(
        tmp_path / "plain"
    )
    written = json.loads((tmp_path / "plain" / "world_model.json").read_text())
    assert set(written["embedding"]["text"]) == {"encoder", "size"}


# --------------------------------------------------------------------------------------------------- withholding


def test_a_withheld_row_is_one_that_was_told_nothing(tmp_path: Path) -> None:
    text = TextConfig(encoder=save_text_encoder(tmp_path / "t5"), size=SIZE)
    for embedding in (
        EmbeddingConfig(action_dim=2, text=text),
        EmbeddingConfig(action_dim=2, action_on="frame", guide=8, text=text),
    ):
        model = build(embedding)
        tokens = model.tokenize(Batch(frames=clip(4), actions=actions_for(model, 3), instructions=("push", "pick")))
        kept = replace(tokens.controls, heeded=torch.tensor([True, False]))
        hidden = model(tokens.codes, kept)
        torch.testing.assert_close(hidden[0], model(tokens.codes, tokens.controls)[0])
        torch.testing.assert_close(hidden[1], model(tokens.codes)[1])


def test_training_withholds_the_share_that_was_asked_for_and_nothing_else_does() -> None:
    told = Controls(actions=torch.randn(4000, 1, 2), domains=torch.zeros(4000, dtype=torch.long))
    dropped = told.dropped(0.25, torch.Generator().manual_seed(0))
    assert float(dropped.heeded.float().mean()) == pytest.approx(0.75, abs=0.03)
    assert torch.equal(dropped.heeded, told.dropped(0.25, torch.Generator().manual_seed(0)).heeded)
    assert told.dropped(0.0).heeded is None

    model = build(EmbeddingConfig(action_dim=2, action_dropout=0.5))
    tokens = model.tokenize(Batch(frames=clip(4), actions=actions_for(model, 3)))
    assert torch.equal(model.token_loss(tokens)[0], model.token_loss(tokens)[0])
    model.train()
    seen = {float(model.token_loss(tokens, torch.Generator().manual_seed(seed))[0].detach()) for seed in range(20)}
    assert len(seen) == 4  # two rows, each heeded or not
