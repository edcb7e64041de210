"""Language Table episodes as one mp4 and one `.json` of the same name (the layout of IRASim).

`actions` has one row per step: the displacement of the pushing rod on the table along its two axes, in metres. Any
other video with such a `.json` beside it is read the same way.
"""

from pathlib import Path

from ivideo.data.sources.annotations import load, table
from ivideo.data.sources.source import Layout, Options, leaving, make_episode
from ivideo.episode import Episode
from ivideo.video import read_video


def read(path: Path, name: str, options: Options) -> Episode:
    """Return the episode of a video and the annotation beside it; without "actions" there it has none."""
    frames = read_video(path, size=options.size, crop=options.crop)
    beside = path.with_suffix(".json")
    annotation = load(beside)
    actions = None
    if "actions" in annotation:
        actions = leaving(beside, "actions", table(beside, annotation, "actions"), len(frames))
    return make_episode(path, name, frames, options, actions=actions)


LAYOUT = Layout(name="video with json actions", read=read)
