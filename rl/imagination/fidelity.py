"""Whether what is earned in the model is earned in the world: the same actions from the same frames in both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ivideo import Episode, Sampling, WorldModel
from ivideo.evaluation.measures.ranks import spearman
from ivideo.evaluation.statistics import Interval, bootstrap
from rl.imagination.starts import Start, begin, check_imagines, draw, evaluating, side_by_side


@dataclass(frozen=True, slots=True, kw_only=True)
class Returns:
    """What some windows earned, undiscounted: in the world, in the model, and if nothing had changed."""

    real: Float[Tensor, " n"]
    imagined: Float[Tensor, " n"]
    unchanged: Float[Tensor, " n"]
    """The reward that arrived with the first frame, once for every step: what one would guess without a model."""

    def correlation(self, *, resamples: int = 1000, seed: int = 0) -> Interval:
        """Spearman's rank correlation of imagined and real returns, with its 95% interval over windows."""
        return self._with_real(self.imagined, resamples, seed)

    def change(self, *, resamples: int = 1000, seed: int = 0) -> Interval:
        """The same of what the actions changed, that is of returns less `unchanged`.

        Where rewards are dense, most of a return is told by where it starts, which any model knows; this is the rest.
        """
        pairs = torch.stack([self.real - self.unchanged, self.imagined - self.unchanged], dim=1)
        return bootstrap(pairs, spearman, resamples=resamples, seed=seed)

    def baseline(self, *, resamples: int = 1000, seed: int = 0) -> Interval:
        """The same of `unchanged`: a model that is of use is above it."""
        return self._with_real(self.unchanged, resamples, seed)

    def _with_real(self, guess: Tensor, resamples: int, seed: int) -> Interval:
        return bootstrap(torch.stack([self.real, guess], dim=1), spearman, resamples=resamples, seed=seed)


def returns(
    model: WorldModel,
    episodes: Sequence[Episode],
    *,
    horizon: int,
    windows: int,
    seed: int,
    sampling: Sampling | None = None,
    parallel: int = 128,
) -> Returns:
    """Returns of `windows` windows of recorded episodes under the very actions that were taken in them.

    An episode is drawn uniformly among those with `horizon` + 1 steps, then where its window begins, behind its first
    frame. Imagined rewards count up to a frame that the model says is terminal. ValueError without such episodes.

    Args:
        model: the one to imagine in; needs a reward head.
        episodes: with actions and rewards.
        horizon: steps of a window.
        windows: how many.
        seed: decides the windows and the tokens.
        sampling: how tokens are drawn; None: as the model says.
        parallel: windows that are imagined side by side at most.
    """
    check_imagines(model)
    # A window begins one frame late, so that there is a reward to go on from.
    generator = np.random.default_rng(seed)
    starts, places = draw(episodes, generator, count=windows, frames=model.context_frames, first=1, steps=horizon)
    actions, rewards, before = [], [], []
    for episode, place in places:
        assert episode.actions is not None
        assert episode.rewards is not None
        actions.append(episode.actions[place : place + horizon])
        rewards.append(episode.rewards[place : place + horizon])
        before.append(episode.rewards[place - 1])
    with evaluating(model):
        parts = list(side_by_side(model, starts, horizon, most=parallel))
        given = torch.stack(actions).split([len(part) for part in parts])
        imagined = [_earned(model, part, each, sampling) for part, each in zip(parts, given, strict=True)]
    return Returns(
        real=torch.stack(rewards).sum(dim=1),
        imagined=torch.cat(imagined),
        unchanged=torch.stack(before) * horizon,
    )


def _earned(
    model: WorldModel, starts: Sequence[Start], actions: Float[Tensor, "b k a"], sampling: Sampling | None
) -> Float[Tensor, " b"]:
    """What each row's actions earn."""
    state = begin(model, starts, room=actions.shape[1])
    total, going = torch.zeros(len(starts)), torch.ones(len(starts), dtype=torch.bool)
    for action in actions.unbind(dim=1):
        state, made = model.step(state, action, decode=False, sampling=sampling)
        assert made.reward is not None
        total += made.reward.float().cpu() * going
        if made.terminal is not None:
            going &= made.terminal.float().cpu() <= 0.5
    return total
