"""RoboNet (Dasari et al. 2019) as HDF5, one episode a file.

`env/cam<k>_video/frames` is an mp4 as bytes (or `frame0`, `frame1`, ... are jpegs), `policy/actions` has one row a
step, `env/state` one a frame; row t of the actions leads from frame t to frame t+1. There may be a frame more than
the actions lead to; as in RoboNet's own loader, frames are cut to one more than actions. The attributes of `metadata`
say what robot it was, those of the video in which order colours were: mp4s were written in that order, jpegs in the
opposite of it.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from ivideo.data.sources.encoded_image import decode_images
from ivideo.data.sources.hdf5 import array, attribute, member, opened
from ivideo.data.sources.source import Item, Layout, Options, make_episode
from ivideo.episode import Episode
from ivideo.video_decoding import decode


def matches(path: Path, file: Any) -> bool:
    """Whether an open file holds RoboNet's groups."""
    return member(path, file, "policy/actions") is not None and member(path, file, "env/cam0_video") is not None


def items(paths: list[Path], names: list[str], options: Options) -> list[Item]:
    """Return one episode a file; with `options.robot`, of those that this robot did, which means opening each."""
    found = [Item(layout=LAYOUT, path=path, name=name) for path, name in zip(paths, names, strict=True)]
    if options.robot is None:
        return found
    robots = {item.path: _robot(item.path) for item in found}
    chosen = [item for item in found if robots[item.path] in (options.robot, None)]
    if options.robot not in robots.values():
        known = ", ".join(sorted({repr(name) for name in robots.values() if name})) or "none"
        raise ValueError(f"robot is {options.robot!r}; the files are of {known}: choose one")
    return chosen


def read(item: Item, options: Options) -> Episode:
    """Return the episode seen by a camera: "0" (the default), "1", ..."""
    path = item.path
    camera = (options.camera or "0").removeprefix("cam")
    with opened(path) as file:
        videos = member(path, file, "env")
        cameras = [key[3:-6] for key in (videos or ()) if key.startswith("cam") and key.endswith("_video")]
        if not cameras:
            raise ValueError(f"{path}: no 'cam0_video', ... below 'env'; the file is damaged or of another data set")
        if camera not in cameras:
            raise ValueError(f"camera is {options.camera or camera!r}; {path} has {', '.join(map(repr, cameras))}")
        actions = array(path, file, "policy/actions")
        video = member(path, file, f"env/cam{camera}_video")
        frames, order = _frames(path, video, camera, options)
    frames = frames[: len(actions) + 1]
    if len(frames) != len(actions) + 1:
        raise ValueError(
            f"{path}: {len(actions)} actions beside {len(frames)} frames; expected at least one frame more than "
            "actions: the file is cut short"
        )
    if (options.colours or order) == "bgr":
        frames = frames.flip(1)
    return make_episode(path, item.name, frames, options, actions=actions)


def _frames(path: Path, video: Any, camera: str, options: Options) -> tuple[UInt8[Tensor, "t 3 h w"], str]:
    """Return the frames of a camera, and the order that their colours come out in."""
    if member(path, video, "frames") is not None:
        content = array(path, video, "frames")
        if content.dtype.itemsize != 1:
            raise ValueError(f"{path}: 'frames' of camera {camera} hold {content.dtype}; expected the bytes of an mp4")
        where = f"{path}: the mp4 of camera {camera}"
        clip = decode(content.tobytes(), where, size=options.size, crop=options.crop)
        order = str(attribute(video["frames"], "image_format") or "RGB").lower()
        return clip.frames, order
    count = sum(key.startswith("frame") for key in video)
    if not count:
        raise ValueError(f"{path}: camera {camera} has neither 'frames' nor 'frame0', ...; the file is damaged")
    pictures = (array(path, video, f"frame{number}").astype(np.uint8).tobytes() for number in range(count))
    frames = decode_images(pictures, lambda t: f"{path}: frame {t} of camera {camera}", options.size, options.crop)
    order = str(attribute(member(path, video, "frame0"), "image_format") or "BGR").lower()
    return frames, "bgr" if order == "rgb" else "rgb"  # OpenCV wrote them, which takes what it gets for BGR


def _robot(path: Path) -> str | None:
    """Return what robot a file is of; None for a file that cannot be opened, which reading it will say."""
    try:
        with opened(path) as file:
            about = member(path, file, "metadata")
            return None if about is None else str(attribute(about, "robot"))
    except (ValueError, OSError):
        return None


LAYOUT = Layout(name="RoboNet HDF5", read=read, knows=("camera", "robot", "colours"))
