"""`ivideo evaluate MODEL`: how well a model imagines held-out clips, beside a copied frame and the wrong actions."""

import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from ivideo.config import parse
from ivideo.evaluation.card import CARD, Card
from ivideo.evaluation.compare import compare
from ivideo.evaluation.document import check_place, fill
from ivideo.evaluation.identity import machine, model_identity, versions
from ivideo.evaluation.instruments import Instruments, Measure
from ivideo.evaluation.metrics.frechet import MIN_CLIPS
from ivideo.evaluation.parts import Parts
from ivideo.evaluation.protocol import Protocol, protocol_of
from ivideo.evaluation.report import ShownClip, write_page, write_picture
from ivideo.evaluation.report.words import protocol_sentence
from ivideo.evaluation.runner import Task, gather, run
from ivideo.evaluation.summary import card_of, worth_showing
from ivideo.files import check_new_file, folder_or_none, replace_file
from ivideo.progress import Progress
from ivideo.world_model import Precision, WorldModel

PARTS = "parts"
"""Folder of what is measured of single batches, until all of them are."""
_CHANGEABLE = ("out", "overwrite", "fill", "device", "trust", "min_clips", "title", "horizons")
"""Settings that may be others when an evaluation goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Protocol):
    """What to evaluate, on what, and how."""

    model: str
    """A folder, a packaged model or a Hugging Face Hub id."""
    source: str = "pushing_table"
    """Where clips come from: "pushing_table" (held-out seeds, clips in which an object is pushed) or a data folder."""
    domain: str | None = None
    """Whose episodes these are, for a model of several domains. Instructions come with the episodes."""
    measures: tuple[Measure, ...] = ("changes", "objects", "rewards", "actions", "tokens", "tokenizer")
    """What to measure beside the qualities of frames: all, or some of changes, objects, rewards, actions, tokens,
    tokenizer, drift, following, uncertainty; docs/evaluation.md says what each is and costs."""
    beside: str | None = None
    """Another model to imagine the same clips as a further baseline, such as one on a per-frame tokenizer."""
    out: str | None = None
    """Folder for card.json, table.md, report.html and report.png; an evaluation that was stopped goes on there."""
    overwrite: bool = False
    """Replace what an earlier evaluation left there."""
    fill: str | None = None
    """A Markdown file to write the figures into, between `<!-- evaluation NAME -->` and `<!-- end of evaluation -->`,
    NAME being that of the folder `out`."""
    trust: bool = False
    """Allow networks that run code of their own: TorchScript files (i3d, inception) and Python by name."""
    min_clips: int = MIN_CLIPS
    """Refuse FVD and FID of fewer clips, of which they say next to nothing."""
    lpips_backbone: str | None = None
    """File or Hub repository of LPIPS's backbone; null takes the published one."""
    lpips_heads: str | None = None
    """File or Hub repository of LPIPS's linear heads; null takes the published ones."""
    lpips_sha256: tuple[str, ...] = ()
    """SHA-256 of these files, where others than the published ones are meant."""
    fvd_weights: str | None = None
    """File or Hub repository of the network behind FVD; null takes the published one."""
    fvd_sha256: str | None = None
    """SHA-256 of that file, where another than the published one is meant."""
    fid_weights: str | None = None
    """File or Hub repository of the network behind FID; null takes the published one."""
    fid_sha256: str | None = None
    """SHA-256 of that file, where another than the published one is meant."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    precision: Precision = "float32"
    """In what the model's layers multiply; bfloat16 and int8 make large models faster and less exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two results to lay beside each other."""

    first: str
    """A card.json, or the folder of an evaluation."""
    second: str
    """Another of the same protocol and clips."""


def main(argv: list[str]) -> int:
    """`ivideo evaluate MODEL [...]`, or `ivideo evaluate --compare A B`."""
    if "--compare" in argv:
        return _compare([word for word in argv if word != "--compare"])
    wanted = parse(
        Evaluation,
        argv,
        prog="ivideo evaluate",
        description="Compare imagined with true frames on held-out clips; --compare A B compares two such results.",
        config_folder="evaluate",
        positional=("model",),
    )
    command = shlex.join(["ivideo", "evaluate", *argv])
    document = None if wanted.fill is None else Path(wanted.fill).expanduser()
    if document is not None:
        if wanted.out is None:
            raise ValueError("--fill needs --out, the folder of the picture that the document shows")
        check_place(document, Path(wanted.out).name)
    with _place(wanted) as place:
        card, clips = evaluate(wanted, place / PARTS, command=command)
        shown = _print(card, f"{wanted.model} on {wanted.source}")
        if wanted.out is None:
            print(f"these are {shown} of {len(card.figures)} figures; --out FOLDER keeps all, with a page to look at")
        else:
            _write(place, card, clips)
            shutil.rmtree(place / PARTS, ignore_errors=True)
            print(f"wrote {', '.join(str(place / name) for name in _FILES)}")
        if document is not None:
            fill(document, place.name, card, HEADLINES, place / "report.png")
            print(f"filled {document}")
    return 0


def evaluate(wanted: Evaluation, parts_folder: Path, *, command: str = "") -> tuple[Card, list[ShownClip]]:
    """Evaluate as the settings say, going on from what is in the folder; the card and the clips worth looking at."""
    _check_counts(wanted)
    instruments = Instruments.of(wanted)
    model = WorldModel.from_pretrained(wanted.model, device=wanted.device, precision=wanted.precision)
    identity = model_identity(wanted.model, model, wanted.precision)
    task = Task.of(model, protocol_of(wanted), wanted.source, wanted.domain)
    for name, other in instruments.beside.items():
        try:
            Task.of(other, task.protocol, wanted.source, wanted.domain)
        except ValueError as error:
            raise ValueError(f"{name} cannot stand beside {wanted.model}: {error}") from error
    parts = Parts(parts_folder, _settings(wanted) | {"model": identity, "networks": instruments.hashes})
    most = wanted.clips * len(task.runs)
    with Progress(steps=most, headline=(), unit="clip") as progress:
        run(task, instruments, parts, progress.update)
    found = gather(task, parts)
    about = {
        "model": identity,
        "versions": versions(),
        "machine": machine(model.device),
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
    }
    card = card_of(task, instruments, found, min_clips=wanted.min_clips, about=about)
    return card, worth_showing(task, instruments, parts, found)


HEADLINES = (
    "PSNR, dB",
    "SSIM x100",
    "LPIPS x100",
    "FVD",
    "FID",
    "Gain in PSNR, dB",
    "PSNR on changed pixels, dB",
    "Pusher error, median px",
    "Object error, median px",
    "Objects lost, %",
    "Reward, R2",
    "Cross-entropy, nats per token",
    "Actions recovered from clips, R2",
    "AUROC of surprise of clips",
)
"""What a terminal and a picture have room for."""


def _print(card: Card, title: str) -> int:
    """Show the most telling figures; how many these are."""
    table, console = card.table().only(*HEADLINES), Console(width=80)
    console.print(table.rich_of_clips(title))
    console.print(table.rich())
    print(protocol_sentence(card))
    for name, why in card.left_out:
        print(f"left out: {name}: {why}")
    return len(table.figures)


_FILES = (CARD, "table.md", "report.html", "report.png")


def _write(place: Path, card: Card, clips: Sequence[ShownClip]) -> None:
    table = f"{protocol_sentence(card)}\n\n{card.table().markdown()}{_reliability(card)}"
    card.save(place / CARD)
    replace_file(place / "table.md", lambda path: path.write_text(table, encoding="utf-8"))
    write_page(place / "report.html", card, clips)
    write_picture(place / "report.png", replace(card, figures=card.table().only(*HEADLINES).figures), clips)


def _reliability(card: Card) -> str:
    """What was true where about the same was predicted, in Markdown; nothing where nothing of the kind was measured."""
    tables = []
    for name, bins in card.reliability.items():
        rows = "".join(f"| {predicted:.4f} | {true:.4f} | {count:,} |\n" for predicted, true, count in bins)
        tables.append(f"\n| {name} predicted | true | frames |\n| --- | --- | --- |\n{rows}")
    return "".join(tables)


def _compare(argv: list[str]) -> int:
    wanted = parse(
        Comparison,
        argv,
        prog="ivideo evaluate --compare",
        description="Lay two results beside each other, if they are alike in all that numbers depend on.",
        positional=("first", "second"),
    )
    Console(width=120).print(compare(wanted.first, wanted.second))
    return 0


@contextmanager
def _place(wanted: Evaluation) -> Iterator[Path]:
    """The folder to work in: the one that is asked for, or one that is forgotten."""
    with folder_or_none(wanted.out) as place:
        for name in _FILES:
            check_new_file(place / name, overwrite=wanted.overwrite)
        if wanted.overwrite:
            shutil.rmtree(place / PARTS, ignore_errors=True)
        yield place


def _settings(wanted: Evaluation) -> dict[str, Any]:
    """What parts of one evaluation have in common."""
    return {name: value for name, value in asdict(wanted).items() if name not in _CHANGEABLE}


def _check_counts(wanted: Evaluation) -> None:
    for name in ("fvd", "fid"):
        if getattr(wanted, name) is not None and wanted.clips < wanted.min_clips:
            raise ValueError(
                f"{name} is asked for with {wanted.clips} clips; expected at least {wanted.min_clips}, for it says "
                f"little of fewer: pass more --clips, or --min_clips {wanted.clips} to compare with equally few"
            )
