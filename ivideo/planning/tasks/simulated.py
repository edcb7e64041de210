"""A task of a simulator that can be put back: its instances are made from seeds, or read from a file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ivideo.planning.tasks.problems import Judge, Problem, SimulatedInstance, load_problems, save_problems
from ivideo.planning.tasks.simulator import SimulatorDynamics
from ivideo.planning.tasks.vp2_file import is_vp2_file


@runtime_checkable
class Maker(Judge, Protocol):
    """A simulator with things to do in it."""

    @property
    def unit(self) -> str: ...

    @property
    def goal_numbers(self) -> int:
        """Length of a problem's goal."""
        ...

    @property
    def tries(self) -> int:
        """Demonstrations that are looked at for each problem wanted, before it is given up."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What its problems depend on, beside their seeds."""
        ...

    def problem(self, seed: tuple[int, ...]) -> Problem | None:
        """A problem of this seed; None where there is none."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class FromVP2(Protocol):
    """Whose problems VP2 published too."""

    def from_vp2(self, file: Path) -> list[Problem]:
        """The problems in one of VP2's files."""
        ...


class SimulatedTask:
    """Things to do in a simulator."""

    def __init__(
        self,
        maker: Maker,
        *,
        file: Path | None = None,
        kept: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Things to do in a simulator.

        Args:
            maker: the simulator, and who makes things to do.
            file: holds instances; without, they are made from seeds.
            kept: where those that are made are written, and some made before looked for.
            progress: told how many of how many are made.
        """
        self.maker, self._file, self._kept, self._progress = maker, file, kept, progress

    @property
    def name(self) -> str:
        return self.maker.name

    @property
    def unit(self) -> str:
        return self.maker.unit

    @property
    def action_dim(self) -> int:
        return self.maker.simulator.action_dim

    def dynamics(self) -> SimulatorDynamics:
        return SimulatorDynamics(simulator=self.maker.simulator)

    def instances(self, count: int, seed: int) -> Sequence[SimulatedInstance]:
        """So many instances; `seed` is of what they are made from, where no file holds them."""
        problems = self._made(count, seed) if self._file is None else self._read(self._file, count)
        return [
            SimulatedInstance(number=number, problem=problem, judge=self.maker)
            for number, problem in enumerate(problems)
        ]

    def close(self) -> None:
        self.maker.close()

    def _read(self, file: Path, count: int) -> list[Problem]:
        if is_vp2_file(file):
            if not isinstance(self.maker, FromVP2):
                raise ValueError(f"{file}: VP2 has no {self.name}; expected a file that `ivideo plan --out` wrote")
            found = self.maker.from_vp2(file)
            about: dict[str, Any] = {}
        else:
            found, about = self._load(file)
        differing = sorted(key for key, value in self.maker.settings.items() if key in about and about[key] != value)
        if differing:
            said = ", ".join(f"{key} {about[key]!r}, now {self.maker.settings[key]!r}" for key in differing)
            raise ValueError(f"{file}: holds instances made otherwise ({said}); give the same settings")
        if len(found) < count:
            raise ValueError(f"{file}: holds {len(found)} instances and {count} are wanted; ask for fewer")
        return found[:count]

    def _made(self, count: int, seed: int) -> list[Problem]:
        about = {"task": self.name, "seed": seed, "size": self.maker.simulator.size, **self.maker.settings}
        problems: list[Problem] = []
        tried = 0
        if self._kept is not None and self._kept.is_file():
            before, told = self._load(self._kept)
            if {key: value for key, value in told.items() if key != "tried"} == about:
                problems, tried = before, int(told["tried"])
        if len(problems) >= count:
            return problems[:count]
        while len(problems) < count:
            if tried >= self.maker.tries * count:
                raise ValueError(
                    f"{self.name}: only {len(problems)} of {count} instances were found in {tried} demonstrations; ask "
                    "for fewer, or pass --instances_from FILE"
                )
            problem = self.maker.problem((seed, tried))
            tried += 1
            if problem is not None:
                problems.append(problem)
                if self._kept is not None:  # at once: some take minutes to make
                    save_problems(self._kept, problems, about | {"tried": tried})
                if self._progress is not None:
                    self._progress(len(problems), count)
        return problems

    def _load(self, file: Path) -> tuple[list[Problem], dict[str, Any]]:
        return load_problems(file, self.maker.simulator, name=self.name, numbers=self.maker.goal_numbers)
