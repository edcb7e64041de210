"""Trials kept on disk, one file each: planning that is stopped goes on after the last one.

::

    OUT/trials/settings.json         what is tried, and how; trials of anything else are refused
               simulator-0000.json   who plans, and the instance's number
               model-0000.json       ...
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ivideo.files import read_json, replace_file
from ivideo.planning.trial import Trial

_MOST = 1 << 20


class TrialFolder:
    """The folder of one experiment's trials."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Open it, or plan it: it is made with the first trial. ValueError, naming them, where settings differ."""
        self.folder, self._settings = folder, json.loads(json.dumps(settings))
        check_settings(folder, self._settings, what="trials")

    def load(self, who: str, number: int) -> Trial | None:
        """A trial that stands; None for one that does not, or cannot be read: it is tried again."""
        file = self._file(who, number)
        if not file.is_file():
            return None
        try:
            found = read_json(file, what="a trial", most=_MOST, remedy="remove it")
            return Trial(**found | {"distances": tuple(found["distances"])})
        except (ValueError, TypeError, KeyError):
            return None

    def save(self, trial: Trial) -> None:
        """Keep a trial, in one step."""
        for file, content in (
            (self.folder / "settings.json", self._settings),
            (self._file(trial.who, trial.number), asdict(trial)),
        ):
            text = json.dumps(content, indent=2) + "\n"
            replace_file(file, lambda path, text=text: path.write_text(text, encoding="utf-8"))  # type: ignore[misc]

    def _file(self, who: str, number: int) -> Path:
        return self.folder / f"{who}-{number:04}.json"


def check_settings(folder: Path, settings: dict[str, Any], *, what: str) -> None:
    """ValueError, naming them, where what lies in a folder was made with other settings; they are in settings.json."""
    file = folder / "settings.json"
    if not file.is_file():
        return
    found = read_json(file, what=f"the settings of {what}", most=_MOST, remedy="pass --overwrite")
    differing = sorted(key for key in {*found, *settings} if found.get(key) != settings.get(key))
    if differing:
        said = ", ".join(f"{key} {found.get(key)!r}, now {settings.get(key)!r}" for key in differing[:3])
        raise ValueError(
            f"{folder.parent} holds {what} of something else ({said}); choose another --out, or pass --overwrite "
            "to begin anew"
        )
