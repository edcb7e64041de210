"""Token-based autoregressive world models: load, train, step, watch.

Axes of the shapes in this project::

    b batch   t frames   c context frames   f predicted frames   n, m tokens per context, per predicted frame
    s sequence   d width   a action   e embedded instruction   v code vector   h, w pixels   k ids or codes

Nothing is imported until it is used, so that `ivideo --help` and `import ivideo` take no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ivideo.act import Goal as Goal
    from ivideo.chain import Chain as Chain
    from ivideo.data import EpisodeStore as EpisodeStore
    from ivideo.data import open_episodes as open_episodes
    from ivideo.data import record as record
    from ivideo.episode import Batch as Batch
    from ivideo.episode import Episode as Episode
    from ivideo.episode import Segment as Segment
    from ivideo.layout import TokenLayout as TokenLayout
    from ivideo.migration import Changes as Changes
    from ivideo.migration import adapt as adapt
    from ivideo.planning import CEM as CEM
    from ivideo.planning import ICEM as ICEM
    from ivideo.planning import MPPI as MPPI
    from ivideo.planning import GoalFeatures as GoalFeatures
    from ivideo.planning import GoalImage as GoalImage
    from ivideo.planning import RandomShooting as RandomShooting
    from ivideo.simulate import PushingTable as PushingTable
    from ivideo.simulate.world_model_env import WorldModelEnv as WorldModelEnv
    from ivideo.state import Prediction as Prediction
    from ivideo.state import RolloutState as RolloutState
    from ivideo.video import grid as grid
    from ivideo.video import read_video as read_video
    from ivideo.video import write_video as write_video
    from ivideo.world_model import WorldModel as WorldModel
    from ivideo.world_model_config import WorldModelConfig as WorldModelConfig
    from transformer import Sampling as Sampling

_OWNERS = {
    "Batch": "ivideo.episode",
    "CEM": "ivideo.planning",
    "Chain": "ivideo.chain",
    "Changes": "ivideo.migration",
    "Episode": "ivideo.episode",
    "EpisodeStore": "ivideo.data",
    "Goal": "ivideo.act",
    "GoalFeatures": "ivideo.planning",
    "GoalImage": "ivideo.planning",
    "ICEM": "ivideo.planning",
    "MPPI": "ivideo.planning",
    "Prediction": "ivideo.state",
    "PushingTable": "ivideo.simulate",
    "RandomShooting": "ivideo.planning",
    "RolloutState": "ivideo.state",
    "Sampling": "transformer",
    "Segment": "ivideo.episode",
    "TokenLayout": "ivideo.layout",
    "WorldModel": "ivideo.world_model",
    "WorldModelConfig": "ivideo.world_model_config",
    "WorldModelEnv": "ivideo.simulate.world_model_env",
    "adapt": "ivideo.migration",
    "grid": "ivideo.video",
    "open_episodes": "ivideo.data",
    "read_video": "ivideo.video",
    "record": "ivideo.data",
    "write_video": "ivideo.video",
}

__all__ = sorted(_OWNERS)


def __getattr__(name: str) -> Any:
    if name not in _OWNERS:
        raise AttributeError(f"module 'ivideo' has no attribute {name!r}")
    from ivideo._siblings import check

    check()
    return getattr(import_module(_OWNERS[name]), name)


def __dir__() -> list[str]:
    return __all__
