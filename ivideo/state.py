"""Where an imagined future stands, as a value, and what a step gives."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor

from ivideo.controls import Controls
from tokenizer import ContextFeatures
from transformer import KVCache, RaggedCache

_BRANCH = 1_000_003
"""Distance between the seeds of sibling branches; far from the +1 between the rows of a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The same frames, read as if nothing had been told: what guidance compares with."""

    cache: KVCache
    unread: Float[Tensor, "b 1 d"] | None
    """The latest frame's last token, embedded; it is read with the next frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """Where an imagined future stands. Immutable: stepping gives a new state and leaves this one valid."""

    cache: KVCache | RaggedCache
    """Keys and values of everything read so far; ragged where rows have imagined different numbers of frames."""
    context: ContextFeatures
    """What the tokenizer knows of the context frames."""
    ids: Int[Tensor, "b f m"]
    """Tokens of the frames imagined so far, as vocabulary ids, but for those that are `gone`. A row with fewer frames
    than others has them last, and -1 before them."""
    cells: Float[Tensor, "b m g"] | None
    """The guide's features of the latest frame, in models that have a guide."""
    unread: Float[Tensor, "b 1 d"] | None
    """The latest frame's last token, embedded, where the transformer has not read it yet; of no meaning in rows that
    have none."""
    actions: tuple[Float[Tensor, "b 1 a"] | None, ...]
    """What led to the latest frames, as many as are read again when older ones are forgotten; NaN in a row for none."""
    seeds: Int64[Tensor, " b"]
    """Each row draws its tokens from its own seed, so a row is the same alone and in any batch."""
    domains: Int64[Tensor, " b"] | None = None
    """Whose actions each row takes; on the CPU, as the seeds are."""
    text: Float[Tensor, "b e"] | None = None
    """What each row is to do, as the model reads it."""
    untold: Branch | None = None
    """The branch without actions, while every step so far was guided."""
    ages: Int64[Tensor, " b"] | None = None
    """Frames that each row has imagined, where that differs from row to row; on the CPU, as the seeds are."""
    gone: int = 0
    """Of how many frames, the first ones of the row that has imagined most, the tokens are no longer held."""

    @property
    def batch(self) -> int:
        return self.ids.shape[0]

    @property
    def frames(self) -> int:
        """Frames imagined so far, by the row that has imagined most."""
        return self.gone + self.ids.shape[1]

    def latest(self, count: int) -> "RolloutState":
        """The same future, of which only the latest `count` frames can still be looked at.

        It goes on as before where `count` is over the frames that stay when others are forgotten
        (`ivideo.window.frames_kept`).
        """
        dropped = self.ids.shape[1] - count
        if dropped <= 0:
            return self
        return replace(self, ids=self.ids[:, dropped:].clone(), gone=self.gone + dropped)

    def told(self, action: Float[Tensor, "b h a"] | None) -> Controls:
        """All that rows are told with an action."""
        domains = None if self.domains is None else self.domains.to(self.ids.device)
        return Controls.sparse(action, domains, self.text)

    def fork(self, n: int, *, frames: int = 0) -> "RolloutState":
        """`n` futures of every row, side by side: row i becomes rows i*n to i*n + n-1.

        Each branch draws from a seed of its own, derived from its row's; the first keeps the row's. Memory for
        `frames` frames is taken at once; otherwise it grows with them, by doubling.
        """
        if n < 1:
            raise ValueError(f"cannot fork into {n} branches; ask for at least 1")
        branch = torch.arange(n)
        return replace(
            self,
            cache=self.cache.fork(n, capacity=frames * (self.ids.shape[2] + 1)),
            context=self.context.fork(n),
            ids=self.ids.repeat_interleave(n, dim=0),
            cells=None if self.cells is None else self.cells.repeat_interleave(n, dim=0),
            unread=None if self.unread is None else self.unread.repeat_interleave(n, dim=0),
            actions=tuple(None if each is None else each.repeat_interleave(n, dim=0) for each in self.actions),
            seeds=(self.seeds[:, None] + branch * _BRANCH).flatten(),
            domains=None if self.domains is None else self.domains.repeat_interleave(n),
            ages=None if self.ages is None else self.ages.repeat_interleave(n),
            text=None if self.text is None else self.text.repeat_interleave(n, dim=0),
            untold=None
            if self.untold is None
            else Branch(
                cache=self.untold.cache.fork(n, capacity=frames * (self.ids.shape[2] + 1)),
                unread=None if self.untold.unread is None else self.untold.unread.repeat_interleave(n, dim=0),
            ),
        )

    def select(self, rows: Int[Tensor, " r"]) -> "RolloutState":
        """The given rows, in that order, repeats allowed."""
        untold = self.untold
        if untold is not None:
            unread = None if untold.unread is None else untold.unread[rows]
            untold = Branch(cache=untold.cache.select(rows), unread=unread)
        chosen = self.rows(rows, self.cache.select(rows), self.context.select(rows), untold)
        if self.ages is None:
            return chosen
        ages = self.ages[rows.to(self.ages.device)]
        held, oldest = self.ids.shape[1], int(ages.max())
        return replace(chosen, ids=chosen.ids[:, max(held - oldest, 0) :], ages=ages, gone=max(oldest - held, 0))

    def rows(
        self,
        rows: Int[Tensor, " r"],
        cache: KVCache | RaggedCache,
        context: ContextFeatures,
        untold: Branch | None = None,
    ) -> "RolloutState":
        """The given rows of everything but what is given, as rows that have imagined equally many frames."""
        return replace(
            self,
            cache=cache,
            context=context,
            ids=self.ids[rows],
            cells=None if self.cells is None else self.cells[rows],
            unread=None if self.unread is None else self.unread[rows],
            actions=tuple(None if each is None else each[rows] for each in self.actions),
            seeds=self.seeds[rows.to(self.seeds.device)],
            domains=None if self.domains is None else self.domains[rows.to(self.domains.device)],
            text=None if self.text is None else self.text[rows],
            untold=untold,
            ages=None,
        )

    def reseed(self, seed: int) -> "RolloutState":
        """The same state drawing its next tokens from other seeds: row i from `seed + i`."""
        return replace(self, seeds=seed + torch.arange(self.batch))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One imagined step, one row per branch."""

    frame: UInt8[Tensor, "b 3 h w"] | None
    """Pixels; None where `decode=False` left them out."""
    codes: Int[Tensor, "b m"]
    """Indices within the dynamics codebook."""
    reward: Float[Tensor, " b"] | None
    """Reward that arrives with the frame, in the environment's scale; None without a reward head."""
    terminal: Float[Tensor, " b"] | None
    """Probability that the frame is terminal; None without a termination head."""
    earlier_reward: Float[Tensor, " b"] | None
    """Reward of the frame before this one, where its own step left that out."""
    earlier_terminal: Float[Tensor, " b"] | None
    """The same of its probability to be terminal."""
    log_likelihood: Float[Tensor, " b"]
    """Sum over the frame's tokens of the log-probability the model gave them, in nats, before guidance, temperature and
    top-k: how sure it was."""
