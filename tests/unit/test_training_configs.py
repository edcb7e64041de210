"""Every packaged training config loads, says what it costs and reaches, and fits what it builds on."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from ivideo import recipes
from ivideo.config import load_config
from ivideo.layout import layout_of
from ivideo.training.tokenizer import TokenizerTraining
from ivideo.training.world_model import WorldModelTraining
from ivideo.world_model_config import WorldModelConfig
from tokenizer import TokenizerConfig
from transformer import TransformerConfig

TOKENIZERS = [name for name in recipes.names() if name.startswith("tokenizer/")]
WORLD_MODELS = [name for name in recipes.names() if name.startswith("world_model/")]


@cache
def tokenizer_training(name: str) -> TokenizerTraining:
    return load_config(TokenizerTraining, recipes.find(name))


@cache
def world_model_training(name: str) -> WorldModelTraining:
    return load_config(WorldModelTraining, recipes.find(name))


@pytest.mark.parametrize("name", TOKENIZERS + WORLD_MODELS)
def test_the_head_comment_says_what_matters(name: str) -> None:
    text = recipes.find(name).read_text()
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert len(head[0]) > 20
    said = {line.split()[1]: line.split()[2:] for line in head if len(line.split()) > 2}
    verb = "tokenizer" if name.startswith("tokenizer/") else "world-model"
    assert said["command"][:5] == ["ivideo", "train", verb, "--config", name]
    assert {"hardware", "hours", "reaches"} <= said.keys()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizer_configs_are_whole(name: str) -> None:
    settings = tokenizer_training(name)
    assert settings.run.folder == Path("runs") / name
    assert settings.data.frames - settings.tokenizer.context_frames >= (settings.targets or 1)
    if settings.init == "thuml/ivideogpt-oxe-64-act-free":
        assert replace(settings.tokenizer, context_frames=2) == tokenizer_training("tokenizer/oxe64").tokenizer


@pytest.mark.parametrize("name", WORLD_MODELS)
def test_world_model_configs_fit_their_tokenizers(name: str) -> None:
    settings = world_model_training(name)
    assert settings.run.folder == Path("runs") / name
    assert settings.tokenizer is not None
    below = tokenizer_training(settings.tokenizer.removeprefix("runs/"))
    assert below.data.source == settings.data.source
    assert below.data.camera == settings.data.camera
    layout = layout_of(below.tokenizer)
    assert settings.data.frames > layout.context_frames
    length = layout.sequence_length(settings.data.frames - layout.context_frames)
    assert length <= settings.model.transformer.max_positions


def test_the_released_models_have_their_released_shapes() -> None:
    small = replace(TransformerConfig.small(), attention_dropout=0.1)
    medium = replace(TransformerConfig.medium(), attention_dropout=0.1)
    assert tokenizer_training("tokenizer/oxe64").tokenizer == TokenizerConfig.ivideogpt_64()
    assert tokenizer_training("tokenizer/oxe256").tokenizer == TokenizerConfig.ivideogpt_256()
    assert world_model_training("world_model/oxe64").model == WorldModelConfig(transformer=small)
    assert world_model_training("world_model/oxe256").model == WorldModelConfig(transformer=small)
    assert world_model_training("world_model/oxe64_medium").model == WorldModelConfig(transformer=medium)
