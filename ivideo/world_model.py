"""The world model: a tokenizer, a transformer and the layout that joins them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ivideo import checkpoint, hub, rollout
from ivideo.act import Acts, Interface
from ivideo.controls import Controls, ranged
from ivideo.embedding import SequenceEmbedding
from ivideo.embodiments import Embodiments, Named
from ivideo.episode import Batch
from ivideo.graphs import FrameGraphs
from ivideo.heads import Heads
from ivideo.layout import layout_of
from ivideo.losses import HarmoniousWeights, token_loss
from ivideo.state import Prediction, RolloutState
from ivideo.tokens import TokenBatch, encoded
from ivideo.world_model_config import WorldModelConfig
from tokenizer import FrameCodes, VideoTokenizer
from transformer import Sampling, Transformer

Precision: TypeAlias = Literal["float32", "bfloat16", "int8"]
"""In what layers multiply: their weights and what these are multiplied with are rounded, sums are not."""


class WorldModel(nn.Module):
    """Imagines what a camera will see next, one frame at a time, under given actions.

    `loss` is plain PyTorch. `start`, `step` and `predict` run without gradients; a rollout's state is an argument and
    a result, never an attribute of the model.
    """

    graphs: FrameGraphs | None = None
    """What replays frames on a GPU, where `FrameGraphs.of` has been asked to."""

    def __init__(self, tokenizer: VideoTokenizer, config: WorldModelConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.layout = layout_of(tokenizer.config)
        self.transformer = Transformer(replace(config.transformer, vocab_size=self.layout.vocab_size))
        self.embedding = SequenceEmbedding(config.embedding, self.layout, tokenizer.config, self.transformer)
        self.heads = Heads(config.heads, config.transformer.width, config.embedding.action_dim)
        self.read_instructions = self.embedding.reader
        names = ["cross_entropy", *self.heads.loss_names]
        self.harmony = HarmoniousWeights(names) if config.loss_weights == "harmonious" else None
        if config.goal_conditioned and self.layout.context_frames < 2:
            raise ValueError("a goal-conditioned model needs at least 2 context frames: the goal and the present")

    @property
    def action_dim(self) -> int:
        """Size of an action; 0 where the model takes none."""
        return self.config.embedding.action_dim

    @property
    def embodiments(self) -> Embodiments:
        """Whose actions this model takes."""
        return self.interface.embodiments

    @property
    def interface(self) -> Interface:
        """Which acts `step` takes."""
        return Interface.of(self.config)

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
        """This very model, computing in fewer bits from now on; no training after that.

        The transformer's linear layers hold their weights in them. The tokenizer's convolutions keep theirs, and use
        what a CPU has for fewer bits; codes and pixels change with it. docs/performance.md has the gain and the price.
        """
        if precision not in get_args(Precision):
            raise ValueError(f"precision is {precision!r}; expected one of {', '.join(get_args(Precision))}")
        if precision != "float32":
            dtype = {"bfloat16": torch.bfloat16, "int8": torch.int8}[precision]
            self.transformer.reduce(dtype)
            self.tokenizer.reduce(dtype)
        return self

    def state_ranges(self, actions: Mapping[str, Float[Tensor, "n a"]]) -> None:
        """Take the range of each domain's controls, where its config states none, from actions of that domain."""
        embedding = self.config.embedding
        domains = tuple(
            ranged(each, actions[each.name]) if each.name in actions else each for each in embedding.domains
        )
        self.config = replace(self.config, embedding=replace(embedding, domains=domains))
        self.embedding.state_ranges(domains)

    # ---------------------------------------------------------------------------------------------- training

    @torch.no_grad()
    def tokenize(self, batch: Batch) -> TokenBatch:
        """Codes of a batch with what goes with its predicted frames; the tokenizer is not trained through this."""
        tokens = encoded(self.tokenizer, batch)
        domains = self.embodiments.known(tokens.domains)
        self.embodiments.check_choices(tokens.actions, domains)
        return replace(tokens, domains=domains, text=self.text_of(batch.instructions))

    def text_of(self, instructions: Sequence[str] | None) -> Float[Tensor, "b e"] | None:
        """Instructions as this model reads them; None for none, or for a model that takes none."""
        if self.read_instructions is None or instructions is None:
            return None
        return self.read_instructions(instructions).to(self.transformer.norm.weight)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch of videos and its parts by name; see `token_loss`."""
        return self.token_loss(self.tokenize(batch))

    def token_loss(
        self, tokens: TokenBatch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy per predicted token in nats, plus the weighted losses of the heads; see `loss_weights`.

        The parts are the same however they are weighed. `generator` draws the rows whose actions are withheld.
        """
        return token_loss(self, tokens, generator)

    def forward(
        self, codes: FrameCodes, told: Float[Tensor, "b f a"] | Controls | None = None
    ) -> Float[Tensor, "b s d"]:
        """Final-norm states of a whole segment under what is told: actions, `Controls` with all there is, or nothing.

        `actions[:, i]` leads to predicted frame i.
        """
        controls = (told if isinstance(told, Controls) else Controls(actions=told)).completed(self.embodiments)
        books = self.tokenizer.context_codebook.detach(), self.tokenizer.dynamics_codebook.detach()
        hidden: Tensor = self.transformer(self.embedding(self.transformer, codes, controls, *books))
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

    @torch.inference_mode()
    def start(
        self,
        frames: UInt8[Tensor, "*b c 3 h w"],
        *,
        goal: UInt8[Tensor, "*b 3 h w"] | None = None,
        domain: Named | None = None,
        instruction: str | Sequence[str] | None = None,
        seed: int = 0,
        room: int = 0,
    ) -> RolloutState:
        """A state to step from, given the context frames (one video, or a batch): one pass over the prefix.

        A goal-conditioned model takes its `goal` apart and one context frame fewer. `domain`, by name or number, says
        whose actions will follow, `instruction` what is to be done: one for all rows, or one for each. Row i of a
        batch draws its tokens from seed `seed + i`, whatever else is in the batch. Memory for `room` frames of every
        row is taken at once, and grows with further ones by doubling; a rollout that is to be forked needs none. What
        cannot fit in memory is a ValueError that says what would.
        """
        return rollout.start(self, frames, goal=goal, domain=domain, instruction=instruction, seed=seed, room=room)

    @torch.inference_mode()
    def step(
        self,
        state: RolloutState,
        action: Acts = None,
        *,
        domain: Named | None = None,
        guidance: float = 0.0,
        decode: bool = True,
        sampling: Sampling | None = None,
        vocabulary: Literal["dynamics", "full"] = "dynamics",
        reward: bool = True,
        guess: bool | None = None,
    ) -> tuple[RolloutState, Prediction]:
        """The next frame under `action`: any act of the `interface`, for all rows or one for each (`ivideo.act`).

        Numbers `[a]` are for every row, `[b a]` for each; words hold until others are given; None tells nothing new.
        `domain` changes the state's from here on. `guidance` above 0 exaggerates what the action and the instruction
        change: tokens are drawn from `(1 + guidance) * logits - guidance * logits without them` (UniSim), at the cost
        of a second pass beside each; it is for models trained with `action_dropout`, and from the first frame on.

        The old state stays valid: stepping it again with another action gives another future. `decode=False` leaves
        the pixels out, which costs most; `frames` decodes them later. `reward=False` leaves reward and termination to
        the next step, which reads them in passing and saves a pass (`Prediction.earlier_reward`). Tokens are drawn from
        the dynamics codes; `vocabulary="full"` draws from all ids as the reference does and decodes a stray id as the
        nearest code. A single row is drawn several tokens a pass where the frame before foretells them
        (`ivideo.drawing`), by default at temperature 0, or as `guess` says; the tokens are the same up to rounding.
        There is no last frame: after `remembered_frames`, the oldest half of the imagined frames is forgotten.
        """
        return rollout.step(
            self,
            state,
            action,
            domain=domain,
            guidance=guidance,
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
        domain: str | int | None = None,
        instruction: str | None = None,
        guidance: float = 0.0,
        seed: int = 0,
        sampling: Sampling | None = None,
    ) -> UInt8[Tensor, "n t 3 h w"]:
        """Imagined continuations of one clip, its context frames included.

        `actions` `[f a]` are shared by all samples, `[n f a]` give each future its own and set `samples`; without
        actions say how many `frames`. Futures of one clip share the computed context.
        """
        return rollout.predict(
            self,
            clip,
            actions,
            frames=frames,
            samples=samples,
            goal=goal,
            domain=domain,
            instruction=instruction,
            guidance=guidance,
            seed=seed,
            sampling=sampling,
        )

    def check_actions(self, actions: Tensor, where: str = "", domain: Named | None = None) -> None:
        """Refuses actions this model cannot take, naming both sizes; the message begins with `where` they are from."""
        self.embodiments.check(actions, self.embodiments.ids(domain, 1), where)

    @staticmethod
    def from_pretrained(
        source: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        precision: Precision = "float32",
        revision: str | None = None,
    ) -> "WorldModel":
        """A model from a folder or a Hugging Face Hub id, in the released layout or ours; see `ivideo.checkpoint`.

        `dtype` computes everything in another type; `precision` rounds what layers multiply, see `reduce`.
        Strict: a missing, extra or misshapen tensor is a ValueError that names it. Pickles are refused.
        """
        hub.check_device(device)
        model = checkpoint.load(source, revision=revision)
        return model.to(device=device, dtype=dtype).reduce(precision).eval()

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Writes the model in the released layout; `dtype` stores weights in fewer bits (float16 halves the size)."""
        if self.transformer.head.scale is not None:
            raise ValueError("this model was reduced to int8, which has no stored form; save it before it is reduced")
        checkpoint.save(self, folder, dtype=dtype)

    def push_to_hub(self, repo: str, *, private: bool = False, message: str = "Upload world model") -> str:
        """Uploads what `save_pretrained` writes and returns the address; needs a Hub login."""
        return hub.push(self, repo, private=private, message=message)
