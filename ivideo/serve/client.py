"""Imagined environments that a server computes, as Gymnasium's vector environment; needs no PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ivideo.serve.line import ConnectionLost as ConnectionLost
from ivideo.serve.line import Line
from ivideo.serve.pictures import PICTURES, Pictures, seen

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Where environments stood; the server holds it for as long as the connection lasts, or until it is forgotten."""

    number: int
    line: Line


class RemoteWorlds(VectorEnv[Array, Array, Array]):
    """Many imagined environments at once, in a model that `ivideo serve` holds.

    They are what `WorldModelEnv` is, seed by seed; what the server computes for several clients it computes in one
    pass. A lost connection is a `ConnectionLost`, after which `reconnect` and `reset` begin anew. In a model without a
    reward head every reward is 0, and `rewarded` is False.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (gymnasium's spelling)
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        address: str,
        *,
        num_envs: int = 1,
        horizon: int | None = None,
        observations: str = "pixels",
        threshold: float = 0.5,
        pictures: Pictures = "raw",
        render_mode: str | None = None,
        timeout: float = 120.0,
    ) -> None:
        """Connect, and open environments there.

        Args:
            address: as `ivideo serve` printed it.
            num_envs: how many.
            horizon: steps after which an episode is truncated; None leaves it to the server.
            observations: "pixels", or "tokens" to leave decoding to `render`.
            threshold: probability of termination above which an episode is terminated.
            pictures: how frames travel: "raw", "png" (exact) or "jpeg" (not exact), for slow networks.
            render_mode: "rgb_array", or None.
            timeout: seconds to wait for an answer.
        """
        if observations not in ("pixels", "tokens"):
            raise ValueError(f"observations is {observations!r}; expected 'pixels' or 'tokens'")
        if pictures not in PICTURES:
            raise ValueError(f"pictures is {pictures!r}; expected one of {', '.join(PICTURES)}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; expected 'rgb_array' or None")
        self.render_mode = render_mode
        self._asked: dict[str, Any] = {
            "envs": num_envs,
            "observations": observations,
            "threshold": threshold,
            "pictures": pictures,
        }
        if horizon is not None:
            self._asked["horizon"] = horizon
        self._owns = True
        self.line = Line(address, timeout=timeout)
        try:
            self._take(self.line.ask("open", **self._asked))
        except BaseException:
            self.line.close()
            raise
        hello = self.line.hello
        self.single_observation_space = _space(hello[observations])
        self.single_action_space = _space(hello["action"])
        self.rewarded = bool(hello.get("rewarded", True))
        self._batch()

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin all environments anew, or those of `options={"reset_mask": ...}`; one seed, or one for each."""
        if isinstance(seed, int | np.integer):
            seed = [int(seed) + index for index in range(self.num_envs)]
        seeds = None if seed is None else [None if each is None else int(each) for each in seed]
        mask = (options or {}).get("reset_mask")
        answer = self._ask("reset", seeds=seeds, mask=None if mask is None else np.asarray(mask, bool))
        return seen(answer["observations"]), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Let every environment go on under its action; those that have ended begin anew."""
        got = self._ask("step", actions=_actions(actions))
        everywhere = np.ones(self.num_envs, bool)
        infos = {
            "log_likelihood": got["log_likelihood"],
            "_log_likelihood": everywhere,
            "terminal": got["terminal"],
            "_terminal": everywhere,
        }
        return seen(got["observations"]), got["rewards"], got["terminated"], got["truncated"], infos

    def render(self) -> tuple[Array, ...]:
        """The latest frame of every environment, `[h w 3]`."""
        return tuple(seen(self._ask("render")["frames"]))

    # ------------------------------------------------------------------------------------- what only a model can do

    def save(self) -> Saved:
        """Where everything stands; kept by the server until the connection ends, or it is forgotten."""
        return Saved(number=self._ask("save")["save"], line=self.line)

    def restore(self, saved: Saved) -> None:
        """Go back to where everything stood, here or in as many other environments of this connection."""
        self._ask("restore", save=self._own(saved))

    def forget(self, saved: Saved) -> None:
        """Have the server keep it no more."""
        self.line.ask("forget", save=self._own(saved))

    def fork(self, n: int) -> "RemoteWorlds":
        """`n` environments for every one of these, which all go on from where it stands: i becomes i*n to i*n + n-1.

        The first of each goes on as the original would, the others draw their own tokens and beginnings. They share
        this one's connection.
        """
        forked = RemoteWorlds.__new__(RemoteWorlds)
        forked.render_mode, forked.line, forked._asked = self.render_mode, self.line, self._asked
        forked._owns = False
        forked._take(self._ask("fork", n=n))
        forked.single_observation_space = self.single_observation_space
        forked.single_action_space = self.single_action_space
        forked._batch()
        return forked

    def reconnect(self) -> None:
        """Connect anew and open as many environments, which are to be reset; what was saved or forked is gone."""
        self.line.close()
        self.line = Line(self.line.address, timeout=self.line.timeout)
        self._owns = True
        self._take(self.line.ask("open", **{**self._asked, "envs": self.num_envs}))

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments, and the connection with them unless they were forked from others on it."""
        if not hasattr(self, "line"):
            return
        if self._owns:
            self.line.close()
        elif hasattr(self, "_env"):
            self.line.leave(self._env)

    # ------------------------------------------------------------------------------------------------------ within

    def _ask(self, do: str, **fields: Any) -> dict[str, Any]:
        return self.line.ask(do, env=self._env, **fields)

    def _take(self, opened: dict[str, Any]) -> None:
        self._env: int = opened["env"]
        self.num_envs: int = opened["envs"]
        self.horizon: int = opened["horizon"]

    def _batch(self) -> None:
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _own(self, saved: Saved) -> int:
        if saved.line is not self.line:
            raise ValueError("that was saved on another connection, and ended with it; save again")
        return saved.number


def _actions(actions: Array) -> NDArray[np.float32]:
    given = np.asarray(actions, dtype="<f4")
    if not np.isfinite(given).all():
        raise ValueError("actions hold NaN or infinite values; expected finite numbers")
    return given


def _space(told: dict[str, Any]) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(told["low"], told["high"], tuple(told["shape"]), np.dtype(told["dtype"]).type)
