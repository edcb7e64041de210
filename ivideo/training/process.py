"""Which of a run's processes this is."""

from lightning.fabric.utilities.rank_zero import rank_zero_only


def is_first() -> bool:
    """Whether this process writes files and talks to people: the first of a run's processes, or its only one."""
    return rank_zero_only.rank == 0  # type: ignore[attr-defined,no-any-return]
