"""What about a model is to be different, and the configs that this makes."""

from dataclasses import dataclass, replace
from typing import Any

from ivideo.config.limits import check_least
from ivideo.layout import layout_of
from ivideo.world_model_config import WorldModelConfig
from tokenizer import TokenizerConfig
from tokenizer.elastic import check_change


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be different about a model; null leaves a setting as it is."""

    action_dim: int | None = None
    """Numbers in an action: old ones keep their weights, further ones start without effect; 0 takes actions away."""
    context_frames: int | None = None
    """Frames to start from: fewer keep the latest positions, further ones start out as the oldest."""
    views: int | None = None
    """Cameras: multiplies the context frames. Those of further cameras come first; the last camera is imagined."""
    resolution: int | None = None
    """Side of a frame in pixels; the token grids grow along unless stem_stride or patch_size do instead."""
    stem_stride: int | None = None
    """Pixels that the first layer takes in one step (models above 1 only): grown along with resolution, the token
    grids stay as they are."""
    patch_size: int | None = None
    """Side of the latent patch that makes one token of an imagined frame."""
    context_codes: int | None = None
    """Codes of context frames: at least as many as there are; a new code is the twin of an old one."""
    dynamics_codes: int | None = None
    """Codes of imagined frames: likewise."""
    max_positions: int | None = None
    """Longest sequence, in tokens."""
    layers: int | None = None
    """Layers of the transformer: at least as many as there are; each old one is followed by copies that add nothing
    until they are trained."""
    reward: bool | None = None
    """Whether there is a head that predicts rewards."""
    termination: bool | None = None
    """Whether there is a head that predicts termination."""
    goal_conditioned: bool | None = None
    """Whether the first context frame is the goal: the published layout cannot say it of the goal model."""

    def __post_init__(self) -> None:
        check_least(
            self, views=1, context_frames=1, resolution=1, stem_stride=1, patch_size=1, max_positions=1, layers=1
        )
        if self.action_dim is not None and self.action_dim < 0:
            raise ValueError(f"action_dim is {self.action_dim}; expected 0, for no actions, or more")

    def tokenizer_config(self, old: TokenizerConfig) -> TokenizerConfig:
        """The config of the tokenizer that the changes make of one."""
        given = self._given("resolution", "stem_stride", "patch_size", "context_codes", "dynamics_codes")
        frames = (self.context_frames or old.context_frames) * (self.views or 1)
        resolution, stem = given.get("resolution", old.resolution), given.get("stem_stride", old.stem_stride)
        shrink = stem << (len(old.channels) - 1)
        if resolution % shrink:
            low = max(shrink, resolution // shrink * shrink)
            raise ValueError(
                f"resolution is {resolution}; expected a multiple of {shrink}, by which the tokenizer shrinks a frame: "
                f"take {low} or {low + shrink}"
            )
        # The levels that look at the context stay the same, whatever their sides are now.
        lowest = min(old.max_attention_resolution, 1)  # 0 where no level looks
        reach = old.max_attention_resolution * (resolution // stem) // (old.resolution // old.stem_stride)
        made = replace(old, context_frames=frames, max_attention_resolution=max(lowest, reach), **given)
        check_change(old, made)
        return made

    def model_config(self, old: WorldModelConfig, tokenizer: TokenizerConfig) -> WorldModelConfig:
        """The config of the world model that the changes make of one, on a tokenizer that is changed already."""
        action_dim = old.embedding.action_dim if self.action_dim is None else self.action_dim
        heads = replace(old.heads, **self._given("reward", "termination"))
        if not action_dim:
            heads = replace(heads, action_reconstruction=0.0)
        limit = self.max_positions or old.transformer.max_positions
        layout = layout_of(tokenizer)
        if layout.max_frames(limit) < 1:
            raise ValueError(
                f"max_positions is {limit}, but {layout.context_frames} context frames of {layout.context_tokens} "
                f"tokens and an imagined one of {layout.dynamics_tokens} take {layout.sequence_length(1)}; "
                f"set it to {layout.sequence_length(1)} at least"
            )
        return replace(
            old,
            transformer=replace(old.transformer, max_positions=limit, **self._given("layers")),
            embedding=replace(old.embedding, action_dim=action_dim),
            heads=heads,
            **self._given("goal_conditioned"),
        )

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}
