"""Meta-World demonstrations as `.npz` in one folder per task, in the layout of DrQ-v2's replay files.

`observation` uint8 `[t 9 h w]` is three RGB frames stacked, newest last. Row t of `action` `[t 4]`, `reward` and
`discount` `[t 1]` belongs to the step INTO observation t; row 0 is a dummy. Actions lie beyond [-1, 1] where the
scripted demonstrator asked for more than the arm does; the simulator cuts them there, and so does `read`.
"""

from pathlib import Path

from ivideo.data.sources.npz import Arrays
from ivideo.data.sources.source import Array, Item, Layout, Options, frames_from_array, make_episode
from ivideo.episode import Episode


def matches(arrays: Arrays) -> bool:
    header = arrays.headers.get("observation")
    return header is not None and len(header.shape) == 4 and header.shape[1] % 3 == 0 and header.shape[1] > 3


def read(item: Item, options: Options) -> Episode:
    """Return the newest frame of every stack, with the actions that were carried out and the rewards they earned."""
    path = item.path
    arrays = Arrays(path)
    frames = frames_from_array(path, "observation", arrays["observation"][:, -3:])
    actions = _arriving(path, arrays, "action", len(frames))
    rewards = _arriving(path, arrays, "reward", len(frames))
    discount = _arriving(path, arrays, "discount", len(frames))
    return make_episode(
        path,
        item.name,
        frames,
        options,
        actions=None if actions is None else actions.clip(-1.0, 1.0),
        rewards=rewards,
        terminal=discount is not None and bool((discount[-1] == 0).all()),
    )


def _arriving(path: Path, arrays: Arrays, key: str, frames: int) -> Array | None:
    if key not in arrays:
        return None
    values = arrays[key]
    rows = len(values) if values.ndim else 0
    if rows != frames:
        raise ValueError(
            f"{path}: {rows} rows of {key!r} beside {frames} observations; expected one each: "
            "the file is cut short or mixes two episodes"
        )
    return values[1:]


LAYOUT = Layout(name="Meta-World npz", read=read)
