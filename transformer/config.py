"""What a transformer is built from, and its translation to and from a Hugging Face `LlamaConfig`."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

_LLAMA_NAMES = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn_width": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "init_std": "initializer_range",
    "attention_dropout": "attention_dropout",
}
_REQUIRED = ("vocab_size", "width", "layers", "heads", "ffn_width", "max_positions")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """The shape of a LLaMA-style decoder; the defaults are the released small model."""

    vocab_size: int = 16386
    """Number of token ids."""
    width: int = 768
    """Size of a hidden state; a multiple of twice the number of heads."""
    layers: int = 12
    """Number of blocks."""
    heads: int = 12
    """Attention heads per block."""
    ffn_width: int = 3072
    """Inner size of the SwiGLU feed-forward network."""
    max_positions: int = 1024
    """Longest sequence, in tokens."""
    rope_theta: float = 10000.0
    """Base wavelength of the rotary position embedding."""
    norm_eps: float = 1e-6
    """Added to the mean square in RMSNorm."""
    init_std: float = 0.02
    """Standard deviation of freshly drawn weights."""
    attention_dropout: float = 0.0
    """Probability of dropping an attention weight in training (the released models were trained with 0.1)."""
    attention: Literal["sdpa", "flash"] = "sdpa"
    """PyTorch's own attention, or the flash-attn package (CUDA, float16 or bfloat16)."""

    recompute: bool = False
    """In training, compute each block a second time for its gradients instead of remembering what it computed: less
    memory, a third more work, the same results."""

    def __post_init__(self) -> None:
        for name in _REQUIRED:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width={self.width} cannot be cut into {self.heads} heads of an even size; "
                f"choose a multiple of {2 * self.heads}, or other heads"
            )
        if not 0 <= self.attention_dropout < 1:
            raise ValueError(f"attention_dropout={self.attention_dropout} is no probability below 1; choose 0 to 0.99")
        if not all(0 < value < inf for value in (self.rope_theta, self.norm_eps, self.init_std)):
            raise ValueError(
                f"rope_theta={self.rope_theta}, norm_eps={self.norm_eps} and init_std={self.init_std} must be above 0 "
                "and finite"
            )

    @property
    def head_dim(self) -> int:
        """Size of one attention head."""
        return self.width // self.heads

    @classmethod
    def small(cls, **changes: Any) -> "TransformerConfig":
        """The 138,434,304-parameter model of the iVideoGPT paper (arXiv 2405.15223); keywords replace fields."""
        return cls(**changes)

    @classmethod
    def medium(cls, **changes: Any) -> "TransformerConfig":
        """The 436,261,888-parameter model of the iVideoGPT paper (arXiv 2405.15223); keywords replace fields."""
        return cls(**{"width": 1024, "layers": 24, "heads": 16, "ffn_width": 4096} | changes)

    def to_llama(self) -> dict[str, Any]:
        """The fields of a Hugging Face `LlamaConfig`, rotary base spelt for transformers 4 and 5 alike."""
        llama: dict[str, Any] = {theirs: getattr(self, ours) for ours, theirs in _LLAMA_NAMES.items()}
        return llama | {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "bos_token_id": None,  # their defaults, 1 and 2, are image codes here: generation would stop at one
            "eos_token_id": None,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "model_type": "llama",
            "num_key_value_heads": self.heads,
            "rope_parameters": {"rope_theta": self.rope_theta, "rope_type": "default"},
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": False,
        }

    @classmethod
    def from_llama(cls, llama: Mapping[str, Any], **changes: Any) -> "TransformerConfig":
        """The config that a Hugging Face `LlamaConfig` describes; keywords replace fields.

        Old files (`rope_theta`) and new ones (`rope_parameters`) are read. ValueError for a missing size and for
        whatever this architecture has not: code of its own, tied embeddings, grouped queries, scaled rotary angles,
        biases, another activation or model type.
        """
        if "auto_map" in llama:
            raise ValueError(
                "the Llama config names code of its own (auto_map), which is never run here; remove the key"
            )
        missing = [_LLAMA_NAMES[name] for name in _REQUIRED if llama.get(_LLAMA_NAMES[name]) is None]
        if missing:
            raise ValueError(f"the Llama config lacks {', '.join(missing)}; is it the config.json of a transformer?")
        fields = {ours: llama[theirs] for ours, theirs in _LLAMA_NAMES.items() if llama.get(theirs) is not None}
        ropes = [llama.get(key) or {} for key in ("rope_parameters", "rope_scaling")]
        if not all(isinstance(rope, Mapping) for rope in ropes):
            raise ValueError(f"the Llama config has {ropes} for rope_parameters and rope_scaling; expected objects")
        theta = ropes[0].get("rope_theta") or llama.get("rope_theta")
        for name, value in {**fields, "rope_theta": 1.0 if theta is None else theta}.items():
            if isinstance(value, bool) or not isinstance(value, int if name in _REQUIRED else int | float):
                kind = "a whole number" if name in _REQUIRED else "a number"
                raise ValueError(f"the Llama config has {_LLAMA_NAMES.get(name, name)}={value!r}; expected {kind}")
        config = cls(**fields | ({} if theta is None else {"rope_theta": float(theta)}) | changes)
        supported = {
            "model_type": "llama",
            "hidden_act": "silu",
            "tie_word_embeddings": False,
            "attention_bias": False,
            "mlp_bias": False,
            "num_key_value_heads": config.heads,
            "head_dim": config.head_dim,
        }
        checks = [(key, llama[key], value) for key, value in supported.items() if llama.get(key) is not None]
        checks += [("rope_type", rope.get("rope_type", rope.get("type", "default")), "default") for rope in ropes]
        for key, value, expected in checks:
            if value != expected:
                raise ValueError(
                    f"the Llama config has {key}={value!r}; only {key}={expected!r} is supported here, "
                    "so this checkpoint cannot be loaded"
                )
        return config
