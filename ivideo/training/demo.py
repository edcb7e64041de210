"""What `ivideo demo --train` trains: the pushing table from nothing, within minutes on a laptop's processor."""

from dataclasses import replace
from pathlib import Path

from ivideo import recipes
from ivideo.config import load_config
from ivideo.training.tokenizer import TokenizerTraining, train_tokenizer
from ivideo.training.world_model import WorldModelTraining, train_world_model

TOKENIZER = "tokenizer/pushing_table_quick"
WORLD_MODEL = "world_model/pushing_table_quick"


def train(out: Path, *, seed: int, overwrite: bool = False) -> Path:
    """Train tokenizer and world model by the two packaged quick configs, in `out`; the folder of the model.

    The same as the two `ivideo train` verbs would do, on the same recorded episodes.
    """
    first = load_config(TokenizerTraining, recipes.find(TOKENIZER))
    first = replace(
        first,
        loop=replace(first.loop, seed=seed),
        run=replace(first.run, folder=out / "tokenizer"),
        overwrite=overwrite,
    )
    second = load_config(WorldModelTraining, recipes.find(WORLD_MODEL))
    second = replace(
        second,
        tokenizer=str(out / "tokenizer"),
        loop=replace(second.loop, seed=seed),
        run=replace(second.run, folder=out / "world_model"),
        overwrite=overwrite,
    )
    episodes = first.data.open(first.tokenizer.resolution)
    for result in (train_tokenizer(first, episodes), train_world_model(second, episodes)):
        if result.exit_code:
            raise KeyboardInterrupt
    return second.run.folder / "model"
