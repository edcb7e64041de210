"""Importing this package makes `gymnasium.make` know "ivideo/PushingTable-v0", "ivideo/PushT-v0",
"ivideo/WorldModel-v0" and "ivideo/RemoteWorldModel-v0"."""

import gymnasium

from ivideo.simulate.pushing_table import PushingTable, TableState, render

__all__ = ["PushingTable", "TableState", "render"]

_ENTRY_POINTS = {
    "ivideo/PushingTable-v0": "ivideo.simulate.pushing_table:PushingTable",
    "ivideo/PushT-v0": "ivideo.simulate.pusht:PushT",
    "ivideo/WorldModel-v0": "ivideo.simulate.single_world_model_env:SingleWorldModelEnv",
    "ivideo/RemoteWorldModel-v0": "ivideo.serve.remote_world:RemoteWorld",
}
# A package may be imported twice under two names (a plugin and the user); gymnasium would warn about the second.
for _name, _entry_point in _ENTRY_POINTS.items():
    if _name not in gymnasium.registry:
        gymnasium.register(id=_name, entry_point=_entry_point)
