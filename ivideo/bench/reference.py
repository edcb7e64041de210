"""The released implementation's way to imagine, re-created from what it does, with a model's own weights.

Every frame reads the whole prefix anew through `transformers`' `generate`, logits range over all ids at every position,
prompts are tokenized with dummy frames behind them, each candidate of a planner carries its own context, and whole
clips are decoded with their context frames. Modules are PyTorch's plain ones. Tokens are the likeliest, so that both
ways can be compared exactly.

Source: thuml/iVideoGPT at commit 2ae0381, `ivideogpt/transformer` and `ivideogpt/vq_model`, read for behaviour.
"""

import copy
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig

from ivideo.rollout import pixels
from ivideo.world_model import WorldModel
from tokenizer import FrameCodes
from tokenizer.reduced import Reducible
from transformer.checkpoint import llama_state_dict


class Reference:
    """Imagines in the released implementation's way."""

    def __init__(self, model: WorldModel) -> None:
        """Take over the weights of a model of the released architecture; ValueError for another architecture."""
        embedding = model.config.embedding
        if embedding.code_vectors or embedding.guide or embedding.action_on != "marker":
            raise ValueError("the released implementation has no code vectors, no guide and no action on every token")
        if model.tokenizer.config.mask_blend is not None:
            raise ValueError("the released implementation has no mask over the last context frame")
        self.model = model
        self.tokenizer = copy.deepcopy(model.tokenizer)
        for module in self.tokenizer.modules():
            if isinstance(module, Reducible):
                module.direct = True
        config = LlamaConfig(**model.transformer.config.to_llama())
        with torch.device("meta"):
            language: Any = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
        language.load_state_dict(llama_state_dict(model.transformer), assign=True)
        language.model.rotary_emb = type(language.model.rotary_emb)(config=config).to(model.device)  # in no state dict
        self.language = language.eval()
        tokens = model.layout.dynamics_tokens
        self._greedy = GenerationConfig(do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens, use_cache=True)

    @torch.inference_mode()
    def tokenize(self, frames: UInt8[Tensor, "b c 3 h w"], dummies: int) -> Int[Tensor, "b c n"]:
        """Codes of context frames, encoded with `dummies` black frames behind them."""
        black = frames.new_zeros(frames.shape[0], dummies, *frames.shape[2:])
        return self.tokenizer.encode(torch.cat([frames, black], dim=1)).context

    @torch.inference_mode()
    def next_frame(
        self, prefix: Int[Tensor, "b s"], actions: Float[Tensor, "b f a"]
    ) -> tuple[Int[Tensor, "b s2"], Int[Tensor, "b m"]]:
        """The prefix with one more frame, and its codes; the last of `actions` leads to it, earlier ones to earlier."""
        layout = self.model.layout
        marker = prefix.new_full((len(prefix), 1), layout.dynamics_marker)
        prefix = torch.cat([prefix, marker], dim=1)
        embedded = self.language.get_input_embeddings()(prefix)
        if self.model.embedding.action is not None:
            embedded[:, layout.context_length :: layout.frame_length] += self.model.embedding.action(actions)
        made: Tensor = self.language.generate(inputs_embeds=embedded, generation_config=self._greedy)
        return torch.cat([prefix, made], dim=1), layout.dynamics_index(made, clamp=True)

    @torch.inference_mode()
    def rollout(self, context: Int[Tensor, "b c n"], actions: Float[Tensor, "b f a"]) -> Int[Tensor, "b f m"]:
        """Codes of the frames that follow context codes under actions."""
        prefix, codes = self.model.layout.pack_context(context), []
        for index in range(actions.shape[1]):
            prefix, frame = self.next_frame(prefix, actions[:, : index + 1])
            codes.append(frame)
        return torch.stack(codes, dim=1)

    @torch.inference_mode()
    def decode(
        self, context: Int[Tensor, "b c n"], codes: Int[Tensor, "b f m"], *, whole: bool
    ) -> UInt8[Tensor, "b f 3 h w"]:
        """Pixels of imagined frames, by decoding the whole clip or by its features of the context."""
        if not whole:
            return pixels(self.tokenizer.decode_frames(codes, self.tokenizer.context_from_codes(context)))
        clip = self.tokenizer.decode(FrameCodes(context=context, dynamics=codes))
        return pixels(clip[:, context.shape[1] :])
