"""What a world model is, but for its weights and its tokenizer."""

from dataclasses import dataclass, field
from typing import Literal

from ivideo.embedding import EmbeddingConfig
from ivideo.heads import HeadsConfig
from transformer import Sampling, TransformerConfig


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
    history: Literal["recent", "distant"] | None = None
    """How the context frames it was trained on lie (`data.history`); null: nobody wrote it down, taken as recent."""
    sampling: Sampling = field(default_factory=Sampling)
    """How tokens are drawn where a call does not say (released: temperature 1, top-k 100)."""

    def __post_init__(self) -> None:
        if self.remember is not None and self.remember < 1:
            raise ValueError(f"remember is {self.remember}; expected at least 1 frame, or null")
