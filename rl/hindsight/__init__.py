"""Goals that take several instructions: chains of them, imagined or recorded, and what is learned from those.

Source: UniSim (Yang et al. 2023, arXiv 2310.06114), section 4.2.
"""

from rl.hindsight.chains import Chain, imagined, recorded
from rl.hindsight.distance import Reductions, reduction
from rl.hindsight.follower import Follower, FollowerConfig
from rl.hindsight.lessons import Hindsight, Told
from rl.hindsight.planner import Planner, PlannerConfig

__all__ = [
    "Chain",
    "Follower",
    "FollowerConfig",
    "Hindsight",
    "Planner",
    "PlannerConfig",
    "Reductions",
    "Told",
    "imagined",
    "recorded",
    "reduction",
]
