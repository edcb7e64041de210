"""Finding out which layout a file or folder has, by its names and headers, without reading any video."""

import re
from pathlib import Path

from ivideo.data.sources import arrays, bair, bridge, droid, language_table, metaworld, videos
from ivideo.data.sources.npz import Arrays
from ivideo.data.sources.source import Item, Layout
from ivideo.files import nearby

VIDEO_SUFFIXES = (".mp4", ".webm", ".gif")
PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".npy")
_LISTED = 10


def find(path: Path, limit: int | None = None) -> list[Item]:
    """Return the episodes below a path, sorted by name, all of one layout.

    Raises FileNotFoundError when the path does not exist, ValueError when nothing or several layouts are there.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: {nearby(path)}")
    items = [_file(path, path.parent)] if path.is_file() else _folder(path)
    layouts = sorted({item.layout.name for item in items})
    if len(layouts) > 1:
        counts = ", ".join(f"{sum(item.layout.name == name for item in items)} x {name}" for name in layouts)
        below = [item.path.relative_to(path) for item in items if item.path.is_relative_to(path)]
        folders = sorted({place.parts[0] for place in below})[:_LISTED]
        raise ValueError(f"{path}: several layouts in one folder ({counts}); open one of them: {', '.join(folders)}")
    return items[:limit]


def _folder(root: Path) -> list[Item]:
    if (root / droid.ANNOTATIONS).is_dir() and (root / droid.VIDEOS).is_dir():
        found = sorted((root / droid.ANNOTATIONS).glob("*.json"), key=_natural)
        items = [Item(layout=droid.LAYOUT, path=path, name=path.stem) for path in found]
    else:
        items = _files(root)
    if not items:
        kinds = sorted({path.suffix for path in root.rglob("*") if path.is_file()})
        pickles = [suffix for suffix in kinds if suffix in PICKLE_SUFFIXES]
        reason = f"; {', '.join(pickles)} files are refused, they could run code when read" if pickles else ""
        held = ", ".join(suffix or "files without suffix" for suffix in kinds) or "no files"
        raise ValueError(f"{root}: no episodes there, only {held}; expected .npz, .mp4, .webm or .gif{reason}")
    return items


def _files(root: Path) -> list[Item]:
    wanted = (*VIDEO_SUFFIXES, ".npz")
    hidden = re.compile(r"(^|/)\.")
    found = [
        path
        for path in sorted(root.rglob("*"), key=_natural)
        if path.suffix.lower() in wanted and path.is_file() and not hidden.search(str(path.relative_to(root)))
    ]
    described = {path.with_suffix("") for path in found if path.suffix.lower() in VIDEO_SUFFIXES}
    # An .npz beside a video of its name holds that video's actions.
    found = [path for path in found if path.suffix.lower() != ".npz" or path.with_suffix("") not in described]
    annotated = [path for path in found if _droid_annotation(path) is not None]
    if annotated:
        seen = sorted({annotation for path in annotated if (annotation := _droid_annotation(path))}, key=_natural)
        rest = [_file(path, root) for path in found if path not in set(annotated)]
        named = [Item(layout=droid.LAYOUT, path=path, name=path.stem) for path in seen]
        return named + rest
    return [_file(path, root) for path in found]


def _file(path: Path, root: Path) -> Item:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        layout = _npz(path)
    elif suffix in VIDEO_SUFFIXES or suffix in (".mkv", ".mov", ".avi", ".m4v"):
        annotation = _droid_annotation(path)
        if annotation is not None:
            return Item(layout=droid.LAYOUT, path=annotation, name=path.parent.name, camera=path.stem)
        layout = videos.LAYOUT
        if path.with_suffix(".npz").is_file():
            layout = bridge.LAYOUT
        elif path.with_suffix(".json").is_file():
            layout = language_table.LAYOUT
    elif suffix == ".json" and (path.parent.parent / droid.VIDEOS / path.stem).is_dir():
        layout = droid.LAYOUT
    else:
        why = "pickles are refused, they could run code when read" if suffix in PICKLE_SUFFIXES else "unknown kind"
        raise ValueError(f"{path}: {why}; expected an .npz, .mp4, .webm or .gif file, or a folder of them")
    return Item(layout=layout, path=path, name=_name(path, root))


def _npz(path: Path) -> Layout:
    found = Arrays(path)
    if bair.matches(found):
        return bair.LAYOUT
    if metaworld.matches(found):
        return metaworld.LAYOUT
    return arrays.LAYOUT


def _droid_annotation(video: Path) -> Path | None:
    """Return the annotation of `<root>/videos/<id>/<camera>.mp4`, if there is one."""
    folder = video.parent
    if folder.parent.name != droid.VIDEOS:
        return None
    annotation = folder.parent.parent / droid.ANNOTATIONS / f"{folder.name}.json"
    return annotation if annotation.is_file() else None


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts episode 2 before episode 10."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.as_posix()) if part
    ]
