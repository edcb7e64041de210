"""Videos in and out, as RGB uint8 `[t 3 h w]`: mp4, webm and gif are read; mp4, webm, gif and png strips are written.

Nothing here guesses: a file that decodes short of what its header promises is refused, and a video is written beside
its place and then moved there, so that a crash leaves either the old file or the new one.
"""

import math
import os
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from ivideo.files import nearby, replace_file
from ivideo.resizing import resize as resize
from ivideo.video_decoding import Clip, Span, decode
from ivideo.video_encoding import ENCODERS


def read_video(
    path: str | os.PathLike[str], size: int | None = None, max_frames: int | None = None, *, crop: bool = True
) -> UInt8[Tensor, "t 3 h w"]:
    """Return the frames of a video, upright, in the order in which they are shown.

    Args:
        path: an mp4, webm or gif, or anything else that FFmpeg decodes.
        size: side of square frames, see `resize`; None keeps them as they are. Resizing happens while decoding, so a
            long video in high resolution needs little memory.
        max_frames: stop after so many.
        crop: with `size`, cut a frame that is not square to its centre square; False squeezes it.

    Raises:
        FileNotFoundError: there is no such file; names close to it are listed.
        ValueError: the file is empty, no video, damaged, or ends before its header says it does.
    """
    return read_clip(path, size, max_frames, crop=crop).frames


def read_clip(
    path: str | os.PathLike[str], size: int | None = None, max_frames: int | None = None, *, crop: bool = True
) -> Clip:
    """Return what `read_video` does, with the frame rate beside it."""
    path = Path(path)
    if max_frames is not None and max_frames < 1:
        raise ValueError(f"max_frames is {max_frames}; expected at least 1, or None for all frames")
    _check_file(path)
    return decode(path, str(path), size=size, crop=crop, max_frames=max_frames)


def read_span(
    path: str | os.PathLike[str], start: float, frames: int, size: int | None = None, *, crop: bool = True
) -> UInt8[Tensor, "t 3 h w"]:
    """Return so many frames from a time on, in seconds, without decoding what is long before.

    Raises as `read_video` does, and ValueError when no frame begins at that time or fewer than `frames` follow.
    """
    path = Path(path)
    _check_file(path)
    return decode(path, str(path), size=size, crop=crop, span=Span(start=start, frames=frames)).frames


def write_video(
    path: str | os.PathLike[str], frames: UInt8[Tensor, "t 3 h w"], fps: int | float = 10, *, zoom: int = 1
) -> None:
    """Write frames as .mp4 (h264), .webm (vp9), .gif (loops for ever) or .png (one strip, time to the right).

    Parent folders are made; an existing file is replaced in one step, once the new one is complete. Where the codec
    wants even sides (mp4 and webm), the last row or column is doubled.

    Args:
        path: where to; the suffix chooses the kind.
        frames: what to write, at least one.
        fps: frames a second; a gif counts in hundredths of a second, so 30 becomes 33.
        zoom: every pixel becomes a square of this side: colour is stored at half resolution in mp4 and webm, and
            small frames are hard to see.

    Raises:
        ValueError: the suffix is unknown, there are no frames, or fps or zoom is out of range.
        OSError: the folder cannot be made or written, naming it; whatever was at `path` is untouched.
    """
    path = Path(path)
    check_output(path, fps)
    suffix = path.suffix.lower()
    if frames.ndim != 4 or frames.shape[1] != 3 or frames.dtype != torch.uint8 or not frames.numel():
        raise ValueError(
            f"{path}: frames are {frames.dtype} {list(frames.shape)}; expected uint8 [t 3 h w], at least one frame"
        )
    if not 1 <= zoom <= 64:
        raise ValueError(f"zoom is {zoom}; expected 1 (off) to 64")
    pictures = rearrange(strip(frames)[None] if suffix == ".png" else frames, "t k h w -> t h w k").cpu()
    pixels = np.ascontiguousarray(pictures.numpy().repeat(zoom, 1).repeat(zoom, 2))
    replace_file(path, lambda temporary: ENCODERS[suffix](temporary, pixels, float(fps)))


def check_output(path: Path, fps: int | float = 10) -> None:
    """Raise what `write_video` would say of a file name and a rate, before there is anything to write."""
    if path.suffix.lower() not in ENCODERS:
        raise ValueError(f"{path}: cannot write {path.suffix or 'without a suffix'}; expected {', '.join(ENCODERS)}")
    if not 0 < fps <= 240:
        raise ValueError(f"fps is {fps}; expected more than 0 and at most 240 frames a second")


def grid(
    videos: UInt8[Tensor, "b t 3 h w"], columns: int | None = None, *, gap: int = 2, colour: int = 255
) -> UInt8[Tensor, "t 3 H W"]:
    """Return one video that shows several side by side, row by row from the top left.

    Args:
        videos: what to show.
        columns: videos in a row; None makes the grid about square, a little wider than high.
        gap: pixels between videos.
        colour: grey level of the gaps and of places without a video, 0 to 255.
    """
    if videos.ndim != 5 or videos.shape[2] != 3 or videos.dtype != torch.uint8 or not videos.numel():
        raise ValueError(f"videos are {videos.dtype} {list(videos.shape)}; expected uint8 [b t 3 h w], not empty")
    count, frames, _, height, width = videos.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    if columns < 1 or gap < 0:
        raise ValueError(f"columns is {columns} and gap {gap}; expected at least one column and no negative gap")
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    cells = torch.full(
        (rows * columns, frames, 3, height + gap, width + gap), colour, dtype=torch.uint8, device=videos.device
    )
    cells[:count, :, :, :height, :width] = videos
    whole = rearrange(cells, "(r c) t k h w -> t k (r h) (c w)", c=columns)
    return whole[:, :, : rows * (height + gap) - gap, : columns * (width + gap) - gap].contiguous()


def strip(frames: UInt8[Tensor, "t 3 h w"]) -> UInt8[Tensor, "3 h W"]:
    """Return all frames in one picture, time to the right."""
    return rearrange(frames, "t k h w -> k h (t w)").contiguous()


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder; expected a video file")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {nearby(path)}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty; expected an mp4, webm or gif: fetch or record it again")
