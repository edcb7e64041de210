"""Something-Something V2: `<id>.webm` files in one folder and `labels/*.json` beside it.

`train.json` and `validation.json` (with or without `something-something-v2-` in front) list `id`, `label`, what was
done in words, and `template`, its class with `[something]` in the places of things; `test.json` lists ids alone. The
label is the instruction. Videos that are not there are skipped, as are those that no list names.
"""

import json
import re
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from ivideo.data.sources.annotations import MAX_BYTES
from ivideo.data.sources.source import Item, Layout, Options, alias, make_episode
from ivideo.episode import Episode
from ivideo.video import read_clip

LABELS = "labels"
_LIST = re.compile(r"(?:something-something-v2-)?(train|validation|test)\.json")


def matches(names: set[str], folder: Path) -> bool:
    """Whether a folder of these names holds the lists of labels."""
    return LABELS in names and bool(_lists(folder))


def items(folder: Path, name: str, options: Options) -> list[Item]:
    """Return the videos of a data set that its lists name, as `<split>/<id>`."""
    lists = _lists(folder)
    wanted = None if options.split is None else alias(options.split)
    if wanted is not None and wanted not in map(alias, lists):
        raise ValueError(f"split is {options.split!r}; {folder / LABELS} has {', '.join(lists)}: choose one of these")
    lists = {split: path for split, path in lists.items() if wanted in (None, alias(split))}
    classes = None if options.classes is None else _classes(Path(options.classes), list(lists.values()))
    videos = _videos(folder)
    found = [
        Item(layout=LAYOUT, path=videos[number], name=f"{name}{split}/{number}")
        for split, path in lists.items()
        for number, (_, template) in _labels(path).items()
        if number in videos and (classes is None or _plain(template) in classes)
    ]
    if not found:
        chosen = f" of the classes in {options.classes}" if options.classes else ""
        raise ValueError(
            f"{folder}: none of the videos that {', '.join(path.name for path in lists.values())} name{chosen} is "
            f"there; {len(videos)} .webm files were found"
        )
    return found


def read(item: Item, options: Options) -> Episode:
    """Return a video, with what is done in it as its instruction."""
    clip = read_clip(item.path, size=options.size, crop=options.crop)
    label = ""
    for folder in (item.path.parent.parent, item.path.parent):
        for path in _lists(folder).values():
            label = label or _labels(path).get(item.path.stem, ("", ""))[0]
    return make_episode(item.path, item.name, clip.frames, options, instruction=label, fps=clip.fps)


def _lists(folder: Path) -> dict[str, Path]:
    """Return the lists below a folder by their split."""
    places = (folder / LABELS).iterdir() if (folder / LABELS).is_dir() else ()
    found = {named[1]: path for path in places if (named := _LIST.fullmatch(path.name))}
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def _videos(folder: Path) -> dict[str, Path]:
    places = [folder, *(place for place in sorted(folder.iterdir()) if place.is_dir() and place.name != LABELS)]
    return {path.stem: path for place in places for path in place.iterdir() if path.suffix == ".webm"}


def _labels(path: Path) -> dict[str, tuple[str, str]]:
    """Return label and template by the number of the video."""
    state = path.stat()
    return _read_labels(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=16)
def _read_labels(path: Path, size: int, _modified: int) -> dict[str, tuple[str, str]]:
    if size > MAX_BYTES:
        raise ValueError(f"{path}: {size} bytes; expected a list of labels of at most {MAX_BYTES // 2**20} MiB")
    try:
        entries = json.loads(path.read_bytes())
        return {
            str(entry["id"]): (str(entry.get("label", "")).strip(), str(entry.get("template", ""))) for entry in entries
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f'{path}: no list of objects with an "id" ({type(error).__name__}: {error}); it is damaged: fetch it again'
        ) from error


def _classes(path: Path, lists: list[Path]) -> set[str]:
    """Return the classes that a file names, one template a line; ValueError for one that no list has."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; expected one with a template of a class in each line")
    wanted = {_plain(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
    known = {_plain(template) for listed in lists for _, template in _labels(listed).values() if template}
    for name in sorted(wanted - known):
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"{len(known)} others are"
        raise ValueError(f"{path}: the class {name!r} is in none of {', '.join(p.name for p in lists)}; {hint}")
    return wanted


def _plain(template: str) -> str:
    return template.replace("[", "").replace("]", "").strip().lower()


LAYOUT = Layout(name="Something-Something V2", read=read, knows=("split", "classes"))
