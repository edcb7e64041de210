"""Pictures into mp4, webm, gif and png files."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

Pixels = UInt8[np.ndarray, "t h w 3"]


def _mp4(path: Path, pixels: Pixels, fps: float) -> None:
    _encode(path, pixels, fps, "mp4", "libx264", {"crf": "16"}, {"movflags": "+faststart"})


def _webm(path: Path, pixels: Pixels, fps: float) -> None:
    _encode(path, pixels, fps, "webm", "libvpx-vp9", {"crf": "18", "b": "0", "deadline": "good", "cpu-used": "4"}, {})


def _encode(
    path: Path,
    pixels: Pixels,
    fps: float,
    kind: str,
    codec: str,
    options: dict[str, str],
    container_options: dict[str, str],
) -> None:
    height, width = pixels.shape[1:3]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with av.open(str(path), "w", format=kind, options=container_options) as container:
        stream = container.add_stream(codec, rate=_rate(fps), options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _gif(path: Path, pixels: Pixels, fps: float) -> None:
    """Write with one palette for all frames: up to 256 colours are kept exactly."""
    height, width = pixels.shape[1:3]
    clock = Fraction(1, 100)

    def frames() -> Iterator[av.VideoFrame]:
        for number, picture in enumerate(pixels):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(number * 100 / fps), clock
            yield frame

    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=clock)
    graph.link_nodes(source, graph.add("palettegen", "reserve_transparent=0"), graph.add("buffersink")).configure()
    for frame in frames():
        source.push(frame)
    source.push(None)
    palette = graph.pull()
    assert isinstance(palette, av.VideoFrame)
    palette.pts, palette.time_base = 0, clock

    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=clock)
    colours = graph.add_buffer(width=16, height=16, format=palette.format, time_base=clock)
    use, sink = graph.add("paletteuse"), graph.add("buffersink")
    source.link_to(use, 0, 0)
    colours.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    colours.push(palette)
    colours.push(None)
    with av.open(str(path), "w", format="gif", options={"loop": "0"}) as container:
        stream = container.add_stream("gif", rate=_rate(fps))
        stream.height, stream.width, stream.pix_fmt, stream.time_base = height, width, "pal8", clock
        for frame in frames():
            source.push(frame)
            for mapped in _pull(sink):
                container.mux(stream.encode(mapped))
        source.push(None)
        for mapped in _pull(sink):
            container.mux(stream.encode(mapped))
        container.mux(stream.encode())


def _pull(sink: av.filter.context.FilterContext) -> Iterator[av.VideoFrame]:
    while True:
        try:
            frame = sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        assert isinstance(frame, av.VideoFrame)
        yield frame


def png(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Return a picture as the content of a png file."""
    codec = av.CodecContext.create("png", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.height, codec.width = picture.shape[:2]
    codec.pix_fmt, codec.time_base = "rgb24", Fraction(1)
    packets = [*codec.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")), *codec.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def _png(path: Path, pixels: Pixels, fps: float) -> None:
    path.write_bytes(png(pixels[0]))


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)


ENCODERS: dict[str, Callable[[Path, Pixels, float], None]] = {".mp4": _mp4, ".webm": _webm, ".gif": _gif, ".png": _png}
"""What writes pixels `[t h w 3]` to a file at so many frames a second, by suffix; a png gets the first picture."""
