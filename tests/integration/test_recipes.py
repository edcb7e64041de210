"""Every packaged recipe has the published number of parameters, and runs from its first step to a saved model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ivideo import recipes
from ivideo.config import load_config
from ivideo.data import EpisodeStore
from ivideo.data.mixture import MixedDomain, MixedStore, load_mixture
from ivideo.episode import Episode
from ivideo.layout import layout_of
from ivideo.training import checkpoints
from ivideo.training.dataset import DataConfig, Episodes
from ivideo.training.tokenizer import TokenizerTraining, train_tokenizer
from ivideo.training.world_model import WorldModelTraining, train_world_model
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import TokenizerConfig, VideoTokenizer, losses
from transformer import TransformerConfig

SMALL, MEDIUM = 138_434_304, 436_261_888
ONE_FRAME, TWO_FRAMES, LARGE = 113_831_494, 114_159_174, 310_472_774
TOKENIZERS = {
    "bair64": ONE_FRAME, "metaworld": 812_464, "oxe256": LARGE, "oxe64": TWO_FRAMES, "oxe64_goal": TWO_FRAMES,
    "pushing_table": 812_464, "pushing_table_quick": 812_464, "pusht": 812_464, "robonet256": LARGE,
    "robonet64": TWO_FRAMES, "small_robots": 812_464, "vp2_robodesk64": TWO_FRAMES, "vp2_robosuite64": TWO_FRAMES,
}  # fmt: skip
"""Parameters; the released 64 px and 256 px checkpoints have 114,159,174 and 310,472,774."""
WORLD_MODELS = {
    "bair64": (SMALL, 0), "bair64_action": (SMALL, 5 * 768), "metaworld": (894_592, 160_193), "oxe256": (SMALL, 0),
    "oxe64": (SMALL, 0), "oxe64_goal": (SMALL, 0), "oxe64_medium": (MEDIUM, 0), "pushing_table": (960_128, 159_809),
    "pushing_table_deep": (1_591_936, 159_809), "pushing_table_longer": (960_128, 159_809),
    "pushing_table_probing": (960_128, 159_809), "pushing_table_quick": (894_592, 159_809),
    "pusht": (960_128, 159_809),
    "robonet256": (SMALL, 6 * 768), "robonet64": (SMALL, 6 * 768), "small_robots": (894_592, 164_928),
    "vp2_robodesk64": (SMALL, 6 * 768), "vp2_robosuite64": (SMALL, 5 * 768),
}  # fmt: skip
"""Parameters of the transformer, and of the rest: the action's projection to width 768 with its bias, heads, guide."""


class Mean(nn.Module):
    """Stands in for LPIPS, whose weights come from the Hub."""

    def forward(self, made: Tensor, true: Tensor) -> Tensor:
        return (made - true).square().mean()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "sync", lambda path: None)
    monkeypatch.setattr(losses, "load_lpips", lambda backbone, heads: Mean())


def tokenizer_recipe(name: str) -> TokenizerTraining:
    return load_config(TokenizerTraining, recipes.find(f"tokenizer/{name}"))


def world_model_recipe(name: str) -> WorldModelTraining:
    return load_config(WorldModelTraining, recipes.find(f"world_model/{name}"))


def below(settings: WorldModelTraining) -> str:
    """Name of the tokenizer's recipe."""
    assert settings.tokenizer is not None
    return settings.tokenizer.removeprefix("runs/tokenizer/")


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_no_recipe_is_forgotten() -> None:
    packaged = {name for name in recipes.names() if name.startswith(("tokenizer/", "world_model/"))}
    assert packaged == {f"tokenizer/{name}" for name in TOKENIZERS} | {f"world_model/{name}" for name in WORLD_MODELS}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers_have_their_size(name: str) -> None:
    with torch.device("meta"):
        assert size(VideoTokenizer(tokenizer_recipe(name).tokenizer)) == TOKENIZERS[name]


@pytest.mark.parametrize("name", WORLD_MODELS)
def test_world_models_have_their_size(name: str) -> None:
    settings = world_model_recipe(name)
    with torch.device("meta"):
        model = WorldModel(VideoTokenizer(tokenizer_recipe(below(settings)).tokenizer), settings.model)
    assert size(model.tokenizer) == TOKENIZERS[below(settings)]
    assert (size(model.transformer), size(model.embedding) + size(model.heads)) == WORLD_MODELS[name]


def tiny_tokenizer(config: TokenizerConfig) -> TokenizerConfig:
    """The same but narrow."""
    return replace(
        config, channels=(8,) * len(config.channels), blocks_per_level=1, latent_channels=8, code_dim=4, norm_groups=4,
        context_codes=16, dynamics_codes=16, attention_heads=2,
    )  # fmt: skip


def tiny_transformer(config: TransformerConfig) -> TransformerConfig:
    return replace(config, width=16, layers=2, heads=2, ffn_width=32)


def tiny_model(tokenizer: TokenizerConfig, folder: Path) -> str:
    """A model without actions in a folder: what recipes with `init` start from."""
    torch.manual_seed(0)
    settings = world_model_recipe("oxe64").model
    config = replace(settings, transformer=tiny_transformer(settings.transformer))
    WorldModel(VideoTokenizer(tiny_tokenizer(tokenizer)), config).save_pretrained(folder)
    return str(folder)


def recorded(data: DataConfig, side: int, model: WorldModelConfig) -> tuple[Episodes, Episodes]:
    """Noise in the place of a recipe's data: of one kind, or a set for each of the model's domains."""
    domains = model.embedding.domains
    if not domains:
        return episodes(side, model.embedding.action_dim, rewards=model.heads.reward)
    stores = [episodes(side, domain.action_dim, rewards=False) for domain in domains]
    settings = load_mixture(data.mixture or "").sets
    assert [each.name for each in settings] == [domain.name for domain in domains]

    def mixed(which: int) -> MixedStore:
        sets = zip(settings, stores, strict=True)
        kept = tuple(MixedDomain(number=n, settings=one, episodes=two[which]) for n, (one, two) in enumerate(sets))
        return MixedStore(kept, names=tuple(each.name for each in settings), block=1000, source="noise")

    return mixed(0), mixed(1)


def episodes(side: int, actions: int, *, rewards: bool) -> tuple[EpisodeStore, EpisodeStore]:
    """Noise to train on and to hold out."""
    generator = torch.Generator().manual_seed(0)
    made = [
        Episode(
            frames=torch.randint(256, (18, 3, side, side), dtype=torch.uint8, generator=generator),
            actions=torch.randn(17, actions, generator=generator) if actions else None,
            rewards=torch.rand(17, generator=generator) if rewards else None,
            name=f"noise-{number}",
        )
        for number in range(2)
    ]
    return EpisodeStore(made[:1], source="noise"), EpisodeStore(made[1:], source="noise")


def dry_tokenizer(name: str, folder: Path) -> TokenizerTraining:
    settings = tokenizer_recipe(name)
    init = settings.init and tiny_model(settings.tokenizer, folder / "init")
    return replace(
        settings,
        tokenizer=tiny_tokenizer(settings.tokenizer),
        targets=settings.targets and 1,
        loop=replace(settings.loop, **SHORT, accumulate=min(settings.loop.accumulate, 2)),
        evaluation=replace(settings.evaluation, clips=1, pictures=1),
        run=replace(settings.run, folder=folder / "run", tensorboard=False),
        init=init,
    )


SHORT = {
    "steps": 2, "max_minutes": None, "batch_size": 1, "devices": 1, "precision": "32-true", "accelerator": "cpu",
    "evaluate_every": None,
}  # fmt: skip


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizer_recipes_run(name: str, tmp_path: Path) -> None:
    settings = dry_tokenizer(name, tmp_path)
    result = train_tokenizer(settings, episodes(settings.tokenizer.resolution, 0, rewards=False))
    assert (result.step, result.exit_code) == (2, 0)
    assert result.figures["loss"] > 0
    assert (tmp_path / "run" / "model" / "config.json").is_file()


@pytest.mark.parametrize("name", WORLD_MODELS)
def test_world_model_recipes_run(name: str, tmp_path: Path) -> None:
    settings = world_model_recipe(name)
    tokens = dry_tokenizer(below(settings), tmp_path / "tokenizer").tokenizer
    started = tiny_model(tokens, tmp_path / "init")
    settings = replace(
        settings,
        tokenizer=started,
        model=replace(settings.model, transformer=tiny_transformer(settings.model.transformer)),
        token_cache=settings.token_cache and 4,
        init=started if settings.init == "thuml/ivideogpt-oxe-64-act-free" else None,
        loop=replace(settings.loop, **SHORT),
        evaluation=replace(settings.evaluation, clips=1, pictures=1),
        run=replace(settings.run, folder=tmp_path / "run", tensorboard=False),
    )
    result = train_world_model(settings, recorded(settings.data, tokens.resolution, settings.model))
    assert (result.step, result.exit_code) == (2, 0)
    model = WorldModel.from_pretrained(tmp_path / "run" / "model")
    assert model.layout == layout_of(tokens)
    assert model.remembered_frames == settings.data.frames - model.context_frames
