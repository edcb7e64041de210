"""One training step of the world model, in the released way and in ours, on the same windows and weights.

The released loop tokenizes every batch anew and scores all ids at every position; labels of -100 then drop what is no
target. Ours reads codes that were computed once and scores the positions that have a target. Either step ends with
clipped gradients and an update by AdamW, so that later steps start from the weights it made.
"""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from ivideo.bench.reference import Reference
from ivideo.bench.roofline import Costs, Work
from ivideo.embedding import EmbeddingConfig
from ivideo.heads import HeadsConfig
from ivideo.tokens import TokenBatch
from ivideo.world_model import WorldModel
from tokenizer import VideoTokenizer

RATE = 1e-5
"""Learning rate: small, so that losses stay what they are however often a step is repeated."""


class Learner:
    """A model without actions and rewards, as in pre-training, that is trained in both ways from the same weights."""

    def __init__(self, model: WorldModel, plain: VideoTokenizer, windows: Tensor) -> None:
        """`windows` are uint8 `[b t 3 h w]`; `plain` is the model's tokenizer with convolutions as they are defined."""
        config = replace(model.config, embedding=EmbeddingConfig(), heads=HeadsConfig(), vocabulary="full")
        self.model = WorldModel(model.tokenizer, config).to(model.device)
        self.model.transformer.load_state_dict(model.transformer.state_dict())
        self.plain, self.windows = plain, windows
        with torch.no_grad():
            self.tokens = TokenBatch(codes=plain.encode(windows))
        self.language = copy.deepcopy(Reference(self.model).language).train().requires_grad_(True)
        self.model.train().tokenizer.eval().requires_grad_(False)
        self._theirs = torch.optim.AdamW(self.language.parameters(), lr=RATE)
        self._ours = torch.optim.AdamW(self.model.transformer.parameters(), lr=RATE, fused=True)

    def released(self) -> dict[str, Tensor]:
        """Tokenize, score everything, drop what is no target, update."""
        layout = self.model.layout
        with torch.no_grad():
            ids = layout.pack(self.plain.encode(self.windows))
        loss: Tensor = self.language(input_ids=ids, labels=layout.labels(ids), use_cache=False).loss
        return _update(loss, self.language, self.language.model.norm.weight, self._theirs)

    def ours(self, *, bfloat16: bool) -> dict[str, Tensor]:
        """Score the targets of known codes, in bfloat16 where that is asked for, and update."""
        with torch.autocast(self.windows.device.type, torch.bfloat16, enabled=bfloat16):
            loss, _ = self.model.token_loss(self.tokens)
        return _update(loss, self.model.transformer, self.model.transformer.norm.weight, self._ours)

    def least(self, costs: Costs) -> Work:
        """Gradients take twice what the forward pass takes; weights, gradients and the optimizer's memory are read."""
        batch, length = self.tokens.codes.context.shape[0], self.model.layout.sequence_length(self._predicted)
        scored = self.model.layout.frame_length * self._predicted - 1
        attention = 2 * costs.layers * costs.width * batch * length**2
        head = costs.width * self.model.layout.vocab_size
        forward = 2 * batch * (length * costs.body + scored * head) + attention
        return Work(flops=3 * forward, bytes=7 * 4 * (costs.body + head))

    @property
    def _predicted(self) -> int:
        return self.tokens.codes.dynamics.shape[1]


def _update(loss: Tensor, module: nn.Module, last: Tensor, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What is compared: the loss, and the clipped gradient of the `last` norm, in which every target has its share."""
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    assert last.grad is not None
    compared = {"loss": loss.detach()[None], "gradient": last.grad.clone()}
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return compared
