"""A model that knows nothing, served: its episodes end early, late, or never."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tiny_play import drawing_model

from ivideo.episode import Episode
from ivideo.serve.host import Host, Rules
from ivideo.serve.server import serving
from ivideo.simulate.worlds import Worlds
from ivideo.world_model import WorldModel


def ending_model() -> WorldModel:
    """Some of its episodes end by themselves, most do not."""
    made = drawing_model()
    with torch.no_grad():
        made.heads.termination.bias.fill_(-0.5)
    return made


def some_starts() -> list[Episode]:
    generator = torch.Generator().manual_seed(0)
    return [
        Episode(frames=torch.randint(256, (length, 3, 32, 32), dtype=torch.uint8, generator=generator))
        for length in (5, 3, 9)
    ]


@contextmanager
def served(model: WorldModel, *, tile: int = 0, **rules: Any) -> Iterator[tuple[str, Host]]:
    """Where it is served, and by whom."""

    def load() -> Worlds:
        torch.set_num_threads(1)
        return Worlds(model=model, starts=some_starts(), tile=tile)

    host = Host(load, Rules(**{"name": "tiny", "horizon": 5, **rules}))
    with serving(host) as address:
        yield address, host
