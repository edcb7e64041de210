"""What the transformer reads: token embeddings with the action, and the options a small model profits from.

The released architecture adds nothing but a zero-initialised projection of the action to the marker of the frame
it leads to (iVideoGPT paper, section 3.2). The domain and an instruction go there too, where a model knows any
(`ivideo.controls`). Three further ingredients are off by default; docs/results.md has what
each is worth on a small model:

- the code's vector beside its id, so that similar codes start out similar;
- the action on every token of the frame, not only on its marker;
- a *guide*: the previous frame's code vectors, convolved over their grid together with the action and added at the
  position that predicts the same cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from ivideo.controls import ActionInput, Controls, DomainInput
from ivideo.embodiments import Domain
from ivideo.instructions import InstructionEncoder, TextConfig
from ivideo.layout import TokenLayout
from tokenizer import FrameCodes, TokenizerConfig
from transformer import Transformer


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingConfig:
    """How actions and codes enter the sequence; the defaults are the released architecture."""

    action_dim: int = 0
    """Size of an action; 0 is an action-free model. With `domains` it is the widest one's, and need not be said."""
    domains: tuple[Domain, ...] = ()
    """Data sets with action spaces of their own: each gets its own projection and a vector that says which it is."""
    bins: int = 0
    """Read every control as one of so many equal bins over its range in `domains` (UniSim: 4096); 0 projects it."""
    scale_actions: bool = False
    """Scale every control from its range in `domains` to -1..1 before it is projected."""
    text: TextConfig | None = None
    """What reads instructions; null takes none."""
    action_dropout: float = 0.0
    """In training, the share of rows whose actions and instruction are withheld: what guidance is then compared to."""
    action_on: Literal["marker", "frame"] = "marker"
    """Add the action to the frame's marker alone (as released) or to all of the frame's tokens."""
    code_vectors: bool = False
    """Add a projection of the code's vector to its id's embedding, and score codes by their vectors as well."""
    guide: int = 0
    """Channels of the convolutions over the previous frame's codes; 0 is no guide."""
    guide_blocks: int = 1
    """Residual blocks of those convolutions."""

    def __post_init__(self) -> None:
        if self.action_dim < 0:
            raise ValueError(f"action_dim is {self.action_dim}; expected 0, for no actions, or more")
        if self.guide < 0 or self.guide_blocks < 0:
            raise ValueError(f"guide is {self.guide} and guide_blocks {self.guide_blocks}; expected 0 or more of each")
        if not 0 <= self.action_dropout < 1:
            raise ValueError(f"action_dropout is {self.action_dropout}; expected a share, 0 <= action_dropout < 1")
        if (self.bins or self.scale_actions) and not self.domains:
            option = "bins" if self.bins else "scale_actions"
            raise ValueError(f"{option} needs domains, which state the range of every control; name at least one")
        if self.bins and self.scale_actions:
            raise ValueError("bins and scale_actions are both set; bins are over the range as it is, leave one out")
        if self.text is not None and self.text.actions and not self.bins:
            raise ValueError("text.actions says the bins of controls in words, and there are none; set bins, say 4096")
        if not self.domains:
            return
        names, widest = [domain.name for domain in self.domains], max(domain.action_dim for domain in self.domains)
        if len(set(names)) < len(names):
            raise ValueError(f"domains are {', '.join(names)}; expected every name once")
        if self.action_dim not in (0, widest):
            raise ValueError(f"action_dim is {self.action_dim}, but the widest domain takes {widest}; leave it out")
        object.__setattr__(self, "action_dim", widest)

    def action_input(self, width: int, reader: InstructionEncoder | None = None) -> ActionInput | DomainInput | None:
        """What turns actions into vectors of `width`, with what `reader` makes of them; None where there are none."""
        if not self.action_dim:
            return None
        if not self.domains:
            return ActionInput(self.action_dim, width)
        return DomainInput(self.domains, width, bins=self.bins, scale=self.scale_actions, reader=reader)


class GuideBlock(nn.Module):
    """Two 3x3 convolutions around a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, grid: Float[Tensor, "n g h w"]) -> Float[Tensor, "n g h w"]:
        out: Tensor = grid + self.second(F.silu(self.first(F.silu(grid))))
        return out


class Guide(nn.Module):
    """Carries the previous frame to the positions that predict the next one, by residual 3x3 convolutions.

    The first predicted frame's predecessor is the last context frame, whose finer grid is folded to the same cells.
    """

    def __init__(self, config: EmbeddingConfig, tokenizer: TokenizerConfig, width: int) -> None:
        super().__init__()
        self.grid = tokenizer.dynamics_grid
        self.fold = tokenizer.context_grid // tokenizer.dynamics_grid
        vector = tokenizer.code_dim or tokenizer.latent_channels
        self.from_context = nn.Linear(vector * self.fold**2, config.guide)
        self.from_dynamics = nn.Linear(vector, config.guide)
        self.action = config.action_input(config.guide)
        self.blocks = nn.ModuleList(GuideBlock(config.guide) for _ in range(config.guide_blocks))
        self.out = nn.Conv2d(config.guide, width, 3, padding=1)

    def context_cells(self, vectors: Float[Tensor, "b n v"]) -> Float[Tensor, "b m g"]:
        """Features of the last context frame on the dynamics grid."""
        folded = rearrange(
            vectors, "b (gh fh gw fw) v -> b (gh gw) (fh fw v)", gh=self.grid, gw=self.grid, fh=self.fold, fw=self.fold
        )
        cells: Tensor = self.from_context(folded)
        return cells

    def dynamics_cells(self, vectors: Float[Tensor, "b f m v"]) -> Float[Tensor, "b f m g"]:
        """Features of predicted frames."""
        cells: Tensor = self.from_dynamics(vectors)
        return cells

    def forward(self, cells: Float[Tensor, "b f m g"], told: Controls) -> Float[Tensor, "b f l d"]:
        """Additions to the tokens of the frames that follow `cells` under what is told.

        Entry k is added to the token whose state predicts cell k; the frame's last token predicts none and gets zero.
        """
        if self.action is not None and told.actions is not None:
            cells = cells + told.acted(self.action)[:, :, None]
        grid = rearrange(cells, "b f (h w) g -> (b f) g h w", h=self.grid)
        for block in self.blocks:
            grid = block(grid)
        guide = rearrange(self.out(F.silu(grid)), "(b f) d h w -> b f (h w) d", b=cells.shape[0])
        return F.pad(guide, (0, 0, 0, 1))


class SequenceEmbedding(nn.Module):
    """Turns codes and actions into the transformer's input; owns every option beyond the plain id table."""

    def __init__(
        self, config: EmbeddingConfig, layout: TokenLayout, tokenizer: TokenizerConfig, transformer: Transformer
    ) -> None:
        super().__init__()
        self.config = config
        self.layout = layout
        width = transformer.config.width
        vector = tokenizer.code_dim or tokenizer.latent_channels
        self.reader = None if config.text is None else InstructionEncoder(config.text)
        """What reads words; no part of the saved model."""
        self.action = config.action_input(width, self.reader if config.text and config.text.actions else None)
        self.text = nn.Linear(config.text.size, width, bias=False) if config.text else None
        self.domain = nn.ParameterDict({each.name: torch.zeros(width) for each in config.domains})
        self.context_vector = nn.Linear(vector, width, bias=False) if config.code_vectors else None
        self.dynamics_vector = nn.Linear(vector, width, bias=False) if config.code_vectors else None
        self.score_vector = nn.Linear(width, vector, bias=False) if config.code_vectors else None
        self.guide = Guide(config, tokenizer, width) if config.guide else None
        for told in (self.action, self.text):  # so that what is told changes nothing at first
            zero(told)

    def context(
        self, transformer: Transformer, codes: Int[Tensor, "b c n"], codebook: Float[Tensor, "k v"]
    ) -> Float[Tensor, "b p d"]:
        """Embeddings of the context prefix."""
        embedded = transformer.embed(self.layout.pack_context(codes))
        if self.context_vector is None:
            return embedded
        vectors = F.pad(self.context_vector(codebook[codes]), (0, 0, 1, 0))  # nothing is added to a marker
        return embedded + vectors.flatten(1, 2)[:, 1:]

    def last_cells(self, codes: Int[Tensor, "b c n"], codebook: Float[Tensor, "k v"]) -> Float[Tensor, "b m g"] | None:
        """The guide's features of the frame before the first predicted one."""
        return None if self.guide is None else self.guide.context_cells(codebook[codes[:, -1]])

    def cells(self, codes: Int[Tensor, "b f m"], codebook: Float[Tensor, "k v"]) -> Float[Tensor, "b f m g"] | None:
        """The guide's features of predicted frames."""
        return None if self.guide is None else self.guide.dynamics_cells(codebook[codes])

    def told(self, told: Controls) -> Float[Tensor, "b f d"] | None:
        """What is told of each frame, as one vector; f is 1 where all frames are told the same."""
        parts: list[Tensor] = []
        if self.action is not None and told.actions is not None:
            parts.append(told.acted(self.action))
        if self.text is not None and told.text is not None:
            parts.append(told.silence(self.text(told.text)[:, None]))
        if self.config.domains and told.domains is not None:
            known = torch.stack([self.domain[each.name] for each in self.config.domains])
            parts.append(known[told.domains][:, None])
        if not parts:
            return None
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def state_ranges(self, domains: Sequence[Domain]) -> None:
        """Take up the ranges of binned controls."""
        for part in (self.action, None if self.guide is None else self.guide.action):
            if isinstance(part, DomainInput):
                part.state_ranges(domains)

    def share_clipped(self, told: Controls) -> Float[Tensor, ""] | None:
        """Which share of the controls lies outside the range of its bins; None where there are no bins."""
        if not isinstance(self.action, DomainInput) or told.actions is None or told.domains is None:
            return None
        return self.action.share_outside(told.actions, told.domains)

    def additions(self, cells: Float[Tensor, "b f m g"] | None, told: Controls) -> Float[Tensor, "b h l d"] | None:
        """All that a frame's tokens carry beyond their own embedding: what is told and the guide.

        One entry for each of the frame's tokens, marker first; a single entry belongs to the marker alone. A single
        frame (h = 1) stands for all.
        """
        total = self.told(told)
        if total is not None:
            total = total[:, :, None]
            if self.config.action_on == "frame":
                total = total.expand(-1, -1, self.layout.frame_length, -1)
        if self.guide is not None:
            assert cells is not None
            guide = self.guide(cells, told)
            if total is not None and total.shape[2] == 1:
                total = F.pad(total, (0, 0, 0, self.layout.dynamics_tokens))
            total = guide if total is None else total + guide
        return total

    def tokens(
        self, transformer: Transformer, ids: Int[Tensor, "b s"], codebook: Float[Tensor, "k v"]
    ) -> Float[Tensor, "b s d"]:
        """Embeddings of dynamics ids; what is no dynamics code contributes the nearest code's vector."""
        embedded = transformer.embed(ids)
        if self.dynamics_vector is not None:
            embedded = embedded + self.dynamics_vector(codebook[self.layout.dynamics_index(ids, clamp=True)])
        return embedded

    def frames(
        self,
        transformer: Transformer,
        ids: Int[Tensor, "b f m"],
        cells: Float[Tensor, "b f m g"] | None,
        told: Controls,
        codebook: Float[Tensor, "k v"],
    ) -> Float[Tensor, "b f l d"]:
        """Embeddings of predicted frames, markers included; `cells` are the features of each frame's predecessor."""
        marker = torch.full((len(ids), ids.shape[1]), self.layout.dynamics_marker, device=ids.device)
        tokens = self.tokens(transformer, ids.flatten(1), codebook).unflatten(1, tuple(ids.shape[1:]))
        embedded = torch.cat([transformer.embed(marker)[:, :, None], tokens], dim=2)
        additions = self.additions(cells, told)
        if additions is None:
            return embedded
        return embedded + F.pad(additions, (0, 0, 0, embedded.shape[2] - additions.shape[2]))

    def forward(
        self,
        transformer: Transformer,
        codes: FrameCodes,
        told: Controls,
        context_codebook: Float[Tensor, "k v"],
        dynamics_codebook: Float[Tensor, "j v"],
    ) -> Float[Tensor, "b s d"]:
        """Embeddings of a whole segment; `told.actions[:, i]` leads to predicted frame i."""
        first, later = self.last_cells(codes.context, context_codebook), self.cells(codes.dynamics, dynamics_codebook)
        cells = None if first is None or later is None else torch.cat([first[:, None], later[:, :-1]], dim=1)
        ids = codes.dynamics + self.layout.dynamics_ids[0]
        frames = self.frames(transformer, ids, cells, told, dynamics_codebook)
        context = self.context(transformer, codes.context, context_codebook)
        return torch.cat([context, frames.flatten(1, 2)], dim=1)

    def code_scores(
        self, hidden: Float[Tensor, "*b d"], codebook: Float[Tensor, "k v"]
    ) -> Float[Tensor, "*b k"] | None:
        """How well each dynamics code's vector fits; added to the head's logits when code vectors are in use."""
        return None if self.score_vector is None else self.score_vector(hidden) @ codebook.T


def zero(part: nn.Module | None) -> None:
    """Every parameter of a part to 0: an action-conditioned model starts out as the action-free one it was before."""
    for parameter in () if part is None else part.parameters():
        nn.init.zeros_(parameter)
