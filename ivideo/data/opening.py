"""From the name of a file, folder or embedded environment to episodes."""

import os
from pathlib import Path
from typing import Literal

from ivideo.data.camera import Moves
from ivideo.data.quarantine import Quarantine, most_common_kind, of_kind, read_or_tell
from ivideo.data.shards import is_stored
from ivideo.data.sources.discovery import find
from ivideo.data.sources.source import Item, Options
from ivideo.data.store import Damaged, EpisodeStore
from ivideo.data.stored import FORMAT, open_stored
from ivideo.episode import Episode

PUSHING_TABLE = "pushing_table"
PUSHING_TABLE_EPISODES = 100


def open_episodes(
    source: str | os.PathLike[str],
    *,
    size: int | None = 64,
    camera: str | int | None = None,
    key: str | None = None,
    limit: int | None = None,
    min_frames: int = 2,
    crop: bool = True,
    seed: int = 0,
    max_damaged: float | None = None,
    split: str | None = None,
    classes: str | None = None,
    robot: str | None = None,
    colours: Literal["rgb", "bgr"] | None = None,
    placeholder: int | None = None,
    moves: Moves | None = None,
) -> EpisodeStore:
    """Return every episode at a place, at one size, after checking it: the layout is found out from the files.

    =============================  =========================================================================
    Meta-World npz                 `observation` (stacked frames), `action`, `reward`: one folder per task
    BAIR npz                       `aux1_image` and `image`, `action`; camera "aux1" (default) or "main"
    npz                            frames under "image", "frames", "video", ... or `key`; actions and
                                   rewards optional (RT-1 episodes, what one's own script saved)
    mp4 with npz actions           two files of one name (Bridge)
    video with json actions        two files of one name (Language Table)
    DROID                          `videos/<id>/<camera>.mp4`, `annotation/<id>.json`; any camera
    video                          mp4, webm or gif, alone or in folders; no actions
    LeRobot                        versions 2.0, 2.1 and 3.0, a folder or `hf://datasets/<owner>/<name>`
    RLDS                           TFDS folders, as in Open X-Embodiment, read without TensorFlow
    BAIR tfrecord                  the published `softmotion30_44k`
    Something-Something V2         `<id>.webm` and `labels/*.json`
    RoboNet HDF5, VP2 HDF5, HDF5   one episode or many in a file
    pictures                       png or jpeg with captions, as clips of one frame
    stored form                    what `ivideo data convert` wrote: mapped into memory, opened at once
    "pushing_table"                the embedded environment, recorded with its scripted policies
    =============================  =========================================================================

    docs/layouts.md says which files and keys are read. An option that the layout found does not know is an error.

    Args:
        source: a file, a folder, or "pushing_table".
        size: side of the square frames in pixels; None keeps frames as they are.
        camera: which view, in layouts that have several.
        key: which array of an `.npz` holds the frames.
        limit: how many episodes to open, at most; of the pushing table, how many to record (100 by default).
        min_frames: refuse shorter episodes.
        crop: cut frames that are not square to their centre square; False squeezes them instead.
        max_damaged: leave out episodes that cannot be used, up to this share of all; they are named in the store's
            `damaged`. None raises what is wrong with the first of them.
        seed: of the pushing table's episodes; different seeds have no episode in common.
        split: only this part of a data set that has parts: "train", "valid" or "test".
        classes: a file that names the classes of Something-Something V2 to take, one template a line.
        robot: of RoboNet, only what this robot did.
        colours: "rgb" or "bgr", the order in which RLDS or RoboNet files keep colours, where it is not as is known.
        placeholder: white frames in front of a single picture, 2 by default.
        moves: cut clips of a moving camera out of single pictures (`ivideo.data.camera`), its moves told as "words",
            "choices" or "numbers".

    Raises:
        FileNotFoundError: when there is no such file or folder; it names the nearest ones.
        ValueError: naming the file, what is wrong in it, what was expected and what to do; also before the episodes
            would take more memory than the machine has free.
    """
    options = Options(
        size=size,
        camera=None if camera is None else str(camera),
        key=key,
        crop=crop,
        min_frames=min_frames,
        split=split,
        classes=classes,
        robot=robot,
        colours=colours,
        placeholder=placeholder,
        moves=moves,
    )
    return read_episodes(source, options, limit=limit, seed=seed, max_damaged=max_damaged)


def read_episodes(
    source: str | os.PathLike[str],
    options: Options,
    *,
    limit: int | None = None,
    seed: int = 0,
    max_damaged: float | None = None,
) -> EpisodeStore:
    """Return every episode at a place, as `open_episodes` does, which says what the arguments are."""
    least = options.min_frames
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; expected at least 1 episode, or None for all")
    if least < 2:
        raise ValueError(f"min_frames is {least}; an episode needs at least 2, one to start from, one to predict")
    if str(source) == PUSHING_TABLE and not Path(source).exists():
        return EpisodeStore(pushing_table(limit or PUSHING_TABLE_EPISODES, seed, options.size), source=PUSHING_TABLE)
    if not str(source).strip():
        raise ValueError('no source is named; expected a file, a folder, or "pushing_table"')
    path = Path(source).expanduser()
    if is_stored(path, FORMAT):
        return open_stored(path, size=options.size, limit=limit)
    items = find(path, limit, options)
    quarantine = None
    if max_damaged is not None:
        quarantine = Quarantine(source=str(path), total=len(items), max_damaged=max_damaged)
    episodes = _read(path, items, options, quarantine)
    damaged = () if quarantine is None else quarantine.damaged
    return EpisodeStore(episodes, source=f"{path} ({items[0].layout.name})", damaged=damaged)


def _read(path: Path, items: list[Item], options: Options, quarantine: Quarantine | None) -> list[Episode]:
    """The episodes of all items; without a quarantine, the first that cannot be used is an error."""
    found: list[Episode | Damaged] = []
    taken = 0
    budget = _free_memory()
    for item in items:
        episode = item.read(options) if quarantine is None else read_or_tell(item, options)
        found.append(episode)
        if isinstance(episode, Episode):
            taken += episode.frames.nbytes
        if taken > budget:
            raise ValueError(
                f"{path}: {len(found)} of {len(items)} episodes take {taken / 2**30:.1f} GiB, all that is free; "
                "open fewer with limit=, or smaller ones with size=, or write them to disk with ivideo data convert"
            )
    if quarantine is not None:
        kind = most_common_kind(each for each in found if isinstance(each, Episode))
        found = [each if kind is None else of_kind(each, kind) for each in found]
        quarantine.add(each for each in found if isinstance(each, Damaged))
    return [each for each in found if isinstance(each, Episode)]


def pushing_table(episodes: int, seed: int = 0, size: int | None = 64) -> list[Episode]:
    """Return recorded episodes of the embedded pushing table under its mixture of scripted policies."""
    from ivideo.simulate.demonstrations import demonstrate
    from ivideo.simulate.policies import Mixed

    return [played.episode for played in demonstrate(Mixed(), episodes, seed, size=size or 64)]


def _free_memory() -> float:
    """Return how many bytes episodes may take: what is free, less room for everything else; infinity where unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        return float("inf")
    return 0.8 * free * 1024
