"""Language Table episodes as one mp4 and one `.json` of the same name (the layout of IRASim).

`actions` has one row per step: the displacement of the pushing rod on the table along its two axes, in metres. Any
other video with such a `.json` beside it is read the same way.
"""

from ivideo.data.sources.annotations import load, table, text
from ivideo.data.sources.source import Item, Layout, Options, leaving, make_episode
from ivideo.episode import Episode
from ivideo.video import read_clip


def read(item: Item, options: Options) -> Episode:
    """Return the episode of a video and the annotation beside it; without "actions" there it has none."""
    path = item.path
    clip = read_clip(path, size=options.size, crop=options.crop)
    beside = path.with_suffix(".json")
    annotation = load(beside)
    actions = None
    if "actions" in annotation:
        actions = leaving(beside, "actions", table(beside, annotation, "actions"), len(clip.frames))
    return make_episode(
        path, item.name, clip.frames, options, actions=actions, instruction=text(annotation), fps=clip.fps
    )


LAYOUT = Layout(name="video with json actions", read=read)
