"""Small models as one release of this project wrote them, with what they computed then.

`python tests/golden_models.py tests/golden/NAME` writes them anew, under the name of a new release: what is there
stays, for it stands for models that people have.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ivideo.embedding import EmbeddingConfig
from ivideo.heads import HeadsConfig
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import EMAVQ, TokenizerConfig, VideoTokenizer
from transformer import Sampling, TransformerConfig

TOKENIZER = TokenizerConfig(
    resolution=16, stem_stride=2, channels=(4, 4), blocks_per_level=1, latent_channels=4, code_dim=2, context_codes=8,
    dynamics_codes=12, patch_size=2, norm_groups=2, attention_heads=2, max_attention_resolution=4,
)  # fmt: skip
TRANSFORMER = TransformerConfig(width=8, layers=1, heads=2, ffn_width=12, max_positions=96)
MODELS = {
    "released": (TOKENIZER, WorldModelConfig(transformer=TRANSFORMER)),
    "released_action": (
        TOKENIZER,
        WorldModelConfig(
            transformer=TRANSFORMER, embedding=EmbeddingConfig(action_dim=2), heads=HeadsConfig(reward=True)
        ),
    ),
    "extended": (
        replace(TOKENIZER, mid_blocks=0, mask_blend="decoded", quantizer=EMAVQ()),
        WorldModelConfig(
            transformer=TRANSFORMER,
            embedding=EmbeddingConfig(action_dim=2, action_on="frame", code_vectors=True, guide=4),
            heads=HeadsConfig(reward=True, termination=True, action_reconstruction=0.5),
            vocabulary="dynamics",
            remember=4,
            sampling=Sampling(temperature=0.5, top_k=5),
        ),
    ),
}
"""Configs of the models in the first release's folder; a test reads folders alone."""


def clip() -> Tensor:
    """UInt8 [t 3 16 16], the same for ever: no generator stands behind it."""
    index = torch.arange(5 * 3 * 16 * 16)
    return (index * index % 251).to(torch.uint8).view(5, 3, 16, 16)


def actions(count: int, size: int) -> Tensor:
    return torch.linspace(-1, 1, count * size).view(count, size)


@torch.no_grad()
def outputs(model: WorldModel) -> dict[str, Tensor]:
    """What a model makes of the clip: codes, pixels, logits, and a greedy future with its rewards."""
    frames, given = clip(), actions(3, model.action_dim) if model.action_dim else None
    codes = model.tokenizer.encode(frames[None])
    state, seen = model.start(frames[:2]), []
    for step in range(3):
        action = None if given is None else given[step]
        state, made = model.step(state, action, sampling=Sampling(temperature=0))
        seen.append(made)
    result = {
        "context": codes.context,
        "dynamics": codes.dynamics,
        "pixels": model.tokenizer.decode(codes),
        "logits": model.logits(model.forward(codes, None if given is None else given[None])),
        "future": torch.cat([made.codes for made in seen]),
    }
    for name in ("reward", "terminal"):
        values = [getattr(made, name) for made in seen]
        result |= {name: torch.cat(values)} if values[0] is not None else {}
    return {name: value.clone().contiguous() for name, value in result.items()}


def write(folder: Path) -> None:
    for name, (tokenizer, config) in MODELS.items():
        torch.manual_seed(0)
        model = WorldModel(VideoTokenizer(tokenizer), config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.5)
            for half in ("context", "dynamics"):
                getattr(model.tokenizer, f"{half}_codebook").normal_()
        model.eval().save_pretrained(folder / name)
        save_file(outputs(model), folder / f"{name}.safetensors")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
