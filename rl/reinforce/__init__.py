"""Learning in the model: imitation first, then REINFORCE on the steps that are left, in imagined episodes.

Source: UniSim (Yang et al. 2023, arXiv 2310.06114), section 4.2.
"""

from rl.reinforce.lessons import Lessons
from rl.reinforce.network import Sight, SightConfig
from rl.reinforce.policy import Policy, PolicyConfig
from rl.reinforce.steps import StepsToGo, StepsToGoConfig, agreement

__all__ = ["Lessons", "Policy", "PolicyConfig", "Sight", "SightConfig", "StepsToGo", "StepsToGoConfig", "agreement"]
