"""Policies rolled out from given frames: all at once in the model, and in the true environment."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.judge.acting import Actor, Briefing
from ivideo.judge.locating import Located, find_goal, locate
from ivideo.judge.policies import Named
from ivideo.judge.scenes import Scene
from ivideo.simulate.drawing import render
from ivideo.simulate.motion import TableState, advance
from ivideo.simulate.pushing_table import reward
from ivideo.simulate.spaces import controls
from ivideo.world_model import WorldModel
from transformer import Sampling

AT_ONCE = 64
"""Worlds that are imagined together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollouts:
    """What came of one policy in several scenes, after f steps."""

    policy: str
    scenes: tuple[Scene, ...]
    frames: UInt8[Tensor, "b t 3 h w"]
    """The first is the last that was given; then one for every step."""
    actions: Float[Tensor, "b f a"]
    rewards: Float[Tensor, "b f"] | None = None
    """As predicted, or the true ones; None of a model without a reward head."""
    log_likelihood: Float[Tensor, "b f"] | None = None
    """Of every frame's tokens, in nats; None of the truth."""
    located: Located | None = None
    """Where the pushing table's things are seen to be; None of anything else than the table."""
    states: tuple[tuple[TableState, ...], ...] = ()
    """What truly was, per scene and frame; empty of dreams."""

    @property
    def steps(self) -> int:
        return self.frames.shape[1] - 1

    @property
    def true(self) -> bool:
        """Whether this is the true environment."""
        return bool(self.states)

    def upto(self, steps: int) -> "Rollouts":
        """The first steps of it."""
        if not 1 <= steps <= self.steps:
            raise ValueError(f"{steps} steps are wanted of rollouts of {self.steps}; expected at least 1, and no more")
        return replace(
            self,
            frames=self.frames[:, : steps + 1],
            actions=self.actions[:, :steps],
            rewards=None if self.rewards is None else self.rewards[:, :steps],
            log_likelihood=None if self.log_likelihood is None else self.log_likelihood[:, :steps],
            located=None if self.located is None else self.located.upto(steps + 1),
            states=tuple(states[: steps + 1] for states in self.states),
        )

    def with_located(self) -> "Rollouts":
        """The same with the pushing table's things found in all frames."""
        goals = [_goal(scene, frames) for scene, frames in zip(self.scenes, self.frames, strict=True)]
        return replace(self, located=locate(self.frames, goals, [scene.look for scene in self.scenes]))

    def names(self) -> list[str]:
        """A name for every video that does not tell a person whose it is."""
        return [hidden_name(self.policy, scene, true=self.true) for scene in self.scenes]


def hidden_name(policy: str, scene: Scene, *, true: bool = False) -> str:
    """A name that hides the policy and differs for every policy, scene and look."""
    said = repr((policy, scene.number, scene.repeat, scene.look, scene.table, true))
    return hashlib.sha256(said.encode()).hexdigest()[:10]


@torch.inference_mode()
def dream(
    model: WorldModel,
    named: Named,
    scenes: Sequence[Scene],
    steps: int,
    *,
    seed: int = 0,
    domain: str | None = None,
    sampling: Sampling | None = None,
    at_once: int = AT_ONCE,
) -> Rollouts:
    """Roll a policy out in the model from all scenes at once; a scene's dream is the same in any batch."""
    parts = [
        _dream(model, named, scenes[first : first + at_once], steps, seed, domain, sampling, None)
        for first in range(0, len(scenes), at_once)
    ]
    return _joined(parts)


@torch.inference_mode()
def replay(
    model: WorldModel,
    name: str,
    scenes: Sequence[Scene],
    actions: Float[Tensor, "b f a"],
    *,
    seed: int = 0,
    domain: str | None = None,
    sampling: Sampling | None = None,
    at_once: int = AT_ONCE,
) -> Rollouts:
    """Roll given actions out in the model, whatever comes of them."""
    parts = []
    for first in range(0, len(scenes), at_once):
        part = slice(first, first + at_once)
        own = Named(name=name, policy=_Given(actions[part]))
        parts.append(_dream(model, own, scenes[part], actions.shape[1], seed, domain, sampling, actions.shape[2]))
    return _joined(parts)


def live(
    named: Named,
    scenes: Sequence[Scene],
    steps: int,
    *,
    seed: int = 0,
    actions: Float[Tensor, "b f 2"] | None = None,
) -> Rollouts:
    """Roll a policy out on the true table, which goes on after the disc is in the goal; scenes have to know theirs.

    Where its actions are known already, they are taken instead of asking it.
    """
    if actions is not None:
        named = Named(name=named.name, policy=_Given(actions))
    states = [[scene.table] for scene in scenes]
    if any(scene.table is None for scene in scenes):
        raise ValueError("these scenes know no true table; roll policies out in the model alone")
    side = scenes[0].frames.shape[-1]
    actor = _begun(named, scenes, seed)
    frames, taken = [torch.stack([scene.frames[-1] for scene in scenes])], []
    for _ in range(steps):
        given = _answer(actor, named, frames[-1], 2, "the pushing table").clamp(-1.0, 1.0)
        taken.append(given)
        for row, (x, y) in zip(states, given.tolist(), strict=True):
            before = row[-1]
            assert before is not None
            row.append(advance(before, (x, y)))
        drawn = [render(_known(row), side, scene.look) for row, scene in zip(states, scenes, strict=True)]
        frames.append(torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous())
    true = tuple(tuple(state for state in row if state is not None) for row in states)
    return Rollouts(
        policy=named.name,
        scenes=tuple(scenes),
        frames=torch.stack(frames, dim=1),
        actions=torch.stack(taken, dim=1),
        rewards=torch.tensor([[reward(state) for state in row[1:]] for row in true]),
        states=true,
    )


def check_model(model: WorldModel, scenes: Sequence[Scene]) -> None:
    """ValueError for a model that policies cannot be rolled out in, or scenes that are not for it."""
    side, context = model.tokenizer.config.resolution, model.context_frames
    if model.config.goal_conditioned:
        raise ValueError("this model starts from a goal, which policies have not; take one that needs none")
    if not model.action_dim:
        raise ValueError("this model takes no actions, so policies differ in nothing there; take one that takes some")
    for scene in scenes:
        if tuple(scene.frames.shape) != (context, 3, side, side):
            raise ValueError(
                f"scene {scene.name} has frames {list(scene.frames.shape)} and this model starts from "
                f"{[context, 3, side, side]}; resize them, for instance with open_episodes(..., size={side})"
            )


# --------------------------------------------------------------------------------------------------------- within


def _dream(
    model: WorldModel,
    named: Named,
    scenes: Sequence[Scene],
    steps: int,
    seed: int,
    domain: str | None,
    sampling: Sampling | None,
    size: int | None,
) -> Rollouts:
    check_model(model, scenes)
    size = controls(model, domain) if size is None else size
    told = [scene.instruction for scene in scenes] if model.read_instructions is not None else None
    given = torch.stack([scene.frames for scene in scenes])
    state = model.start(given, domain=domain, instruction=told)
    state = replace(state, seeds=torch.tensor([_token_seed(seed, scene) for scene in scenes]))
    actor = _begun(named, scenes, seed)
    frames, actions = [given[:, -1]], []
    rewards: list[Tensor] = []
    likelihoods: list[Tensor] = []
    for _ in range(steps):
        action = _answer(actor, named, frames[-1], size, "this model").clamp(-1.0, 1.0)
        state, seen = model.step(state, action.to(model.device), sampling=sampling, domain=domain)
        assert seen.frame is not None
        frames.append(seen.frame.cpu())
        actions.append(action)
        likelihoods.append(seen.log_likelihood.float().cpu())
        if seen.reward is not None:
            rewards.append(seen.reward.float().cpu())
    return Rollouts(
        policy=named.name,
        scenes=tuple(scenes),
        frames=torch.stack(frames, dim=1),
        actions=torch.stack(actions, dim=1),
        rewards=torch.stack(rewards, dim=1) if rewards else None,
        log_likelihood=torch.stack(likelihoods, dim=1),
    )


def _joined(parts: Sequence[Rollouts]) -> Rollouts:
    if not parts:
        raise ValueError("there are no scenes to begin from; give at least one")

    def joined(tensors: list[Tensor | None]) -> Tensor | None:
        found = [tensor for tensor in tensors if tensor is not None]
        return torch.cat(found) if found else None

    return Rollouts(
        policy=parts[0].policy,
        scenes=tuple(scene for part in parts for scene in part.scenes),
        frames=torch.cat([part.frames for part in parts]),
        actions=torch.cat([part.actions for part in parts]),
        rewards=joined([part.rewards for part in parts]),
        log_likelihood=joined([part.log_likelihood for part in parts]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """Actions that are fixed beforehand, as a policy."""

    actions: Float[Tensor, "b f a"]

    def begin(self, briefing: Briefing) -> Actor:
        steps = iter(self.actions.unbind(dim=1))
        return lambda frames: next(steps)


def _begun(named: Named, scenes: Sequence[Scene], seed: int) -> Actor:
    briefing = Briefing(
        frames=torch.stack([scene.frames for scene in scenes]),
        seeds=tuple((seed, *scene.key) for scene in scenes),
        instructions=tuple(scene.instruction for scene in scenes),
    )
    return named.policy.begin(briefing)


def _answer(actor: Actor, named: Named, frames: UInt8[Tensor, "b 3 h w"], size: int, whose: str) -> Tensor:
    """The policy's actions; ValueError where they are not what is expected."""
    given = torch.as_tensor(actor(frames)).detach().float().cpu()
    if tuple(given.shape) != (len(frames), size):
        raise ValueError(
            f"policy {named.name} answers {len(frames)} frames with {list(given.shape)}; an action of {whose} has "
            f"{size} numbers: expected {[len(frames), size]}"
        )
    if not bool(given.isfinite().all()):
        raise ValueError(f"policy {named.name} answers with NaN or infinite numbers; expected finite ones")
    return given


def _token_seed(seed: int, scene: Scene) -> int:
    return int(np.random.SeedSequence([3, seed, *scene.key]).generate_state(1)[0] >> 1)


def _goal(scene: Scene, frames: UInt8[Tensor, "t 3 h w"]) -> tuple[float, float]:
    return find_goal(frames[0]) if scene.table is None else scene.table.goal


def _known(states: list[TableState | None]) -> TableState:
    assert states[-1] is not None
    return states[-1]
