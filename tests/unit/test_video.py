"""Videos survive being written and read; what is no whole video is refused with one line; nothing old is lost."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from ivideo import video_decoding
from ivideo.video import grid, read_clip, read_span, read_video, resize, strip, write_video

ORANGE, BLUE, SAND = (213, 94, 0), (0, 114, 178), (230, 228, 218)


def moving_square(frames: int = 12, height: int = 48, width: int = 64) -> Tensor:
    """An orange square that moves right over sand; blue below it, at rest."""
    video = torch.tensor(SAND, dtype=torch.uint8)[None, :, None, None].repeat(frames, 1, height, width)
    for t in range(frames):
        video[t, :, 4:20, 3 * t : 3 * t + 16] = torch.tensor(ORANGE, dtype=torch.uint8)[:, None, None]
    video[:, :, 28:44, 8:24] = torch.tensor(BLUE, dtype=torch.uint8)[:, None, None]
    return video


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_lossy_kinds_keep_colours_order_and_count(tmp_path: Path, suffix: str) -> None:
    video = moving_square()
    write_video(tmp_path / f"deep/er/clip{suffix}", video, fps=7.5)
    read = read_video(tmp_path / f"deep/er/clip{suffix}")
    assert read.shape == video.shape
    assert (read.int() - video.int()).abs().float().mean() < 3.5
    for colour, row, column in ((ORANGE, 12, 3 * 11 + 8), (BLUE, 36, 16), (SAND, 24, 60)):
        assert (read[11, :, row, column].int() - torch.tensor(colour)).abs().max() <= 4, "RGB order or levels are off"


def test_gif_keeps_flat_colours_exactly_and_loops(tmp_path: Path) -> None:
    video = moving_square()
    video[5] = video[4]  # an unchanged frame is still a frame
    write_video(tmp_path / "clip.gif", video)
    assert torch.equal(read_video(tmp_path / "clip.gif"), video)
    content = (tmp_path / "clip.gif").read_bytes()
    where = content.index(b"NETSCAPE2.0")
    assert content[where + 11 : where + 16] == b"\x03\x01\x00\x00\x00", "0 stands for looping for ever"
    with av.open(str(tmp_path / "clip.gif")) as container:
        assert [frame.pts for frame in container.decode(video=0)] == list(range(0, 120, 10))


def test_gif_of_many_colours_stays_close(tmp_path: Path) -> None:
    ramp = torch.linspace(0, 255, 64).to(torch.uint8)
    video = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), ramp.flip(0).expand(64, 64)])[None]
    write_video(tmp_path / "clip.gif", video.repeat(3, 1, 1, 1))
    read = read_video(tmp_path / "clip.gif")
    assert (read.int() - video.int()).abs().float().mean() < 12


def test_png_is_a_strip_with_time_to_the_right(tmp_path: Path) -> None:
    video = moving_square(3)
    write_video(tmp_path / "strip.png", video, zoom=2)
    with av.open(str(tmp_path / "strip.png")) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.array_equal(pixels, strip(video).permute(1, 2, 0).numpy().repeat(2, 0).repeat(2, 1))
    assert np.array_equal(pixels[:, 128:256:2][::2], video[1].permute(1, 2, 0).numpy())


def test_odd_sides_are_doubled_at_the_edge_where_the_codec_wants_even_ones(tmp_path: Path) -> None:
    video = moving_square(4, 47, 63)
    write_video(tmp_path / "clip.mp4", video)
    read = read_video(tmp_path / "clip.mp4")
    assert read.shape == (4, 3, 48, 64)
    assert (read[:, :, :47, :63].int() - video.int()).abs().float().mean() < 3.5
    assert (read[:, :, 47].int() - read[:, :, 46].int()).abs().float().mean() < 2
    write_video(tmp_path / "clip.gif", video)
    assert read_video(tmp_path / "clip.gif").shape == video.shape


def test_zoom_makes_pixels_larger(tmp_path: Path) -> None:
    video = moving_square(2)
    write_video(tmp_path / "clip.gif", video, zoom=3)
    assert torch.equal(read_video(tmp_path / "clip.gif")[:, :, 1::3, 1::3], video)


def test_max_frames_and_size_while_decoding(tmp_path: Path) -> None:
    video = moving_square(80)[:, :, :, :64]  # more than one chunk
    write_video(tmp_path / "clip.mp4", video)
    assert len(read_video(tmp_path / "clip.mp4", max_frames=5)) == 5
    assert len(read_video(tmp_path / "clip.mp4", max_frames=500)) == 80
    small = read_video(tmp_path / "clip.mp4", size=24)
    assert torch.equal(small, resize(read_video(tmp_path / "clip.mp4"), 24))
    with pytest.raises(ValueError, match="max_frames is 0"):
        read_video(tmp_path / "clip.mp4", max_frames=0)


def test_a_turn_stored_beside_the_picture_is_carried_out(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", moving_square(3))
    content = bytearray((tmp_path / "clip.mp4").read_bytes())
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    clockwise = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    where = content.index(identity, content.index(b"tkhd"))
    content[where : where + len(identity)] = clockwise
    (tmp_path / "phone.mp4").write_bytes(content)
    upright = read_video(tmp_path / "clip.mp4")
    assert torch.equal(read_video(tmp_path / "phone.mp4"), upright.rot90(-1, (2, 3)))


def test_resize_crops_the_centre_or_squeezes() -> None:
    video = torch.zeros(2, 3, 32, 64, dtype=torch.uint8)
    video[..., :16] = 200  # all of it outside the centre square
    assert resize(video, 16).max() == 0
    squeezed = resize(video, 16, crop=False)
    assert (squeezed[..., :3] == 200).all()
    assert squeezed.shape == (2, 3, 16, 16)
    fine = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    fine[..., ::2] = 200
    assert (resize(fine, 8)[..., 1:-1].int() - 100).abs().max() <= 2, "averages what it drops instead of picking"
    with pytest.raises(ValueError, match="size is 0"):
        resize(video, 0)


def test_grid_places_videos_row_by_row() -> None:
    videos = torch.arange(1, 6, dtype=torch.uint8)[:, None, None, None, None].expand(5, 2, 3, 4, 6)
    whole = grid(videos, columns=3, gap=1, colour=9)
    assert whole.shape == (2, 3, 2 * 4 + 1, 3 * 6 + 2)
    assert whole[0, 0, 0].tolist() == [1] * 6 + [9] + [2] * 6 + [9] + [3] * 6
    assert whole[1, 2, 5].tolist() == [4] * 6 + [9] + [5] * 6 + [9] + [9] * 6
    assert whole[0, 0, 4].unique().tolist() == [9]
    assert grid(videos).shape[3] == 3 * 6 + 2 * 2
    assert torch.equal(grid(videos[:1]), videos[0])
    with pytest.raises(ValueError, match="columns is 0"):
        grid(videos, columns=0)


@pytest.mark.parametrize(
    ("suffix", "share"), [(".mp4", 0.5), (".mp4", 0.9), (".webm", 0.6), (".gif", 0.6), (".gif", 0.99)]
)
def test_a_truncated_video_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = torch.randint(0, 255, (24, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    path = tmp_path / f"clip{suffix}"
    write_video(path, noise)
    assert len(read_video(path)) == 24
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=r"clip\.\w+: .*truncated") as caught:
        read_video(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(ValueError, match=r"empty\.mp4: the file is empty"):
        read_video(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("no video at all\n" * 100)
    with pytest.raises(ValueError, match=r"text\.mp4: it cannot be decoded"):
        read_video(tmp_path / "text.mp4")
    write_video(tmp_path / "picture.png", moving_square(2))
    with pytest.raises(ValueError, match="a single picture; expected a video"):
        read_video(tmp_path / "picture.png")
    with pytest.raises(IsADirectoryError, match="a folder; expected a video"):
        read_video(tmp_path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match="it holds no video"):
        read_video(tmp_path / "sound.mp4")


def test_an_unknown_path_names_its_neighbours(tmp_path: Path) -> None:
    write_video(tmp_path / "pick_up.mp4", moving_square(2))
    with pytest.raises(FileNotFoundError, match=r"pick-up\.mp4: there is no such .*; did you mean .*/pick_up\.mp4\?"):
        read_video(tmp_path / "pick-up.mp4")
    with pytest.raises(FileNotFoundError, match=r"holds pick_up\.mp4$"):
        read_video(tmp_path / "nowhere/to/be/seen.mp4")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    video = moving_square(2)
    with pytest.raises(ValueError, match=r"cannot write \.avi; expected \.mp4"):
        write_video(tmp_path / "clip.avi", video)
    with pytest.raises(ValueError, match="at least one frame"):
        write_video(tmp_path / "clip.mp4", video[:0])
    with pytest.raises(ValueError, match="fps is 0"):
        write_video(tmp_path / "clip.mp4", video, fps=0)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is a file; expected a folder"):
        write_video(tmp_path / "file/clip.mp4", video)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(IsADirectoryError, match="a folder; expected the name of a file"):
        write_video(tmp_path / "folder.mp4", video)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4"]


@pytest.mark.parametrize("error", [OSError, av.error.OSError])  # PyAV has classes of its own
def test_a_failed_write_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    write_video(tmp_path / "clip.gif", moving_square(2))
    before = (tmp_path / "clip.gif").read_bytes()

    def full(self: object, *packets: object) -> None:
        raise error(28, "No space left on device")

    monkeypatch.setattr(av.container.OutputContainer, "mux", full, raising=True)
    with pytest.raises(OSError, match=r"clip\.gif cannot be written \(No space left on device\); make room"):
        write_video(tmp_path / "clip.gif", moving_square(5))
    assert (tmp_path / "clip.gif").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["clip.gif"]


def test_the_frame_rate_comes_with_the_frames(tmp_path: Path) -> None:
    for suffix, fps in ((".mp4", 7.5), (".webm", 12)):
        write_video(tmp_path / f"clip{suffix}", moving_square(), fps=fps)
        clip = read_clip(tmp_path / f"clip{suffix}")
        assert clip.fps == pytest.approx(fps)
        assert len(clip.frames) == 12


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_span_is_the_same_as_a_slice(tmp_path: Path, suffix: str) -> None:
    """Also where keyframes are far apart, and frames are stored in another order than shown."""
    path = tmp_path / f"clip{suffix}"
    video = torch.randint(0, 255, (8, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    moving = resize_up(video).repeat_interleave(5, 0)[:37]
    write_video(path, moving, fps=10)
    whole = read_video(path, size=32)
    for start, count in ((0, 37), (0, 1), (36, 1), (5, 20), (17, 3)):
        assert torch.equal(read_span(path, start / 10, count, size=32), whole[start : start + count])
    with pytest.raises(ValueError, match=r"2 frames from 3\.500 s on; expected 5"):
        read_span(path, 3.5, 5)
    with pytest.raises(ValueError, match=r"0 frames from 99\.000 s on"):
        read_span(path, 99, 1)


def resize_up(video: Tensor) -> Tensor:
    return video.repeat_interleave(16, 2).repeat_interleave(16, 3)


@pytest.mark.parametrize("frames", [2, 24, 60])
def test_a_webm_that_lost_its_last_frame_is_refused(tmp_path: Path, frames: int) -> None:
    """Such a file decodes without complaint; only its length tells."""
    whole, cut = tmp_path / "whole.webm", tmp_path / "cut.webm"
    write_video(whole, moving_square(frames), fps=12)
    with av.open(str(whole)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.pos is not None and packet.size]
    cut.write_bytes(whole.read_bytes()[: places[-1]])
    assert len(read_video(whole)) == frames
    with pytest.raises(ValueError, match=rf"cut\.webm: {frames - 1} frames can be decoded of the {frames} its header"):
        read_video(cut)


def test_a_playlist_that_calls_itself_a_video_opens_no_other_file(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.mp4", moving_square())
    playlists = {
        "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.mp4\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile {tmp_path}/secret.mp4\n",
    }
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=rf"{name}: it cannot be decoded"):
            read_video(tmp_path / name)


def test_videos_that_would_be_too_large_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "clip.mp4", moving_square(40))
    monkeypatch.setattr(video_decoding, "MAX_BYTES", 100_000)
    with pytest.raises(ValueError, match=r"clip\.mp4: 40 frames of 64x48 would take .* cut the video up"):
        read_video(tmp_path / "clip.mp4")
    assert len(read_video(tmp_path / "clip.mp4", size=16)) == 40
    assert len(read_video(tmp_path / "clip.mp4", size=16, max_frames=10**9)) == 40
    monkeypatch.setattr(video_decoding, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"clip\.mp4: frames of 64x48; expected at most"):
        read_video(tmp_path / "clip.mp4", size=16)


def test_a_webm_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "clip.webm", moving_square(40))
    monkeypatch.setattr(video_decoding, "MAX_BYTES", 300_000)
    with pytest.raises(ValueError, match=r"clip\.webm: the first \d+ frames take"):
        read_video(tmp_path / "clip.webm")
