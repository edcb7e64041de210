"""Single pictures with captions, as clips of one frame: the image-as-video of UniSim (Yang et al. 2023).

Each png or jpeg becomes a few white frames and then the picture; its caption, a `.txt` of the same name or an entry
of `captions.json` beside it (file name to text), is the instruction.

With `moves`, each becomes as many clips as there are camera moves instead, cut out of it (`ivideo.data.camera`); the
same ones every time, whatever else is opened.
"""

import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ivideo.data.camera import MOVES, camera_clip
from ivideo.data.sources.annotations import load
from ivideo.data.sources.encoded_image import decode_image
from ivideo.data.sources.source import Item, Layout, Options, make_episode
from ivideo.episode import Episode
from ivideo.resizing import resize

SUFFIXES = (".png", ".jpg", ".jpeg")
CAPTIONS = "captions.json"
PLACEHOLDER = 2
WHITE = 255
_MAX_FILE, _MAX_CAPTION = 2**30, 2**16


def items(path: Path, name: str, options: Options) -> list[Item]:
    """Return the clips of a picture: itself, or one for each camera move to begin with."""
    if options.moves is None:
        return [Item(layout=LAYOUT, path=path, name=name)]
    return [Item(layout=LAYOUT, path=path, name=f"{name}-{move.replace(' ', '-')}", part=move) for move in MOVES]


def read(item: Item, options: Options) -> Episode:
    """Return `options.placeholder` white frames, 2 by default, followed by the picture; or a clip cut out of it."""
    path = item.path
    if options.moves is not None and options.placeholder is not None:
        raise ValueError(
            "placeholder is for pictures that stand still, and moves cuts clips out of them; leave one out"
        )
    white = PLACEHOLDER if options.placeholder is None else options.placeholder
    if not 1 <= white <= 1000:
        raise ValueError(f"placeholder is {white}; expected 1 to 1000 white frames in front of a picture")
    if path.stat().st_size > _MAX_FILE:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; expected a picture of at most {_MAX_FILE // 2**20} MiB")
    picture = torch.from_numpy(decode_image(path.read_bytes(), str(path)).copy()).permute(2, 0, 1)
    if options.moves is not None:
        rng = np.random.default_rng(zlib.crc32(item.name.encode()))
        size = options.size or min(picture.shape[1:]) // 2
        return camera_clip(picture, options.moves, rng, size=size, first=str(item.part), name=item.name)
    frame = picture[None]
    frame = frame.contiguous() if options.size is None else resize(frame, options.size, options.crop)
    frames = torch.cat([torch.full_like(frame, WHITE).expand(white, -1, -1, -1), frame])
    return make_episode(path, item.name, frames, options, instruction=_caption(path))


def _caption(path: Path) -> str:
    told = path.with_suffix(".txt")
    if told.is_file():
        with told.open("rb") as file:
            return file.read(_MAX_CAPTION).decode("utf-8", "replace").strip()
    listed = path.parent / CAPTIONS
    if not listed.is_file():
        return ""
    state = listed.stat()
    captions = _captions(listed, state.st_size, state.st_mtime_ns)
    return captions.get(path.name) or captions.get(path.stem) or ""


@lru_cache(maxsize=16)
def _captions(path: Path, _size: int, _modified: int) -> dict[str, str]:
    return {name: text.strip() for name, text in load(path).items() if isinstance(text, str)}


LAYOUT = Layout(name="pictures", read=read, knows=("placeholder", "moves"))
