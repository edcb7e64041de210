"""DrQ-v2: continuous control from pixels, model-free.

Source: Yarats et al., Mastering Visual Continuous Control: Improved Data-Augmented Reinforcement Learning,
arXiv 2107.09645.
"""

from rl.drqv2.agent import DrQv2, DrQv2Config, DrQv2Settings, Transitions
from rl.drqv2.schedule import Linear

__all__ = ["DrQv2", "DrQv2Config", "DrQv2Settings", "Linear", "Transitions"]
