"""Finding out which layout a file or folder has, by its names and headers, without reading any video."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ivideo.data.sources import (
    arrays,
    bair,
    bridge,
    droid,
    hdf5,
    hub_files,
    language_table,
    lerobot,
    lerobot_meta,
    metaworld,
    pictures,
    plain_hdf5,
    rlds,
    robonet,
    softmotion,
    something_something,
    tfds,
    videos,
    vp2,
)
from ivideo.data.sources.folders import Folder, natural, stem, suffix, walk
from ivideo.data.sources.npz import Arrays
from ivideo.data.sources.source import Item, Layout, Options
from ivideo.files import nearby

LAYOUTS: tuple[Layout, ...] = (
    metaworld.LAYOUT,
    bair.LAYOUT,
    arrays.LAYOUT,
    bridge.LAYOUT,
    language_table.LAYOUT,
    droid.LAYOUT,
    videos.LAYOUT,
    lerobot.LAYOUT,
    rlds.LAYOUT,
    softmotion.LAYOUT,
    something_something.LAYOUT,
    robonet.LAYOUT,
    vp2.LAYOUT,
    plain_hdf5.LAYOUT,
    pictures.LAYOUT,
)
"""All that can be read."""
VIDEO_SUFFIXES = (".mp4", ".webm", ".gif")
OTHER_VIDEO_SUFFIXES = (".mkv", ".mov", ".avi", ".m4v")
RECORD_SUFFIXES = (".tfrecord", ".tfrecords")
PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".npy")
EXPECTED = ".npz, .mp4, .webm, .gif, .hdf5 or .tfrecord files, pictures, or the folder of a data set"
_LISTED = 10
_TRIED = 20

Found = TypeVar("Found")


def find(path: Path, limit: int | None = None, options: Options | None = None) -> list[Item]:
    """Return the episodes of a file, a folder or `hf://datasets/<owner>/<name>`, sorted by name, of one layout.

    Raises FileNotFoundError when the path does not exist, ValueError when nothing or several layouts are there, or when
    the layout does not know an option.
    """
    options = options or Options()
    if hub_files.is_address(path):
        path = hub_files.snapshot(path, lerobot.META)
        if not (path / lerobot_meta.INFO).is_file():
            raise ValueError(f"{path}: no {lerobot_meta.INFO}; expected a data set on the Hub in LeRobot's format")
    if not path.exists():
        raise FileNotFoundError(f"{path}: {nearby(path)}")
    items = _file(path, options) if path.is_file() else _folder(path, options)
    if not items:
        lacking = f"none of its episodes is in the split {options.split!r}" if options.split else "it holds no episodes"
        raise ValueError(f"{path}: {lacking}; choose another")
    layouts = sorted({item.layout.name for item in items})
    if len(layouts) > 1:
        counts = ", ".join(f"{sum(item.layout.name == name for item in items)} x {name}" for name in layouts)
        below = [item.path.relative_to(path) for item in items if item.path.is_relative_to(path)]
        folders = sorted({place.parts[0] for place in below if place.parts})[:_LISTED]
        raise ValueError(f"{path}: several layouts in one folder ({counts}); open one of them: {', '.join(folders)}")
    items[0].layout.check(options)
    return items[:limit]


def _folder(root: Path, options: Options) -> list[Item]:
    items: list[Item] = []
    shown: list[tuple[Folder, list[str]]] = []
    kinds: set[str] = set()
    records: list[tuple[Path, str]] = []
    sets = 0
    for folder in walk(root):
        kinds |= {suffix(name) for name in folder.files}
        whole = _data_set(folder, options)
        if whole is not None:
            items += whole
            sets += 1
            folder.folders.clear()  # what is below it has been found
            continue
        items += _videos(folder) + _npz(folder) + _hdf5(folder, options)
        sets += bool(folder.named(*hdf5.SUFFIXES))
        records += [(folder.path / name, stem(folder.prefix + name)) for name in folder.named(*RECORD_SUFFIXES)]
        if folder.named(*pictures.SUFFIXES):
            shown.append((folder, folder.named(*pictures.SUFFIXES)))
    items += _records(records, options)
    if not items:  # beside episodes, pictures only show what is in them
        items = [
            item
            for folder, names in shown
            for name in names
            for item in pictures.items(folder.path / name, stem(folder.prefix + name), options)
        ]
    if not items and not sets:
        pickles = sorted(kind for kind in kinds if kind in PICKLE_SUFFIXES)
        reason = f"; {', '.join(pickles)} files are refused, they could run code when read" if pickles else ""
        held = ", ".join(sorted(kind or "files without suffix" for kind in kinds)) or "no files"
        raise ValueError(f"{root}: no episodes there, only {held}; expected {EXPECTED}{reason}")
    return items


def _file(path: Path, options: Options) -> list[Item]:
    kind = path.suffix.lower()
    folder = Folder(path=path.parent, prefix="", folders=[], files=[path.name])
    if kind == ".npz":
        return _npz(folder)
    if kind in hdf5.SUFFIXES:
        return _hdf5(folder, options)
    if kind in VIDEO_SUFFIXES or kind in OTHER_VIDEO_SUFFIXES:
        beside = [path.with_suffix(other).name for other in (".npz", ".json") if path.with_suffix(other).is_file()]
        folder.files.extend(beside)
        labelled = (something_something.matches({something_something.LABELS}, up) for up in list(path.parents)[:2])
        if kind == ".webm" and any(labelled):
            return [Item(layout=something_something.LAYOUT, path=path, name=path.stem)]
        return _videos(folder, OTHER_VIDEO_SUFFIXES)
    if kind == ".json" and (path.parent.parent / droid.VIDEOS / path.stem).is_dir():
        return [Item(layout=droid.LAYOUT, path=path, name=path.stem)]
    if tfds.SHARD.fullmatch(path.name):
        return rlds.items(path.parent, "", options, only=path)
    if kind in RECORD_SUFFIXES:
        return _records([(path, path.stem)], options)
    if kind in pictures.SUFFIXES:
        return pictures.items(path, path.stem, options)
    why = "pickles are refused, they could run code when read" if kind in PICKLE_SUFFIXES else "unknown kind"
    raise ValueError(f"{path}: {why}; expected {EXPECTED}")


def _data_set(folder: Folder, options: Options) -> list[Item] | None:
    """Return the episodes of a folder that is a data set as a whole; None for any other."""
    names = {*folder.folders, *folder.files}
    if {droid.ANNOTATIONS, droid.VIDEOS} <= set(folder.folders):
        found = sorted((folder.path / droid.ANNOTATIONS).glob("*.json"), key=lambda path: natural(path.name))
        return [Item(layout=droid.LAYOUT, path=path, name=folder.prefix + path.stem) for path in found]
    if lerobot.matches(names, folder.path):
        return lerobot.items(folder.path, folder.prefix, options)
    if rlds.matches(names):
        return rlds.items(folder.path, folder.prefix, options)
    if any(tfds.SHARD.fullmatch(name) for name in folder.files):
        raise FileNotFoundError(
            f"{folder.path}: .tfrecord files without {tfds.FEATURES}, which says what is in them; fetch it with them"
        )
    if something_something.matches(names, folder.path):
        return something_something.items(folder.path, folder.prefix, options)
    return None


def _videos(folder: Folder, more: tuple[str, ...] = ()) -> list[Item]:
    names = folder.named(*VIDEO_SUFFIXES, *more)
    if names and folder.path.parent.name == droid.VIDEOS:
        annotation = folder.path.parent.parent / droid.ANNOTATIONS / f"{folder.path.name}.json"
        if annotation.is_file():
            camera = stem(names[0]) if len(folder.files) == 1 else None
            return [Item(layout=droid.LAYOUT, path=annotation, name=folder.path.name, camera=camera)]
    files = set(folder.files)
    items = []
    for name in names:
        bare = stem(name)
        layout = videos.LAYOUT
        if f"{bare}.npz" in files:
            layout = bridge.LAYOUT
        elif f"{bare}.json" in files:
            layout = language_table.LAYOUT
        items.append(Item(layout=layout, path=folder.path / name, name=folder.prefix + bare))
    return items


def _npz(folder: Folder) -> list[Item]:
    """Return the archives of a folder; those beside a video of their name hold its actions and are left out."""
    filmed = {stem(name) for name in folder.named(*VIDEO_SUFFIXES, *OTHER_VIDEO_SUFFIXES)}
    names = [name for name in folder.named(".npz") if stem(name) not in filmed]
    layout = _first([folder.path / name for name in names], _npz_layout)
    return [Item(layout=layout, path=folder.path / name, name=folder.prefix + stem(name)) for name in names if layout]


def _hdf5(folder: Folder, options: Options) -> list[Item]:
    names = folder.named(*hdf5.SUFFIXES)
    paths = [folder.path / name for name in names]
    read = _first(paths, _hdf5_items)
    return read(paths, [folder.prefix + stem(name) for name in names], options) if read else []


def _records(found: list[tuple[Path, str]], options: Options) -> list[Item]:
    if not found:
        return []
    paths, names = [path for path, _ in found], [name for _, name in found]
    if not _first(paths, _is_softmotion):
        raise ValueError(
            f"{paths[0]}: records of an unknown kind; expected BAIR robot pushing, or RLDS with "
            f"{tfds.FEATURES} beside files named like bridge-train.tfrecord-00000-of-01024"
        )
    return softmotion.items(paths, names, options)


def _first(paths: list[Path], look: Callable[[Path], Found]) -> Found | None:
    """Return what the first file that can be read is: all files of a folder are of one kind, some may be damaged."""
    broken: ValueError | OSError | None = None
    for path in paths[:_TRIED]:
        try:
            return look(path)
        except (ValueError, OSError) as error:
            broken = broken or error
    if broken is not None:
        raise broken
    return None


def _npz_layout(path: Path) -> Layout:
    found = Arrays(path)
    if bair.matches(found):
        return bair.LAYOUT
    if metaworld.matches(found):
        return metaworld.LAYOUT
    return arrays.LAYOUT


def _hdf5_items(path: Path) -> Callable[[list[Path], list[str], Options], list[Item]]:
    with hdf5.opened(path) as file:
        if robonet.matches(path, file):
            return robonet.items
        return vp2.items if vp2.matches(path, file) else plain_hdf5.items


def _is_softmotion(path: Path) -> bool:
    return softmotion.matches(path)
