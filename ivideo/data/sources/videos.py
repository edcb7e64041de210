"""Plain videos, mp4, webm or gif: frames without actions."""

from ivideo.data.sources.source import Item, Layout, Options, make_episode
from ivideo.episode import Episode
from ivideo.video import read_clip


def read(item: Item, options: Options) -> Episode:
    """Return the video, resized while it is decoded."""
    clip = read_clip(item.path, size=options.size, crop=options.crop)
    return make_episode(item.path, item.name, clip.frames, options, fps=clip.fps)


LAYOUT = Layout(name="video", read=read)
