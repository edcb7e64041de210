"""A batch of videos as tokens: what the transformer trains on once the tokenizer has done its part."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from ivideo.controls import Controls
from ivideo.episode import Batch
from tokenizer import FrameCodes, VideoTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """Codes of stacked segments, with actions, rewards and terminals of the predicted frames alone.

    `actions[:, i]` leads to predicted frame i, `rewards[:, i]` and `terminals[:, i]` arrive with it.
    """

    codes: FrameCodes
    actions: Float[Tensor, "b f a"] | None = None
    rewards: Float[Tensor, "b f"] | None = None
    terminals: Float[Tensor, "b f"] | None = None
    mask: Bool[Tensor, "b f"] | None = None
    domains: Int64[Tensor, " b"] | None = None
    """Whose actions each row's are."""
    text: Float[Tensor, "b e"] | None = None
    """Each row's instruction, embedded."""

    @property
    def controls(self) -> Controls:
        """What each row is told."""
        return Controls(actions=self.actions, domains=self.domains, text=self.text)

    def __len__(self) -> int:
        return len(self.codes.dynamics)

    def rows(self, index: Int[Tensor, " r"]) -> "TokenBatch":
        """The segments at `index`, repeats allowed."""
        return TokenBatch(
            codes=FrameCodes(context=self.codes.context[index], dynamics=self.codes.dynamics[index]),
            **{name: None if value is None else value[index] for name, value in self._extras().items()},
        )

    def to(self, device: torch.device | str) -> "TokenBatch":
        return TokenBatch(
            codes=FrameCodes(context=self.codes.context.to(device), dynamics=self.codes.dynamics.to(device)),
            **{name: None if value is None else value.to(device) for name, value in self._extras().items()},
        )

    @staticmethod
    def stack(parts: "list[TokenBatch]") -> "TokenBatch":
        """All segments of several batches in one."""
        extras: dict[str, Tensor | None] = {}
        for name in parts[0]._extras():
            values = [part._extras()[name] for part in parts]
            present = [value for value in values if value is not None]
            extras[name] = torch.cat(present) if len(present) == len(parts) else None
        return TokenBatch(
            codes=FrameCodes(
                context=torch.cat([part.codes.context for part in parts]),
                dynamics=torch.cat([part.codes.dynamics for part in parts]),
            ),
            **extras,
        )

    def _extras(self) -> dict[str, Tensor | None]:
        return {
            "actions": self.actions,
            "rewards": self.rewards,
            "terminals": self.terminals,
            "mask": self.mask,
            "domains": self.domains,
            "text": self.text,
        }


def encoded(tokenizer: VideoTokenizer, batch: Batch) -> TokenBatch:
    """Codes of a batch with what goes with its predicted frames, as any model on this tokenizer sees them."""
    context = tokenizer.config.context_frames
    if batch.frames.shape[1] <= context:
        raise ValueError(f"segments of {batch.frames.shape[1]} frames leave nothing to predict after {context}")
    cut = {
        name: None if (values := getattr(batch, name)) is None else values[:, context - 1 :]
        for name in ("actions", "rewards", "terminals")
    }
    mask = None if batch.mask is None else batch.mask[:, context:]
    return TokenBatch(codes=tokenizer.encode(batch.frames), mask=mask, domains=batch.domains, **cut)
