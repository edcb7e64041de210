"""Mixtures: many data sets that are trained on together, each with a weight, a frame step and ways of its own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ivideo import recipes
from ivideo.config import load_config
from ivideo.data.opening import read_episodes
from ivideo.data.sources.source import Options, SourceOptions
from ivideo.data.store import EpisodeStore
from ivideo.files import read_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureSet(SourceOptions):
    """One data set of a mixture; the file that `classes` names lies below the mixture's root."""

    name: str
    """What the set, and with it the domain of its episodes, is called."""
    source: str
    """File or folder of episodes, below the mixture's root; or an address on the Hub."""
    weight: float
    """Its share of the samples, in the unit of the other weights."""
    stride: int = 1
    """Frames of the episode from one frame of a window to the next: what makes frame rates alike."""
    augment: bool = True
    """Change framing and colours, where that is asked for."""
    tokenizer_only: bool = False
    """Tokenizers are trained on it, transformers are not; the weights of the others then make up the whole."""
    drop: str | None = None
    """A file below the root that names episodes to leave out, one a line, such as those of a published test set."""
    public: bool = True
    """Whether the set can be had by anyone."""

    def __post_init__(self) -> None:
        if not self.weight > 0 or self.weight == float("inf"):
            raise ValueError(f"weight is {self.weight} for {self.name}; expected more than 0")
        if self.stride < 1:
            raise ValueError(f"stride is {self.stride} for {self.name}; expected at least 1 frame")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Data sets that are trained on together."""

    sets: tuple[MixtureSet, ...]
    """The sets; a set's place here is the number of its domain."""
    block: int = 10_000
    """Samples within which every set has exactly its share."""

    def __post_init__(self) -> None:
        names = [each.name for each in self.sets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} names two sets; expected names of their own")
        if not self.sets or self.block < len(self.sets):
            raise ValueError(f"{len(self.sets)} sets in blocks of {self.block}; expected sets, and a sample for each")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedDomain:
    """The episodes of one set, and how they are to be drawn."""

    number: int
    settings: MixtureSet
    episodes: EpisodeStore


class MixedStore:
    """Episodes of several domains, whose frames are of one size and whose actions may differ in width."""

    def __init__(self, domains: tuple[MixedDomain, ...], *, names: tuple[str, ...], block: int, source: str) -> None:
        """Keep the domains; `names` are those of all that the mixture knows, by number."""
        self.domains, self.names, self.block, self.source = domains, names, block, source

    def __len__(self) -> int:
        return sum(len(domain.episodes) for domain in self.domains)

    @property
    def total_frames(self) -> int:
        return sum(domain.episodes.total_frames for domain in self.domains)

    @property
    def action_dim(self) -> int | None:
        """Numbers in the widest action; None where no domain has any."""
        widths = [domain.episodes.action_dim for domain in self.domains]
        return max((width for width in widths if width is not None), default=None)

    @property
    def has_rewards(self) -> bool:
        """Whether every domain has rewards."""
        return all(domain.episodes.has_rewards for domain in self.domains)

    @property
    def shares(self) -> list[float]:
        """The share of each domain."""
        weights = [domain.settings.weight for domain in self.domains]
        return [weight / sum(weights) for weight in weights]

    def describe(self) -> list[str]:
        """Lines for people: what each domain brings."""
        lines = [f"{self.source}: {len(self):,} episodes, {self.total_frames:,} frames of {len(self.domains)} sets"]
        for domain, share in zip(self.domains, self.shares, strict=True):
            held = domain.episodes
            lines.append(
                f"  {domain.settings.name:<28} {100 * share:6.2f}%  stride {domain.settings.stride}  "
                f"{len(held):>9,} episodes  {held.total_frames:>11,} frames  "
                f"{'no actions' if held.action_dim is None else f'{held.action_dim} action numbers'}"
            )
        return lines


def load_mixture(name: str) -> Mixture:
    """Return a packaged mixture, such as `oxe_ssv2`, or that of a YAML file."""
    return load_config(Mixture, recipes.find(name, "mixture"))


def open_mixture(
    mixture: Mixture,
    root: Path,
    *,
    size: int | None = 64,
    held_out: int | str = 100,
    transformer: bool = False,
    skip_missing: bool = False,
    limit: int | None = None,
    max_damaged: float | None = None,
    source: str = "mixture",
) -> tuple[MixedStore, MixedStore]:
    """Return the episodes of a mixture to train on and those held out of every set.

    Args:
        mixture: which sets.
        root: the folder that their sources lie in.
        size: side of the frames in pixels.
        held_out: as `EpisodeStore.split` takes it, for each set.
        transformer: leave out the sets that are for tokenizers only.
        skip_missing: do without the sets that are not there; the shares of the others grow.
        limit: episodes to open of a set, at most.
        max_damaged: as `open_episodes` takes it, for each set.
        source: what the mixture is called.

    Raises:
        FileNotFoundError: naming every set that is missing, or all of them are.
    """
    wanted = [(number, each) for number, each in enumerate(mixture.sets) if not (transformer and each.tokenizer_only)]
    missing = [each for _, each in wanted if not _is_there(root, each)]
    if missing and (not skip_missing or len(missing) == len(wanted)):
        listed = ", ".join(f"{root / each.source}{'' if each.public else ' (not public)'}" for each in missing)
        remedy = "" if len(missing) == len(wanted) else ", or pass --data.skip_missing to do without them"
        raise FileNotFoundError(
            f"{len(missing)} of the {len(wanted)} sets of {source} are missing: {listed}; put them there, name another "
            f"folder with --data.root{remedy}"
        )
    train: list[MixedDomain] = []
    held: list[MixedDomain] = []
    for number, each in wanted:
        if each in missing:
            continue
        options = Options.of(each, size=size)
        if each.classes is not None:
            options = replace(options, classes=str(root / each.classes))
        place = each.source if _is_address(each) else root / each.source
        episodes = read_episodes(place, options, limit=limit, max_damaged=max_damaged)
        if each.drop is not None:
            episodes = _without(episodes, root / each.drop)
        for part, into in zip(episodes.split(held_out), (train, held), strict=True):
            into.append(MixedDomain(number=number, settings=each, episodes=part))
    names = tuple(each.name for each in mixture.sets)
    first, second = (
        MixedStore(tuple(domains), names=names, block=mixture.block, source=source) for domains in (train, held)
    )
    return first, second


def _is_address(each: MixtureSet) -> bool:
    return each.source.startswith("hf://")


def _is_there(root: Path, each: MixtureSet) -> bool:
    return _is_address(each) or (root / each.source).exists()


def _without(episodes: EpisodeStore, file: Path) -> EpisodeStore:
    """The episodes without those that a file names, with or without folders and suffixes."""
    unwanted = set(_spellings(read_lines(file)))
    kept = [place for place, name in enumerate(episodes.table.names) if not unwanted & set(_spellings([name]))]
    if len(kept) == len(episodes):
        raise ValueError(
            f"{file} names no episode of {episodes.source}, such as {episodes.table.names[0]!r}; expected names of "
            "episodes to leave out, one a line"
        )
    if not kept:
        raise ValueError(f"{file} names every episode of {episodes.source}; expected some to remain")
    return episodes.subset(np.array(kept))


def _spellings(names: list[str]) -> Iterator[str]:
    for name in names:
        bare = name.rpartition("/")[2]
        yield bare.partition(".")[0] if "." in bare else bare
