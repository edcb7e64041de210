"""Planning: actions whose imagined future is wanted, found by trying many.

Planners work with anything that is a `Dynamics`: a world model, or the simulator itself as the upper bound.
"""

from ivideo.planning.cem import CEM, ICEM
from ivideo.planning.dynamics import Dynamics, Futures, Need
from ivideo.planning.model_dynamics import ModelDynamics
from ivideo.planning.mppi import MPPI
from ivideo.planning.objectives import (
    Classified,
    GoalFeatures,
    GoalImage,
    GoalLPIPS,
    Objective,
    RewardSum,
    Unlikely,
    WeightedSum,
)
from ivideo.planning.plan import Plan, Planner
from ivideo.planning.shooting import RandomShooting
from ivideo.planning.table_dynamics import TableDynamics

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "Classified",
    "Dynamics",
    "Futures",
    "GoalFeatures",
    "GoalImage",
    "GoalLPIPS",
    "ModelDynamics",
    "Need",
    "Objective",
    "Plan",
    "Planner",
    "RandomShooting",
    "RewardSum",
    "TableDynamics",
    "Unlikely",
    "WeightedSum",
]
