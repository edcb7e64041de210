"""Frames replayed from CUDA graphs: one launch where drawing a frame's tokens starts some two thousand kernels.

A graph replays the same kernels on the same memory. What differs from frame to frame is copied to where it was when
the graph was recorded: what is read first, the random numbers, and, when another rollout comes, its cache
(`transformer.Seat`). Everything else is fixed by the key that a recording is found by. A rollout reads a bounded number
of positions, after which it forgets (`ivideo.window`), so there are as many recordings as frames are remembered, for
each shape of batch; the first frame at each position pays for its own.

    graphs = FrameGraphs.of(model)        # from now on, `model.step` replays frames where it can

Tokens are those of drawing without a graph. Guided, guessed and ragged frames are drawn as before.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ivideo.drawing import Drawn, FrameTask
from tokenizer import ContextFeatures
from transformer import KVCache, Seat, grown, refuse_non_finite, seating

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel

_SEATS = 4
"""Shapes of batch whose buffers and recordings are held; the one that was used longest ago makes room."""
_WARM_UPS = 2
"""Runs before a recording, in which libraries choose their kernels and take their workspaces."""
_FEW_FRAMES = 16
"""More frames than these keep a GPU busy, and are decoded without a recording."""

Work: TypeAlias = Callable[[], tuple[Tensor, ...]]


Recorder: TypeAlias = Callable[[Work], Work]
"""Runs work that reads and writes fixed memory, and gives what does the same again and returns its results.

They lie where they lay before: what is to last is copied."""


class CudaRecorder:
    """Records CUDA graphs, which share what memory they need in between."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> Work:
        current, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(current)
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UPS):
                work()
        current.wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        # Threads that serve other clients may go on allocating: only this one's mistakes end a recording.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            results = work()

        def replay() -> tuple[Tensor, ...]:
            graph.replay()
            return results

        return replay


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recording:
    inputs: tuple[Tensor, ...]
    """What is copied in before a replay."""
    replay: Work
    added: int = 0
    """Positions by which a replay lengthens the cache."""

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for fixed, new in zip(self.inputs, inputs, strict=True):
            fixed.copy_(new)
        return tuple(result.clone() for result in self.replay())


@dataclass(slots=True, kw_only=True)
class _Seated:
    seat: Seat
    frames: dict[tuple[object, ...], _Recording] = field(default_factory=dict)


class FrameGraphs:
    """Recordings of a model's frames; made anew when its weights have moved, and good while they only change."""

    def __init__(self, model: "WorldModel", record: Recorder) -> None:
        self._model, self._record = model, record
        self._seated: OrderedDict[tuple[object, ...], _Seated] = OrderedDict()
        self._decoders: OrderedDict[tuple[object, ...], _Recording] = OrderedDict()
        self._weights: tuple[int, ...] = ()

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # copies of a model, and what is stored of it, have no recordings

    @staticmethod
    def of(model: "WorldModel") -> "FrameGraphs":
        """Replay this model's frames from now on; ValueError unless it is on a CUDA device."""
        if model.device.type != "cuda":
            raise ValueError(f"the model is on {model.device}; graphs are for CUDA: load it with device='cuda'")
        model.graphs = FrameGraphs(model, CudaRecorder())
        return model.graphs

    def draw(self, task: FrameTask, cache: KVCache) -> Drawn:
        """As `task.draw(cache)`."""
        self._follow_weights()
        seated = self._seat(cache, cache.own + task.entered.shape[1] + task.tokens)
        cache = seated.seat.take(cache)
        given = () if task.additions is None else (task.additions,)
        inputs = (task.entered, task.uniforms, *given)
        how = (task.sampling, task.vocabulary, task.reads_last)
        key = (cache.own, *how, *((each.shape, each.dtype) for each in inputs))
        recording = seated.frames.get(key)
        if recording is None:
            recording = seated.frames[key] = self._frame(task, seated.seat, cache.own)
        ids, first, hidden, last, log_likelihood = recording(*inputs)
        refuse_non_finite(log_likelihood)
        after = grown(cache, recording.added)
        return Drawn(ids=ids, cache=after, first=first, hidden=hidden, last=last, log_likelihood=log_likelihood)

    def decode(self, codes: Int[Tensor, "b f m"], context: ContextFeatures) -> Float[Tensor, "b f 3 h w"]:
        """As `tokenizer.decode_frames(codes, context)`."""
        tokenizer = self._model.tokenizer
        if codes.shape[0] * codes.shape[1] > _FEW_FRAMES:
            return tokenizer.decode_frames(codes, context)
        self._follow_weights()
        inputs = (codes, *context.tensors)
        key = (context.forks, *((each.shape, each.dtype) for each in inputs))
        if key not in self._decoders:
            fixed = context.map(torch.clone)
            known = codes.clone()

            def work() -> tuple[Tensor, ...]:
                return (tokenizer.decode_frames(known, fixed),)

            _make_room(self._decoders)
            self._decoders[key] = _Recording(inputs=(known, *fixed.tensors), replay=self._record(work))
        self._decoders.move_to_end(key)
        (frames,) = self._decoders[key](*inputs)
        return frames

    def _frame(self, task: FrameTask, seat: Seat, own: int) -> _Recording:
        additions = None if task.additions is None else task.additions.clone()
        fixed = replace(
            task, entered=task.entered.clone(), uniforms=task.uniforms.clone(), additions=additions, checks=False
        )
        inside = seat.recorded(own)
        added = 0

        def work() -> tuple[Tensor, ...]:
            nonlocal added
            drawn = fixed.draw(inside.rewind(inside.length))
            assert isinstance(drawn.cache, KVCache)
            added = drawn.cache.own - own
            return drawn.ids, drawn.first, drawn.hidden, drawn.last, drawn.log_likelihood

        replay = self._record(work)
        given = () if additions is None else (additions,)
        return _Recording(inputs=(fixed.entered, fixed.uniforms, *given), replay=replay, added=added)

    def _seat(self, cache: KVCache, needed: int) -> _Seated:
        key = seating(cache)
        seated = self._seated.get(key)
        if seated is None or seated.seat.capacity < needed:
            self._seated.pop(key, None)
            _make_room(self._seated)
            seated = self._seated[key] = _Seated(seat=Seat(cache, self._capacity(cache, needed)))
        self._seated.move_to_end(key)
        return seated

    def _capacity(self, cache: KVCache, needed: int) -> int:
        """Own positions to take room for: of a rollout with its own context all it will ever read, so that it stays."""
        if cache.prefix is not None:
            return max(cache.capacity, needed)
        layout = self._model.layout
        return max(needed, layout.sequence_length(self._model.remembered_frames) + 1)

    def _follow_weights(self) -> None:
        """Recordings read the weights where they were: forget them when a weight has moved."""
        model = self._model
        weights = tuple(each.data_ptr() for each in (*model.parameters(), *model.buffers()))
        if weights != self._weights:
            self._seated.clear()
            self._decoders.clear()
            self._weights = weights


def _make_room(held: OrderedDict[tuple[object, ...], _Recording] | OrderedDict[tuple[object, ...], _Seated]) -> None:
    while len(held) >= _SEATS:
        held.popitem(last=False)
