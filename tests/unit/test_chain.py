"""Segment after segment: the history between them, what it costs, its repetition, and how misuse is refused."""

import gc
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY_TRANSFORMER
from tiny_rollouts import GREEDY, build, clip
from tiny_text import SIZE, save_text_encoder

from ivideo.act import Goal
from ivideo.chain import Chain, chained, reach
from ivideo.data.segments import SegmentSampler, frames_back
from ivideo.data.store import EpisodeStore
from ivideo.embedding import EmbeddingConfig
from ivideo.embodiments import Domain
from ivideo.episode import Episode
from ivideo.instructions import TextConfig
from ivideo.predict import main
from ivideo.training.dataset import DataConfig
from ivideo.training.loop_config import LoopConfig
from ivideo.training.run import RunConfig
from ivideo.training.world_model import WorldModelTraining, train_world_model
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import VideoTokenizer
from tokenizer.checkpoint import save_tokenizer
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


def test_the_history_of_training_is_kept_in_the_checkpoint_and_used_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = camera()
    tokenizer = VideoTokenizer(replace(base.tokenizer.config, context_frames=3))  # with 2 both histories are the same
    model = WorldModel(tokenizer, base.config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    model.save_pretrained(tmp_path / "old")
    assert "history" not in json.loads((tmp_path / "old" / "world_model.json").read_text())
    assert Chain.begin(WorldModel.from_pretrained(tmp_path / "old"), FILM).history == "recent"
    model.config = replace(model.config, history="distant")
    model.save_pretrained(tmp_path / "model")
    again = WorldModel.from_pretrained(tmp_path / "model")
    assert again.config.history == "distant"
    how = {"frames": 2, "seed": 3}
    (used,), (given,), (other,) = (
        chained(again, FILM, ["turn left"], history=history, **how)  # type: ignore[arg-type]
        for history in (None, "distant", "recent")
    )
    assert torch.equal(used, given)
    assert not torch.equal(used, other)
    np.savez(tmp_path / "film.npz", frames=FILM.numpy())
    for name, history in (("model", "distant"), ("old", "recent")):
        words = [str(tmp_path / name), str(tmp_path / "film.npz"), "--frames", "2", "--temperature", "0"]
        assert main([*words, "--out", str(tmp_path / f"{name}.gif")]) == 0
        assert main([*words, "--history", history, "--out", str(tmp_path / f"{name}_said.gif")]) == 0
        usual, said = ((tmp_path / f"{name}{end}.png").read_bytes() for end in ("", "_said"))
        assert usual == said
    assert (tmp_path / "model.png").read_bytes() != (tmp_path / "old.png").read_bytes()


def test_training_writes_its_history_down(tmp_path: Path) -> None:
    frames = torch.cat([FILM, FILM])
    store = EpisodeStore([Episode(frames=frames)] * 2, source="film")
    save_tokenizer(camera().tokenizer, tmp_path / "tokenizer")
    train_world_model(
        WorldModelTraining(
            data=DataConfig(frames=4, history="distant"),
            tokenizer=str(tmp_path / "tokenizer"),
            model=WorldModelConfig(transformer=TINY_TRANSFORMER),
            loop=LoopConfig(steps=1, batch_size=2, evaluate_every=None, accelerator="cpu"),
            run=RunConfig(folder=tmp_path / "run", tensorboard=False),
        ),
        (store, store),
    )
    assert WorldModel.from_pretrained(tmp_path / "run").config.history == "distant"


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
