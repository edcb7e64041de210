"""What was done to environments, so that it can be done again and give the same, bit for bit, on the same machine."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ivideo.files import read_json, replace_file
from ivideo.fingerprint import fingerprint

if TYPE_CHECKING:
    from ivideo.simulate.world_model_env import WorldModelEnv

FORMAT = 1
_MOST = 1 << 30


@dataclass(slots=True, kw_only=True)
class PlayLog:
    """Resets and steps in their order."""

    model: str
    """Fingerprint of the model they were done in."""
    num_envs: int
    events: list[dict[str, Any]] = field(default_factory=list)
    """`{"mask": which, "generators": states}` of a reset, `{"actions": rows}` of a step."""

    @staticmethod
    def of(env: "WorldModelEnv") -> "PlayLog":
        """A log of what is done to these environments from now on; begin with a reset."""
        log = PlayLog(model=fingerprint(env.worlds.model), num_envs=env.num_envs)
        env.log = log
        return log

    def replay(self, env: "WorldModelEnv") -> Iterator[tuple[NDArray[Any], ...]]:
        """Do it all again in environments like those: what every reset (observations) and step (five values) gives.

        ValueError for another model or another number of environments. The log of `env` itself, if it has one, rests
        meanwhile.
        """
        if env.num_envs != self.num_envs:
            raise ValueError(f"the log is of {self.num_envs} environments and here are {env.num_envs}; make as many")
        if fingerprint(env.worlds.model) != self.model:
            raise ValueError("the log is of another model; replay it in the one it was made in")
        own, env.log = env.log, None
        try:
            for event in self.events:
                if "actions" in event:
                    yield env.step(np.asarray(event["actions"], dtype=np.float32))  # type: ignore[misc]
                else:
                    env.draw_from(event["generators"])
                    yield (env.reset(options={"reset_mask": np.asarray(event["mask"], bool)})[0],)
        finally:
            env.log = own

    def save(self, path: str | Path) -> None:
        """Write it as JSON, in one step."""
        text = json.dumps({"format": FORMAT, "model": self.model, "num_envs": self.num_envs, "events": self.events})
        replace_file(Path(path), lambda file: file.write_text(text + "\n", encoding="utf-8"))

    @staticmethod
    def load(path: str | Path) -> "PlayLog":
        """Read one; ValueError names a file that holds none."""
        file = Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist; expected the log of a play, as PlayLog.save writes it")
        found = read_json(file, what="the log of a play", most=_MOST, remedy="record it anew")
        if found.get("format") != FORMAT or not {"model", "num_envs", "events"} <= found.keys():
            raise ValueError(f"{file}: no log of a play of format {FORMAT}; record it anew")
        return PlayLog(model=str(found["model"]), num_envs=int(found["num_envs"]), events=list(found["events"]))
