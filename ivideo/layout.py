"""Where every token of a video sits in the one flat sequence the transformer reads.

Two context frames of four tokens and two predicted frames of two tokens look like this::

    frame      context 0      context 1        predicted 0     predicted 1
    ids      [ c c c c ]  C [ c c c c ]     D [ d d ]       D [ d d ]
                          |                 |               |
               context marker               dynamics marker: the action that leads to the frame
                                            is added here; what follows it is predicted

The first context frame has no marker. Ids number the context codes, then the dynamics codes, then the
context marker, then the dynamics marker (iVideoGPT paper, section 3.1, and the released vocabulary of
16,386). Nothing outside this file adds, multiplies or slices a token offset.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from tokenizer import FrameCodes, TokenizerConfig

IGNORE = -100
"""Label of a position that carries no loss; what `torch.nn.functional.cross_entropy` skips by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLayout:
    """Maps (frame, slot) to a sequence position and (codebook, index) to a vocabulary id."""

    context_frames: int
    context_tokens: int = 256
    dynamics_tokens: int = 16
    context_codes: int = 8192
    dynamics_codes: int = 8192

    def __post_init__(self) -> None:
        for name in ("context_frames", "context_tokens", "dynamics_tokens", "context_codes", "dynamics_codes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a token layout needs at least 1")

    @property
    def context_marker(self) -> int:
        """Id in front of every context frame but the first."""
        return self.context_codes + self.dynamics_codes

    @property
    def dynamics_marker(self) -> int:
        """Id in front of every predicted frame; the last id there is."""
        return self.context_marker + 1

    @property
    def vocab_size(self) -> int:
        return self.dynamics_marker + 1

    @property
    def dynamics_ids(self) -> tuple[int, int]:
        """First dynamics id and one past the last: all that a predicted frame's tokens can be."""
        return self.context_codes, self.context_marker

    @property
    def context_length(self) -> int:
        """Tokens of all context frames: the prefix that no action touches and every future shares."""
        return self.context_frames * (self.context_tokens + 1) - 1

    @property
    def frame_length(self) -> int:
        """Tokens a predicted frame adds: its marker and its codes."""
        return 1 + self.dynamics_tokens

    def sequence_length(self, predicted_frames: int) -> int:
        return self.context_length + predicted_frames * self.frame_length

    def predicted_frames(self, sequence_length: int) -> int:
        """Whole predicted frames in a sequence; a ragged length is a ValueError."""
        frames, rest = divmod(sequence_length - self.context_length, self.frame_length)
        if rest or frames < 0:
            raise ValueError(
                f"{sequence_length} tokens are not {self.context_length} of context and a whole number of "
                f"{self.frame_length}-token frames; check the context frames and the token grids"
            )
        return frames

    def max_frames(self, max_positions: int) -> int:
        """How many predicted frames fit in front of the transformer's position limit."""
        return max(0, (max_positions - self.context_length) // self.frame_length)

    def pack_context(self, codes: Int[Tensor, "b c n"]) -> Int[Tensor, "b p"]:
        """Ids of the context prefix."""
        return F.pad(codes, (1, 0), value=self.context_marker).flatten(1)[:, 1:]

    def pack_frames(self, codes: Int[Tensor, "b f m"]) -> Int[Tensor, "b f l"]:
        """Ids of predicted frames, each led by its marker."""
        return F.pad(codes + self.context_codes, (1, 0), value=self.dynamics_marker)

    def pack(self, codes: FrameCodes) -> Int[Tensor, "b s"]:
        """The whole sequence of a segment."""
        return torch.cat([self.pack_context(codes.context), self.pack_frames(codes.dynamics).flatten(1)], dim=1)

    def unpack(self, ids: Int[Tensor, "b s"], *, clamp: bool = False) -> FrameCodes:
        """Codebook indices of a sequence: the inverse of `pack`.

        `clamp` moves ids that are no dynamics code to the nearest one, as the released detokenizer does with
        what an unrestricted model samples; without it such an id is a ValueError. Markers are not checked.
        """
        frames = self.predicted_frames(ids.shape[1])
        context, dynamics = ids.tensor_split([self.context_length], dim=1)
        context = F.pad(context, (1, 0)).unflatten(1, (self.context_frames, -1))[..., 1:]
        dynamics = dynamics.reshape(len(ids), frames, self.frame_length)[..., 1:]
        return FrameCodes(context=context, dynamics=self.dynamics_index(dynamics, clamp=clamp))

    def dynamics_index(self, ids: Int[Tensor, "..."], *, clamp: bool = False) -> Int[Tensor, "..."]:
        """Index within the dynamics codebook of each id; see `unpack` for `clamp`."""
        index = ids - self.context_codes
        if clamp:
            return index.clamp(0, self.dynamics_codes - 1)
        if index.numel() and not (int(index.min()) >= 0 and int(index.max()) < self.dynamics_codes):
            raise ValueError(
                f"ids {int(ids.min())}..{int(ids.max())} stand where only dynamics codes "
                f"{self.context_codes}..{self.context_marker - 1} can; pass clamp=True to take the nearest code"
            )
        return index

    def labels(self, ids: Int[Tensor, "b s"]) -> Int[Tensor, "b s"]:
        """Targets: the codes of predicted frames and every marker between them.

        The context and the first dynamics marker carry no loss (fact: 17 * frames - 1 targets in the released
        layout). Not shifted: position i's label is the id at i, which the hidden state at i - 1 predicts.
        """
        position = torch.arange(ids.shape[1], device=ids.device)
        return ids.masked_fill(position <= self.context_length, IGNORE)

    def split_frames(self, hidden: Tensor) -> Tensor:
        """The predicted frames' part of a [b s d] sequence, as [b f 1+m d]: marker first, last token last."""
        frames: Tensor = hidden[:, self.context_length :].unflatten(1, (-1, self.frame_length))
        return frames

    def predicting(self, hidden: Tensor) -> Tensor:
        """The states of a [b s d] sequence that predict labelled positions, [b s' d]: from the first marker on."""
        return hidden[:, self.context_length : -1]

    def targets(self, ids: Int[Tensor, "b s"]) -> Int[Tensor, "b r"]:
        """What the states of `predicting` predict."""
        return ids[:, self.context_length + 1 :]


def layout_of(config: TokenizerConfig) -> TokenLayout:
    """The sequence layout that goes with a tokenizer."""
    return TokenLayout(
        context_frames=config.context_frames,
        context_tokens=config.context_tokens,
        dynamics_tokens=config.dynamics_tokens,
        context_codes=config.context_codes,
        dynamics_codes=config.dynamics_codes,
    )
