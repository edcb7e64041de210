"""Draws the tokens of one frame, either one pass each or several in one pass from a guess.

Token by token, a frame of m tokens takes m passes. Where a guess is at hand, such as the frame before, all of it is
read in one pass, whose every state predicts the token that follows it. Drawn with each position's own random number,
these predictions are final up to and including the first that differs from the guess; from there on it is repeated:

    guess        5 7 1 4        5 7 2 4
    drawn        5 7 2 .        . . . 4      two passes instead of four, and the very same tokens

Since nothing but the number of passes depends on the guess, the tokens are those of drawing one by one, up to rounding.
Source: speculative decoding (Leviathan et al., arXiv 2211.17192) with a draft that costs nothing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ivideo.state import Branch
from transformer import KVCache, RaggedCache, Sampling, choose

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel

_FORESIGHT = 4
"""Guessed tokens that are read in a pass; what follows a wrong one is read in vain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The tokens of one frame and what is left of drawing them."""

    ids: Int[Tensor, "b m"]
    cache: KVCache | RaggedCache
    first: Float[Tensor, "b d"]
    """State at the first position that was read: the last token of the frame before, where that was unread."""
    hidden: Float[Tensor, "b d"]
    """State at the frame's last position that was read."""
    last: Float[Tensor, "b 1 d"]
    """Embedding of the last token; read already where a head needs its state."""
    log_likelihood: Float[Tensor, " b"]
    untold: Branch | None = None
    """The branch without actions, where drawing was guided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """What a frame is drawn from without actions, and how far to go away from it (UniSim, classifier-free guidance)."""

    strength: float
    cache: KVCache
    entered: Float[Tensor, "b u d"]
    additions: Float[Tensor, "b l d"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTask:
    """What a frame is drawn from."""

    model: "WorldModel"
    entered: Float[Tensor, "b u d"]
    """What is to be read first: the frame's marker, and the token before it where that is still unread."""
    additions: Float[Tensor, "b l d"] | None
    """What the frame's tokens carry beside their embeddings, marker first; a single entry is the marker's alone."""
    uniforms: Float[Tensor, "b m"]
    """The random number of each token."""
    sampling: Sampling
    vocabulary: Literal["dynamics", "full"]
    reads_last: bool
    """Whether to read the frame's last token too, which a head then looks at."""
    guidance: Guidance | None = None
    counts: tuple[int, ...] | None = None
    """How many of the last tokens that are read first belong to each row, where that differs."""
    checks: bool = True
    """Whether to look for logits that are no numbers at every token, which waits for the device."""

    def draw(self, cache: KVCache | RaggedCache) -> Drawn:
        """Token by token."""
        transformer, entered = self.model.transformer, self.entered
        hidden, cache = transformer.extend(entered, cache, self.counts)
        first, ids, likelihoods = hidden[:, 0], [], []
        guidance = self.guidance
        without: Tensor | None = None
        beside, untold = (None, None) if guidance is None else (guidance.entered, guidance.cache)
        for cell in range(self.tokens):
            if cell:
                hidden, cache = transformer.extend(entered, cache)
            if beside is not None and untold is not None:
                without, untold = transformer.extend(beside, untold)
                without = without[:, -1:]
            chosen, likelihood = self._choose(hidden[:, -1:], cell, without)
            ids.append(chosen)
            likelihoods.append(likelihood)
            entered = self._embed(chosen, cell, self.additions)
            beside = None if guidance is None else self._embed(chosen, cell, guidance.additions)
        if self.reads_last:
            hidden, cache = transformer.extend(entered, cache)
        return Drawn(
            ids=torch.cat(ids, dim=1),
            cache=cache,
            first=first,
            hidden=hidden[:, -1],
            last=entered,
            log_likelihood=torch.cat(likelihoods, dim=1).sum(1),
            untold=None if untold is None else Branch(cache=untold, unread=beside),
        )

    def draw_from(self, guess: Int[Tensor, "1 m"], cache: KVCache) -> Drawn:
        """Several tokens a pass, as far as a guess of them proves right; for a single row."""
        ids, entered, known = guess.clone(), self.entered, 0
        likelihoods: list[Tensor] = []
        first: Tensor | None = None
        while True:
            read = ids[:, known : known + _FORESIGHT][:, : self.readable - known]
            embedded = torch.cat([entered, self._embed(read, known, self.additions)], dim=1)
            hidden, cache = self.model.transformer.extend(embedded, cache)
            first = hidden[:, 0] if first is None else first
            if known == self.tokens:
                break
            chosen, likelihood = self._choose(hidden[:, entered.shape[1] - 1 :][:, : self.tokens - known], known)
            wrong = (chosen != ids[:, known : known + chosen.shape[1]])[0].nonzero()
            right = int(wrong[0]) if len(wrong) else chosen.shape[1]
            new = min(right + 1, chosen.shape[1])
            ids[:, known : known + new] = chosen[:, :new]
            likelihoods.append(likelihood[:, :new])
            known += new
            if known == self.tokens and (not self.reads_last or read.shape[1] == chosen.shape[1] == right):
                break
            if right < read.shape[1]:
                cache = cache.rewind(cache.length - read.shape[1] + right)
            entered = self._embed(ids[:, known - 1 : known], known - 1, self.additions)
        return Drawn(
            ids=ids,
            cache=cache,
            first=first,
            hidden=hidden[:, -1],
            last=self._embed(ids[:, -1:], self.tokens - 1, self.additions),
            log_likelihood=torch.cat(likelihoods, dim=1).sum(1),
        )

    @property
    def readable(self) -> int:
        """Tokens that are read before the frame is done."""
        return self.tokens if self.reads_last else self.tokens - 1

    @property
    def tokens(self) -> int:
        return self.model.layout.dynamics_tokens

    def _choose(
        self, hidden: Float[Tensor, "b s d"], cell: int, without: Float[Tensor, "b s d"] | None = None
    ) -> tuple[Int[Tensor, "b s"], Float[Tensor, "b s"]]:
        """The tokens that follow states, from `cell` on, and their log-probabilities before guidance."""
        shape = hidden.shape[:2]
        logits = guided = self.model.logits(hidden, self.vocabulary).float().flatten(0, 1)
        if without is not None and self.guidance is not None:
            plain = self.model.logits(without, self.vocabulary).float().flatten(0, 1)
            guided = (1 + self.guidance.strength) * logits - self.guidance.strength * plain
        uniforms = self.uniforms[:, cell : cell + shape[1]].flatten()
        chosen = choose(guided, self.sampling, uniforms, checks=self.checks)
        likelihood = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(-1)
        offset = self.model.layout.dynamics_ids[0] if self.vocabulary == "dynamics" else 0
        return (chosen + offset).view(shape), likelihood.view(shape)

    def _embed(
        self, ids: Int[Tensor, "b s"], cell: int, additions: Float[Tensor, "b l d"] | None
    ) -> Float[Tensor, "b s d"]:
        """Embeddings of the tokens from `cell` on."""
        embedded = self.model.embedding.tokens(self.model.transformer, ids, self.model.tokenizer.dynamics_codebook)
        if additions is None or additions.shape[1] == 1:
            return embedded
        return embedded + additions[:, cell + 1 : cell + 1 + ids.shape[1]]
