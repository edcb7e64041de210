"""A trained model in another shape, with a report of what became of every tensor and of what is promised.

::

    model, Changes  --adapt-->  model, Migration
                                       Promise   what stays the same, and how exactly
                                       Line      a tensor: kept, cut, grown, resampled, new or dropped

docs/transfer.md says what can change and what cannot.
"""

from ivideo.migration.adaptation import adapt, join
from ivideo.migration.changes import Changes
from ivideo.migration.report import Line, Migration, Promise

__all__ = ["Changes", "Line", "Migration", "Promise", "adapt", "join"]
