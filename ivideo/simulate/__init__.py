"""Importing this package makes `gymnasium.make("ivideo/PushingTable-v0")` work."""

import gymnasium

from ivideo.simulate.pushing_table import PushingTable, TableState, render

__all__ = ["PushingTable", "TableState", "render"]

PUSHING_TABLE = "ivideo/PushingTable-v0"

# A package may be imported twice under two names (a plugin and the user); gymnasium would warn about the second.
if PUSHING_TABLE not in gymnasium.registry:
    gymnasium.register(id=PUSHING_TABLE, entry_point="ivideo.simulate.pushing_table:PushingTable")
