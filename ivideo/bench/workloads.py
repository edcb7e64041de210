"""What is timed: one imagined frame, rollouts, plans and their parts, each in the released way and in ours.

A workload's two ways do the same work on the same weights, with the likeliest token everywhere, and give tensors of the
same names: codes must be equal (ties apart), 8-bit pixels may differ by one level, other figures by 1e-4. Tokens are
not guessed from the frame before: random weights repeat themselves, which would flatter.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ivideo.bench.reference import Reference
from ivideo.bench.roofline import Costs, Work
from ivideo.bench.training import Learner
from ivideo.rollout import pixels
from ivideo.state import RolloutState
from ivideo.world_model import Precision, WorldModel
from tokenizer import VideoTokenizer
from transformer import Sampling

GREEDY = Sampling(temperature=0.0)
NAMES = (
    "token step", "decoder", "encoder", "interactive step", "MBPO frame", "MBPO rollout", "plan by pixels",
    "plan by rewards", "training step",
)  # fmt: skip
"""Of all rows, cheapest first."""
_SEEN = 4
"""Frames that have been imagined when a single step is timed: a context of 582 tokens in the released layout."""

Way = Callable[[], dict[str, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One row of the benchmark."""

    name: str
    shape: str
    """Batch, horizon and what is computed, in words."""
    frames: int
    """Imagined frames in one run, or what else is counted a second."""
    reference: Way
    ours: Way
    least: list[Work]
    """The stages that no exact way can do without."""
    parts: int = 1
    """Equal parts of which `reference` does the first rows alone."""


class Ways:
    """One model in both ways, ours perhaps with fewer bits, and what each part costs at least."""

    def __init__(self, model: WorldModel, precision: Precision = "float32") -> None:
        self.reference = Reference(model)
        self.precision, self.whole = precision, model
        self.model = model if precision == "float32" else copy.deepcopy(model).reduce(precision)
        self.costs = Costs(self.model, self.reference.tokenizer)

    def tokenizers(self) -> tuple[VideoTokenizer, VideoTokenizer]:
        """The released way's and ours."""
        return self.reference.tokenizer, self.model.tokenizer


def all_workloads(
    ways: Ways, only: str = "", *, horizon: int = 3, batch: int = 4, branches: int = 8, parts: int = 1
) -> Iterator[Workload]:
    """Every row whose name contains `only`, each built when it is asked for, since some are large.

    Rollouts are `horizon` frames long; MBPO's have so many rows (`batch`), plans so many `branches`. Of both the
    released way does one of so many equal `parts`; ValueError where rows cannot be divided so.
    """
    long = partial(rollout, horizon=horizon, parts=parts)
    plan = partial(long, batch=branches, shared=True)
    rows: dict[str, list[Callable[..., Workload]]] = {
        "token step": [partial(token_step, batch=batch) for batch in (1, 8, 32)],
        "decoder": [partial(decode_frames, frames=frames) for frames in (2, 8)],
        "encoder": [partial(encode_clip, frames=10)],
        "interactive step": [partial(live_step, batch=1)],
        "MBPO frame": [partial(live_step, batch=4)],
        "MBPO rollout": [partial(long, batch=batch, shared=False, decode=True)],
        "plan by pixels": [partial(plan, decode=True)],
        "plan by rewards": [partial(plan, decode=False)],
        "training step": [] if ways.precision == "int8" else [partial(training_step, batch=2, frames=10)],
    }
    assert tuple(rows) == NAMES
    for name, builders in rows.items():
        if only in name:
            for build in builders:
                yield build(ways, name=name)


def token_step(ways: Ways, *, name: str, batch: int) -> Workload:
    """One token more after a long context, every row with its own."""
    model = ways.model
    length = model.layout.sequence_length(_SEEN)
    embedded = 0.02 * _noise(model, batch, length, model.config.transformer.width)
    last = 0.02 * _noise(model, batch, 1, model.config.transformer.width)
    start, stop = model.layout.dynamics_ids
    with torch.inference_mode():
        _, cache = model.transformer.extend(embedded, model.transformer.empty_cache(batch, length + 256))
        released = ways.reference.language.model(inputs_embeds=embedded, use_cache=True).past_key_values
    read = 0

    @torch.inference_mode()
    def ours() -> dict[str, Tensor]:
        nonlocal cache, read
        hidden, cache = model.transformer.extend(last, cache if read < 64 else cache.trim(length))
        read += 1
        return {"logits": model.transformer.logits(hidden[:, -1], start, stop)}

    @torch.inference_mode()
    def theirs() -> dict[str, Tensor]:
        output = ways.reference.language(inputs_embeds=last, past_key_values=released, use_cache=True)
        return {"logits": output.logits[:, -1, start:stop]}

    least = ways.costs.step(batch=batch, start=length, prefixes=batch, prefix=length)
    shape = f"B={batch}, context {length}"
    return Workload(name=name, shape=shape, frames=batch, reference=theirs, ours=ours, least=[least])


def decode_frames(ways: Ways, *, name: str, frames: int) -> Workload:
    """Pixels of imagined frames, the context's share computed before."""
    model = ways.model
    with torch.inference_mode():
        context = model.tokenizer.encode_context(random_clip(model, 1))
    codes = torch.randint(model.layout.dynamics_codes, (1, frames, model.layout.dynamics_tokens)).to(model.device)

    @torch.inference_mode()
    def way(tokenizer: VideoTokenizer) -> dict[str, Tensor]:
        return {"pixels": pixels(tokenizer.decode_frames(codes, context))}

    theirs, ours = (partial(way, each) for each in ways.tokenizers())
    least = [ways.costs.decode(frames)]
    return Workload(name=name, shape=f"{frames} frames", frames=frames, reference=theirs, ours=ours, least=least)


def encode_clip(ways: Ways, *, name: str, frames: int) -> Workload:
    """Codes of a whole clip."""
    context = ways.model.context_frames
    clip = random_clip(ways.model, 1, context + frames)

    @torch.inference_mode()
    def way(tokenizer: VideoTokenizer) -> dict[str, Tensor]:
        codes = tokenizer.encode(clip)
        return {"context": codes.context, "dynamics": codes.dynamics}

    theirs, ours = (partial(way, each) for each in ways.tokenizers())
    least, shape = [ways.costs.encode(context, frames)], f"{context}+{frames} frames"
    return Workload(name=name, shape=shape, frames=context + frames, reference=theirs, ours=ours, least=least)


def live_step(ways: Ways, *, name: str, batch: int) -> Workload:
    """One frame more with its pixels; every run goes on from where the one before has come."""
    model, reference = ways.model, ways.reference
    limit = min(2 * _SEEN, model.max_frames)
    actions = random_actions(model, batch, limit)
    first = model.start(random_clip(model, batch))
    for index in range(_SEEN):
        first, _ = model.step(first, actions[:, index], decode=False, sampling=GREEDY, guess=False)
    state = first

    def ours() -> dict[str, Tensor]:
        nonlocal state
        state, seen = model.step(state, actions[:, state.frames], sampling=GREEDY, guess=False)
        state = first if state.frames == limit else state
        assert seen.frame is not None
        return {"codes": seen.codes, "pixels": seen.frame}

    @torch.inference_mode()
    def theirs() -> dict[str, Tensor]:
        _, codes = reference.next_frame(_prefix(model, state), actions[:, : state.frames + 1])
        return {
            "codes": codes,
            "pixels": pixels(reference.tokenizer.decode_frames(codes[:, None], state.context))[:, 0],
        }

    least = [*ways.costs.frame(_SEEN, batch=batch), ways.costs.decode(batch)]
    shape = f"B={batch}, context {model.layout.sequence_length(_SEEN)}, pixels"
    return Workload(name=name, shape=shape, frames=batch, reference=theirs, ours=ours, least=least)


def rollout(ways: Ways, *, name: str, batch: int, horizon: int, shared: bool, decode: bool, parts: int = 1) -> Workload:
    """Whole rollouts from context frames: each row from its own, or all from one as a planner's candidates."""
    if batch % parts:
        raise ValueError(f"{batch} rows cannot be divided into {parts} equal parts")
    model, reference, rows = ways.model, ways.reference, batch // parts
    clip, actions = random_clip(model, 1 if shared else batch), random_actions(model, batch, horizon)
    with torch.inference_mode():
        given = model.tokenizer.encode_context(clip[:rows]).codes.expand(rows, -1, -1)

    def ours() -> dict[str, Tensor]:
        state = model.start(clip)
        state = state.fork(batch) if shared else state
        for index in range(horizon):
            last = index == horizon - 1  # the reward of every other frame comes with the next
            state, _ = model.step(state, actions[:, index], decode=False, sampling=GREEDY, guess=False, reward=last)
        codes = model.layout.dynamics_index(state.ids)
        return {"context": state.context.codes, "codes": codes} | ({"pixels": model.frames(state)} if decode else {})

    def theirs() -> dict[str, Tensor]:
        dummies = 1 if shared else clip.shape[1]
        context = reference.tokenize(clip[:rows].expand(rows, *clip.shape[1:]), dummies)
        codes = reference.rollout(given, actions[:rows])  # `context` may differ by a tie, after which all would differ
        made = {"context": context, "codes": codes}
        return made | ({"pixels": reference.decode(given, codes, whole=shared)} if decode else {})

    costs, contexts = ways.costs, len(clip)
    least = [costs.encode(contexts * clip.shape[1], 0), costs.prefill(contexts)]
    least += [each for index in range(horizon) for each in costs.frame(index, batch=batch, prefixes=contexts)]
    least += [costs.decode(batch * horizon)] if decode else []
    kind = "one context" if shared else "own contexts"
    shape = f"B={batch}, H={horizon}, {kind}, {'pixels' if decode else 'no pixels'}"
    shape += f", {rows} rows x {parts}" if parts > 1 else ""
    return Workload(
        name=name, shape=shape, frames=batch * horizon, reference=theirs, ours=ours, least=least, parts=parts
    )


def training_step(ways: Ways, *, name: str, batch: int, frames: int) -> Workload:
    """One update of the transformer's weights by windows of context and `frames` frames more."""
    clip = random_clip(ways.whole, batch, ways.whole.context_frames + frames)
    learner = Learner(ways.whole, ways.reference.tokenizer, clip)
    length = ways.whole.layout.sequence_length(frames)
    return Workload(
        name=name,
        shape=f"B={batch}, {length} tokens, codes known",
        frames=batch * length,
        reference=learner.released,
        ours=partial(learner.ours, bfloat16=ways.precision == "bfloat16"),
        least=[learner.least(Costs(ways.whole, ways.reference.tokenizer))],
    )


def _prefix(model: WorldModel, state: RolloutState) -> Int[Tensor, "b s"]:
    """All that a rollout has read, as ids."""
    frames = model.layout.pack_frames(model.layout.dynamics_index(state.ids))
    return torch.cat([model.layout.pack_context(state.context.codes), frames.flatten(1)], dim=1)


def random_clip(model: WorldModel, batch: int, frames: int | None = None) -> UInt8[Tensor, "b t 3 h w"]:
    """Context frames, or a clip of so many, the same in every run."""
    side = model.tokenizer.config.resolution
    shape = (batch, frames or model.context_frames, 3, side, side)
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).to(model.device)


def random_actions(model: WorldModel, batch: int, frames: int) -> Float[Tensor, "b f a"]:
    """The same actions in every run."""
    return _noise(model, batch, frames, model.action_dim)


def _noise(model: WorldModel, *shape: int) -> Float[Tensor, "..."]:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(model.device)
