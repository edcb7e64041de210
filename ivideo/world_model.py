"""The world model: a tokenizer, a transformer and the layout that joins them."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ivideo import hub, rollout
from ivideo.embedding import EmbeddingConfig, SequenceEmbedding
from ivideo.episode import Batch
from ivideo.heads import Heads, HeadsConfig
from ivideo.layout import TokenLayout
from ivideo.losses import HarmoniousWeights, masked_mean, soft_targets
from ivideo.state import Prediction, RolloutState
from ivideo.tokens import TokenBatch
from tokenizer import FrameCodes, TokenizerConfig, VideoTokenizer
from transformer import Sampling, Transformer, TransformerConfig

Precision: TypeAlias = Literal["float32", "bfloat16", "int8"]
"""How the transformer's weights are held; what they are multiplied with is rounded alike, sums are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldModelConfig:
    """Everything about a world model but its tokenizer; the defaults are the released small one."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    """The vocabulary size is set from the tokenizer's codebooks, whatever is written here."""
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    """How actions and codes enter the sequence."""
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    """What is predicted besides tokens."""
    vocabulary: Literal["full", "dynamics"] = "full"
    """What the cross-entropy ranges over: all ids with the markers as targets (as released), or dynamics codes."""
    code_smoothing: float = 0.0
    """Spread a target over codes with near vectors: the temperature of a softmax over minus squared distances, in
    units of the median squared distance between neighbours; 0 is the plain cross-entropy. Needs vocabulary dynamics."""
    loss_weights: Literal["fixed", "harmonious"] = "fixed"
    """How the cross-entropy and the heads' losses are weighed: as the heads' settings say, with the cross-entropy per
    token (as released), or by scales learned beside the weights, with the cross-entropy per frame (HarmonyDream)."""
    goal_conditioned: bool = False
    """The first context frame is the goal to reach; train on segments in goal-first order (`SegmentSampler`)."""
    remember: int | None = None
    """Imagined frames a rollout reads at most, before it forgets the oldest half; null: what fits in front of the
    position limit, or when the model is trained here, as many as it is trained on."""
    sampling: Sampling = field(default_factory=Sampling)
    """How tokens are drawn where a call does not say (released: temperature 1, top-k 100)."""


class WorldModel(nn.Module):
    """Imagines what a camera will see next, one frame at a time, under given actions.

    `loss` is plain PyTorch. `start`, `step` and `predict` run without gradients; a rollout's state is an argument
    and a result, never an attribute of the model.
    """

    def __init__(self, tokenizer: VideoTokenizer, config: WorldModelConfig) -> None:
        super().__init__()
        if config.remember is not None and config.remember < 1:
            raise ValueError(f"remember is {config.remember}; expected at least 1 frame, or null")
        self.config = config
        self.tokenizer = tokenizer
        self.layout = layout_of(tokenizer.config)
        self.transformer = Transformer(replace(config.transformer, vocab_size=self.layout.vocab_size))
        self.embedding = SequenceEmbedding(config.embedding, self.layout, tokenizer.config, self.transformer)
        self.heads = Heads(config.heads, config.transformer.width, config.embedding.action_dim)
        names = ["cross_entropy", *self.heads.loss_names]
        self.harmony = HarmoniousWeights(names) if config.loss_weights == "harmonious" else None
        if config.goal_conditioned and self.layout.context_frames < 2:
            raise ValueError("a goal-conditioned model needs at least 2 context frames: the goal and the present")

    @property
    def action_dim(self) -> int:
        """Size of an action; 0 where the model takes none."""
        return self.config.embedding.action_dim

    @property
    def context_frames(self) -> int:
        """Frames to start from, the goal included in a goal-conditioned model."""
        return self.layout.context_frames

    @property
    def max_frames(self) -> int:
        """Predicted frames that fit in front of the transformer's position limit."""
        return self.layout.max_frames(self.config.transformer.max_positions)

    @property
    def remembered_frames(self) -> int:
        """Predicted frames a rollout reads at most; longer ones forget the oldest."""
        return self.max_frames if self.config.remember is None else min(self.config.remember, self.max_frames)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def reduce(self, precision: Precision) -> "WorldModel":
        """This very model, its transformer's weights held in fewer bits from now on; no training after that.

        docs/performance.md has the gain and the price. The tokenizer stays as it is: on a CPU, its convolutions are
        faster in float32.
        """
        if precision not in get_args(Precision):
            raise ValueError(f"precision is {precision!r}; expected one of {', '.join(get_args(Precision))}")
        if precision != "float32":
            self.transformer.reduce({"bfloat16": torch.bfloat16, "int8": torch.int8}[precision])
        return self

    # ---------------------------------------------------------------------------------------------- training

    @torch.no_grad()
    def tokenize(self, batch: Batch) -> TokenBatch:
        """Codes of a batch with what goes with its predicted frames; the tokenizer is not trained through this."""
        context = self.context_frames
        if batch.frames.shape[1] <= context:
            raise ValueError(f"segments of {batch.frames.shape[1]} frames leave nothing to predict after {context}")
        cut = {
            name: None if (values := getattr(batch, name)) is None else values[:, context - 1 :]
            for name in ("actions", "rewards", "terminals")
        }
        mask = None if batch.mask is None else batch.mask[:, context:]
        return TokenBatch(codes=self.tokenizer.encode(batch.frames), mask=mask, **cut)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch of videos and its parts by name; see `token_loss`."""
        return self.token_loss(self.tokenize(batch))

    def token_loss(self, tokens: TokenBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy per predicted token in nats, plus the weighted losses of the heads; see `loss_weights`.

        The parts are the same however they are weighed.
        """
        hidden = self.forward(tokens.codes, tokens.actions)
        losses = {"cross_entropy": self._cross_entropy(hidden, tokens)}
        losses |= self.heads.losses(
            self.layout.split_frames(hidden),
            actions=tokens.actions,
            rewards=tokens.rewards,
            terminals=tokens.terminals,
            mask=tokens.mask,
        )
        parts = {name: value.detach() for name, value in losses.items()}
        if self.harmony is None:
            return torch.stack(list(losses.values())).sum(), parts
        total = self.harmony(losses | {"cross_entropy": losses["cross_entropy"] * self._targets_per_frame})
        if self.training:
            parts |= {f"sigma/{name}": value for name, value in self.harmony.sigmas().items()}
        return total, parts

    def forward(self, codes: FrameCodes, actions: Float[Tensor, "b f a"] | None = None) -> Float[Tensor, "b s d"]:
        """Final-norm states of a whole segment; `actions[:, i]` leads to predicted frame i, None adds none."""
        if actions is not None:
            self._check_action_size(actions)
        books = self.tokenizer.context_codebook.detach(), self.tokenizer.dynamics_codebook.detach()
        hidden: Tensor = self.transformer(self.embedding(self.transformer, codes, actions, *books))
        return hidden

    def logits(
        self, hidden: Float[Tensor, "*b d"], vocabulary: Literal["dynamics", "full"] | None = None
    ) -> Float[Tensor, "*b v"]:
        """Scores of the next token: of every id, or of the dynamics codes alone (`vocabulary="dynamics"`)."""
        scores = self.embedding.code_scores(hidden, self.tokenizer.dynamics_codebook.detach())
        start, stop = self.layout.dynamics_ids
        if (vocabulary or self.config.vocabulary) == "dynamics":
            logits = self.transformer.logits(hidden, start, stop)
            return logits if scores is None else logits + scores
        logits = self.transformer.logits(hidden)
        return logits if scores is None else logits + F.pad(scores, (start, logits.shape[-1] - stop))

    @property
    def _targets_per_frame(self) -> int:
        dynamics = self.config.vocabulary == "dynamics"
        return self.layout.dynamics_tokens if dynamics else self.layout.frame_length

    def _cross_entropy(self, hidden: Tensor, tokens: TokenBatch) -> Tensor:
        if self.config.vocabulary == "dynamics":
            predicting, targets = self.layout.split_frames(hidden)[:, :, :-1], tokens.codes.dynamics
            logits, spread = self.logits(predicting).flatten(0, 2), self.config.code_smoothing
            labels = targets.flatten()
            aim = soft_targets(self.tokenizer.dynamics_codebook.detach(), spread)[labels] if spread else labels
            entropy = F.cross_entropy(logits, aim, reduction="none")
            return masked_mean(entropy.view_as(targets), tokens.mask)
        ids = self.layout.pack(tokens.codes)
        predicting, targets = self.layout.predicting(hidden), self.layout.targets(ids)
        entropy = F.cross_entropy(self.logits(predicting).flatten(0, 1), targets.flatten(), reduction="none")
        if tokens.mask is None:
            return entropy.mean()
        real = tokens.mask.repeat_interleave(self.layout.frame_length, dim=1)[:, 1:]  # a marker goes with its frame
        return masked_mean(entropy.view_as(targets), real)

    # --------------------------------------------------------------------------------------------- imagining

    @torch.inference_mode()
    def start(
        self,
        frames: UInt8[Tensor, "*b c 3 h w"],
        *,
        goal: UInt8[Tensor, "*b 3 h w"] | None = None,
        seed: int = 0,
        room: int = 0,
    ) -> RolloutState:
        """A state to step from, given the context frames (one video, or a batch): one pass over the prefix.

        A goal-conditioned model takes its `goal` apart and one context frame fewer. Row i of a batch draws its
        tokens from seed `seed + i`, whatever else is in the batch. Memory for `room` frames of every row is taken at
        once, and grows with further ones by doubling; a rollout that is to be forked needs none. What cannot fit in
        memory is a ValueError that says what would.
        """
        return rollout.start(self, frames, goal=goal, seed=seed, room=room)

    @torch.inference_mode()
    def step(
        self,
        state: RolloutState,
        action: Float[Tensor, "*b a"] | None = None,
        *,
        decode: bool = True,
        sampling: Sampling | None = None,
        vocabulary: Literal["dynamics", "full"] = "dynamics",
        reward: bool = True,
        guess: bool | None = None,
    ) -> tuple[RolloutState, Prediction]:
        """The next frame under `action`: `[a]` for every row or `[b a]`; None imagines without an action.

        The old state stays valid: stepping it again with another action gives another future. `decode=False` leaves
        the pixels out, which costs most; `frames` decodes them later. `reward=False` leaves reward and termination to
        the next step, which reads them in passing and saves a pass (`Prediction.earlier_reward`).

        A frame's tokens are drawn from the dynamics codes; `vocabulary="full"` draws from all ids as the reference does
        and decodes a stray id as the nearest code. A single row is drawn several tokens a pass where the frame before
        foretells them (`ivideo.drawing`), by default at temperature 0, or as `guess` says; the tokens are the same up
        to rounding. There is no last frame: after `remembered_frames`, the oldest half of the imagined frames is
        forgotten.
        """
        return rollout.step(
            self,
            state,
            action,
            decode=decode,
            sampling=sampling or self.config.sampling,
            vocabulary=vocabulary,
            reward=reward,
            guess=guess,
        )

    @torch.inference_mode()
    def frames(self, state: RolloutState, which: slice = slice(None)) -> UInt8[Tensor, "b f 3 h w"]:
        """Pixels of the imagined frames of a state, or only of those in the slice."""
        return rollout.frames_of(self, state, which)

    @torch.inference_mode()
    def predict(
        self,
        clip: UInt8[Tensor, "c 3 h w"],
        actions: Float[Tensor, "*n f a"] | None = None,
        *,
        frames: int | None = None,
        samples: int = 1,
        goal: UInt8[Tensor, "3 h w"] | None = None,
        seed: int = 0,
        sampling: Sampling | None = None,
    ) -> UInt8[Tensor, "n t 3 h w"]:
        """Imagined continuations of one clip, its context frames included.

        `actions` `[f a]` are shared by all samples, `[n f a]` give each future its own and set `samples`; without
        actions say how many `frames`. Futures of one clip share the computed context.
        """
        return rollout.predict(
            self, clip, actions, frames=frames, samples=samples, goal=goal, seed=seed, sampling=sampling
        )

    def check_actions(self, actions: Tensor, where: str = "") -> None:
        """Refuses actions this model cannot take, naming both sizes; the message begins with `where` they are from."""
        self._check_action_size(actions, where)
        if not torch.isfinite(actions).all():
            raise ValueError(f"{where}actions hold NaN or infinite values; expected finite numbers: repair them")

    def _check_action_size(self, actions: Tensor, where: str = "") -> None:
        if not self.action_dim:
            raise ValueError(f"{where}this model is action-free; leave the actions out, or load one that takes actions")
        size = actions.shape[-1] if actions.ndim else 0
        if size != self.action_dim:
            raise ValueError(
                f"{where}an action has {size} values; this model takes {self.action_dim}: give it what it was trained "
                "on, or leave the actions out"
            )

    # ---------------------------------------------------------------------------------------- saving, loading

    @staticmethod
    def from_pretrained(
        source: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        precision: Precision = "float32",
        revision: str | None = None,
    ) -> "WorldModel":
        """A model from a folder or a Hugging Face Hub id, in the released layout or ours; see `ivideo.hub`.

        `dtype` computes everything in another type; `precision` stores the transformer's weights in it, see `reduce`.
        Strict: a missing, extra or misshapen tensor is a ValueError that names it. Pickles are refused.
        """
        hub.check_device(device)
        model = hub.load(source, revision=revision)
        return model.to(device=device, dtype=dtype).reduce(precision).eval()

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Writes the model in the released layout; `dtype` stores weights in fewer bits (float16 halves the size)."""
        if self.transformer.head.scale is not None:
            raise ValueError("this model was reduced to int8, which has no stored form; save it before it is reduced")
        hub.save(self, folder, dtype=dtype)

    def push_to_hub(self, repo: str, *, private: bool = False, message: str = "Upload world model") -> str:
        """Uploads what `save_pretrained` writes and returns the address; needs a Hub login."""
        return hub.push(self, repo, private=private, message=message)


def layout_of(config: TokenizerConfig) -> TokenLayout:
    """The sequence layout that goes with a tokenizer."""
    return TokenLayout(
        context_frames=config.context_frames,
        context_tokens=config.context_tokens,
        dynamics_tokens=config.dynamics_tokens,
        context_codes=config.context_codes,
        dynamics_codes=config.dynamics_codes,
    )
