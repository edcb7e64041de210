"""From the name of a planning task to the task."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from ivideo.planning.table_task import Goals, TableTask
from ivideo.planning.tasks.simulated import Maker, SimulatedTask
from ivideo.planning.tasks.task import PlanningTask

PUSHING_TABLE = "pushing_table"
METAWORLD = ("metaworld/reach-v3", "metaworld/push-v3")
ROBODESK = (
    "robodesk/push_red",
    "robodesk/push_green",
    "robodesk/push_blue",
    "robodesk/open_slide",
    "robodesk/open_drawer",
    "robodesk/upright_block_off_table",
    "robodesk/flat_block_off_table",
)
NAMES = (PUSHING_TABLE, "pusht", *METAWORLD, *ROBODESK, "robosuite/push")


def open_task(
    name: str,
    *,
    size: int,
    goals: Goals = "place",
    within: int = 8,
    file: Path | None = None,
    kept: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PlanningTask:
    """Return a task, seen in frames of a size.

    Args:
        name: one of `NAMES`.
        size: side of the frames in pixels.
        goals: any "place", or the "painted" one, where the task has one.
        within: steps in which the demonstration behind an instance did it.
        file: instances to take; None has them made from seeds.
        kept: where instances that are made are written, and looked for first.
        progress: told how many of how many instances are made.

    Raises:
        ValueError: for a name that is not known, with the nearest ones, and for settings that a task does not have.
        ImportError: where a package is missing that the task needs, or OpenGL; in one line with what to install.
    """
    check_task(name, goals=goals, from_file=file is not None)
    if name == PUSHING_TABLE:
        return TableTask(size=size, goals=goals, within=within)
    return SimulatedTask(_maker(name, size, goals, within), file=file, kept=kept, progress=progress)


def check_task(name: str, *, goals: Goals, from_file: bool) -> None:
    """ValueError for a name or for settings that no task has; opens nothing."""
    if name not in NAMES:
        near = get_close_matches(name, NAMES, n=3, cutoff=0.4) or NAMES
        raise ValueError(f"no planning task {name!r}; did you mean {', '.join(near)}?")
    if goals == "painted" and name not in (PUSHING_TABLE, "pusht"):
        raise ValueError(f"goals is 'painted', and {name} paints none; leave it out")
    if from_file and name == PUSHING_TABLE:
        raise ValueError("instances_from is set, and the pushing table's instances are made from seeds; leave it out")


def _maker(name: str, size: int, goals: Goals, within: int) -> Maker:
    stem, _, rest = name.partition("/")
    if stem == "pusht":
        from ivideo.planning.tasks.pusht import PushTProblems

        return PushTProblems(size=size, goals=goals, within=within)
    if stem == "robodesk":
        from ivideo.planning.tasks.robodesk import RoboDeskProblems

        return RoboDeskProblems(rest, size=size, within=within)
    if stem == "robosuite":
        from ivideo.planning.tasks.robosuite import RobosuiteProblems

        return RobosuiteProblems(size=size, within=within)
    from ivideo.planning.tasks.metaworld import MetaWorldProblems

    return MetaWorldProblems(rest, size=size, within=within)
