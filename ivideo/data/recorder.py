"""`ivideo data record ENV OUT`: episodes of a Gymnasium environment as files, and writing episodes as files."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ivideo.config import parse
from ivideo.data.recording import Policy, record
from ivideo.data.show import describe
from ivideo.data.store import EpisodeStore
from ivideo.episode import Episode
from ivideo.files import staged_folder
from ivideo.simulate import pusht_policies, robodesk, robodesk_policies, robosuite_push
from ivideo.simulate.metaworld import PREFIX, Demonstrator


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What to record."""

    env: str
    """A Gymnasium id, such as ivideo/PushingTable-v0 or ivideo/PushT-v0, or a task of Meta-World, RoboDesk or
    robosuite, such as metaworld/hammer-v3, robodesk/push_red or robosuite/push."""
    out: str
    """Folder for the episodes, one .npz each."""
    episodes: int = 100
    """How many to record."""
    policy: Literal["random", "scripted", "probing"] = "random"
    """random draws actions from the action space; scripted is the pushing table's or PushT's mixture of
    policies, for Meta-World and RoboDesk the task's demonstrator, and for robosuite one that pushes; probing
    tries things out beside the pushing table's objects, as a planner's candidates do."""
    noise: float = 0.0
    """Disturb the demonstrator of Meta-World or RoboDesk by up to this standard deviation, another in every episode."""
    seed: int = 0
    """Recordings with different seeds have no episode in common."""
    size: int | None = None
    """Side to which frames are resized; the environment's own without."""
    max_steps: int | None = None
    """Cut episodes after so many steps."""
    overwrite: bool = False
    """Replace the episodes in a folder of that name."""


def main(argv: list[str]) -> int:
    """`ivideo data record ENV OUT [...]`."""
    wanted = parse(
        Record,
        argv,
        prog="ivideo data record",
        description="Record episodes of a Gymnasium environment.",
        positional=("env", "out"),
    )
    folder = Path(wanted.out)
    _check_folder(folder, overwrite=wanted.overwrite)
    with staged_folder(folder, overwrite=wanted.overwrite) as stage:
        episodes = record(
            wanted.env,
            _policy(wanted),
            wanted.episodes,
            wanted.seed,
            size=wanted.size,
            max_steps=wanted.max_steps,
            progress=partial(_tell, wanted.episodes),
        )
        save_episodes(stage, episodes)
    print("\n".join(describe(EpisodeStore(episodes, source=str(folder)))))
    return 0


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse to replace what is there, and to replace anything but recorded episodes even when asked to."""
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if held and not overwrite:
        raise FileExistsError(f"{folder} exists already; choose another folder, or pass --overwrite")
    foreign = [name for name in held if not name.endswith(".npz")]
    if foreign:
        raise FileExistsError(
            f"{folder} holds {foreign[0]}, which is no recorded episode, so it is not replaced; choose another folder, "
            "or empty it yourself"
        )


def save_episodes(folder: Path, episodes: Sequence[Episode]) -> list[Path]:
    """Write each episode as `.npz`, under its number, such that `open_episodes(folder, size=None)` gives them back."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, episode in enumerate(episodes):
        arrays = {"frames": episode.frames.permute(0, 2, 3, 1).cpu().numpy(), "terminal": np.array(episode.terminal)}
        if episode.actions is not None:
            arrays["actions"] = episode.actions.cpu().numpy()
        if episode.rewards is not None:
            arrays["rewards"] = episode.rewards.cpu().numpy()
        if episode.instruction:
            arrays["instruction"] = np.array(episode.instruction)
        if episode.fps is not None:
            arrays["fps"] = np.array(episode.fps)
        paths.append(folder / f"{number:06d}.npz")
        np.savez_compressed(paths[-1], **arrays)  # type: ignore[arg-type]  # arrays only, no flags
    return paths


def _tell(episodes: int, recorded: int) -> None:
    """A line for every tenth of the episodes, where there are many."""
    if episodes >= 20 and recorded % (episodes // 10) == 0:
        print(f"recorded {recorded:,} of {episodes:,} episodes", file=sys.stderr, flush=True)


def _policy(wanted: Record) -> Policy | None:
    if wanted.noise and (wanted.policy == "random" or not wanted.env.startswith((PREFIX, robodesk.PREFIX))):
        raise ValueError(
            f"noise is {wanted.noise}, which only the demonstrators of Meta-World and RoboDesk take; leave it out"
        )
    if wanted.policy == "random":
        return None
    if wanted.policy == "probing":
        return _prober(wanted.env)
    if wanted.env.startswith(PREFIX):
        return Demonstrator(wanted.env.removeprefix(PREFIX), wanted.noise)
    if wanted.env.startswith(robodesk.PREFIX):
        return robodesk_policies.Demonstrator(wanted.env.removeprefix(robodesk.PREFIX), wanted.noise)
    if wanted.env == f"{robosuite_push.PREFIX}push":
        return robosuite_push.Pusher()
    if wanted.env == "ivideo/PushT-v0":
        return pusht_policies.Mixed()
    if "PushingTable" not in wanted.env:
        raise ValueError(
            "policy scripted plays ivideo/PushingTable-v0, ivideo/PushT-v0 and the tasks of Meta-World, RoboDesk and "
            f"robosuite, not {wanted.env}; pass --policy random, or call ivideo.data.record with a policy of your own"
        )
    from ivideo.simulate.policies import Mixed

    return Mixed()


def _prober(env: str) -> Policy:
    from ivideo.simulate.policies import Prober

    if "PushingTable" not in env:
        raise ValueError(f"policy probing plays ivideo/PushingTable-v0, not {env}; pass --policy random or scripted")
    return Prober()
