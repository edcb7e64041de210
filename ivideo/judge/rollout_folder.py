"""Rollouts kept on disk, one file for each policy and edit: judging that is stopped goes on after the last one.

::

    OUT/rollouts/settings.json            what was rolled out, and how; rollouts of anything else are refused
                 none-expert.dream.npz    frames, actions, rewards and likelihoods of dreams
                 none-expert.true.npz     actions in the true environment, which say all
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ivideo.files import replace_file
from ivideo.judge.policies import Named
from ivideo.judge.rollouts import Rollouts
from ivideo.judge.scenes import Scene
from ivideo.planning.trial_folder import check_settings

Kind: TypeAlias = Literal["dream", "shuffled", "true"]
_FIELDS = ("frames", "actions", "rewards", "log_likelihood")


class RolloutFolder:
    """The folder of one experiment's rollouts."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Open it, or plan it: it is made with the first rollout. ValueError, naming them, where settings differ."""
        self.folder, self._settings = folder, json.loads(json.dumps(settings))
        check_settings(folder, self._settings, what="rollouts")

    def load(self, kind: Kind, edit: str, named: Named, scenes: Sequence[Scene]) -> dict[str, Tensor] | None:
        """The tensors of rollouts that stand; None for such that do not, or cannot be read: they are made again."""
        file = self._file(kind, edit, named)
        try:
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as held:
                found = {name: torch.from_numpy(held[name]) for name in _FIELDS if name in held}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None
        fits = "actions" in found and all(len(tensor) == len(scenes) for tensor in found.values())
        return found if fits else None

    def dream(self, kind: Kind, edit: str, named: Named, scenes: Sequence[Scene]) -> Rollouts | None:
        """Dreams that stand; None as above."""
        found = self.load(kind, edit, named, scenes)
        if found is None or "frames" not in found:
            return None
        return Rollouts(
            policy=named.name,
            scenes=tuple(scenes),
            frames=found["frames"],
            actions=found["actions"],
            rewards=found.get("rewards"),
            log_likelihood=found.get("log_likelihood"),
        )

    def save(self, kind: Kind, edit: str, named: Named, rollouts: Rollouts) -> None:
        """Keep rollouts, in one step; of true ones the actions."""
        text = json.dumps(self._settings, indent=2) + "\n"
        replace_file(self.folder / "settings.json", lambda path: path.write_text(text, encoding="utf-8"))
        names = ("actions",) if kind == "true" else _FIELDS
        held = {name: getattr(rollouts, name).numpy() for name in names if getattr(rollouts, name) is not None}

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez_compressed(file, **held)

        replace_file(self._file(kind, edit, named), write)

    def _file(self, kind: Kind, edit: str, named: Named) -> Path:
        policy = named.name if named.source in ("", named.name) else f"{named.name}={named.source}"
        return self.folder / f"{file_name(edit)}-{file_name(policy)}.{kind}.npz"


def file_name(name: str) -> str:
    """A name that can be a file's: what cannot stand there is replaced, and a hash tells apart what then is alike."""
    plain = re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("._")[:60]
    return plain if plain == name else f"{plain}.{hashlib.sha256(name.encode()).hexdigest()[:6]}"
