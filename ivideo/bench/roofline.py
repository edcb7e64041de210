"""The least work that imagining takes, and how long a machine at its measured best would need for it.

FLOPs count a multiplication and an addition as two. A stage that needs F of them and has to read B bytes cannot end
before the longer of F over the machine's arithmetic rate and B over its memory rate (Williams et al., "Roofline",
2009). The tokenizer's convolutions are counted as they are defined; minimal filtering can therefore pass this limit.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ivideo.world_model import WorldModel
from tokenizer import FrameCodes, VideoTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One stage."""

    flops: float
    bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the machine at hand does at its best with the threads PyTorch has."""

    flops_per_s: float
    """Of a product of two square matrices in float32, by the faster of PyTorch's own and oneDNN's."""
    bytes_per_s: float
    """Of summing an array far larger than any cache."""

    @staticmethod
    def measured(device: torch.device) -> "Machine":
        """Best of several tries; takes about a second."""
        size = 1024 if device.type == "cpu" else 8192
        square, long = torch.randn(size, size, device=device), torch.ones(2**26, device=device)
        ways: list[Callable[[], Tensor]] = [lambda: square @ square]
        if device.type == "cpu" and torch.backends.mkldnn.is_available():
            packed = torch.ops.mkldnn._reorder_linear_weight(square, size)
            ways.append(lambda: torch.ops.mkldnn._linear_pointwise(square, packed, None, "none", [], ""))
        return Machine(
            flops_per_s=2 * size**3 / min(_best(way, device) for way in ways),
            bytes_per_s=long.nbytes / _best(lambda: long.sum(), device),
        )

    def seconds(self, stages: list[Work]) -> float:
        """The least time for stages that follow one another."""
        return sum(max(each.flops / self.flops_per_s, each.bytes / self.bytes_per_s) for each in stages)


class Costs:
    """The least work of each part of a model, in the precision of its weights."""

    def __init__(self, model: WorldModel, plain: VideoTokenizer) -> None:
        """`plain` is the model's tokenizer with convolutions computed as they are defined."""
        self.model = model
        self.weight_bytes = model.transformer.head.weight.element_size()
        self.state_bytes = model.transformer.norm.weight.element_size()
        config = model.config.transformer
        self.layers, self.width = config.layers, config.width
        self.body = config.layers * (4 * config.width**2 + 3 * config.width * config.ffn_width)
        """Weights of the blocks."""
        self.head = config.width * model.layout.dynamics_codes
        """Weights of the head that score dynamics codes."""
        self._context_flops, self._encode_flops, self._decode_flops = _tokenizer_flops(plain)
        self._tokenizer_bytes = sum(each.nbytes for each in model.tokenizer.parameters())

    def step(self, *, batch: int, start: int, prefixes: int, prefix: int, new: int = 1, scored: int = 1) -> Work:
        """One pass of `batch` rows over `new` positions from `start` on, of which `scored` get logits.

        The first `prefix` positions are held once for each of `prefixes` groups of rows.
        """
        read = sum(start + index + 1 for index in range(new))
        dense = 2 * batch * (new * self.body + scored * self.head)
        attention = 4 * self.layers * self.width * batch * read
        weights = self.body + (self.head if scored else 0)
        held = 2 * self.layers * self.width * (prefixes * prefix + batch * (start + new - prefix))
        return Work(flops=dense + attention, bytes=weights * self.weight_bytes + held * self.state_bytes)

    def prefill(self, batch: int) -> Work:
        """Reading the context tokens of `batch` videos."""
        length = self.model.layout.context_length
        return self.step(batch=batch, start=0, prefixes=batch, prefix=length, new=length, scored=0)

    def frame(self, index: int, *, batch: int, prefixes: int | None = None) -> list[Work]:
        """The passes of imagined frame `index` for all rows, rewards read in passing.

        Without a number of `prefixes`, every row has its own context.
        """
        layout, rows = self.model.layout, batch if prefixes is None else prefixes
        shared, start = layout.context_length, layout.sequence_length(index)
        joined = 1 if index else 0
        passes = [self.step(batch=batch, start=start - joined, prefixes=rows, prefix=shared, new=1 + joined)]
        later = range(start + 1, start + layout.dynamics_tokens)
        return passes + [self.step(batch=batch, start=each, prefixes=rows, prefix=shared) for each in later]

    def encode(self, contexts: int, frames: int) -> Work:
        """Codes of context frames and of later frames."""
        return Work(flops=contexts * self._context_flops + frames * self._encode_flops, bytes=self._tokenizer_bytes / 2)

    def decode(self, frames: int) -> Work:
        """Pixels of imagined frames."""
        return Work(flops=frames * self._decode_flops, bytes=self._tokenizer_bytes / 2)


@torch.inference_mode()
def _tokenizer_flops(tokenizer: VideoTokenizer) -> tuple[float, float, float]:
    """FLOPs to encode a context frame and a later one, and to decode a later one."""
    config = tokenizer.config
    device = tokenizer.quant_linear.weight.device
    clip = torch.zeros(1, config.context_frames + 1, 3, config.resolution, config.resolution, device=device)
    context = tokenizer.encode_context(clip[:, :-1])
    codes = tokenizer.encode_frames(clip[:, -1:], context)
    whole, later = (
        _counted(lambda: tokenizer.encode(clip)),
        _counted(lambda: tokenizer.encode_frames(clip[:, -1:], context)),
    )
    return (whole - later) / config.context_frames, later, _counted(lambda: tokenizer.decode_frames(codes, context))


def _counted(run: Callable[[], Tensor | FrameCodes]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def settle(device: torch.device) -> None:
    """Wait until all is done that was asked of an accelerator."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def worked(device: torch.device) -> float:
    """Seconds of processor time so far; of wall time on an accelerator, once all that was asked of it is done."""
    settle(device)
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def _best(run: Callable[[], Tensor], device: torch.device, tries: int = 8) -> float:
    seconds = []
    for _ in range(tries):
        began = time.perf_counter()
        run()
        settle(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds)
