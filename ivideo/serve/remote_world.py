"""One imagined environment that a server computes, as Gymnasium and what is built on it expect."""

from typing import Any

from ivideo.serve.client import RemoteWorlds
from ivideo.simulate.single_world_model_env import Single


class RemoteWorld(Single):
    """One environment, as `gymnasium.make("ivideo/RemoteWorldModel-v0", address=...)` makes it.

    Takes what `RemoteWorlds` takes, but for the number.
    """

    def __init__(self, address: str, **how: Any) -> None:
        super().__init__(RemoteWorlds(address, num_envs=1, **how))
