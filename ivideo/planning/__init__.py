"""Planning: actions whose imagined future is wanted, found by trying many.

Planners work with anything that is a `Dynamics`: a world model, or the simulator itself as the upper bound.
"""

from ivideo.planning.cem import CEM, ICEM
from ivideo.planning.dynamics import Dynamics, Futures, Need
from ivideo.planning.frame_dynamics import FrameDynamics, FrameSight
from ivideo.planning.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
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
from ivideo.planning.teleports import TeleportFilter
from ivideo.planning.tree import PixelNearness, Proposer, StepsLeft, TreeSearch, WayPoints, Words
from ivideo.planning.videos import CommandedVideos, GoalVideos, ImaginedVideos, VideoMaker, VideoPlanner, Videos

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "Classified",
    "CommandedVideos",
    "Dynamics",
    "FrameDynamics",
    "FrameSight",
    "Futures",
    "GoalFeatures",
    "GoalImage",
    "GoalLPIPS",
    "GoalVideos",
    "ImaginedVideos",
    "InverseDynamics",
    "InverseDynamicsConfig",
    "ModelDynamics",
    "Need",
    "Objective",
    "PixelNearness",
    "Plan",
    "Planner",
    "Proposer",
    "RandomShooting",
    "RewardSum",
    "StepsLeft",
    "TableDynamics",
    "TeleportFilter",
    "TreeSearch",
    "Unlikely",
    "VideoMaker",
    "VideoPlanner",
    "Videos",
    "WayPoints",
    "WeightedSum",
    "Words",
]
