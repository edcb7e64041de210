"""Windows that are tokenized once and trained on many times."""

import torch

from ivideo.data import SegmentSampler
from ivideo.tokens import TokenBatch
from ivideo.training.dataset import model_inputs
from ivideo.world_model import WorldModel

CHUNK = 16
"""Windows that are tokenized at once."""


class TokenCache:
    """Batches of codes drawn from `size` windows that are tokenized together, in the order that a seed decides.

    Batch i is a function of i alone. With `refresh`, every so many batches the next `size` windows take the place of
    those before.
    """

    def __init__(
        self, model: WorldModel, windows: SegmentSampler, *, size: int, seed: int, refresh: int | None = None
    ) -> None:
        self._model, self._windows, self._size, self._seed, self._refresh = model, windows, size, seed, refresh
        self._generation = -1
        self._tokens: TokenBatch | None = None
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    def batch(self, index: int, batch_size: int) -> TokenBatch:
        """Return batch number `index`, tokenizing what it needs first."""
        generation = index // self._refresh if self._refresh else 0
        if generation != self._generation or self._tokens is None:
            self._tokens = self._tokenize(generation)
            self._generation = generation
        return self._tokens.rows(torch.tensor([self._row(index * batch_size + row) for row in range(batch_size)]))

    def _row(self, sample: int) -> int:
        epoch, place = divmod(sample, self._size)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed((self._seed << 20) + epoch)
            self._order = torch.randperm(self._size, generator=generator)
            self._epoch = epoch
        return int(self._order[place])

    def _tokenize(self, generation: int) -> TokenBatch:
        chunks = -(-self._size // CHUNK)
        parts = []
        for chunk in range(chunks):
            batch = model_inputs(self._windows.batch(generation * chunks + chunk, CHUNK), self._model)
            parts.append(self._model.tokenize(batch.to(self._model.device)).to("cpu"))
        return TokenBatch.stack(parts).rows(torch.arange(self._size))
