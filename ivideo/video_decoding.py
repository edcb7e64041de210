"""Decoding a video, whole or a span of it, from a file or from bytes, and refusing what ends before it should.

FFmpeg is told to open the file itself and nothing else: a playlist that calls itself .mp4 reaches no other file and no
network.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import torch
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from ivideo.resizing import resize

MAX_PIXELS = 8192 * 8192
"""Largest frame that is decoded: a file of a few kilobytes can claim any size."""
MAX_BYTES = 8 * 2**30
"""Most that one video may take once decoded and resized."""

_CHUNK = 16
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,gif,avi,mpegts,mpeg,mpegvideo,ogg,flv,h264,hevc,ivf,av1,obu"
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"RIFF", b"II*\0", b"MM\0*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Decoded frames and the rate they were recorded at."""

    frames: UInt8[Tensor, "t 3 h w"]
    fps: float | None
    """Frames per second; None where the file does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of a video: so many frames from a time on, in seconds."""

    start: float
    frames: int


def decode(
    file: Path | bytes,
    where: str,
    *,
    size: int | None = None,
    crop: bool = True,
    max_frames: int | None = None,
    span: Span | None = None,
) -> Clip:
    """Return the frames of a video, upright, in the order in which they are shown.

    Args:
        file: a file, or what is in one.
        where: what errors call it.
        size: side of square frames; None keeps them as they are.
        crop: with `size`, cut to the centre square; False squeezes.
        max_frames: stop after so many.
        span: only these frames; a keyframe before them is looked up, what is before that is not decoded.

    Raises:
        ValueError: it is no video, damaged, too large, or has fewer frames than its header or `span` promises.
    """
    head = file[:12] if isinstance(file, bytes) else _head(file)
    if head.startswith(_PICTURES) and head[8:] != b"AVI ":
        raise ValueError(f"{where}: a single picture; expected a video: mp4, webm or gif")
    options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
    try:
        source = BytesIO(file) if isinstance(file, bytes) else str(file.absolute())
        with av.open(source, "r", container_options=options) as container:
            if not container.streams.video:
                raise ValueError(f"{where}: it holds no video; expected an mp4, webm or gif")
            stream = container.streams.video[0]
            # Threads of FFmpeg's own only get in the way of those that decode several files at once.
            stream.thread_type = "NONE"
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # what is coded may belie the header
            _check_size(where, stream, size, max_frames if span is None else span.frames)
            reader = _Reader(where, size, crop)
            try:
                whole = reader.span(container, stream, span) if span else reader.all(container, stream, max_frames)
            except av.FFmpegError as error:
                if 0 < reader.count < stream.frames:
                    raise _short(where, reader.count, stream.frames) from error
                raise
            if whole and not (container.format.name == "gif" and _ends_like_a_gif(where, file, reader.count)):
                _check_whole(where, stream, container, reader)
            rate = stream.average_rate
            return Clip(frames=reader.frames(), fps=float(rate) if rate else None)
    except av.FFmpegError as error:
        reason = str(error.strerror or error)
        raise ValueError(
            f"{where}: it cannot be decoded ({reason}); expected an mp4, webm or gif: "
            "the file is truncated, damaged or no video"
        ) from error


class _Reader:
    """Gathers frames as they are decoded, resized a few at a time."""

    def __init__(self, where: str, size: int | None, crop: bool) -> None:
        self._where, self._size, self._crop = where, size, crop
        self._reformatter = VideoReformatter()  # kept, for preparing one takes longer than using it
        self._buffer = np.empty((0, 0, 0, 3), dtype=np.uint8)
        self._waiting = 0
        self._chunks: list[Tensor] = []
        self._shape: tuple[int, ...] | None = None
        self._bytes = 0
        self.count = 0
        self.last_time: float | None = None

    def all(self, container: InputContainer, stream: VideoStream, max_frames: int | None) -> bool:
        """Take every frame, or the first; return whether decoding went on to the end of the file."""
        for frame in container.decode(stream):
            if self.count == max_frames:
                return False
            self._take(frame)
        return True

    def span(self, container: InputContainer, stream: VideoStream, span: Span) -> bool:
        """Take the frames of a span, or raise; return False."""
        rate = float(stream.average_rate) if stream.average_rate else 1.0
        assert stream.time_base is not None
        container.seek(max(0, int((span.start - 0.5 / rate) / stream.time_base)), stream=stream)
        for frame in container.decode(stream):
            if frame.pts is None or frame.time < span.start - 0.5 / rate:
                continue
            if not self.count and frame.time > span.start + 0.75 / rate:
                break
            self._take(frame)
            if self.count == span.frames:
                return False
        raise ValueError(
            f"{self._where}: {self.count} frames from {span.start:.3f} s on; expected {span.frames}: the file is cut "
            "short, or its index belongs to another one"
        )

    def frames(self) -> UInt8[Tensor, "t 3 h w"]:
        if self._waiting:
            self._settle()
        if not self._chunks:
            raise ValueError(
                f"{self._where}: not one frame can be decoded; expected a video: the file is truncated or damaged"
            )
        return torch.cat(self._chunks)

    def _take(self, frame: av.VideoFrame) -> None:
        rgb = self._reformatter.reformat(frame, format="rgb24")
        plane = rgb.planes[0]  # whose lines may be padded
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: rgb.height, : 3 * rgb.width]
        picture = np.lib.stride_tricks.as_strided(
            lines, (rgb.height, rgb.width, 3), (plane.line_size, 3, 1), writeable=False
        )
        turns = round(frame.rotation / 90) % 4  # telephones store a turn beside the picture
        picture = np.rot90(picture, turns) if turns else picture
        if self._shape is None:
            self._shape = picture.shape
            self._buffer = np.empty((_CHUNK, *picture.shape), dtype=np.uint8)
        elif picture.shape != self._shape:
            raise ValueError(
                f"{self._where}: frame {self.count} has shape {list(picture.shape)}, the first had "
                f"{list(self._shape)}; expected one size throughout: convert the video"
            )
        self._buffer[self._waiting] = picture
        self._waiting += 1
        self.last_time = frame.time
        self.count += 1
        if self._waiting == _CHUNK:
            self._settle()

    def _settle(self) -> None:
        chunk = rearrange(torch.from_numpy(self._buffer[: self._waiting]), "t h w k -> t k h w")
        if self._size is None or chunk.shape[2:] == (self._size, self._size):
            chunk = chunk.clone(memory_format=torch.contiguous_format)  # the buffer is written over
        else:
            chunk = resize(chunk, self._size, self._crop)
        self._chunks.append(chunk)
        self._waiting = 0
        self._bytes += chunk.nbytes
        if self._bytes > MAX_BYTES:
            raise ValueError(
                f"{self._where}: the first {self.count} frames take {self._bytes / 2**30:.1f} GiB; expected at most "
                f"{MAX_BYTES / 2**30:.0f} GiB: cut the video up, or give a smaller size"
            )


def _check_size(where: str, stream: VideoStream, size: int | None, frames: int | None) -> None:
    """Raise before anything is decoded when the header claims more than fits."""
    pixels = stream.width * stream.height
    if pixels > MAX_PIXELS:
        raise ValueError(
            f"{where}: frames of {stream.width}x{stream.height}; expected at most {MAX_PIXELS / 2**20:.0f} megapixels"
        )
    count = stream.frames if frames is None else min(frames, stream.frames)  # 0 where the header does not say
    total = count * 3 * (size**2 if size else pixels)
    if total > MAX_BYTES:
        raise ValueError(
            f"{where}: {count} frames of {stream.width}x{stream.height} would take {total / 2**30:.1f} GiB; expected "
            f"at most {MAX_BYTES / 2**30:.0f} GiB: cut the video up, or give a smaller size"
        )


def _check_whole(where: str, stream: VideoStream, container: InputContainer, reader: _Reader) -> None:
    """Raise when fewer frames were decoded than the header promises.

    An mp4 counts its frames; edit lists and variable frame rates make that number differ by a few. A webm only says how
    long it lasts, and one that was cut decodes without complaint: it is short when both its last frame ends too early
    and there are too few frames.
    """
    promised = float(stream.frames)
    short = reader.count < 0.95 * promised - 1
    length = _seconds(stream, container)
    if not promised and length and stream.average_rate and reader.last_time is not None and reader.count:
        promised = length * float(stream.average_rate)
        ends = reader.last_time + 1 / float(stream.average_rate)
        short = reader.count < promised - 0.5 and ends < length - 0.75 / float(stream.average_rate)
    if short:
        raise _short(where, reader.count, promised)


def _short(where: str, count: int, promised: float) -> ValueError:
    return ValueError(
        f"{where}: {count} frames can be decoded of the {promised:.0f} its header promises; "
        "the file is truncated or damaged: fetch or record it again"
    )


def _seconds(stream: VideoStream, container: InputContainer) -> float | None:
    """Return how long the header says the video lasts; a sound track may last longer than the pictures."""
    tag = stream.metadata.get("DURATION", "").split(":")
    if len(tag) == 3 and all(part.replace(".", "", 1).isdigit() for part in tag):
        return int(tag[0]) * 3600 + int(tag[1]) * 60 + float(tag[2])
    if len(container.streams) == 1 and container.duration:
        return container.duration / av.time_base
    return None


def _ends_like_a_gif(where: str, file: Path | bytes, count: int) -> bool:
    content = file if isinstance(file, bytes) else file.read_bytes()
    if not content.rstrip(b"\0").endswith(b";"):
        raise ValueError(f"{where}: {count} frames, then it breaks off; expected a complete gif: the file is truncated")
    return True


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)
