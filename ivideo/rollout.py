"""Imagining frame by frame: the engine that advances a rollout's state.

After `start` no position of the prefix is computed again: a frame costs one pass for its marker, joined with the
last token of the frame before where that is still unread, and one for each further token::

    pass      1            2     ...   m         (then, if a reward cannot wait:) m+1
    reads   D (+action)    d_1         d_{m-1}                                    d_m
    gives   d_1            d_2         d_m                                        reward, termination
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.act import Acts, told
from ivideo.controls import Controls
from ivideo.drawing import FrameTask, Guidance
from ivideo.embodiments import Named
from ivideo.inputs import context_frames, instruction_vectors
from ivideo.memory import check_rollout, decoded_at_once
from ivideo.state import Branch, Prediction, RolloutState
from ivideo.window import frames_kept, waits, with_room
from transformer import KVCache, RaggedCache, Sampling

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel


def start(
    model: "WorldModel",
    frames: UInt8[Tensor, "*b c 3 h w"],
    *,
    goal: UInt8[Tensor, "*b 3 h w"] | None,
    domain: Named | None = None,
    instruction: str | Sequence[str] | None = None,
    seed: int,
    room: int,
) -> RolloutState:
    """See `WorldModel.start`."""
    if not abs(seed) < _SEEDS:
        raise ValueError(f"seed is {seed}; expected a whole number between -2**62 and 2**62")
    given = context_frames(model, frames, goal)
    batch = len(given)
    domains, text = model.embodiments.ids(domain, batch), instruction_vectors(model, instruction, batch)
    check_rollout(model, contexts=batch, branches=batch, frames=max(1, room))
    context = model.tokenizer.encode_context(given.to(model.device))
    book = model.tokenizer.context_codebook
    embedded = model.embedding.context(model.transformer, context.codes, book)
    capacity = model.layout.sequence_length(room)
    _, cache = model.transformer.extend(embedded, model.transformer.empty_cache(batch, capacity))
    return RolloutState(
        cache=cache,
        context=context,
        ids=torch.empty(batch, 0, model.layout.dynamics_tokens, dtype=torch.long, device=model.device),
        cells=model.embedding.last_cells(context.codes, book),
        unread=None,
        actions=(),
        seeds=seed + torch.arange(batch),
        domains=domains,
        text=text,
    )


def step(
    model: "WorldModel",
    state: RolloutState,
    action: Acts,
    *,
    domain: Named | None = None,
    guidance: float = 0.0,
    decode: bool = True,
    sampling: Sampling,
    vocabulary: Literal["dynamics", "full"] = "dynamics",
    reward: bool = True,
    guess: bool | None = None,
) -> tuple[RolloutState, Prediction]:
    """See `WorldModel.step`."""
    if isinstance(state.cache, KVCache) and state.cache.own == 0:  # branches begin to hold positions of their own
        check_rollout(model, contexts=0, branches=state.batch, frames=1, decode=decode)
    if domain is not None:
        state = replace(state, domains=model.embodiments.ids(domain, state.batch))
    state, actions = told(model, state, action)
    if state.ages is not None:
        _check_ragged(model, guidance, reward)
    if guidance:
        state = _guided(state, actions, guidance, guess)
    before, state = state, with_room(model, state)
    layout, book = model.layout, model.tokenizer.dynamics_codebook
    controls = state.told(actions)
    entered, additions = _entered(model, state, controls, state.unread)
    task = FrameTask(
        model=model,
        entered=entered,
        additions=additions,
        uniforms=_uniforms(state, layout.dynamics_tokens).to(model.device),
        sampling=sampling,
        vocabulary=vocabulary,
        reads_last=reward and model.heads.read_last_token,
        guidance=_guidance(model, state, controls, guidance) if guidance else None,
        counts=_counts(model, state.cache, entered.shape[1]),
    )
    guessed = (
        not guidance
        and state.batch == 1
        and state.frames > 0
        and (sampling.temperature == 0 and model.graphs is None if guess is None else guess)
    )
    if guessed and isinstance(state.cache, KVCache):
        drawn = task.draw_from(state.ids[:, -1], state.cache)
    elif model.graphs is not None and not guidance and isinstance(state.cache, KVCache):
        drawn = model.graphs.draw(task, state.cache)
    else:
        drawn = task.draw(state.cache)
    codes = layout.dynamics_index(drawn.ids, clamp=True)
    cells = model.embedding.cells(codes[:, None], book)
    after = replace(
        state,
        cache=drawn.cache,
        ids=torch.cat([state.ids, drawn.ids[:, None]], dim=1),
        cells=None if cells is None else cells[:, 0],
        unread=None if task.reads_last else drawn.last,
        actions=(*state.actions, actions)[-max(1, frames_kept(model)) :],
        untold=drawn.untold,
        ages=None if state.ages is None else state.ages + 1,
    )
    waited = _waited(model, before) if state.unread is None else drawn.first
    return after, Prediction(
        frame=frames_of(model, after, slice(-1, None))[:, 0] if decode else None,
        codes=codes,
        reward=model.heads.rewards(drawn.hidden) if task.reads_last else None,
        terminal=model.heads.terminals(drawn.hidden) if task.reads_last else None,
        earlier_reward=None if waited is None else model.heads.rewards(waited),
        earlier_terminal=None if waited is None else model.heads.terminals(waited),
        log_likelihood=drawn.log_likelihood,
    )


def _waited(model: "WorldModel", state: RolloutState) -> Float[Tensor, "b d"] | None:
    """The state of a last token that is forgotten unread, for the heads that look at it; None where there is none."""
    if state.unread is None or not model.heads.read_last_token:
        return None
    hidden, _ = model.transformer.extend(state.unread, state.cache)
    return hidden[:, -1]


def frames_of(model: "WorldModel", state: RolloutState, which: slice) -> UInt8[Tensor, "b f 3 h w"]:
    """See `WorldModel.frames`."""
    if state.ages is not None and bool((state.ids[:, which] < 0).any()):
        raise ValueError(
            f"some rows have imagined only {int(state.ages.min())} frames; ask for the latest that all rows have, or "
            "select the rows that have more"
        )
    codes = model.layout.dynamics_index(state.ids[:, which], clamp=True)
    at_once = decoded_at_once(model.device)
    decoded = []
    for rows in torch.arange(state.batch).split(at_once):
        context = state.context if len(rows) == state.batch else state.context.select(rows)
        parts = codes[rows.to(codes.device)].split(max(1, at_once // len(rows)), dim=1)
        decode = model.tokenizer.decode_frames if model.graphs is None else model.graphs.decode
        decoded.append(torch.cat([pixels(decode(part, context)) for part in parts], dim=1))
    return torch.cat(decoded)


def predict(
    model: "WorldModel",
    clip: UInt8[Tensor, "c 3 h w"],
    actions: Tensor | None,
    *,
    frames: int | None,
    samples: int,
    goal: Tensor | None,
    domain: str | int | None = None,
    instruction: str | None = None,
    guidance: float = 0.0,
    seed: int,
    sampling: Sampling | None,
) -> UInt8[Tensor, "n t 3 h w"]:
    """See `WorldModel.predict`."""
    if actions is not None:
        model.check_actions(actions, domain=domain)
        if actions.ndim not in (2, 3):
            raise ValueError(
                f"actions have shape {list(actions.shape)}; expected [frames, action], or [samples, frames, action]"
            )
        samples = actions.shape[0] if actions.ndim == 3 else samples
        available = actions.shape[-2]
        if frames is not None and frames > available:
            raise ValueError(f"{frames} frames need {frames} actions; {available} were given: ask for fewer frames")
        frames = available if frames is None else frames
    if frames is None:
        raise ValueError("say how many frames to predict: pass actions, or frames=14")
    if frames < 1 or samples < 1:
        raise ValueError(f"frames is {frames} and samples {samples}; expected at least 1 of each")
    wanted = model.context_frames - (goal is not None)
    check_rollout(model, contexts=1, branches=samples, frames=frames, guided=guidance > 0)
    room = frames if samples == 1 else 0
    state = start(model, clip, goal=goal, domain=domain, instruction=instruction, seed=seed, room=room)
    state = state.fork(samples, frames=frames)
    for index in range(frames):
        action = None if actions is None else actions[..., index, :]
        how = sampling or model.config.sampling
        state, _ = step(model, state, action, guidance=guidance, decode=False, sampling=how, reward=False)
    future = frames_of(model, state, slice(None))
    context = clip[:wanted].to(future.device).expand(samples, *clip[:wanted].shape)
    return torch.cat([context, future], dim=1)


_SEEDS = 2**62
"""Seeds lie below this, so that those of rows and branches still fit 64 bits."""


def _uniforms(state: RolloutState, count: int) -> Float[Tensor, "b {count}"]:
    """Numbers in [0, 1) that depend on nothing but each row's seed, the frame's index and the position in it."""
    generator = torch.Generator()
    ages = [state.frames] * state.batch if state.ages is None else state.ages.tolist()
    rows = []
    for seed, frame in zip(state.seeds.tolist(), ages, strict=True):
        generator.manual_seed((seed * 2_654_435_761 + frame * 40_503) % 2**63)
        rows.append(torch.rand(count, generator=generator))
    return torch.stack(rows)


def _check_ragged(model: "WorldModel", guidance: float, reward: bool) -> None:
    if guidance:
        raise ValueError("these rows have imagined different numbers of frames, which guidance cannot; leave it out")
    if model.heads.read_last_token and not reward:
        raise ValueError(
            "these rows have imagined different numbers of frames, so rewards cannot wait; leave reward at True"
        )


def _counts(model: "WorldModel", cache: KVCache | RaggedCache, entered: int) -> tuple[int, ...] | None:
    """How many of the tokens that enter belong to each row: the marker, and the unread token where there is one."""
    if isinstance(cache, KVCache) or entered == 1:
        return None
    return tuple(1 + waits(model, length) for length in cache.lengths)


def _guided(state: RolloutState, actions: Tensor | None, guidance: float, guess: bool | None) -> RolloutState:
    """The state with a branch that is told nothing, which has read the same."""
    if not 0 < guidance < float("inf"):
        raise ValueError(f"guidance is {guidance}; expected 0 (none) or a positive number")
    if actions is None and state.text is None:
        raise ValueError(
            "guidance strengthens an action or an instruction, and neither is given; give one, or leave it out"
        )
    if guess:
        raise ValueError("guess draws several tokens a pass, which guidance cannot; leave one of them out")
    if state.untold is not None:
        return state
    assert isinstance(state.cache, KVCache)
    if state.frames:
        raise ValueError(
            f"guidance begins after {state.frames} frames that were imagined without it; guide every step from the "
            "first on"
        )
    return replace(state, untold=Branch(cache=state.cache, unread=None))


def _guidance(model: "WorldModel", state: RolloutState, told: Controls, strength: float) -> Guidance:
    assert state.untold is not None
    entered, additions = _entered(model, state, told.ignored(), state.untold.unread)
    return Guidance(strength=strength, cache=state.untold.cache, entered=entered, additions=additions)


def _entered(
    model: "WorldModel", state: RolloutState, told: Controls, unread: Float[Tensor, "b 1 d"] | None
) -> tuple[Float[Tensor, "b u d"], Float[Tensor, "b l d"] | None]:
    """What is read first, the marker behind the token that is still unread, and what the frame's tokens carry."""
    cells = None if state.cells is None else state.cells[:, None]
    additions = model.embedding.additions(cells, told)
    additions = None if additions is None else additions[:, 0]
    entered = model.transformer.embed(torch.full((state.batch, 1), model.layout.dynamics_marker, device=model.device))
    if additions is not None:
        entered = entered + additions[:, :1]
    return entered if unread is None else torch.cat([unread, entered], dim=1), additions


def pixels(frames: Float[Tensor, "b f 3 h w"]) -> UInt8[Tensor, "b f 3 h w"]:
    """Decoded frames as they are shown."""
    return (frames.float().clamp(0, 1) * 255).round().to(torch.uint8)
