"""Small world models with every option, and rollouts of them."""

from dataclasses import replace
from typing import Any

import torch
from tiny import TINY_TOKENIZER, TINY_TRANSFORMER

from ivideo.embedding import EmbeddingConfig
from ivideo.heads import HeadsConfig
from ivideo.state import RolloutState
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import VideoTokenizer
from transformer import Sampling

GREEDY = Sampling(temperature=0)
OPTIONS = [
    EmbeddingConfig(),
    EmbeddingConfig(action_dim=2),
    EmbeddingConfig(action_dim=2, action_on="frame"),
    EmbeddingConfig(action_dim=2, action_on="frame", code_vectors=True, guide=8),
    EmbeddingConfig(guide=8),
]


def build(
    embedding: EmbeddingConfig,
    *,
    heads: bool = False,
    goal: bool = False,
    full: bool = True,
    plain: bool = False,
    **options: Any,
) -> WorldModel:
    """A model with random weights everywhere, zero-initialised ones included."""
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(replace(TINY_TOKENIZER, mask_blend=None if plain else "observed"))
    config = WorldModelConfig(
        transformer=replace(TINY_TRANSFORMER, layers=2),
        embedding=embedding,
        heads=HeadsConfig(reward=heads, termination=heads),
        vocabulary="full" if full else "dynamics",
        goal_conditioned=goal,
        sampling=GREEDY,
        **options,
    )
    model = WorldModel(tokenizer, config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def clip(frames: int, batch: int = 2, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (batch, frames, 3, 32, 32), dtype=torch.uint8, generator=generator)


def actions_for(model: WorldModel, frames: int, batch: int = 2) -> torch.Tensor | None:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch, frames, model.action_dim, generator=generator) if model.action_dim else None


def run(model: WorldModel, state: RolloutState, actions: torch.Tensor | None, frames: int, **how: Any) -> RolloutState:
    for index in range(frames):
        state, _ = model.step(state, None if actions is None else actions[:, index], decode=False, **how)
    return state
