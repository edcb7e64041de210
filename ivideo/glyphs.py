"""Digits and a few signs of 3 by 5 pixels, to write figures into pictures."""

import torch
from jaxtyping import UInt8
from torch import Tensor

_ROWS = {
    "0": "### #.# #.# #.# ###",
    "1": ".#. ##. .#. .#. ###",
    "2": "### ..# ### #.. ###",
    "3": "### ..# .## ..# ###",
    "4": "#.# #.# ### ..# ..#",
    "5": "### #.. ### ..# ###",
    "6": "### #.. ### #.# ###",
    "7": "### ..# ..# .#. .#.",
    "8": "### #.# ### #.# ###",
    "9": "### #.# ### ..# ###",
    "-": "... ... ### ... ...",
    "+": "... .#. ### .#. ...",
    ".": ". . . . #",
    "e": "... ### ### #.. ###",
    "r": "... .## #.. #.. #..",
}


def write(
    picture: UInt8[Tensor, "3 h w"], text: str, place: tuple[int, int], colour: tuple[int, int, int], zoom: int = 2
) -> None:
    """Draw text into a picture, its top left corner at `place` (x, y); what does not fit is cut off."""
    x, y = place
    ink = torch.tensor(colour, dtype=torch.uint8)[:, None]
    for sign in text:
        dots = torch.tensor([[dot == "#" for dot in row] for row in _ROWS[sign].split()])
        dots = dots.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
        spot = picture[:, y : y + dots.shape[0], x : x + dots.shape[1]]
        spot[:, dots[: spot.shape[1], : spot.shape[2]]] = ink
        x += dots.shape[1] + zoom
