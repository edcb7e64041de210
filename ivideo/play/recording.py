"""`ivideo play --record FILE`: the film of a play that nobody sits at, by a policy or by a list of actions."""

import json
from pathlib import Path

import numpy as np

from ivideo.play import keeping
from ivideo.play.pilots import Pilot
from ivideo.play.session import Session
from ivideo.play.timeline import Timeline

_MOST_ACTIONS = 64 << 20


def record(session: Session, path: Path, driver: str | Pilot | np.ndarray, *, frames: int, fps: float) -> Timeline:
    """Play so many frames and write them; a policy by name or itself, or an array of actions, one a row."""
    if isinstance(driver, np.ndarray):
        for row in driver[:frames]:
            session.act(tuple(float(each) for each in row))
    elif session.dreamer.size:
        session.hand_over(driver)
        for _ in range(frames):
            session.drive()
    else:
        for _ in range(frames):
            session.act()
    keeping.write(path, [session.timeline], fps=fps)
    return session.timeline


def read_actions(path: Path, size: int) -> np.ndarray:
    """Actions from a .json list of lists, a .npy array, or the "actions" of an .npz; ValueError says what is wrong."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected actions as .json, .npy or .npz")
    if path.stat().st_size > _MOST_ACTIONS:
        raise ValueError(f"{path} has over {_MOST_ACTIONS >> 20} MiB; expected a list of actions")
    try:
        if path.suffix == ".json":
            found = np.asarray(json.loads(path.read_text(encoding="utf-8")), dtype=np.float32)
        else:
            loaded = np.load(path, allow_pickle=False)
            found = np.asarray(loaded if isinstance(loaded, np.ndarray) else loaded["actions"], dtype=np.float32)
    except (ValueError, TypeError, KeyError, RecursionError, EOFError) as error:
        raise ValueError(f"{path} holds no actions ({' '.join(str(error).split())[:120]})") from error
    if found.ndim != 2 or found.shape[1] != size or not len(found):
        raise ValueError(f"{path} holds actions {list(found.shape)}; expected [frames, {size}]")
    if not np.isfinite(found).all():
        raise ValueError(f"{path} holds NaN or infinite actions; expected finite numbers")
    return found
