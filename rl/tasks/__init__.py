"""Tasks by name: Meta-World, the pushing table, dm_control, and any Gymnasium environment that can be seen."""

from rl.tasks.demonstrations import demonstrations, read_demonstrations
from rl.tasks.opening import open_task
from rl.tasks.options import TaskOptions
from rl.tasks.task import Task

__all__ = ["Task", "TaskOptions", "demonstrations", "open_task", "read_demonstrations"]
