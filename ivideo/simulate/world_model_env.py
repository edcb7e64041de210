"""The world model as Gymnasium environments: many at once, that can be saved, restored, forked and replayed."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ivideo.data import open_episodes
from ivideo.episode import Episode
from ivideo.simulate.play_log import PlayLog
from ivideo.simulate.rows import Rows
from ivideo.simulate.spaces import Observations, observation_space
from ivideo.simulate.spaces import action_space as free_space
from ivideo.simulate.turns import Ask, Turn, alone
from ivideo.simulate.worlds import Group, Rewarder, Seen, Snapshot, Worlds
from ivideo.world_model import WorldModel
from transformer import Sampling

Array = NDArray[Any]


class WorldModelEnv(VectorEnv[Array, Array, Array]):
    """Many imagined environments at once.

    Observations are frames, uint8 RGB `[n h w 3]`, or with `observations="tokens"` the codes of the latest frame
    `[n m]`, of which pixels are decoded only when `render` asks for them. Actions lie in [-1, 1] unless `action_space`
    says otherwise. An episode begins with true frames, from anywhere in `starts`; it is terminated where the model's
    termination head says so with more than `threshold`, and truncated after `horizon` steps. An environment that has
    ended begins anew with its next step, whose action is ignored (`AutoresetMode.NEXT_STEP`).

    A model without a reward head earns nothing: every reward is 0, unless `reward` says otherwise.

    Environment i is seeded with `seed + i` and is the same in any batch. `infos` hold `log_likelihood` (nats of the
    frame's tokens: how sure the model was) and `terminal` (the probability).
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (gymnasium's spelling)
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        model: WorldModel | str | Path,
        starts: Sequence[Episode] | str | Path = "pushing_table",
        *,
        num_envs: int = 1,
        horizon: int = 15,
        observations: Observations = "pixels",
        action_space: gymnasium.spaces.Box | None = None,
        reward: Rewarder | None = None,
        threshold: float = 0.5,
        sampling: Sampling | None = None,
        domain: str | None = None,
        tile: int = 0,
        device: str = "cpu",
        render_mode: str | None = None,
    ) -> None:
        """Make the environments.

        Args:
            model: a world model, or where to load one from.
            starts: episodes to begin from, or where to find some.
            num_envs: how many.
            horizon: steps after which an episode is truncated.
            observations: "pixels", or "tokens" to leave decoding to `render`.
            action_space: of a single environment; None is [-1, 1] in every control, or the domain's choices.
            reward: rewards of frames `[b 3 h w]`; None takes the model's own, or 0 where it has no reward head.
            threshold: probability of termination above which an episode is terminated.
            sampling: how tokens are drawn; None is the model's own way.
            domain: whose actions they are, for a model of several domains.
            tile: compute always so many environments at once, so that each is bit for bit the same in any number of
                them; 0 computes all at once, which is faster. See `Worlds`.
            device: where to compute, for a model that is loaded here.
            render_mode: "rgb_array", or None.
        """
        if num_envs < 1 or horizon < 1:
            raise ValueError(f"num_envs is {num_envs} and horizon {horizon}; expected at least 1 of each")
        if observations not in ("pixels", "tokens"):
            raise ValueError(f"observations is {observations!r}; expected 'pixels' or 'tokens'")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; expected 'rgb_array' or None")
        if not isinstance(model, WorldModel):
            model = WorldModel.from_pretrained(model, device=device)
        if isinstance(starts, str | Path):
            starts = open_episodes(starts, size=model.tokenizer.config.resolution)
        self.worlds = Worlds(
            model=model,
            starts=starts,
            pixels=observations == "pixels",
            reward=reward,
            sampling=sampling,
            domain=domain,
            tile=tile,
        )
        self.num_envs, self.horizon, self.observations, self.threshold = num_envs, horizon, observations, threshold
        self.render_mode = render_mode
        self.single_observation_space = observation_space(model, observations)
        self.single_action_space = action_space or free_space(model, domain)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self._groups: tuple[Group, ...] = ()
        size = model.tokenizer.config.resolution
        self._shown = torch.zeros(num_envs, 3, size, size, dtype=torch.uint8)
        self._latest = np.zeros(self.observation_space.shape or (), self.single_observation_space.dtype)
        self._steps, self._over = [0] * num_envs, [True] * num_envs
        self._begun = False
        self.log: PlayLog | None = None
        """Where resets and steps are written down; see `PlayLog.of`."""

    # ------------------------------------------------------------------------------------------- Gymnasium's part

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin all environments anew, or those of `options={"reset_mask": ...}`; one seed, or one for each."""
        return alone(self.worlds, self.resetting(seed, options))

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Let every environment go on under its action; those that have ended begin anew."""
        return alone(self.worlds, self.stepping(actions))

    def resetting(
        self, seed: int | Sequence[int | None] | None, options: dict[str, Any] | None
    ) -> Turn[tuple[Array, dict[str, Any]]]:
        """`reset`, with what it computes left to whoever takes its turn."""
        seeds = [None] * self.num_envs if seed is None else seed
        if isinstance(seeds, int):
            seeds = [seeds + index for index in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds are given for {self.num_envs} environments; expected one for each")
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)), bool)
        which = tuple(np.flatnonzero(mask).tolist())
        if not self._begun and len(which) < self.num_envs:
            raise ValueError("only some environments are to be reset, before all of them have begun; reset all of them")
        for index, each in enumerate(seeds):
            if each is not None:
                self._generators[index] = np.random.default_rng(each)
        if self.log is not None:
            states = [dict(each.bit_generator.state) for each in self._generators]
            self.log.events.append({"mask": mask.tolist(), "generators": states})
        answer = yield Ask(beginning=which, generators=tuple(self._generators[index] for index in which))
        self._begun = True
        rows = Rows.empty(self.observation_space)
        self._groups = self.worlds.without(self._groups, which)
        self._begin(answer.begun, rows)
        where = list(which)
        self._latest[where] = rows.observations[where]
        return self._latest.copy(), {}

    def stepping(self, actions: Array) -> Turn[tuple[Array, Array, Array, Array, dict[str, Any]]]:
        """`step`, with what it computes left to whoever takes its turn."""
        if not self._begun:
            raise gymnasium.error.ResetNeeded("step was called before reset; reset the environment first")
        given = torch.as_tensor(np.asarray(actions, dtype=np.float32))
        if given.shape != self.action_space.shape:
            raise ValueError(f"actions have shape {list(given.shape)}; expected {list(self.action_space.shape or ())}")
        if not bool(given.isfinite().all()):
            raise ValueError("actions hold NaN or infinite values; expected finite numbers")
        if self.log is not None:
            self.log.events.append({"actions": given.tolist()})
        given = given.reshape(self.num_envs, -1)
        ended = tuple(index for index in range(self.num_envs) if self._over[index])
        going = self.worlds.without(self._groups, ended)
        answer = yield Ask(
            going=going,
            actions=given[[member for group in going for member in group.members]],
            beginning=ended,
            generators=tuple(self._generators[index] for index in ended),
        )
        rows = Rows.empty(self.observation_space)
        self._groups = ()
        if answer.gone is not None:
            group, seen = answer.gone
            self._groups = (group,)
            self._take(group.members, seen, rows)
        self._begin(answer.begun, rows)
        self._latest = rows.observations.copy()
        return rows.observations, rows.rewards, rows.terminated, rows.truncated, rows.infos()

    def render(self) -> tuple[Array, ...]:
        """The latest frame of every environment, `[h w 3]`, decoded now where observations are tokens."""
        frames = self._shown if self.worlds.pixels else self.worlds.latest(self._groups, self._shown)
        return tuple(frames.permute(0, 2, 3, 1).numpy().copy())

    # ------------------------------------------------------------------------------------- what only a model can do

    def save(self) -> Snapshot:
        """Where everything stands."""
        return Snapshot(
            groups=self._groups,
            shown=self._shown.clone(),
            observations=self._latest.copy(),
            steps=tuple(self._steps),
            over=tuple(self._over),
            generators=tuple(copy.deepcopy(dict(each.bit_generator.state)) for each in self._generators),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to where everything stood; ValueError for a snapshot of another number of environments."""
        if len(snapshot.steps) != self.num_envs:
            raise ValueError(f"the snapshot is of {len(snapshot.steps)} environments and here are {self.num_envs}")
        self._groups, self._shown = snapshot.groups, snapshot.shown.clone()
        self._latest = snapshot.observations.copy()
        self._steps, self._over = list(snapshot.steps), list(snapshot.over)
        self.draw_from(snapshot.generators)
        self._begun = True

    def draw_from(self, generators: Sequence[dict[str, Any]]) -> None:
        """Have every environment draw its next beginning from a generator in this state."""
        for generator, state in zip(self._generators, generators, strict=True):
            generator.bit_generator.state = copy.deepcopy(state)

    def fork(self, n: int) -> "WorldModelEnv":
        """`n` environments for every one of these, which all go on from where it stands: i becomes i*n to i*n + n-1.

        They share what has been computed. The first of each goes on as the original would, the others draw their own
        tokens and beginnings.
        """
        if n < 1:
            raise ValueError(f"cannot fork into {n} environments; ask for at least 1")
        forked = copy.copy(self)
        forked.num_envs, forked.log = self.num_envs * n, None
        forked.observation_space = batch_space(self.single_observation_space, forked.num_envs)
        forked.action_space = batch_space(self.single_action_space, forked.num_envs)
        forked._groups = tuple(self.worlds.fork(group, n) for group in self._groups)
        forked._shown = self._shown.repeat_interleave(n, dim=0)
        forked._latest = self._latest.repeat(n, axis=0)
        forked._steps = [steps for steps in self._steps for _ in range(n)]
        forked._over = [over for over in self._over for _ in range(n)]
        forked._generators = [copy.deepcopy(own) for own in self._generators for _ in range(n)]
        for index, generator in enumerate(forked._generators):
            if index % n:
                forked._generators[index] = np.random.default_rng([index % n, int(generator.integers(2**63))])
        return forked

    # ----------------------------------------------------------------------------------------------------- within

    def _begin(self, begun: "tuple[Group, Seen] | None", rows: Rows) -> None:
        if begun is None:
            return
        group, seen = begun
        self._groups = (*self._groups, group)
        for index in group.members:
            self._steps[index], self._over[index] = 0, False
        self._show(group.members, seen, rows)

    def _take(self, members: Sequence[int], seen: Seen, rows: Rows) -> None:
        self._show(members, seen, rows)
        where = list(members)
        rows.rewards[where] = seen.rewards.numpy()
        rows.likelihood[where] = seen.log_likelihood.numpy()
        rows.terminal[where] = seen.terminals.numpy()
        rows.terminated[where] = seen.terminals.numpy() > self.threshold
        for index in members:
            self._steps[index] += 1
            rows.truncated[index] = self._steps[index] >= self.horizon and not rows.terminated[index]
            self._over[index] = bool(rows.terminated[index] or rows.truncated[index])

    def _show(self, members: Sequence[int], seen: Seen, rows: Rows) -> None:
        where = list(members)
        if seen.frames is not None:
            self._shown[where] = seen.frames
            rows.observations[where] = seen.frames.permute(0, 2, 3, 1).numpy()
        else:
            rows.observations[where] = seen.codes.numpy()
