"""How much of its codebooks a tokenizer uses, and a model after it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int, Int64
from torch import Tensor

from ivideo.evaluation.measures.truth import Truth
from ivideo.evaluation.series import Figure
from ivideo.evaluation.statistics import Interval
from ivideo.world_model import WorldModel


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCounts:
    """How often each code of a codebook occurs; counts of several batches add up."""

    counts: Int64[Tensor, " k"]

    @staticmethod
    def of(codes: Int[Tensor, "..."], size: int) -> "CodeCounts":
        """Counts of some codes of a codebook of `size`; on the CPU's memory."""
        return CodeCounts(counts=torch.bincount(codes.flatten().cpu(), minlength=size))

    def __add__(self, other: "CodeCounts") -> "CodeCounts":
        return CodeCounts(counts=self.counts + other.counts)

    @property
    def total(self) -> int:
        """Tokens that were counted."""
        return int(self.counts.sum())

    @property
    def usage(self) -> float:
        """The share of codes that occur at all. It grows with the tokens counted: compare only equally many."""
        return float((self.counts > 0).double().mean())

    @property
    def entropy(self) -> float:
        """Of the codes' frequencies, in nats; NaN where none were counted.

        A predictor that knows these frequencies and nothing else pays as much for a token. With few tokens beside the
        codes they are fitted to the very tokens they predict, and the figure is too low, never too high.
        """
        shares = self.counts.double() / self.total if self.total else torch.full((1,), torch.nan)
        return float(torch.special.entr(shares).sum())

    @property
    def perplexity(self) -> float:
        """The number of equally frequent codes that would be as varied."""
        return float(torch.tensor(self.entropy, dtype=torch.float64).exp())


CONTEXT_CODES = "context codes"
DYNAMICS_CODES = "dynamics codes"
IMAGINED_CODES = "imagined codes"


def code_counts(model: WorldModel, truth: Truth, imagined: Int[Tensor, "n f m"]) -> dict[str, CodeCounts]:
    """Counts of the codes of context frames, of true later frames and of imagined ones."""
    layout = model.layout
    return {
        CONTEXT_CODES: CodeCounts.of(truth.start.context.codes, layout.context_codes),
        DYNAMICS_CODES: CodeCounts.of(truth.codes, layout.dynamics_codes),
        IMAGINED_CODES: CodeCounts.of(imagined, layout.dynamics_codes),
    }


def codebook(counts: Mapping[str, CodeCounts]) -> list[Figure]:
    """Share of codes in use and perplexity, of the counts of a whole set.

    They have no interval: clips drawn again hold fewer distinct clips, and hence codes, than the set.
    """
    return [
        *(_figure("Codes in use, %", name, 100.0 * each.usage) for name, each in counts.items()),
        *(_figure("Perplexity of codes", name, each.perplexity) for name, each in counts.items()),
    ]


def unigram(quantity: str, counts: CodeCounts) -> Figure:
    """The entropy of code frequencies, as the baseline beside a cross-entropy of that name; without an interval."""
    return _figure(quantity, "code frequencies", counts.entropy)


def _figure(quantity: str, source: str, value: float) -> Figure:
    unknown = float("nan")
    return Figure(
        quantity=quantity, source=source, per="set", values=(Interval(value=value, low=unknown, high=unknown),)
    )
