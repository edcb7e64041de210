"""The environments of one client, some of which may be rows of a state that is shared with other clients."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ivideo.serve.passes import Part, SharedWorlds
from ivideo.simulate.world_model_env import WorldModelEnv
from ivideo.simulate.worlds import Snapshot


class Session(WorldModelEnv):
    """A `WorldModelEnv` whose turns are taken together with those of others. Touched in the computing thread alone."""

    def __init__(self, worlds: SharedWorlds, **how: Any) -> None:
        """Environments in these worlds; takes what `WorldModelEnv` takes beside."""
        how = {"reward": worlds.reward, "sampling": worlds.sampling, "domain": worlds.domain, **how}
        super().__init__(worlds.model, worlds.starts, **how)
        self.worlds = worlds.showing(self.worlds.pixels)

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Have environments draw from these seeds from now on; None leaves one as it is."""
        for index, each in enumerate(seeds):
            if each is not None:
                self._generators[index] = np.random.default_rng(each)

    def save(self) -> Snapshot:
        """Where everything stands, in memory of its own: what is kept for long must not keep others' rows."""
        for group in self._groups:
            if isinstance(group, Part):
                group.settle()
        return super().save()

    def fork(self, n: int) -> "Session":
        """See `WorldModelEnv.fork`."""
        forked: Any = super().fork(n)
        return forked  # type: ignore[no-any-return]  # a copy of this one, so of its class
