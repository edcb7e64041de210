"""A person as the judge: videos to look at without knowing whose they are, and a table to fill in.

::

    FOLDER/videos/3f9a1c2b4d.mp4       named by a hash, so that nobody sees which policy it is of
           labels.csv                  video,score      3f9a1c2b4d,      <- write 0, 0.5 or 1, or any number

`--labels` takes the table back, as CSV or as JSON `{"3f9a1c2b4d": 1, ...}`. What it is of depends on scenes, edits and
policies' names alone, so a table outlives the folder; each horizon that is judged shares it, for whole videos are seen.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ivideo.files import nearby, replace_file
from ivideo.judge.judges import Scores
from ivideo.judge.rollouts import Rollouts
from ivideo.judge.scenes import Scene
from ivideo.video import write_video
from ivideo.world_model import WorldModel

TABLE = "labels.csv"
_MOST = 64 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Scores that a person gave, by the name of the video."""

    scores: Mapping[str, float]
    file: str = "labels"
    name: str = "labels"
    counterpart: str = "success"
    judges_truth: bool = False

    def check(self, model: WorldModel, scenes: Sequence[Scene], *, located: bool) -> None:
        """Anything can be labelled."""

    def __call__(self, rollouts: Rollouts) -> Scores:
        names = rollouts.names()
        missing = [name for name in names if name not in self.scores]
        if missing:
            raise ValueError(
                f"{self.file} has no score for video {missing[0]} and {len(missing) - 1} more of {len(names)}; fill in "
                f"every line of {TABLE}, and judge the same scenes, policies and edits"
            )
        return np.array([self.scores[name] for name in names], dtype=np.float64)


def read_labels(path: str | Path) -> Labels:
    """The scores in a CSV or JSON file; ValueError names the line that is none."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{file}: {nearby(file)}")
    if file.stat().st_size > _MOST:
        raise ValueError(f"{file} is larger than {_MOST >> 20} MiB; expected a table of videos and scores")
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    scores = _from_json(text, file) if file.suffix.lower() == ".json" else _from_csv(text, file)
    if not scores:
        raise ValueError(f"{file} holds no scores; expected lines 'video,score', the score filled in")
    return Labels(scores=scores, file=str(file))


def write_videos(folder: Path, rollouts: Rollouts, *, fps: int = 8, zoom: int = 4) -> list[str]:
    """A video of every rollout under its hidden name; the names."""
    names = rollouts.names()
    for name, frames in zip(names, rollouts.frames, strict=True):
        place = folder / "videos" / f"{name}.mp4"
        if not place.is_file():
            write_video(place, frames, fps=fps, zoom=zoom)
    return names


def write_template(folder: Path, names: Sequence[str]) -> Path:
    """A table with a line for every video, in an order that says nothing; scores that stand there already are kept."""
    place = folder / TABLE
    known = dict(_lines(place.read_text(encoding="utf-8-sig"))) if place.is_file() else {}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["video", "score"])
    writer.writerows([name, known.get(name, "")] for name in sorted({*names, *known}))
    replace_file(place, lambda path: path.write_text(out.getvalue(), encoding="utf-8"))
    return place


def _from_csv(text: str, file: Path) -> dict[str, float]:
    scores = {}
    for number, (name, said) in enumerate(_lines(text), start=2):
        if said:
            scores[name] = _number(said, f"{file}, line {number}")
    return scores


def _lines(text: str) -> list[tuple[str, str]]:
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    if rows and rows[0][0].strip().lower() == "video":
        rows = rows[1:]
    return [(row[0].strip().removesuffix(".mp4"), row[1].strip() if len(row) > 1 else "") for row in rows]


def _from_json(text: str, file: Path) -> dict[str, float]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}); expected {{video: score, ...}}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds a {type(found).__name__}; expected {{video: score, ...}}")
    said = {name: score for name, score in found.items() if score is not None}
    return {name.removesuffix(".mp4"): _number(score, f"{file}, video {name}") for name, score in said.items()}


def _number(said: object, where: str) -> float:
    try:
        number = float(str(said))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: {said!r} is no score; expected a number, such as 0, 0.5 or 1")
    return number
