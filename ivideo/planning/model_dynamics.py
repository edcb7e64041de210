"""A world model behind the planner's protocol: candidates are forks of one state.

::

    context --one pass--> state --fork(n)--> n candidates, each with its own actions
                            |                  (keys and values of the context stored once, read by all)
                            '--observe(action, frame)--> the state after what truly happened: no new context

So the context is computed once, whatever number of iterations, and kept from decision to decision where a controller
goes on with `observe`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.evaluation.measures.forcing import read
from ivideo.memory import branches_at_once
from ivideo.planning.dynamics import Futures, Need, cut
from ivideo.state import Prediction, RolloutState
from ivideo.world_model import WorldModel
from transformer import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDynamics:
    """A world model to plan with. States are those of `WorldModel.start`, one row each."""

    model: WorldModel
    sampling: Sampling | None = None
    """How tokens are drawn; None as the model's settings say."""
    guidance: float = 0.0
    """How far to exaggerate what actions change; see `WorldModel.step`."""
    at_once: int | None = None
    """Candidates that are imagined together; None takes as many as memory has room for."""

    def __post_init__(self) -> None:
        if not self.model.action_dim:
            raise ValueError("this model takes no actions, so there is nothing to plan; load one that takes some")
        if self.at_once is not None and self.at_once < 1:
            raise ValueError(f"at_once is {self.at_once}; expected at least 1 candidate, or None for what fits")

    @property
    def resolution(self) -> int:
        return self.model.tokenizer.config.resolution

    @property
    def offers(self) -> frozenset[Need]:
        offered: set[Need] = {"frames", "last_frame", "features", "likelihood"}
        return frozenset(offered | ({"rewards"} if self.model.config.heads.reward else set()))

    def action_size(self, state: RolloutState) -> int:
        if state.domains is None:
            return self.model.action_dim
        return int(self.model.embodiments.sizes(state.domains)[0])

    def observe(self, state: RolloutState, action: Float[Tensor, " a"], frame: UInt8[Tensor, "3 h w"]) -> RolloutState:
        """The state after a frame that was truly seen: its tokens are read as if they had been imagined.

        The context stays as it is, so this costs one frame's positions. Frames far from the context are told less
        exactly than near ones: start anew, from `WorldModel.start`, where the scene has changed.
        """
        _check_one(state)
        with torch.inference_mode():
            codes = self.model.tokenizer.encode_frames(frame[None, None].to(self.model.device), state.context)
        after, _ = read(self.model, state, codes[:, 0], action[None])
        return after

    def imagine(
        self, state: RolloutState, actions: Float[Tensor, "n f a"], needs: frozenset[Need], *, seed: int = 0
    ) -> Iterator[Futures]:
        _check_one(state)
        count, frames = actions.shape[:2]
        most = self.at_once or branches_at_once(
            self.model,
            branches=count,
            frames=frames,
            decode=not needs.isdisjoint({"frames", "last_frame"}),
            guided=self.guidance > 0,
        )
        for rows in cut(count, most):
            yield self._imagine(state, actions[rows], needs, seed + rows.start)

    @torch.inference_mode()
    def features(self, state: RolloutState, frames: UInt8[Tensor, "k 3 h w"]) -> Float[Tensor, "k m v"]:
        _check_one(state)
        codes = self.model.tokenizer.encode_frames(frames[None].to(self.model.device), state.context)[0]
        return self.model.tokenizer.dynamics_codebook[codes].float()

    @torch.inference_mode()
    def _imagine(self, state: RolloutState, actions: Tensor, needs: frozenset[Need], seed: int) -> Futures:
        model, frames = self.model, actions.shape[1]
        actions = actions.to(model.device)
        state = state.fork(len(actions), frames=frames).reseed(seed)
        seen: list[Prediction] = []
        for index in range(frames):
            # The reward of every other frame comes with the next one, which saves a pass.
            rewarded = "rewards" in needs and index == frames - 1
            state, prediction = model.step(
                state,
                actions[:, index],
                guidance=self.guidance,
                decode=False,
                sampling=self.sampling,
                reward=rewarded,
                guess=False,
            )
            seen.append(prediction)
        own = slice(state.frames - frames, None)
        wanted = own if "frames" in needs else slice(-1, None)
        pictures = None if needs.isdisjoint({"frames", "last_frame"}) else model.frames(state, wanted)
        codes = model.layout.dynamics_index(state.ids[:, own], clamp=True)
        likelihoods = torch.stack([each.log_likelihood for each in seen], dim=1) / model.layout.dynamics_tokens
        return Futures(
            frames=pictures,
            features=model.tokenizer.dynamics_codebook[codes].float() if "features" in needs else None,
            rewards=_rewards(seen) if "rewards" in needs else None,
            log_likelihood=likelihoods if "likelihood" in needs else None,
        )


def _rewards(seen: list[Prediction]) -> Float[Tensor, "n f"]:
    found = [*(each.earlier_reward for each in seen[1:]), seen[-1].reward]
    known = [each for each in found if each is not None]
    assert len(known) == len(seen), "every frame's reward arrives with it or with the next"
    return torch.stack(known, dim=1).float()


def _check_one(state: RolloutState) -> None:
    if state.batch != 1:
        raise ValueError(
            f"a plan is for one state and this has {state.batch} rows: start from one clip, or select a row"
        )
