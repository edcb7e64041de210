"""DROID episodes as `videos/<id>/<camera>.mp4` and `annotation/<id>.json` (the layout of Ctrl-World).

The annotation holds end-effector `states`, one row per frame: position (3, metres), roll, pitch and yaw (radians),
and gripper opening in [0, 1]. An action is what the arm then did, seven numbers: the change of position, the change
of the angles (the short way round), and the opening that the gripper reaches. Commands themselves are not recorded.
"""

from pathlib import Path

import numpy as np

from ivideo.data.sources.annotations import load, table, text
from ivideo.data.sources.source import Array, Item, Layout, Options, make_episode
from ivideo.episode import Episode
from ivideo.video import read_clip

ANNOTATIONS, VIDEOS = "annotation", "videos"


def cameras(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.mp4"))


def read(item: Item, options: Options) -> Episode:
    """Return an episode from its annotation; `options.camera` names the view, the first by default."""
    path = item.path
    annotation = load(path)
    folder = path.parent.parent / VIDEOS / path.stem
    views = cameras(folder)
    if not views:
        raise FileNotFoundError(f"{folder}: no .mp4 there; expected the views of {path.name}, such as 0.mp4")
    camera = options.camera or views[0]
    if camera not in views:
        raise ValueError(f"camera is {camera!r}; {folder} has {', '.join(map(repr, views))}: choose one")
    video = folder / f"{camera}.mp4"
    clip = read_clip(video, size=options.size, crop=options.crop)
    frames = clip.frames
    actions = None
    if "states" in annotation:
        states = table(path, annotation, "states", 7)
        # Some recordings end with one frame after the last state.
        if len(frames) == len(states) + 1:
            frames = frames[:-1]
        if len(frames) != len(states):
            raise ValueError(
                f"{path}: {len(states)} states beside {len(frames)} frames of {video}; expected one per frame: "
                "the video is cut short or belongs to another episode"
            )
        actions = motion(states)
    return make_episode(video, item.name, frames, options, actions=actions, instruction=text(annotation), fps=clip.fps)


def motion(states: Array) -> Array:
    """Return the step from every state to the next: `[t 7]` to `[t-1 7]`, as the head of this file says."""
    step = np.diff(states[:, :6], axis=0)
    step[:, 3:] = (step[:, 3:] + np.pi) % (2 * np.pi) - np.pi
    return np.concatenate([step, states[1:, 6:]], axis=1)


LAYOUT = Layout(name="DROID", read=read, knows=("camera",))
