"""What a rollout computes, counted: not more than it must."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_rollouts import OPTIONS, actions_for, build, clip, run
from torch.utils.flop_counter import FlopCounterMode

from ivideo.bench.command import random_model
from ivideo.bench.roofline import Costs
from ivideo.world_model import WorldModel
from tokenizer import VideoTokenizer
from tokenizer.autoencoder import Decoder
from transformer import Transformer


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts passes of the transformer and of the tokenizer's halves."""
    count: Counter[str] = Counter()

    def watch(owner: type, name: str) -> None:
        method: Callable[..., object] = getattr(owner, name)

        def counted(self: object, *arguments: object, **named: object) -> object:
            count[name] += 1
            return method(self, *arguments, **named)

        monkeypatch.setattr(owner, name, counted)

    for owner, names in (
        (Transformer, ["extend", "forward"]),
        (VideoTokenizer, ["encode_context", "encode_frames", "decode_context", "decode_frames"]),
    ):
        for name in names:
            watch(owner, name)
    return count


@pytest.mark.parametrize(("heads", "reward"), [(False, True), (True, False), (True, True)])
def test_a_pass_for_every_token_and_none_for_the_marker(calls: Counter[str], heads: bool, reward: bool) -> None:
    model = build(OPTIONS[1], heads=heads)
    tokens = model.layout.dynamics_tokens
    run(model, model.start(clip(2)), actions_for(model, 3), 3, reward=reward)
    at_once = 1 if heads and reward else 0  # a reward that cannot wait takes a pass of its own
    assert calls["extend"] == 1 + 3 * (tokens + at_once)
    assert calls["forward"] == 0


def test_the_context_is_encoded_once_and_never_decoded(calls: Counter[str]) -> None:
    model = build(OPTIONS[0])
    futures = model.predict(clip(2, 1)[0], frames=4, samples=3)
    assert futures.shape[:2] == (3, 6)
    assert calls["encode_context"] == calls["decode_frames"] == 1
    assert calls["encode_frames"] == calls["decode_context"] == 0


def test_pixels_cost_nothing_where_nobody_asks(calls: Counter[str]) -> None:
    model = build(OPTIONS[0])
    state = run(model, model.start(clip(2)), None, 3)
    assert calls["decode_frames"] == 0
    assert model.frames(state, slice(-1, None)).shape[1] == 1


def test_the_context_decoder_goes_only_as_deep_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(OPTIONS[0])
    blind = VideoTokenizer(replace(model.tokenizer.config, mask_blend=None)).eval()
    monkeypatch.setattr(Decoder, "pixels", None)  # the last layers, which no later frame reads
    monkeypatch.setattr(Decoder, "climb", None)
    blind.encode_context(clip(2))


def test_the_cache_stays_where_it_is() -> None:
    model = build(OPTIONS[0])
    state = model.start(clip(2), room=6)
    place = state.cache.storage.keys.data_ptr()
    for _ in range(6):
        state, _ = model.step(state)
        assert state.cache.storage.keys.data_ptr() == place


@pytest.fixture(scope="module")
def nano() -> WorldModel:
    # In training mode all layers are computed as they are defined, through operations whose FLOPs PyTorch counts.
    return random_model("nano").train()


@pytest.mark.parametrize(("batch", "shared"), [(1, False), (3, False), (6, True)])
def test_hardly_more_multiplications_than_the_least(nano: WorldModel, batch: int, shared: bool) -> None:
    costs, frames = Costs(nano, nano.tokenizer), 3
    context = torch.zeros(1 if shared else batch, nano.context_frames, 3, 64, 64, dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter:
        state = nano.start(context)
    least = costs.encode(context.shape[0] * context.shape[1], 0).flops + costs.prefill(len(context)).flops
    assert 0.7 * least < counter.get_total_flops() < 1.05 * least
    state = state.fork(batch) if shared else state
    for index in range(frames):
        with FlopCounterMode(display=False) as counter:
            state, _ = nano.step(state, torch.zeros(nano.action_dim), reward=False)
        parts = [*costs.frame(index, batch=batch, prefixes=len(context)), costs.decode(batch)]
        least = sum(part.flops for part in parts)
        assert 0.95 * least < counter.get_total_flops() < 1.05 * least
