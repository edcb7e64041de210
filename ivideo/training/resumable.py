"""What every run is asked besides what it is about: where it lives, and whether it goes on or begins anew."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from ivideo.training import randomness
from ivideo.training.run import RunConfig, RunFolder, check_vacant


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumable:
    """Settings of a run that is started, stopped and taken up again; each kind has a folder of its own in `run`."""

    run: RunConfig
    """Where the run lives."""
    resume: bool = False
    """Go on with the run in the run's folder."""
    overwrite: bool = False
    """Delete the run in the run's folder and start anew."""

    def start(self, seed: int) -> None:
        """Before anything is loaded: draw from `seed` on; FileExistsError where the run may not go."""
        check_vacant(self.run, resume=self.resume, overwrite=self.overwrite)
        randomness.seed_all(seed)

    def open(self, name: str = "", *, further: Sequence[str] = ()) -> RunFolder:
        """The run's folder, or that of the run `name` in it; see `RunFolder`."""
        config = replace(self.run, folder=self.run.folder / name)
        return RunFolder(config, self.stored(), resume=self.resume, overwrite=self.overwrite, further=further)

    def stored(self) -> Self:
        """What the run keeps of its settings: not how this command came to it."""
        return replace(self, resume=False, overwrite=False)
