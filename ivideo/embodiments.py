"""Which bodies a model knows, by name, and which actions each of them takes.

One model may serve several data sets whose actions have nothing in common: each is a *domain* with an action space of
its own. Where rows of several domains stand in one batch, their actions are padded with zeros to the widest.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A data set or robot with an action space of its own."""

    name: str
    """What it is called; weights are saved under it."""
    action_dim: int = 0
    """Size of its actions; 0 for videos without any, and where there are `choices`."""
    low: tuple[float, ...] | None = None
    """Where the range of each of its controls begins, for `bins` and `scale_actions`; null takes the least action of
    the training data."""
    high: tuple[float, ...] | None = None
    """Where it ends; null takes the greatest action of the training data."""
    choices: tuple[str, ...] | int = ()
    """What it chooses from, by name, or how many unnamed choices there are; an action is then the number of one."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or any(
            hasattr(kind, self.name) for kind in (nn.ModuleDict, nn.ParameterDict)
        ):
            raise ValueError(
                f"a domain is called {self.name!r}; expected a letter, then letters, digits, _ or -, and no "
                "word that Python's dictionaries have a use for, such as items; bridge would do"
            )
        if self.action_dim < 0:
            raise ValueError(f"domain {self.name} has action_dim {self.action_dim}; expected 0 or more")
        self._check_choices()
        if (self.low is None) != (self.high is None):
            raise ValueError(f"domain {self.name} states one of low and high; expected both, or neither")
        if self.low is None or self.high is None:
            return
        if not len(self.low) == len(self.high) == self.action_dim or not all(map(float.__lt__, self.low, self.high)):
            raise ValueError(
                f"domain {self.name} has low {list(self.low)} and high {list(self.high)}; expected {self.action_dim} "
                "numbers each, every low below its high"
            )

    def _check_choices(self) -> None:
        """Refuse choices that cannot be; an action that is one of them is a single number."""
        if isinstance(self.choices, int):
            if self.choices < 0:
                raise ValueError(f"domain {self.name} has {self.choices} choices; expected 0, for numbers, or more")
        elif len(set(self.choices)) < len(self.choices) or not all(each.strip() for each in self.choices):
            raise ValueError(f"domain {self.name} has the choices {list(self.choices)}; expected a name once for each")
        if not self.count:
            return
        if self.action_dim not in (0, 1) or self.low is not None:
            raise ValueError(
                f"domain {self.name} has both choices and numbers of its own; leave out action_dim, low and high"
            )
        object.__setattr__(self, "action_dim", 1)

    @property
    def count(self) -> int:
        """How many choices there are; 0 where actions are numbers."""
        return self.choices if isinstance(self.choices, int) else len(self.choices)

    @property
    def names(self) -> tuple[str, ...]:
        """The choices by name; empty where they have none."""
        return () if isinstance(self.choices, int) else self.choices

    def number(self, choice: str | int) -> int:
        """The number of a choice; ValueError with the nearest name, or with all there are."""
        if isinstance(choice, str) and choice in self.names:
            return self.names.index(choice)
        if isinstance(choice, int) and 0 <= choice < self.count:
            return choice
        near = get_close_matches(choice, self.names, n=1) if isinstance(choice, str) else []
        remedy = f"did you mean {near[0]!r}?" if near else f"expected {self.listed()}"
        raise ValueError(f"{choice!r} is no choice of domain {self.name}; {remedy}")

    def listed(self) -> str:
        """Its choices, or how many numbers it takes, for people."""
        if not self.count:
            return f"{self.action_dim} values"
        numbers = f"0 to {self.count - 1}"
        if not self.names:
            return numbers
        shown = ", ".join(self.names[:_LISTED]) + (", ..." if self.count > _LISTED else "")
        return f"{shown} (or {numbers})"

    def check(self, actions: Tensor, where: str = "") -> None:
        """Refuse actions `[... a]` of a domain with choices that are the number of none."""
        if not self.count:
            return
        chosen = actions[..., 0]
        wrong = ~((chosen >= 0) & (chosen < self.count) & (chosen == chosen.round()))
        if bool(wrong.any()):
            raise ValueError(
                f"{where}an action is {float(chosen[wrong][0]):g}; domain {self.name} has {self.count} choices: "
                f"expected a whole number, 0 to {self.count - 1}"
            )


_LISTED = 8
"""Names of choices that are shown at most."""
Named = str | int | Sequence[str | int]
"""A domain by name or number; one for all rows, or one for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embodiments:
    """The action spaces of a model: one without a name, or those of its domains."""

    action_dim: int
    """Size of an action, padded to the widest; 0 where the model takes none."""
    domains: tuple[Domain, ...] = ()

    @property
    def names(self) -> list[str]:
        return [domain.name for domain in self.domains]

    def ids(self, named: Named | None, batch: int) -> Int64[Tensor, " b"] | None:
        """The numbers of the named domains, one for each row; None where none is named and there are several."""
        if named is None:
            return torch.zeros(batch, dtype=torch.long) if len(self.domains) == 1 else None
        if not self.domains:
            raise ValueError(f"domain is {named!r}, but this model knows no domains: leave it out")
        each = [named] if isinstance(named, str | int) else list(named)
        if len(each) not in (1, batch):
            raise ValueError(f"{len(each)} domains are named for {batch} rows; expected one for all, or one for each")
        return torch.tensor([self._number(one) for one in each]).expand(batch).clone()

    def known(self, ids: Int64[Tensor, " b"] | None) -> Int64[Tensor, " b"] | None:
        """The numbers themselves, where they are all domains of this model; None for a model without domains."""
        if ids is None or not self.domains:
            return None
        low, high = int(ids.min()), int(ids.max())
        if not 0 <= low <= high < len(self.domains):
            raise ValueError(
                f"the batch has rows of domains {low} to {high}; this model knows {self.listed()}: name every data "
                "set of the mixture in embedding.domains, in its order"
            )
        return ids

    def check(self, actions: Tensor, ids: Int64[Tensor, " b"] | None = None, where: str = "") -> None:
        """Refuse actions whose size is not that of their rows' domain, or not finite; rows are the first axis."""
        if not self.action_dim:
            raise ValueError(f"{where}this model is action-free; leave the actions out, or load one that takes actions")
        size = actions.shape[-1] if actions.ndim else 0
        if not self.domains:
            if size != self.action_dim:
                raise ValueError(
                    f"{where}an action has {size} values; this model takes {self.action_dim}: give it what it was "
                    "trained on, or leave the actions out"
                )
        elif ids is None:
            raise ValueError(f"{where}say whose actions these are with domain=; this model knows {self.listed()}")
        else:
            self._check_domains(actions, size, ids, where)
        if not torch.isfinite(actions).all():
            raise ValueError(f"{where}actions hold NaN or infinite values; expected finite numbers: repair them")

    def check_choices(self, actions: Float[Tensor, "b f a"] | None, ids: Int64[Tensor, " b"] | None) -> None:
        """Refuse a batch in which a row of a domain with choices has an action that is none of them."""
        if actions is None or not any(domain.count for domain in self.domains):
            return
        if ids is None:
            ids = self.ids(None, len(actions))
        for number, domain in enumerate(self.domains if ids is not None else ()):
            assert ids is not None
            domain.check(actions[(ids == number).to(actions.device)])

    def pad(self, actions: Float[Tensor, "*n a"]) -> Float[Tensor, "*n w"]:
        """Actions with zeros behind them, as wide as the widest domain's."""
        return F.pad(actions, (0, self.action_dim - actions.shape[-1]))

    def sizes(self, ids: Int64[Tensor, " b"]) -> Int64[Tensor, " b"]:
        """How many of each row's actions are numbers of its own, neither padding nor a choice."""
        sizes = [0 if domain.count else domain.action_dim for domain in self.domains]
        return torch.tensor(sizes, device=ids.device)[ids]

    def _check_domains(self, actions: Tensor, size: int, ids: Tensor, where: str) -> None:
        for number in ids.unique().tolist():
            domain = self.domains[number]
            rows = (
                actions[(ids == number).to(actions.device)]
                if actions.ndim > 1 and len(actions) == len(ids)
                else actions
            )
            padded = size == self.action_dim and not rows[..., domain.action_dim :].any()
            if not padded and not domain.action_dim:
                raise ValueError(f"{where}domain {domain.name} takes no actions; leave them out")
            if not padded and size != domain.action_dim:
                raise ValueError(
                    f"{where}an action has {size} values; domain {domain.name} takes {domain.action_dim}, padded with "
                    f"zeros to {self.action_dim} where domains are mixed"
                )
            domain.check(rows, where)

    def _number(self, named: str | int) -> int:
        if isinstance(named, str) and named in self.names:
            return self.names.index(named)
        if isinstance(named, int) and 0 <= named < len(self.domains):
            return named
        raise ValueError(f"domain is {named!r}; this model knows {self.listed()}")

    def listed(self) -> str:
        """Its domains with what each takes, for people."""
        return ", ".join(
            f"{domain.name} ({f'{domain.count} choices' if domain.count else f'{domain.action_dim} values'})"
            for domain in self.domains
        )
