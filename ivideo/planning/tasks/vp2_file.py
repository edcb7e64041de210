"""VP2's task instances (Tian et al. 2023, arXiv 2304.13723) out of its HDF5 files.

`data/demo_<k>/states` `[t s]` and `obs/<camera>_image` uint8 `[t h w 3]`; an instance begins in the state of row
`start_index`, or of the first where a demonstration has none, and its goal is the last picture, with the last state.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from ivideo.data.sources.hdf5 import SUFFIXES, array, member, opened
from ivideo.planning.tasks.problems import Problem
from ivideo.planning.tasks.simulator import Numbers
from ivideo.resizing import resize


def is_vp2_file(file: Path) -> bool:
    """Whether a file's name says that it is one."""
    return file.suffix in SUFFIXES


def vp2_problems(
    file: Path,
    *,
    camera: str,
    size: int,
    numbers: int,
    begin: Callable[[Float64[np.ndarray, " s"]], Numbers],
    goal: Callable[[Float64[np.ndarray, " s"]], Numbers],
) -> list[Problem]:
    """The instances in a file, in the order of their numbers.

    Args:
        file: one of VP2's.
        camera: of the goal image, without `_image`.
        size: side to which goal images are resized, as VP2 resizes them: bilinear, antialiased.
        numbers: length of a state there.
        begin: the simulator's own state for one of the file.
        goal: what judges, for the last state.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for a file that is damaged, or holds something else; it names what.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file of instances; leave it out to make some from seeds")
    with opened(file) as found:
        data = member(file, found, "data")
        names = [name for name in (data or ()) if re.fullmatch(r"demo_\d+", name)]
        if not names:
            raise ValueError(f"{file}: there is no demonstration below 'data'; expected VP2's demo_1, demo_2, ...")
        problems = []
        for name in sorted(names, key=lambda name: int(name.removeprefix("demo_"))):
            demo = member(file, found, f"data/{name}")
            where = f"{file}: {name!r}"
            states = np.asarray(array(file, demo, "states"), np.float64)
            images = array(file, demo, f"obs/{camera}_image", slice(-1, None))
            if states.ndim != 2 or len(states) < 1 or states.shape[1] != numbers:
                raise ValueError(
                    f"{where} has states {list(states.shape)}; expected [t, {numbers}]: another task's file"
                )
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) != 1:
                raise ValueError(
                    f"{where} has pictures {images.dtype} {list(images.shape)}; expected uint8 [t, h, w, 3]"
                )
            if not np.isfinite(states).all():
                raise ValueError(f"{where} has a state that is not finite; the file is damaged: fetch it again")
            first = int(array(file, demo, "start_index")) if member(file, demo, "start_index") is not None else 0
            if not -len(states) <= first < len(states):
                raise ValueError(f"{where} begins in row {first} of {len(states)} states; the file is damaged")
            picture = resize(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), size)[0]
            image = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
            problems.append(Problem(start=begin(states[first]), goal=goal(states[-1]), image=image))
    return problems
