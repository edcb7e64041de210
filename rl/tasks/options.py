"""What can be chosen about a task."""

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """Choices about a task; None is the task's own default. One that a task does not know is an error."""

    camera: str | None = None
    """Meta-World: corner, corner2, corner3, topview, behindGripper or gripperPOV. dm_control: its number or name."""
    action_repeat: int | None = None
    """Steps of the simulator that an action lasts; their rewards are summed."""
    horizon: int | None = None
    """Actions after which an episode is truncated."""
    success_bonus: float | None = None
    """Added to the reward of an action during which the aim is reached."""
    reward_scale: float | None = None
    """Rewards, bonus included, are multiplied with this."""
    shadows: bool | None = None
    """Meta-World, dm_control: draw shadows, reflections and smooth edges; without a GPU, several times as slow."""
    random_goal: bool | None = None
    """Pushing table: another goal in every episode."""

    def __post_init__(self) -> None:
        for name in ("action_repeat", "horizon"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1, or nothing for the task's own")
        for name in ("success_bonus", "reward_scale"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is {value}; expected a number, or nothing for the task's own")

    def only(self, name: str, *known: str) -> None:
        """ValueError for a choice that the task `name` does not have."""
        common = ("action_repeat", "horizon", "success_bonus", "reward_scale")
        for field in fields(self):
            if getattr(self, field.name) is not None and field.name not in (*common, *known):
                value = getattr(self, field.name)
                raise ValueError(f"{field.name} is {value!r}, and {name} has none to choose; leave it out")
