"""Plain videos, mp4, webm or gif: frames without actions."""

from pathlib import Path

from ivideo.data.sources.source import Layout, Options, make_episode
from ivideo.episode import Episode
from ivideo.video import read_video


def read(path: Path, name: str, options: Options) -> Episode:
    """Return the video, resized while it is decoded."""
    frames = read_video(path, size=options.size, crop=options.crop)
    return make_episode(path, name, frames, options)


LAYOUT = Layout(name="video", read=read)
