"""What was measured of single batches of clips, kept on disk: an evaluation that is killed goes on after the last one.

::

    OUT/parts/settings.json          what is evaluated, and how; parts of anything else are refused
              0-00000.safetensors    run 0, the first batch of clips
              0-00001.safetensors    ...
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ivideo.evaluation.measures.collected import Collected
from ivideo.evaluation.metrics.frechet import Moments
from ivideo.evaluation.series import Series
from ivideo.files import read_json, replace_file

SETTINGS = "settings.json"
_SAID = ("quantity", "source", "statistic", "per")
"""What is said of a series beside its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that is kept of one batch of clips."""

    names: tuple[str, ...]
    """Of the clips that the values belong to."""
    series: tuple[Series, ...]
    collected: dict[str, Collected] = field(default_factory=dict)
    """By name, numbers of clips that figures of the whole set are made of."""
    moments: dict[str, Moments] = field(default_factory=dict)
    """By distance and source, of the features of all clips."""
    counted: dict[str, Tensor] = field(default_factory=dict)
    """By name, counts to be added up."""
    shown: dict[str, Tensor] = field(default_factory=dict)
    """By name, videos `[n t 3 h w]` that may be looked at."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Clips and episodes that could not be used, each with the reason."""
    digest: str = ""
    """SHA-256 of what the clips consist of."""
    seconds: float = 0.0
    """That measuring took."""


class Parts:
    """The folder of an evaluation's parts."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Open it, or plan it: it is made with the first part. ValueError, naming them, where settings differ."""
        self.folder, self._settings = folder, json.loads(json.dumps(settings))
        file, settings = folder / SETTINGS, self._settings
        if file.is_file():
            found = read_json(file, what="the settings of an evaluation", most=1 << 20, remedy="pass --overwrite")
            differing = sorted(key for key in {*found, *settings} if found.get(key) != settings.get(key))
            if differing:
                said = ", ".join(f"{key} {found.get(key)!r}, now {settings.get(key)!r}" for key in differing[:3])
                raise ValueError(
                    f"{folder.parent} holds an unfinished evaluation of something else ({said}); choose another --out, "
                    "or pass --overwrite to begin anew"
                )

    def has(self, run: int, batch: int) -> bool:
        """Whether a batch is measured already; one that cannot be read is measured again."""
        file = self._file(run, batch)
        if not file.is_file():
            return False
        try:
            with safe_open(file, framework="pt"):
                return True
        except (SafetensorError, OSError):
            return False

    def save(self, run: int, batch: int, measured: Measured) -> None:
        """Keep a batch, in one step."""
        if not (self.folder / SETTINGS).is_file():
            text = json.dumps(self._settings, indent=2) + "\n"
            replace_file(self.folder / SETTINGS, lambda path: path.write_text(text, encoding="utf-8"))
        tensors = {f"series\t{n}": each.values for n, each in enumerate(measured.series)}
        tensors |= {f"counted\t{name}": value for name, value in measured.counted.items()}
        tensors |= {f"shown\t{name}": value for name, value in measured.shown.items()}
        for name, each in measured.collected.items():
            tensors |= {f"collected\t{name}\t{key}": value for key, value in each.values.items()}
        for name, of in measured.moments.items():
            tensors |= {f"moments\t{name}\tmean": of.mean, f"moments\t{name}\tscatter": of.scatter}
            tensors[f"moments\t{name}\tcount"] = torch.tensor(of.count)
        tensors = {name: value.contiguous() for name, value in tensors.items()}
        about = {
            "names": measured.names,
            "series": [[getattr(each, name) for name in _SAID] for each in measured.series],
            "left_out": measured.left_out,
            "digest": measured.digest,
            "seconds": measured.seconds,
        }
        replace_file(self._file(run, batch), lambda path: save_file(tensors, path, {"about": json.dumps(about)}))

    def load(self, run: int, batch: int, *groups: str) -> Measured:
        """A batch with its series and, of "collected", "moments", "counted" and "shown", what is asked for."""
        with safe_open(self._file(run, batch), framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            found: dict[str, dict[str, Tensor]] = {group: {} for group in ("series", *groups)}
            for key in file.keys():  # noqa: SIM118  (not a dictionary)
                group, _, name = key.partition("\t")
                if group in found:
                    found[group][name] = file.get_tensor(key)
        return Measured(
            names=tuple(about["names"]),
            series=tuple(
                Series(**dict(zip(_SAID, said, strict=True)), values=found["series"][str(n)])
                for n, said in enumerate(about["series"])
            ),
            collected={name: Collected(values=of) for name, of in _nested(found.get("collected", {})).items()},
            moments={
                name: Moments(count=int(of["count"]), mean=of["mean"], scatter=of["scatter"])
                for name, of in _nested(found.get("moments", {})).items()
            },
            counted=found.get("counted", {}),
            shown=found.get("shown", {}),
            left_out=tuple((name, why) for name, why in about["left_out"]),
            digest=about["digest"],
            seconds=about["seconds"],
        )

    def each(self, run: int, *groups: str) -> Iterator[Measured]:
        """All batches of a run, in order."""
        for batch in range(self.count(run)):
            yield self.load(run, batch, *groups)

    def count(self, run: int) -> int:
        """How many batches of a run stand."""
        return len(list(self.folder.glob(f"{run}-*.safetensors")))

    def remove(self) -> None:
        """Forget everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, run: int, batch: int) -> Path:
        return self.folder / f"{run}-{batch:05}.safetensors"


def _nested(flat: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by the first and then by the second half of their names."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in flat.items():
        name, _, inner = key.partition("\t")
        found.setdefault(name, {})[inner] = value
    return found
