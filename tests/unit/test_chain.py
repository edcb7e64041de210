"""Segment after segment: the history between them, what it costs, its repetition, and how misuse is refused."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_rollouts import GREEDY, build, clip
from tiny_text import SIZE, save_text_encoder

from ivideo.act import Goal
from ivideo.chain import Chain, chained, reach
from ivideo.data.segments import SegmentSampler, frames_back
from ivideo.embedding import EmbeddingConfig
from ivideo.embodiments import Domain
from ivideo.episode import Episode
from ivideo.instructions import TextConfig
from ivideo.predict import main
from ivideo.world_model import WorldModel
from transformer import Sampling

CAMERA = Domain(name="camera", choices=("hold still", "turn left", "turn right"))
BOLD = Sampling(temperature=1.0, top_k=0)
FILM = clip(12)[0]


def camera() -> WorldModel:
    return build(EmbeddingConfig(domains=(CAMERA,)))


@pytest.mark.parametrize("history", ["recent", "distant"])
def test_a_chain_starts_as_a_model_is_trained(history: str) -> None:
    for context in (1, 2, 4):
        back = frames_back(context, history)  # type: ignore[arg-type]
        frames = torch.arange(20, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
        sampler = SegmentSampler([Episode(frames=frames)], context + 3, context=context, history=history)  # type: ignore[arg-type]
        shown = sampler.segment(0).frames[:, 0, 0, 0].tolist()
        assert [shown[context] - back_by for back_by in back.tolist()] == shown[:context]
    assert frames_back(4, "distant").tolist() == [8, 4, 2, 1]
    assert frames_back(4, "recent").tolist() == [4, 3, 2, 1]


@pytest.mark.parametrize("history", ["recent", "distant"])
def test_every_segment_begins_from_the_history_that_was_chosen(history: str) -> None:
    model, acts = camera(), ["turn left", "turn right", 0]
    film, back = FILM, frames_back(2, history)  # type: ignore[arg-type]
    for act, made in zip(acts, chained(model, FILM, acts, frames=3, history=history), strict=True):  # type: ignore[arg-type]
        state = model.start(film[(len(film) - back).tolist()])
        for _ in range(3):
            state, _ = model.step(state, act)
        assert torch.equal(made[0], model.frames(state)[0])
        film = torch.cat([film, made[0]])


def test_the_first_segment_is_a_prediction_and_the_others_draw_anew() -> None:
    model = build(EmbeddingConfig(action_dim=2))
    actions = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    chain = Chain.begin(model, FILM, samples=3, seed=7, sampling=BOLD)
    chain, first = chain.go(actions)
    expected = model.predict(FILM[-2:], actions, samples=3, seed=7, sampling=BOLD)
    assert torch.equal(first, expected[:, 2:])
    _, second = chain.go(actions)
    state = model.start(chain.past)
    for action in actions:
        state, _ = model.step(state, action, sampling=BOLD)
    assert not torch.equal(second, model.frames(state)), "the same seeds would draw the same again"


def test_a_chain_is_repeated_by_its_seed_and_goes_on_from_anywhere() -> None:
    model, acts = camera(), ["turn left", ["turn right", "hold still"], 2]
    how = {"samples": 2, "sampling": BOLD, "history": "distant"}

    def run(seed: int) -> list[torch.Tensor]:
        chain, made = Chain.begin(model, FILM, seed=seed, **how), []  # type: ignore[arg-type]
        for act in acts:
            chain, frames = chain.go(act, 2)  # type: ignore[arg-type]
            made.append(frames)
        return made

    first, again, other = run(0), run(0), run(1)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[1][0], first[1][1])
    chain = Chain.begin(model, FILM, **how)  # type: ignore[arg-type]
    middle, _ = chain.go(acts[0], 2)
    one, two = middle.go("turn right", 2)[1], middle.go("turn right", 2)[1]
    assert torch.equal(one, two)


def test_words_hold_from_segment_to_segment(tmp_path: Path) -> None:
    text = TextConfig(encoder=save_text_encoder(tmp_path / "t5"), size=SIZE)
    model = build(EmbeddingConfig(text=text))
    chain, _ = Chain.begin(model, FILM, samples=2).go("push the can", 2)
    assert torch.equal(chain.go(None, 2)[1], chain.go("push the can", 2)[1])
    told, untold = chain.go("pick the red block", 2)[0], chain.go("", 2)[0]
    assert told.text is not None
    assert not untold.text.any()  # type: ignore[union-attr]


def test_a_goal_holds_until_there_is_another() -> None:
    model, goals = build(EmbeddingConfig(), goal=True), clip(2, seed=3)[0]
    assert reach(model, "distant") == 1
    chain, first = Chain.begin(model, FILM, goal=goals[0]).go(None, 2)
    assert torch.equal(first, Chain.begin(model, FILM).go(Goal(goals[0]), 2)[1])
    assert not torch.equal(chain.go(None, 3)[0].past, chain.go(Goal(goals[1]), 3)[0].past)


def test_memory_does_not_grow_with_the_segments() -> None:
    model = camera()

    def held() -> int:
        gc.collect()
        tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
        return sum({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}.values())

    chain, sizes = Chain.begin(model, FILM, samples=2, history="distant"), []
    for segment in range(24):
        chain, _ = chain.go("turn left", 4)
        if segment % 4 == 3:
            sizes.append(held())
    assert len(set(sizes)) == 1, sizes


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"history": "distant"},
            r'history "distant" reaches 2 frames back and the clip has 1; give a longer clip, or h',
        ),
        ({}, r'history "recent" reaches 2 frames back and the clip has 1; give a longer clip$'),
    ],
)
def test_a_history_longer_than_the_clip_is_refused(how: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Chain.begin(camera(), FILM[:1], **how)  # type: ignore[arg-type]


def test_segments_that_cannot_be_are_refused() -> None:
    chain = Chain.begin(camera(), FILM, sampling=GREEDY)
    with pytest.raises(ValueError, match="say how many frames to imagine, frames=14"):
        chain.go("turn left")
    with pytest.raises(ValueError, match="2 acts are given for 3 frames"):
        chain.go(["turn left", "turn right"], 3)
    with pytest.raises(ValueError, match="frames is 0; expected at least 1"):
        chain.go("turn left", 0)
    with pytest.raises(ValueError, match="samples is 0"):
        Chain.begin(camera(), FILM, samples=0)
    with pytest.raises(ValueError, match="did you mean 'turn left'"):
        next(chained(camera(), FILM, ["turn leftt"], frames=2))


def test_predict_follows_instructions_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera().save_pretrained(tmp_path / "model")
    np.savez(tmp_path / "film.npz", frames=FILM.numpy())
    words = [str(tmp_path / "model"), str(tmp_path / "film.npz"), "--instructions", "turn left", "turn right"]
    words += ["--frames", "2", "--samples", "2", "--history", "distant", "--out", str(tmp_path / "out.gif")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "2 futures of 4 frames, under 2 instructions" in printed
    assert "from frame   3: turn right" in printed
    with pytest.raises(ValueError, match="instruction and instructions are both given"):
        main([*words, "--instruction", "turn left"])
    with pytest.raises(ValueError, match="no choice of domain camera; did you mean 'turn right'"):
        main([*words[:3], "turn rihgt", "--out", str(tmp_path / "other.gif")])
