"""Episodes that cannot be used are left out, counted and named; too many of them are an error."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ivideo.data.sources.source import Item, Options
from ivideo.data.store import Damaged
from ivideo.data.table import Kind, unlike
from ivideo.episode import Episode

_NAMED = 3


@dataclass(slots=True, kw_only=True)
class Quarantine:
    """What was left out of `total` episodes, of which a share of `max_damaged` may be."""

    source: str
    total: int
    max_damaged: float
    damaged: list[Damaged] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 <= self.max_damaged <= 1:
            raise ValueError(f"max_damaged is {self.max_damaged}; expected a share of the episodes, 0 to 1")

    def add(self, damaged: Iterable[Damaged]) -> None:
        """Leave these out as well; ValueError, naming some, where that is more than may be."""
        self.damaged.extend(damaged)
        if len(self.damaged) > self.max_damaged * self.total:
            some = "; ".join(f"{name}: {reason}" for name, reason in self.damaged[:_NAMED])
            more = "; ..." if len(self.damaged) > _NAMED else ""
            raise ValueError(
                f"{self.source}: {len(self.damaged)} of {self.total} episodes cannot be used, more than max_damaged "
                f"{self.max_damaged:g} allows; allow more, or repair them and say the same again ({some}{more})"
            )


def read_or_tell(item: Item, options: Options) -> Episode | Damaged:
    """Return the episode of an item, or why there is none, in one line."""
    try:
        return item.read(options)
    except (ValueError, OSError) as error:
        reason = str(error)
    except Exception as error:  # whatever a decoder makes of damaged bytes, it is that file's fault
        reason = f"{type(error).__name__}: {error}"
    return Damaged(item.name, " ".join(reason.split()))


def most_common_kind(episodes: Iterable[Episode]) -> Kind | None:
    """Return the kind of most episodes, the first seen of equally common ones; None where there are none."""
    counts = Counter(Kind.of(episode) for episode in episodes)
    return counts.most_common(1)[0][0] if counts else None


def of_kind(read: Episode | Damaged, kind: Kind) -> Episode | Damaged:
    """The same, unless it is an episode of another kind than most."""
    problem = unlike(read, kind, "most of the others") if isinstance(read, Episode) else ""
    return Damaged(read.name, problem) if problem else read
