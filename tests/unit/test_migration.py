"""A model of another shape is whole: every tensor is accounted for, it saves and loads; the published ones adapt."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_rollouts import OPTIONS, build, clip

from ivideo import Changes, WorldModel, WorldModelConfig, adapt, recipes
from ivideo.cli import main
from ivideo.config import load_config
from ivideo.migration import join
from ivideo.migration.sequence import PARTS
from ivideo.training.tokenizer import TokenizerTraining
from ivideo.training.world_model import WorldModelTraining
from tokenizer import TokenizerConfig, VideoTokenizer
from transformer import Transformer
from transformer.checkpoint import llama_state_dict

PUBLISHED = {  # the models on the Hub by the packaged config of their training; 256 px RoboNet was never published
    "ivideogpt-oxe-64-act-free": "oxe64",
    "ivideogpt-oxe-64-act-free-medium": "oxe64_medium",
    "ivideogpt-oxe-64-goal-cond": "oxe64_goal",
    "ivideogpt-oxe-256-act-free": "oxe256",
    "ivideogpt-bair-64-act-free": "bair64",
    "ivideogpt-bair-64-act-cond": "bair64_action",
    "ivideogpt-robonet-64-act-cond": "robonet64",
    "ivideogpt-vp2-robosuite-64-act-cond": "vp2_robosuite64",
    "ivideogpt-vp2-robodesk-64-act-cond": "vp2_robodesk64",
}


def published(name: str) -> tuple[TokenizerConfig, WorldModelConfig]:
    recipe = load_config(WorldModelTraining, recipes.find(f"world_model/{PUBLISHED[name]}"))
    assert recipe.tokenizer is not None
    below = load_config(TokenizerTraining, recipes.find(recipe.tokenizer.removeprefix("runs/")))
    return below.tokenizer, recipe.model


@settings(max_examples=15)
@given(
    option=st.sampled_from(OPTIONS),
    heads=st.booleans(),
    changes=st.fixed_dictionaries(
        {},
        optional={
            "action_dim": st.integers(0, 4),
            "context_frames": st.integers(1, 4),
            "resolution": st.sampled_from([16, 32, 64]),
            "stem_stride": st.sampled_from([2, 4, 8]),
            "patch_size": st.sampled_from([1, 2, 4]),
            "context_codes": st.integers(16, 40),
            "dynamics_codes": st.integers(24, 60),
            "reward": st.booleans(),
            "termination": st.booleans(),
        },
    ),
)
def test_every_tensor_of_both_models_has_a_line_with_its_shape(
    option: Any, heads: bool, changes: dict[str, Any]
) -> None:
    model = build(option, heads=heads)
    try:
        other, report = adapt(model, Changes(max_positions=4096, **changes))
    except ValueError as error:
        assert "patch_size" in str(error) or "resolution" in str(error)  # noqa: PT017  (what is refused is the drawn shape)
        return
    old, new = model.state_dict(), other.state_dict()
    assert len({line.name for line in report.lines}) == len(report.lines)
    assert {line.name: line.before for line in report.lines if line.before is not None} == {
        name: tuple(value.shape) for name, value in old.items()
    }
    assert {line.name: line.after for line in report.lines if line.after is not None} == {
        name: tuple(value.shape) for name, value in new.items()
    }
    for line in report.lines:
        if line.fate == "kept":
            assert torch.equal(old[line.name], new[line.name])
        if line.fate in ("grown", "cut"):
            assert (new[line.name].numel() > old[line.name].numel()) == (line.fate == "grown")
        if line.fate == "new":
            assert not new[line.name].any()
    assert all(torch.isfinite(value).all() for value in new.values() if value.is_floating_point())


def test_the_report_is_shown_and_stored_beside_a_model_that_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(OPTIONS[1]).save_pretrained(tmp_path / "old")
    command = f"convert {tmp_path / 'old'} {tmp_path / 'new'} --action_dim 7 --context_frames 3 --reward true"
    assert main([*command.split(), "--max_positions", "256"]) == 0
    shown = capsys.readouterr().out
    for words in (
        "action_dim 2 -> 7\n    up to rounding: ",
        "context_frames 2 -> 3\n    bit for bit: ",
        "reward added\n    bit for bit: ",
        "max_positions 128 -> 256\n    bit for bit: ",
        "embedding.action.weight",
        "5 further numbers are zero",
        "other tensors kept as they are",
    ):
        assert words in shown
    stored = json.loads((tmp_path / "new/migration.json").read_text())
    assert stored["source"] == str(tmp_path / "old")
    assert len(stored["promises"]) == 4
    assert {line["fate"] for line in stored["lines"]} == {"kept", "grown", "new"}
    model = WorldModel.from_pretrained(tmp_path / "new")
    assert (model.action_dim, model.context_frames, model.heads.reward is not None) == (7, 3, True)
    assert model.predict(clip(3, 1)[0], torch.randn(2, 7)).shape == (1, 5, 3, 32, 32)


def test_nothing_changed_is_nothing_reported() -> None:
    model = build(OPTIONS[3])
    other, report = adapt(model, Changes(), source="it")
    assert report.promises == ()
    assert {line.fate for line in report.lines} == {"kept"}
    assert report.table().startswith("from it: nothing changes\n")
    assert torch.equal(other.predict(clip(2, 1)[0], frames=2), model.predict(clip(2, 1)[0], frames=2))


def test_a_published_goal_model_is_told_that_it_is_one() -> None:
    model = build(OPTIONS[0])
    other, report = adapt(model, Changes(goal_conditioned=True))
    assert [promise.change for promise in report.promises] == ["goal_conditioned False -> True"]
    seen = clip(2, 1)[0]
    future = other.predict(seen[1:], frames=2, goal=seen[0])
    assert torch.equal(future[:, 1:], model.predict(seen, frames=2)[:, 2:])
    with pytest.raises(ValueError, match="at least 2 context frames"):
        adapt(model, Changes(goal_conditioned=True, context_frames=1))


def test_adapting_draws_nothing() -> None:
    model, torch_state = build(OPTIONS[0]), torch.get_rng_state()
    one, two = (adapt(model, Changes(action_dim=2, reward=True))[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_layouts_adapt_at_full_size(name: str) -> None:
    """Shapes alone: on the meta device a tensor takes no memory."""
    tokenizer, config = published(name)
    with torch.device("meta"):
        model = WorldModel(VideoTokenizer(tokenizer), config)
        other, report = adapt(model, Changes(action_dim=7, context_frames=3, reward=True, max_positions=2048))
    assert (other.action_dim, other.context_frames) == (7, 3)
    lines = {line.name: line for line in report.lines}
    assert lines["embedding.action.weight"].after == (config.transformer.width, 7)
    tables = {name: line for name, line in lines.items() if name.endswith("kv_pos_emb")}
    assert len(tables) == (5 if tokenizer.resolution == 256 else 3)
    assert {line.fate for line in tables.values()} == {"grown"}
    assert {line.fate for name, line in lines.items() if name.startswith("transformer.")} == {"kept"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_layouts_load_and_adapt_from_files(name: str, tmp_path: Path) -> None:
    """The same files in narrow, random weights in them."""
    tokenizer, config = published(name)
    narrow = replace(
        tokenizer, channels=tuple(8 for _ in tokenizer.channels), latent_channels=4, code_dim=4, norm_groups=4,
        blocks_per_level=1, context_codes=32, dynamics_codes=32,
    )  # fmt: skip
    slim = replace(config, transformer=replace(config.transformer, width=16, layers=1, heads=2, ffn_width=24))
    WorldModel(VideoTokenizer(narrow), slim).save_pretrained(tmp_path / "model")
    model = WorldModel.from_pretrained(tmp_path / "model")
    assert model.tokenizer.config == narrow
    frames = 2 if config.goal_conditioned else 1
    other, report = adapt(model, Changes(action_dim=7, context_frames=frames))
    assert (other.action_dim, other.context_frames) == (7, frames)
    before, after = model.transformer.state_dict(), other.transformer.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {line.name.partition(".")[0] for line in report.lines} <= {"tokenizer", *PARTS}
    other.save_pretrained(tmp_path / "other")
    assert WorldModel.from_pretrained(tmp_path / "other").action_dim == 7


@pytest.mark.skipif("IVIDEO_RELEASED" not in os.environ, reason="IVIDEO_RELEASED names no record of released shapes")
@pytest.mark.parametrize(
    ("record", "name"), [("tokenizer", "ivideogpt-oxe-64-act-free"), ("tokenizer_256", "ivideogpt-oxe-256-act-free")]
)
def test_the_released_tokenizers_have_our_names_and_shapes(record: str, name: str) -> None:
    path = Path(os.environ["IVIDEO_RELEASED"]) / f"peer_state_dict_keys_{record}.txt"
    rows = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    with torch.device("meta"):
        mine = VideoTokenizer(published(name)[0]).state_dict()
    assert {row[0]: json.loads(row[1]) for row in rows} == {key: list(value.shape) for key, value in mine.items()}


@pytest.mark.skipif("IVIDEO_RELEASED" not in os.environ, reason="IVIDEO_RELEASED names no record of released shapes")
@pytest.mark.parametrize(
    ("record", "name"),
    [("transformer", "ivideogpt-bair-64-act-cond"), ("transformer_medium", "ivideogpt-oxe-64-act-free-medium")],
)
def test_the_released_transformers_have_our_names_and_shapes(record: str, name: str) -> None:
    path = Path(os.environ["IVIDEO_RELEASED"]) / f"peer_state_dict_keys_{record}.txt"
    rows = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    plain = {row[0]: json.loads(row[1]) for row in rows if row[0].startswith(("model.", "lm_head."))}
    with torch.device("meta"):
        mine = llama_state_dict(Transformer(published(name)[1].transformer))
    assert plain == {key: list(value.shape) for key, value in mine.items()}


def test_an_adapted_tokenizer_joins_the_transformer_it_was_made_for() -> None:
    model = build(OPTIONS[3])
    tuned = model.tokenizer.refitted(model.tokenizer.config)
    with torch.no_grad():
        tuned.decoder.conv_in.weight.add_(1.0)
    joined, report = join(model, tuned, source="model", name="run")
    assert [promise.change for promise in report.promises] == ["tokenizer -> run"]
    assert [line.name for line in report.lines if line.fate != "kept"] == ["tokenizer.decoder.conv_in.weight"]
    codes = model.tokenizer.encode(clip(5))
    assert torch.equal(joined.forward(codes), model.forward(codes))


def test_a_tokenizer_of_other_codes_or_grids_does_not_join() -> None:
    model = build(OPTIONS[3])
    tuned = model.tokenizer.refitted(model.tokenizer.config)
    with torch.no_grad():
        tuned.dynamics_quantize.embedding.weight[0, 0] += 1e-3  # type: ignore[union-attr,index]
    with pytest.raises(ValueError, match="the dynamics_codebook of the tokenizer at run is not that of model"):
        join(model, tuned, source="model", name="run")
    with pytest.raises(ValueError, match="the tokenizer at run has context_frames 1, that of model 2"):
        join(model, tuned.with_context_frames(1), source="model", name="run")
