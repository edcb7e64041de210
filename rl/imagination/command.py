"""`ivideo rl returns MODEL EPISODES`: whether what is earned in the model is earned in the world."""

from dataclasses import dataclass

from ivideo import WorldModel, open_episodes
from ivideo.config import parse
from ivideo.config.limits import check_least
from rl.imagination.fidelity import returns


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """What to compare."""

    model: str
    """A model with a reward head: a folder, a run, a Hub id or "pushing_table"."""
    episodes: str
    """Recorded episodes with actions and rewards that it has not learned from: a data set, or a run's episodes/."""
    horizons: tuple[int, ...] = (1, 5, 10)
    """Steps over which rewards are summed."""
    windows: int = 256
    """Pieces of episodes for each horizon, drawn with replacement."""
    limit: int | None = None
    """Open at most so many episodes."""
    seed: int = 0
    """Decides the pieces and the tokens."""
    device: str = "cpu"
    """What to compute on."""

    def __post_init__(self) -> None:
        check_least(self, windows=2, limit=1)
        if not self.horizons or min(self.horizons) < 1:
            raise ValueError(f"horizons is {list(self.horizons)}; expected numbers of steps from 1 on, such as 1,5,10")


def main(argv: list[str]) -> int:
    """`ivideo rl returns MODEL EPISODES [...]`."""
    wanted = parse(
        Compare,
        argv,
        prog="ivideo rl returns",
        description="Rank correlation of imagined and real returns of the same actions.",
        positional=("model", "episodes"),
    )
    model = WorldModel.from_pretrained(wanted.model, device=wanted.device)
    store = open_episodes(wanted.episodes, size=model.tokenizer.config.resolution, limit=wanted.limit)
    episodes = [store[place] for place in range(len(store))]
    lacking = [each.name for each in episodes if each.actions is None or each.rewards is None]
    if lacking:
        raise ValueError(f"{lacking[0]} in {wanted.episodes} has no actions or no rewards; expected both")
    print(f"{len(episodes)} episodes, {wanted.windows} windows for each horizon; 95% intervals over windows")
    print(
        f"{'steps':>5}  {'rank correlation':<20}  {'of no change':<20}  {'of what changed':<20}  real and imagined mean"
    )
    for horizon in wanted.horizons:
        found = returns(model, episodes, horizon=horizon, windows=wanted.windows, seed=wanted.seed)
        print(
            f"{horizon:>5}  {found.correlation()!s:<20}  {found.baseline()!s:<20}  {found.change()!s:<20}  "
            f"{float(found.real.mean()):.3g} and {float(found.imagined.mean()):.3g}",
            flush=True,
        )
    return 0
