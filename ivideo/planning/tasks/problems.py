"""Instances of simulated tasks as arrays: generated once, kept in a file, read back, and refused where they do not fit.

::

    starts   float64 [n s]      states to begin in
    goals    float64 [n g]      what judges: states, places; what they are is the task's to say
    images   uint8 [n h w 3]    what the camera is to see
    about    text               JSON: the task, and what the instances were made from
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from ivideo.files import replace_file
from ivideo.planning.tasks.simulator import Numbers, Simulator, SimulatorScene
from ivideo.planning.tasks.task import Outcome

ARRAYS = {"starts": (np.float64, 2), "goals": (np.float64, 2), "images": (np.uint8, 4)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """One thing to do, as numbers and a picture."""

    start: Float64[np.ndarray, " s"]
    goal: Float64[np.ndarray, " g"]
    image: UInt8[np.ndarray, "h w 3"]


@runtime_checkable
class Judge(Protocol):
    """A simulator, and how far it is from what a problem wants."""

    @property
    def name(self) -> str: ...

    @property
    def simulator(self) -> Simulator: ...

    def outcome(self, goal: Numbers) -> Outcome:
        """How things stand where the simulator stands."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedInstance:
    """A problem with the simulator to solve it in."""

    number: int
    problem: Problem
    judge: Judge

    def scene(self, size: int) -> SimulatorScene:
        """Begin; ValueError where the goal image has another size than the frames."""
        image = torch.from_numpy(np.ascontiguousarray(self.problem.image.transpose(2, 0, 1)))
        if tuple(image.shape) != (3, size, size):
            raise ValueError(
                f"{self.judge.name}: the goal image of instance {self.number} is {image.shape[2]}x{image.shape[1]} and "
                f"the model sees {size}x{size}; take instances made for this size"
            )
        goal = self.problem.goal
        return SimulatorScene(self.judge.simulator, self.problem.start, image, lambda: self.judge.outcome(goal))


def save_problems(file: Path, problems: Sequence[Problem], about: dict[str, Any]) -> None:
    """Write problems, in one step."""
    arrays: dict[str, Any] = {
        "starts": np.stack([each.start for each in problems]),
        "goals": np.stack([each.goal for each in problems]),
        "images": np.stack([each.image for each in problems]),
        "about": np.array(json.dumps(about)),
    }

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            np.savez_compressed(stream, **arrays)

    replace_file(file, write)


def load_problems(file: Path, simulator: Simulator, *, name: str, numbers: int) -> tuple[list[Problem], dict[str, Any]]:
    """The problems in a file, and what they are about.

    Args:
        file: as `save_problems` writes it.
        simulator: what they are to be solved in; starts have as many numbers as its states.
        name: of the task.
        numbers: length of a goal.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for a file of something else, or of other shapes; it says of what shapes.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file of instances; leave it out to make some from seeds")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            arrays = {key: found[key] for key in (*ARRAYS, "about")}
        about = json.loads(str(arrays.pop("about")))
    except Exception as error:  # a damaged zip raises whatever it was damaged into
        raise ValueError(
            f"{file}: is no file of instances ({' '.join(str(error).split())}); expected one that `ivideo plan --out` "
            "wrote, or VP2's HDF5"
        ) from error
    if not isinstance(about, dict) or about.get("task") != name:
        other = about.get("task") if isinstance(about, dict) else about
        raise ValueError(f"{file}: holds instances of {other!r}; expected some of {name!r}: name their task")
    count = len(arrays["starts"])
    state = len(simulator.save())
    size = simulator.size
    wanted = {"starts": (count, state), "goals": (count, numbers), "images": (count, size, size, 3)}
    for key, (kind, _) in ARRAYS.items():
        array = arrays[key]
        if array.dtype != kind or array.shape != wanted[key]:
            raise ValueError(
                f"{file}: {key} is {array.dtype} {list(array.shape)}; expected {np.dtype(kind)} {list(wanted[key])} "
                f"for {name} at {size} pixels"
            )
    if not (np.isfinite(arrays["starts"]).all() and np.isfinite(arrays["goals"]).all()):
        raise ValueError(f"{file}: a state holds a number that is not finite; the file is damaged: make it again")
    rows = zip(arrays["starts"], arrays["goals"], arrays["images"], strict=True)
    return [Problem(start=start, goal=goal, image=image) for start, goal, image in rows], about
