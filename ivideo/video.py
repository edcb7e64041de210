"""Videos in and out, as RGB uint8 `[t 3 h w]`: mp4, webm and gif are read; mp4, webm, gif and png strips are written.

Nothing here guesses: a file that decodes short of what its header promises is refused, and a video is written beside
its place and then moved there, so that a crash leaves either the old file or the new one.
"""

import math
import os
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from av.container import InputContainer
from einops import rearrange
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from ivideo.files import nearby, replace_file
from ivideo.video_encoding import ENCODERS

_CHUNK = 64
_PICTURES = ("image2", "png_pipe", "jpeg_pipe", "bmp_pipe", "webp_pipe", "tiff_pipe", "pgm_pipe", "ppm_pipe")


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
    path = Path(path)
    if max_frames is not None and max_frames < 1:
        raise ValueError(f"max_frames is {max_frames}; expected at least 1, or None for all frames")
    _check_file(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: it holds no video; expected an mp4, webm or gif")
            if container.format.name in _PICTURES:
                raise ValueError(f"{path}: a single picture; expected a video: mp4, webm or gif")
            frames, whole = _decode(path, container, size, max_frames, crop)
            if whole:
                _check_whole(path, container, len(frames))
    except av.FFmpegError as error:
        reason = str(error.strerror or error)
        raise ValueError(
            f"{path}: it cannot be decoded ({reason}); expected an mp4, webm or gif: "
            "the file is truncated, damaged or no video"
        ) from error
    return frames


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


def resize(frames: UInt8[Tensor, "t 3 h w"], size: int, crop: bool = True) -> UInt8[Tensor, "t 3 size size"]:
    """Return square frames of side `size`, by antialiased bilinear interpolation.

    A frame that is not square is cut to its centre square first, which keeps shapes as they are; with `crop=False`
    the whole frame is squeezed instead.
    """
    if size < 1:
        raise ValueError(f"size is {size}; expected the side of a frame in pixels, at least 1")
    height, width = frames.shape[2:]
    if crop and height != width:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        frames = frames[:, :, top : top + side, left : left + side]
    if frames.shape[2:] == (size, size):
        return frames.contiguous()
    out = torch.empty(len(frames), 3, size, size, dtype=torch.uint8, device=frames.device)
    for start in range(0, len(frames), _CHUNK):  # as floats, a long video would not fit
        chunk = frames[start : start + _CHUNK].float()
        scaled = F.interpolate(chunk, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        out[start : start + _CHUNK] = scaled.round_().clamp_(0, 255).to(torch.uint8)
    return out


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


def _decode(
    path: Path, container: InputContainer, size: int | None, max_frames: int | None, crop: bool
) -> tuple[UInt8[Tensor, "t 3 h w"], bool]:
    """Return the frames and whether decoding went on to the end of the file."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    chunks: list[Tensor] = []
    waiting: list[NDArray[np.uint8]] = []
    whole = True

    def settle() -> None:
        chunk = rearrange(torch.from_numpy(np.stack(waiting)), "t h w k -> t k h w").contiguous()
        chunks.append(chunk if size is None else resize(chunk, size, crop))
        waiting.clear()

    first: tuple[int, ...] | None = None
    for count, frame in enumerate(container.decode(stream)):
        if count == max_frames:
            whole = False
            break
        picture = _upright(frame)
        first = first or picture.shape
        if picture.shape != first:
            raise ValueError(
                f"{path}: frame {count} has shape {list(picture.shape)}, the first had {list(first)}; expected one "
                "size throughout: convert the video"
            )
        waiting.append(picture)
        if len(waiting) == _CHUNK:
            settle()
    if waiting:
        settle()
    if not chunks:
        raise ValueError(f"{path}: not one frame can be decoded; expected a video: the file is truncated or damaged")
    return torch.cat(chunks), whole


def _upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    picture: NDArray[np.uint8] = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    turns = round(frame.rotation / 90) % 4  # telephones store a turn beside the picture
    return np.rot90(picture, turns) if turns else picture


def _check_whole(path: Path, container: InputContainer, decoded: int) -> None:
    """Raise when clearly fewer frames were decoded than the header promises."""
    stream = container.streams.video[0]
    if container.format.name == "gif":
        if not path.read_bytes().rstrip(b"\0").endswith(b";"):
            raise ValueError(
                f"{path}: {decoded} frames, then it breaks off; expected a complete gif: the file is truncated"
            )
        return
    promised = float(stream.frames)
    if not promised and len(container.streams) == 1 and container.duration and stream.average_rate:
        promised = container.duration / av.time_base * float(stream.average_rate)
    # Edit lists and variable frame rates make counts differ by a few.
    if decoded < 0.95 * promised - 1:
        raise ValueError(
            f"{path}: {decoded} frames can be decoded of the {promised:.0f} its header promises; "
            "the file is truncated or damaged: fetch or record it again"
        )
