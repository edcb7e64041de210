"""BAIR robot pushing as `.npz`, one episode each (Ebert et al. 2017): two cameras over one table, 64 px.

`image` is the main camera, `aux1_image` the one published results are measured on; int64 `[t h w 3]`. `action[j]`,
float `[t 4]`, is taken at frame j, so the last one leads nowhere and is left out.
"""

from ivideo.data.sources.npz import Arrays
from ivideo.data.sources.source import Item, Layout, Options, frames_from_array, leaving, make_episode
from ivideo.episode import Episode

CAMERAS = {"aux1": "aux1_image", "main": "image"}


def matches(arrays: Arrays) -> bool:
    return "aux1_image" in arrays


def read(item: Item, options: Options) -> Episode:
    """Return the episode seen by camera "aux1" (the default) or "main"."""
    path = item.path
    arrays = Arrays(path)
    camera = options.camera or "aux1"
    if camera not in CAMERAS:
        raise ValueError(f"camera is {camera!r}; BAIR episodes have {', '.join(map(repr, CAMERAS))}: choose one")
    key = options.key or CAMERAS[camera]
    if key not in arrays:
        raise ValueError(f"{path}: there is no array {key!r}; expected one of {', '.join(arrays)}")
    frames = frames_from_array(path, key, arrays[key])
    actions = leaving(path, "actions", arrays["action"], len(frames)) if "action" in arrays else None
    return make_episode(path, item.name, frames, options, actions=actions)


LAYOUT = Layout(name="BAIR npz", read=read, knows=("camera", "key"))
