"""Clips of a moving camera: that the pictures move as the actions say, and that they are read from files."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from ivideo.data import open_episodes
from ivideo.data.camera import MOVES, STEP, View, camera_clip, is_panorama

SIZE = 32


def picture(width: int, height: int) -> torch.Tensor:
    """Red grows to the right, green downwards: a pixel's colour says where it is."""
    x = torch.linspace(0, 255, width).expand(height, -1)
    y = torch.linspace(0, 255, height)[:, None].expand(-1, width)
    return torch.stack([x, y, torch.full_like(x, 128)]).round().to(torch.uint8)


def place(frame: torch.Tensor, width: int, height: int) -> tuple[float, float, float]:
    """Where a frame of that picture looks, and how wide it is, in pixels."""
    red, green = frame[0].double(), frame[1].double()
    side = (red[:, -1] - red[:, 0]).mean() / 255 * width * SIZE / (SIZE - 1)
    return float(red.mean() / 255 * width), float(green.mean() / 255 * height), float(side)


@pytest.mark.parametrize("name", list(MOVES))
def test_what_is_seen_moves_as_the_words_say(name: str) -> None:
    width, height = 600, 400
    film = camera_clip(picture(width, height), "words", np.random.default_rng(0), size=SIZE, first=name)
    assert (film.instruction, film.actions, film.frames.shape) == (name, None, (16, 3, SIZE, SIZE))
    first, last = (place(film.frames[index], width, height) for index in (0, -1))
    move, steps = MOVES[name], 15
    assert last[2] / first[2] == pytest.approx(2 ** (-steps * move.zoom), rel=0.06)
    if not move.zoom:
        assert last[0] - first[0] == pytest.approx(steps * move.pan * first[2], abs=4)
        assert last[1] - first[1] == pytest.approx(steps * move.tilt * first[2], abs=4)


@pytest.mark.parametrize("moves", ["choices", "numbers"])
def test_what_is_seen_moves_as_the_actions_say(moves: str) -> None:
    width, height = 900, 640
    film = camera_clip(picture(width, height), moves, np.random.default_rng(1), size=SIZE, first="turn right")  # type: ignore[arg-type]
    assert film.actions is not None
    assert film.instruction == ""
    assert film.actions.shape == (15, 1 if moves == "choices" else 3)
    assert len(film.actions.unique(dim=0)) > 1
    for step, told in enumerate(film.actions.tolist()):
        if moves == "choices":
            move = list(MOVES.values())[int(told[0])]
            told = [move.pan, move.tilt, move.zoom]
        before, after = (place(film.frames[step + more], width, height) for more in (0, 1))
        assert after[0] - before[0] == pytest.approx(told[0] * before[2], abs=3)
        assert after[1] - before[1] == pytest.approx(told[1] * before[2], abs=3)
        assert after[2] / before[2] == pytest.approx(2 ** -told[2], abs=0.03)


def test_a_panorama_has_no_end_and_a_picture_has_one() -> None:
    wide = picture(640, 320)
    assert is_panorama(wide)
    assert not is_panorama(picture(641, 320))
    view = View(x=2.0, y=160.0, side=80.0)
    assert view.is_inside(wide)
    assert not view.is_inside(picture(641, 320))
    seen = view.cut(wide, SIZE)[0].double()
    assert seen[:, 0].mean() > 200 > 60 > seen[:, -1].mean()  # the right edge, then the left one
    for seed in range(20):
        for name in MOVES:
            film = camera_clip(picture(330, 330), "choices", np.random.default_rng(seed), size=SIZE, first=name)
            assert ((film.actions >= 0) & (film.actions < len(MOVES))).all()  # type: ignore[operator]


def write(path: Path, width: int, height: int) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        shown = av.VideoFrame.from_ndarray(picture(width, height).permute(1, 2, 0).contiguous().numpy(), format="rgb24")
        file.mux([*stream.encode(shown), *stream.encode()])


def test_pictures_of_a_folder_become_clips_of_every_move(tmp_path: Path) -> None:
    for name in ("hall", "yard"):
        write(tmp_path / f"{name}.png", 320, 160)
    told = open_episodes(tmp_path, size=SIZE, moves="words")
    assert len(told) == 2 * len(MOVES)
    assert [each.instruction for each in told] == [*MOVES, *MOVES]
    assert told.names[1] == "hall-turn-left"
    again = open_episodes(tmp_path / "yard.png", size=SIZE, moves="words")
    assert torch.equal(told[len(MOVES) + 1].frames, again[1].frames)
    assert open_episodes(tmp_path, size=SIZE, moves="choices").action_dim == 1
    numbers = open_episodes(tmp_path, size=SIZE, moves="numbers")
    assert numbers.action_dim == 3
    assert max(float(each.actions.abs().max()) for each in numbers) <= STEP  # type: ignore[union-attr]
    assert len(open_episodes(tmp_path, size=SIZE)) == 2, "without it they are pictures as before"


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "small.png", 60, 50)
    with pytest.raises(ValueError, match="small-hold-still is 60x50 pixels; expected 64 or more on either side"):
        open_episodes(tmp_path, size=SIZE, moves="words")
    with pytest.raises(ValueError, match="placeholder is for pictures that stand still"):
        open_episodes(tmp_path, size=SIZE, moves="words", placeholder=2)
    with pytest.raises(ValueError, match="the move is 'jump'; expected one of hold still, turn left"):
        camera_clip(picture(200, 200), "words", np.random.default_rng(0), size=SIZE, first="jump")
