"""Model-based reinforcement learning: rollouts in a world model that is trained on what the agent sees.

Source: MBPO (Janner et al., arXiv 1906.08253) as the iVideoGPT paper runs it (arXiv 2405.15223, section 4.3).
"""

from rl.imagination.fidelity import Returns, returns
from rl.imagination.horizon import Adaptive, Fixed
from rl.imagination.learner import ModelLearner, ModelLearnerConfig
from rl.imagination.rollouts import Imagination, ImaginationConfig, Imagined
from rl.imagination.token_replay import TokenReplay

__all__ = [
    "Adaptive",
    "Fixed",
    "Imagination",
    "ImaginationConfig",
    "Imagined",
    "ModelLearner",
    "ModelLearnerConfig",
    "Returns",
    "TokenReplay",
    "returns",
]
