"""A session whose model knows nothing, beside the true pushing table."""

from dataclasses import replace

from tiny_rollouts import build

from ivideo.embedding import EmbeddingConfig
from ivideo.play.dreamer import Dreamer
from ivideo.play.session import Session
from ivideo.play.starts import Starts
from ivideo.world_model import WorldModel
from transformer import Sampling


def drawing_model(actions: int = 2) -> WorldModel:
    """32 pixels, two context frames, at most 9 frames remembered; draws its tokens, so that seeds matter."""
    made = build(EmbeddingConfig(action_dim=actions, action_on="frame"), heads=True, full=False)
    made.config = replace(made.config, sampling=Sampling(temperature=1.0))
    return made


def starts(model: WorldModel) -> Starts:
    return Starts(side=model.tokenizer.config.resolution, context=model.context_frames)


def session(model: WorldModel, seed: int = 0) -> Session:
    return Session(Dreamer(model=model, seed=seed), starts(model))
