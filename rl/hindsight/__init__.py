"""Goals that take several instructions: chains of them, imagined or recorded, and what is learned from those.

Source: UniSim (Yang et al. 2023, arXiv 2310.06114), section 4.2.
"""

from rl.hindsight.chains import Chain, imagined, recorded
from rl.hindsight.distance import Reductions, reduction
from rl.hindsight.learner import GoalLearner, Planner, PlannerConfig

__all__ = [
    "Chain",
    "GoalLearner",
    "Planner",
    "PlannerConfig",
    "Reductions",
    "imagined",
    "recorded",
    "reduction",
]
