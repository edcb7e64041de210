"""What a model is told to do: numbers in the action space of a domain or one of its choices, the domain, words.

All of it is added where the action goes, the marker of the frame it leads to, and every part begins at zero, so that a
model to which one of them is added starts out as what it was. Continuous controls enter through a projection, as in
the released model, or as numbered bins (UniSim, section 3.1), each with a vector of its own and, where a text encoder
reads them too, words beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ivideo.embodiments import Domain, Embodiments
from ivideo.instructions import ControlWords, InstructionEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What each row of a batch is told."""

    actions: Float[Tensor, "b f a"] | None = None
    """What leads to each predicted frame, padded with zeros where domains are mixed."""
    domains: Int64[Tensor, " b"] | None = None
    """Whose actions they are, as a number."""
    text: Float[Tensor, "b e"] | None = None
    """The embedded instruction; all zeros where there is none."""
    heeded: Bool[Tensor, " b"] | None = None
    """False where the row's actions and instruction are to be ignored; None heeds all. The domain is always heeded."""
    acting: Bool[Tensor, "b f"] | None = None
    """False where no action leads to a row's frame, whatever stands in `actions`; None: one does everywhere."""

    @classmethod
    def sparse(
        cls, actions: Float[Tensor, "b f a"] | None, domains: Int64[Tensor, " b"] | None, text: Tensor | None
    ) -> "Controls":
        """The same of actions in which NaN stands where there is none."""
        if actions is None:
            return cls(domains=domains, text=text)
        absent = actions.isnan()
        return cls(actions=actions.masked_fill(absent, 0), domains=domains, text=text, acting=~absent.any(-1))

    def dropped(self, share: float, generator: torch.Generator | None = None) -> "Controls":
        """The same, a random `share` of rows told neither actions nor words."""
        told = self.actions if self.actions is not None else self.text
        if not share or told is None:
            return self
        draws = torch.rand(len(told), generator=generator, device=told.device)
        return replace(self, heeded=draws >= share)

    def ignored(self) -> "Controls":
        """The same without actions and words: what guidance compares with."""
        return Controls(domains=self.domains)

    def completed(self, embodiments: Embodiments) -> "Controls":
        """The same with actions as wide as the model's, and with the domain where there is only one.

        ValueError for actions of another size, or of nobody knows which domain.
        """
        if self.actions is None:
            return self
        if not embodiments.domains:
            if self.actions.shape[-1] != embodiments.action_dim:
                embodiments.check(self.actions)
            return self
        domains = self.domains
        if domains is None:
            ids = embodiments.ids(None, len(self.actions))
            if ids is None:
                known = ", ".join(embodiments.names)
                raise ValueError(f"the batch has actions but does not say of which of {known}; set its domains")
            domains = ids.to(self.actions.device)
        if self.actions.shape[-1] > embodiments.action_dim:
            embodiments.check(self.actions, domains.cpu())
        return replace(self, actions=embodiments.pad(self.actions), domains=domains)

    def silence(self, told: Tensor) -> Tensor:
        """Zero in the rows that are not heeded."""
        return told if self.heeded is None else told * self.heeded.reshape(-1, *[1] * (told.ndim - 1))

    def acted(self, read: nn.Module) -> Float[Tensor, "b f d"]:
        """The actions as an input reads them; zero where there are none and where they are not heeded."""
        assert self.actions is not None
        vectors = self.silence(read(self.actions, self.domains))
        return vectors if self.acting is None else vectors * self.acting[..., None]


class ActionInput(nn.Linear):
    """A projection of the actions of the only action space there is."""

    def forward(self, actions: Tensor, domains: Tensor | None = None) -> Tensor:
        return super().forward(actions)


class Range(nn.Module):
    """The range of each control of a domain, and what can be counted in it."""

    low: Tensor
    high: Tensor

    def __init__(self, domain: Domain) -> None:
        super().__init__()
        self.name = domain.name
        unknown = (float("nan"),) * domain.action_dim
        self.register_buffer("low", torch.tensor(domain.low or unknown), persistent=False)
        self.register_buffer("high", torch.tensor(domain.high or unknown), persistent=False)

    def place(self, values: Float[Tensor, "*n a"]) -> Float[Tensor, "*n a"]:
        """Where values lie in the range: 0 at its low end, 1 at its high end."""
        if self.low.isnan().any():
            raise ValueError(
                f"the range of domain {self.name}'s actions is not known; state its low and high, or train on data "
                "that tells"
            )
        return (values - self.low) / (self.high - self.low)

    def bin(self, values: Float[Tensor, "*n a"], count: int) -> Int64[Tensor, "*n a"]:
        """Which of `count` equal bins each value is in; what lies outside the range is in the first or the last."""
        return (self.place(values) * count).floor().clamp(0, count - 1).long()

    def centre(self, index: Int64[Tensor, "*n a"], count: int) -> Float[Tensor, "*n a"]:
        """The value in the middle of each bin."""
        return self.low + (index + 0.5) / count * (self.high - self.low)

    def outside(self, values: Float[Tensor, "*n a"]) -> Bool[Tensor, "*n a"]:
        """Which values lie outside the range."""
        return (values < self.low) | (values > self.high)


class ScaledInput(nn.Linear):
    """A projection of a domain's actions, scaled from their range to -1..1."""

    def __init__(self, domain: Domain, width: int) -> None:
        super().__init__(domain.action_dim, width)
        self.range = Range(domain)

    def forward(self, actions: Float[Tensor, "*n a"]) -> Float[Tensor, "*n d"]:
        return super().forward(2 * self.range.place(actions) - 1)


class BinnedInput(nn.Module):
    """The sum over a domain's controls of a vector for the bin that each control is in, and of what `reader` makes of
    the middles of these bins in words."""

    def __init__(self, domain: Domain, count: int, width: int, reader: InstructionEncoder | None = None) -> None:
        super().__init__()
        self.range, self.count = Range(domain), count
        self.table = nn.Embedding(domain.action_dim * count, width)
        self.words = None if reader is None else ControlWords(reader, width)

    def forward(self, actions: Float[Tensor, "*n a"]) -> Float[Tensor, "*n d"]:
        first = torch.arange(actions.shape[-1], device=actions.device) * self.count
        index = self.range.bin(actions, self.count)
        out: Tensor = self.table(index + first).sum(-2)
        if self.words is None:
            return out
        said: Tensor = self.words(self.range.centre(index, self.count), self.range.high - self.range.low)
        return out + said


class ChoiceInput(nn.Embedding):
    """A vector for each choice of a domain."""

    def forward(self, actions: Float[Tensor, "*n a"]) -> Float[Tensor, "*n d"]:
        # What stands in rows of other domains is read too, and may be anything.
        return super().forward(actions[..., 0].round().long().clamp(0, self.num_embeddings - 1))


class DomainInput(nn.ModuleDict):
    """The actions of each domain through an input of its own, by name; domains without actions add nothing."""

    def __init__(
        self,
        domains: Sequence[Domain],
        width: int,
        *,
        bins: int = 0,
        scale: bool = False,
        reader: InstructionEncoder | None = None,
    ) -> None:
        def of(domain: Domain) -> nn.Module:
            if domain.count:
                return ChoiceInput(domain.count, width)
            if bins:
                return BinnedInput(domain, bins, width, reader)
            return ScaledInput(domain, width) if scale else nn.Linear(domain.action_dim, width)

        super().__init__({domain.name: of(domain) for domain in domains if domain.action_dim})
        self.domains, self.width = tuple(domains), width

    def forward(self, actions: Float[Tensor, "b f a"], domains: Int64[Tensor, " b"]) -> Float[Tensor, "b f d"]:
        # Every input reads every row, so that none is ever without a gradient and no device waits for a choice.
        each = [
            self[domain.name](actions[..., : domain.action_dim])
            if domain.action_dim
            else actions.new_zeros(*actions.shape[:-1], self.width)
            for domain in self.domains
        ]
        return torch.stack(each)[domains, torch.arange(len(actions), device=actions.device)]

    def state_ranges(self, domains: Sequence[Domain]) -> None:
        """Take up the domains' ranges, where they are read."""
        inputs = dict(self.items())
        for domain in domains:
            if isinstance(owner := inputs.get(domain.name), BinnedInput | ScaledInput):
                owner.range = Range(domain).to(owner.range.low.device)

    def share_outside(self, actions: Float[Tensor, "b f a"], domains: Int64[Tensor, " b"]) -> Float[Tensor, ""] | None:
        """Which share of all controls lies outside the range of its bins and is clipped; None without bins."""
        inputs, binned = dict(self.items()), False
        clipped = total = actions.new_zeros(())
        for number, domain in enumerate(self.domains):
            owner = inputs.get(domain.name)
            if isinstance(owner, BinnedInput):
                binned, rows = True, (domains == number)[:, None, None]
                outside = owner.range.outside(actions[..., : domain.action_dim])
                clipped, total = clipped + (outside & rows).sum(), total + rows.expand_as(outside).sum()
        return clipped / total.clamp(min=1) if binned else None


def ranged(domain: Domain, actions: Float[Tensor, "n a"]) -> Domain:
    """The domain with the range that its actions take, where it states none; a control that never moves gets one."""
    if domain.low is not None or domain.count or not domain.action_dim:
        return domain
    low, high = actions.amin(0).double(), actions.amax(0).double()
    still = (low == high) * (low.abs() + 1) * 1e-3
    return replace(domain, low=tuple((low - still).tolist()), high=tuple((high + still).tolist()))
