"""What is read from the transformer's states besides the next token: reward, termination, the action taken.

Reward and termination belong to the state of a predicted frame's last token, which has seen the whole frame: the
reward that arrives *with* that frame (iVideoGPT paper, section 3.2, and appendix on rewards).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ivideo.losses import masked_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsConfig:
    """Which heads there are and how much each weighs in the loss beside the cross-entropy."""

    reward: bool = False
    """Predict the reward that arrives with each frame (symlog regression)."""
    reward_weight: float = 1.0
    """Weight of the reward's loss."""
    termination: bool = False
    """Predict whether each frame is terminal (logistic regression)."""
    termination_weight: float = 1.0
    """Weight of the termination's loss."""
    action_reconstruction: float = 0.0
    """Weight of recovering the action from every state of the frame it led to; 0 is no such head."""


class Heads(nn.Module):
    """The optional heads on final-norm states of predicted frames."""

    def __init__(self, config: HeadsConfig, width: int, action_dim: int) -> None:
        super().__init__()
        if config.action_reconstruction and not action_dim:
            raise ValueError("action_reconstruction needs an action-conditioned model; set embedding.action_dim")
        self.config = config
        self.reward = nn.Linear(width, 1) if config.reward else None
        self.termination = nn.Linear(width, 1) if config.termination else None
        self.action = nn.Linear(width, action_dim) if config.action_reconstruction else None

    @property
    def read_last_token(self) -> bool:
        """Whether anything is read at a frame's last token, which then needs a pass of its own."""
        return self.reward is not None or self.termination is not None

    @property
    def loss_names(self) -> list[str]:
        """What `losses` gives."""
        heads = {"reward": self.reward, "termination": self.termination, "action": self.action}
        return [name for name, head in heads.items() if head is not None]

    def rewards(self, last: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"] | None:
        """Arrival rewards in the environment's own scale."""
        return None if self.reward is None else symexp(self.reward(last).squeeze(-1))

    def terminals(self, last: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"] | None:
        """Probability that the frame is terminal."""
        return None if self.termination is None else torch.sigmoid(self.termination(last).squeeze(-1))

    def losses(
        self,
        hidden: Float[Tensor, "b f l d"],
        *,
        actions: Float[Tensor, "b f a"] | None,
        rewards: Float[Tensor, "b f"] | None,
        terminals: Float[Tensor, "b f"] | None,
        mask: Bool[Tensor, "b f"] | None,
        sizes: Int64[Tensor, " b"] | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses by name, each a mean over real frames; a head without targets is a ValueError.

        `sizes` says how many of a row's actions are its own; what follows them is padding. None: all.
        """
        last = hidden[:, :, -1]
        losses: dict[str, Tensor] = {}
        if self.reward is not None:
            target = _needed(rewards, "rewards", "heads.reward")
            error = (self.reward(last).squeeze(-1) - symlog(target)) ** 2
            losses["reward"] = self.config.reward_weight * masked_mean(error, mask)
        if self.termination is not None:
            target = _needed(terminals, "terminals", "heads.termination")
            error = F.binary_cross_entropy_with_logits(self.termination(last).squeeze(-1), target, reduction="none")
            losses["termination"] = self.config.termination_weight * masked_mean(error, mask)
        if self.action is not None:
            taken = _needed(actions, "actions", "heads.action_reconstruction")
            error = (self.action(hidden) - taken[:, :, None]).square().mean(2)
            if sizes is None:
                error = error.mean(2)
            else:
                own = torch.arange(error.shape[2], device=error.device) < sizes[:, None, None]
                error = (error * own).sum(2) / sizes[:, None].clamp(min=1)
            losses["action"] = self.config.action_reconstruction * masked_mean(error, mask)
        return losses


def symlog(value: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|): compresses rewards of any scale (DreamerV3, eq. 1)."""
    return value.sign() * value.abs().log1p()


def symexp(value: Tensor) -> Tensor:
    """Inverse of `symlog`."""
    return value.sign() * value.abs().expm1()


def _needed(target: Tensor | None, what: str, option: str) -> Tensor:
    if target is None:
        raise ValueError(f"the batch holds no {what}, which {option} learns from; add them or turn {option} off")
    return target
