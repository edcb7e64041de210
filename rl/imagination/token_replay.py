"""Imagined episodes kept as codes, which are decoded when they are drawn."""

from collections.abc import Mapping

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Int64, UInt8
from torch import Tensor

from ivideo import WorldModel
from ivideo.memory import decoded_at_once
from ivideo.rollout import pixels
from rl.drqv2 import Transitions
from rl.imagination.rollouts import Imagined
from rl.imagination.starts import evaluating
from rl.sight import shrunken


class TokenReplay:
    """Codes of rollouts: the real frames in front of each, then codes, actions and rewards.

    Frames are decoded by the tokenizer as it is when a batch is drawn, so that they follow where it learns; while it
    does not, a batch is that of the frames themselves, up to a rounding. That costs a pass through the tokenizer for
    every batch: it is for rollouts that do not fit into memory as pixels.
    """

    def __init__(
        self,
        model: WorldModel,
        *,
        max_steps: int,
        capacity: int = 1_000_000,
        stack: int = 3,
        nstep: int = 3,
        gamma: float = 0.99,
        shrink: int = 1,
    ) -> None:
        """Open an empty buffer.

        Args:
            model: the one that imagined; its tokenizer decodes.
            max_steps: steps of a rollout at most.
            capacity: transitions to keep where all rollouts have `max_steps`; the oldest rollouts go.
            stack: frames in an observation.
            nstep: rewards that are summed; fewer in shorter rollouts.
            gamma: discount of a step.
            shrink: transitions show frames that are this much smaller.
        """
        if min(max_steps, stack, nstep, shrink) < 1 or capacity < max_steps or not 0 <= gamma <= 1:
            raise ValueError(
                f"max_steps is {max_steps}, capacity {capacity}, stack {stack}, nstep {nstep}, shrink {shrink} and "
                f"gamma {gamma}; expected at least 1, room for one rollout, and a gamma in 0..1"
            )
        self.model, self.stack, self.nstep, self.gamma, self.shrink = model, stack, nstep, gamma, shrink
        self.written = 0
        """Rollouts ever added."""
        side, tokens = model.tokenizer.config.resolution, model.layout.dynamics_tokens
        small = model.layout.dynamics_codes <= torch.iinfo(torch.int16).max
        self._slots, self._max_steps, self._given = capacity // max_steps, max_steps, max(stack, model.context_frames)
        self._kept = {
            "given": torch.empty(0, self._given, 3, side, side, dtype=torch.uint8),
            "codes": torch.empty(0, max_steps, tokens, dtype=torch.int16 if small else torch.int32),
            "actions": torch.empty(0, max_steps, model.action_dim),
            "rewards": torch.empty(0, max_steps),
            "steps": torch.empty(0, dtype=torch.int64),
            "terminal": torch.empty(0, dtype=torch.bool),
        }

    def __len__(self) -> int:
        """Transitions to draw from."""
        return int(self._kept["steps"][: self._rollouts].sum())

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept."""
        return sum(value[: self._rollouts].nbytes for value in self._kept.values())

    def keep(self, imagined: Imagined) -> None:
        """Take up a rollout; the oldest one goes where there is no room."""
        episode, lead = imagined.episode, imagined.lead
        assert episode.actions is not None
        assert episode.rewards is not None
        steps = len(imagined.codes)
        if lead + 1 != self._given or steps > self._max_steps:
            raise ValueError(
                f"a rollout of {steps} steps behind {lead + 1} frames was given; expected {self._max_steps} steps at "
                f"most, behind {self._given} frames: imagine with the same stack"
            )
        slot = self.written % self._slots
        if slot == len(self._kept["steps"]):
            room = min(max(_FIRST, slot), self._slots - slot)
            self._kept = {
                name: torch.cat([value, value.new_zeros(room, *value.shape[1:])]) for name, value in self._kept.items()
            }
        kept = self._kept
        kept["given"][slot] = episode.frames[: lead + 1]
        kept["codes"][slot, :steps] = imagined.codes.to(kept["codes"].dtype)
        kept["actions"][slot, :steps] = episode.actions[lead:]
        kept["rewards"][slot, :steps] = episode.rewards[lead:]
        kept["steps"][slot], kept["terminal"][slot] = steps, episode.terminal
        self.written += 1

    def sample(self, batch: int, generator: np.random.Generator) -> Transitions:
        """Draw transitions; the same generator gives the same ones."""
        if not self.written:
            raise ValueError("there is nothing to draw from yet; add a rollout first")
        rows = torch.from_numpy(generator.integers(self._rollouts, size=batch))
        shares = torch.from_numpy(generator.random(batch))
        kept = self._kept
        steps = kept["steps"][rows]
        starts = (shares * ((steps - self.nstep).clamp(min=0) + 1)).long()
        counts = (steps - starts).clamp(max=self.nstep)
        later = torch.arange(self.nstep)
        places = (starts[:, None] + later).clamp(max=self._max_steps - 1)
        powers = self.gamma**later * (later < counts[:, None])
        ended = kept["terminal"][rows] & (starts + counts == steps)
        back = torch.arange(-self.stack + 1, 1)
        shown = self._frames(rows, torch.cat([starts[:, None] + back, (starts + counts)[:, None] + back], dim=1))
        before, after = rearrange(shown, "b (two k) c h w -> two b (k c) h w", two=2)
        return Transitions(
            observations=shrunken(before.contiguous(), self.shrink),
            actions=kept["actions"][rows, starts],
            rewards=(kept["rewards"][rows[:, None], places] * powers).sum(dim=1),
            discounts=torch.where(ended, 0.0, self.gamma**counts).float(),
            next_observations=shrunken(after.contiguous(), self.shrink),
        )

    def settle(self) -> None:
        """Nothing is on disk."""

    def tensors(self) -> dict[str, Tensor]:
        """All that is kept, to go on from."""
        return {name: value[: self._rollouts] for name, value in self._kept.items()}

    def load(self, tensors: Mapping[str, Tensor], written: int) -> None:
        """Go on with what another buffer of these settings kept when it had been given so many rollouts."""
        unlike = [
            name
            for name, value in self._kept.items()
            if tensors[name].shape[1:] != value.shape[1:] or len(tensors[name]) != min(written, self._slots)
        ]
        if unlike:
            raise ValueError(f"the saved rollouts' {unlike[0]} do not fit; open the buffer with the settings of then")
        self._kept, self.written = {name: tensors[name].clone() for name in self._kept}, written

    @property
    def _rollouts(self) -> int:
        return min(self.written, self._slots)

    @torch.no_grad()
    def _frames(self, rows: Int64[Tensor, " b"], places: Int64[Tensor, "b k"]) -> UInt8[Tensor, "b k 3 h w"]:
        """Frames of rollouts, 0 being the one that each starts from; only what was imagined is decoded."""
        model, kept = self.model, self._kept
        last = self._given - 1
        found = kept["given"][rows[:, None], (places + last).clamp(max=last)]
        # Every imagined frame of a row once, though observations overlap.
        span = int(places.max())
        wanted = torch.zeros(len(rows), span + 1, dtype=torch.bool)
        wanted[torch.arange(len(rows))[:, None], places.clamp(min=0)] = True
        wanted[:, 0] = False
        with evaluating(model):
            for part in torch.arange(len(rows)).split(max(1, decoded_at_once(model.device) // places.shape[1])):
                need = wanted[part]
                width = int(need.sum(dim=1).max())
                if not width:
                    continue
                # The wanted frames of each row first, and any others of it where it needs fewer than the rest.
                order = need.int().argsort(dim=1, descending=True, stable=True)[:, :width]
                codes = kept["codes"][rows[part][:, None], (order - 1).clamp(min=0)].long()
                context = model.tokenizer.encode_context(
                    kept["given"][rows[part], -model.context_frames :].to(model.device)
                )
                made = pixels(model.tokenizer.decode_frames(codes.to(model.device), context)).cpu()
                frames = torch.zeros(len(part), span + 1, *made.shape[2:], dtype=torch.uint8)
                frames[torch.arange(len(part))[:, None], order] = made
                drawn = frames[torch.arange(len(part))[:, None], places[part].clamp(min=0)]
                found[part] = torch.where((places[part] > 0)[..., None, None, None], drawn, found[part])
        return found


_FIRST = 64
"""Rollouts that there is room for at first."""
