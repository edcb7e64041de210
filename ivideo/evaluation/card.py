"""Protocol cards: a result as JSON, with all that a reader needs to repeat it, or to refuse a comparison."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ivideo.config.build import build
from ivideo.config.given import mark
from ivideo.evaluation.protocol import Protocol
from ivideo.evaluation.series import Figure
from ivideo.evaluation.statistics import Interval
from ivideo.evaluation.table import FigureTable
from ivideo.files import read_json, replace_file

FORMAT = 1
CARD = "card.json"
_MOST = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Figures and where they come from; `card.json` of an evaluation."""

    model: dict[str, Any]
    """Its `name`, `sha256` over its settings and weights, number of `parameters`, and `precision`."""
    data: dict[str, Any]
    """Its `source`, `sha256` over the clips as they were used, `clips`."""
    protocol: Protocol
    figures: tuple[Figure, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """Names of clips that could not be used, each with the reason."""
    networks: dict[str, dict[str, str]] = field(default_factory=dict)
    """What measured: by "lpips", "fvd", "fid" the network's `name` and `sha256`."""
    histograms: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """How often each code occurs, by name: "context codes", "dynamics codes", "imagined codes"."""
    reliability: dict[str, tuple[tuple[float, float, int], ...]] = field(default_factory=dict)
    """Of "reward" and "termination": the mean prediction, the mean truth and the number of frames, where about the same
    was predicted."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of ivideo, torch and Python."""
    machine: str = ""
    command: str = ""
    date: str = ""
    seconds: float = 0.0

    def table(self) -> FigureTable:
        """The figures as a table."""
        return FigureTable(clips=int(self.data["clips"]), horizons=self.protocol.horizons, figures=self.figures)

    def text(self) -> str:
        """The card as JSON; what is not a number is null there, what is infinite a word."""
        return json.dumps({"format": FORMAT, **_plain(asdict(self))}, indent=1, allow_nan=False) + "\n"

    def save(self, path: Path) -> None:
        """Write it, in one step."""
        replace_file(path, lambda file: file.write_text(self.text(), encoding="utf-8"))

    @staticmethod
    def load(path: Path) -> "Card":
        """Read a card, or that of an evaluation's folder. ValueError names a file that holds none."""
        file = path / CARD if path.is_dir() else path
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} does not exist; expected a protocol card, as ivideo evaluate --out writes one"
            )
        remedy = "evaluate anew"
        found = read_json(file, what="a protocol card", most=_MOST, remedy=remedy)
        if found.get("format") != FORMAT:
            raise ValueError(f"{file}: format {found.get('format')!r}; expected a protocol card of format {FORMAT}")
        try:
            return _card(found, str(file))
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"{file}: no complete protocol card ({error!r}): {remedy}") from error


def _card(found: dict[str, Any], where: str) -> Card:
    given: dict[str, Any] = {each.name: found[each.name] for each in fields(Card) if each.name in found}
    tree = {name: mark(value, where) for name, value in found["protocol"].items()}
    given["protocol"] = build(Protocol, tree)
    given["figures"] = tuple(
        Figure(
            quantity=str(each["quantity"]),
            source=str(each["source"]),
            per=each["per"],
            values=tuple(Interval(**{name: _number(value[name]) for name in value}) for value in each["values"]),
        )
        for each in found["figures"]
    )
    given["left_out"] = tuple((str(name), str(why)) for name, why in found["left_out"])
    given["reliability"] = {
        name: tuple((_number(predicted), _number(true), int(count)) for predicted, true, count in bins)
        for name, bins in found.get("reliability", {}).items()
    }
    given["histograms"] = {name: tuple(map(int, counts)) for name, counts in found["histograms"].items()}
    return Card(**given)


def _number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)


def _plain(value: Any) -> Any:
    """The same without numbers that JSON cannot say."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
