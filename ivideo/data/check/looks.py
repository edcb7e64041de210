"""Which episodes are turned, mirrored or in BGR, going by the episodes that they look like.

No picture tells by itself that it is upside down. But where most episodes of a scene agree and one agrees with them
only once it is turned, that one is the odd one out. So every episode asks those nearest to it, nearest whichever way
it is turned, which way suits them.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "swapped-colours": lambda look: look.flip(-3),
    "upside-down": lambda look: look.flip(-2),
    "mirrored": lambda look: look.flip(-1),
    "rotated": lambda look: look.flip(-1, -2),
}
"""Ways in which frames get turned, by the code of their lint."""
_CUT = 24.0
_ASKED = 16
_REFERENCES = 256
_CLEARLY = 0.8
_ALIKE = 2.0


def vote(
    looks: Sequence[UInt8[Tensor, "3 8 8"]], others: Sequence[UInt8[Tensor, "3 8 8"]] | None = None
) -> list[tuple[str, int, int, int] | None]:
    """Say for every look which turn suits its neighbours: code, votes for it, against it, neighbours asked; else None.

    Neighbours are found among `others` if given, else among the looks themselves, of which at most 256 are asked.
    """
    pool = list(looks if others is None else others)
    chosen = torch.linspace(0, len(pool) - 1, min(len(pool), _REFERENCES)).round().long().tolist() if pool else []
    if not chosen or not looks:
        return [None] * len(looks)
    references = torch.stack([pool[place] for place in chosen]).float()
    own = {place: column for column, place in enumerate(chosen)} if others is None else {}
    return [_asked(look.float(), references, own.get(place)) for place, look in enumerate(looks)]


def _asked(
    look: Float[Tensor, "3 8 8"], references: Float[Tensor, "r 3 8 8"], own: int | None
) -> tuple[str, int, int, int] | None:
    turned = torch.stack([look, *(turn(look) for turn in TURNS.values())])
    # What moves differs a lot in few places: every pixel counts up to a limit.
    distances = (turned[:, None] - references[None]).abs().clamp(max=_CUT).flatten(2).mean(2)
    if own is not None:
        distances = distances[:, torch.arange(len(references)) != own]
    if distances.shape[1] < 3:
        return None
    near = distances.amin(0)
    nearest = near.topk(min(_ASKED, len(near)), largest=False).indices
    nearest = nearest[near[nearest] <= _ALIKE * near[nearest[:3]].mean() + 1.0]
    asked = distances[:, nearest]
    best = asked.argmin(0)
    clear = asked.amin(0) < _CLEARLY * asked[0]
    against = int((best == 0).sum())
    votes = torch.stack([((best == place) & clear).sum() for place in range(1, len(turned))])
    winner = int(votes.argmax())
    agreed = int(votes[winner])
    if agreed < max(3, 2 * against):
        return None
    return list(TURNS)[winner], agreed, against, len(nearest)
