"""What imagined environments show and take."""

from typing import Literal, TypeAlias

import gymnasium
import numpy as np

from ivideo.world_model import WorldModel

Observations: TypeAlias = Literal["pixels", "tokens"]


def controls(model: WorldModel, domain: str | None) -> int:
    """How many numbers an action has."""
    names = model.embodiments.names
    if not names:
        return model.action_dim
    if domain not in names:
        raise ValueError(f"domain is {domain!r}; expected whose actions these environments take: {', '.join(names)}")
    return next(each.action_dim for each in model.embodiments.domains if each.name == domain)


def action_space(model: WorldModel, domain: str | None) -> gymnasium.spaces.Box | gymnasium.spaces.Discrete:
    """[-1, 1] in every control, or the choices of a domain that has some."""
    size = controls(model, domain)
    choices = [each.count for each in model.embodiments.domains if each.name == domain and each.count]
    return gymnasium.spaces.Discrete(choices[0]) if choices else gymnasium.spaces.Box(-1.0, 1.0, (size,), np.float32)


def observation_space(model: WorldModel, observations: Observations) -> gymnasium.spaces.Box:
    """Frames `[h w 3]`, or the codes of one `[m]`."""
    size, layout = model.tokenizer.config.resolution, model.layout
    if observations == "pixels":
        return gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
    return gymnasium.spaces.Box(0, layout.dynamics_codes - 1, (layout.dynamics_tokens,), np.int64)
