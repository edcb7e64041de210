"""Rollouts in tiles of a constant number of rows, so that a row's sums never depend on its company.

Which kernel computes a product depends on the number of its rows, and with it the last bits of every sum. Here every
product has the same shape whoever is there:

    worlds      a b c d e f g h i j
    tiles      [a b c d e f g h][i j j j j j j j]      the last is filled with copies, whose frames nobody sees

A row's attention is its own, over its own positions; what it reads again when it forgets it reads by itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import torch

from ivideo.joining import together
from ivideo.state import RolloutState
from transformer import RaggedCache

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel


def tiled(model: "WorldModel", rows: Sequence[RolloutState], size: int) -> tuple[RolloutState, ...]:
    """Tiles of `size` rows in which these rollouts of one row each go on, one after the other."""
    tiles = []
    for first in range(0, len(rows), size):
        real = list(rows[first : first + size])
        missing = size - len(real)
        copies = [real[-1].select(torch.zeros(missing, dtype=torch.long))] if missing else []
        tiles.append(together(model, real + copies))
    return tuple(tiles)


def rows_of(tiles: Sequence[RolloutState], count: int) -> list[RolloutState]:
    """The first `count` rows of tiles, each by itself."""
    places = ((tile, row) for tile in tiles for row in range(tile.batch))
    return [tile.select(torch.tensor([row])) for tile, row in islice(places, count)]


def rested(model: "WorldModel", tile: RolloutState, real: int) -> RolloutState:
    """A tile whose rows from `real` on have read nothing but their context, so that they cost the least."""
    cache, context = tile.cache, model.layout.context_length
    assert isinstance(cache, RaggedCache)
    if real >= tile.batch:
        return tile
    parts = tuple(
        part if part.rows[0] < real else replace(part, cache=part.cache.trim(context)) for part in cache.parts
    )
    return replace(tile, cache=RaggedCache(parts=parts))


def check(model: "WorldModel", size: int) -> None:
    """ValueError where it matters on this machine which of a tile's rows a world is: equal rows must stay equal."""
    resolution = model.tokenizer.config.resolution
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(model.context_frames, 3, resolution, resolution, generator=generator)
    tile = tiled(model, [model.start((255 * noise).to(torch.uint8))] * size, size)[0]
    for _ in range(2):
        tile, seen = model.step(tile, torch.zeros(model.action_dim))
        for each in (seen.frame, seen.log_likelihood, seen.reward, tile.unread):
            if each is not None and not torch.equal(each, each[:1].expand_as(each)):
                raise ValueError(
                    f"the rows of a tile of {size} are rounded differently on this machine, so that a world would not "
                    "be the same in any company; take another tile, such as 8"
                )
