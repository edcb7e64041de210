"""Imagining frame by frame: the state of a rollout as a value, and the engine that advances it.

After `start` no position of the prefix is computed again: a frame costs one pass for its marker, joined with the
last token of the frame before where that is still unread, and one for each further token::

    pass      1            2     ...   m         (then, if a head reads it:) m+1
    reads   D (+action)    d_1         d_{m-1}                               d_m
    gives   d_1            d_2         d_m                                   reward, termination
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor

from tokenizer import ContextFeatures
from transformer import KVCache, Sampling, choose

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """Where an imagined future stands. Immutable: stepping gives a new state and leaves this one valid."""

    cache: KVCache
    """Keys and values of everything read so far."""
    context: ContextFeatures
    """What the tokenizer knows of the context frames."""
    ids: Int[Tensor, "b f m"]
    """Tokens of the frames imagined so far, as vocabulary ids."""
    cells: Float[Tensor, "b m g"] | None
    """The guide's features of the latest frame, in models that have a guide."""
    unread: Float[Tensor, "b 1 d"] | None
    """The latest frame's last token, embedded, where the transformer has not read it yet."""
    seeds: Int64[Tensor, " b"]
    """Each row draws its tokens from its own seed, so a row is the same alone and in any batch."""

    @property
    def batch(self) -> int:
        return self.ids.shape[0]

    @property
    def frames(self) -> int:
        """Frames imagined so far."""
        return self.ids.shape[1]

    def fork(self, n: int) -> "RolloutState":
        """`n` futures of every row, side by side: row i becomes rows i*n to i*n + n-1.

        Each branch draws from a seed of its own, derived from its row's; the first keeps the row's.
        """
        if n < 1:
            raise ValueError(f"cannot fork into {n} branches; ask for at least 1")
        branch = torch.arange(n)
        return replace(
            self,
            cache=self.cache.fork(n),
            context=self.context.fork(n),
            ids=self.ids.repeat_interleave(n, dim=0),
            cells=None if self.cells is None else self.cells.repeat_interleave(n, dim=0),
            unread=None if self.unread is None else self.unread.repeat_interleave(n, dim=0),
            seeds=(self.seeds[:, None] + branch * _BRANCH).flatten(),
        )

    def select(self, rows: Int[Tensor, " r"]) -> "RolloutState":
        """The given rows, in that order, repeats allowed."""
        return replace(
            self,
            cache=self.cache.select(rows),
            context=self.context.select(rows),
            ids=self.ids[rows],
            cells=None if self.cells is None else self.cells[rows],
            unread=None if self.unread is None else self.unread[rows],
            seeds=self.seeds[rows.to(self.seeds.device)],
        )

    def reseed(self, seed: int) -> "RolloutState":
        """The same state drawing its next tokens from other seeds: row i from `seed + i`."""
        return replace(self, seeds=seed + torch.arange(self.batch))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One imagined step, one row per branch."""

    frame: UInt8[Tensor, "b 3 h w"] | None
    """Pixels; None where `decode=False` left them out."""
    codes: Int[Tensor, "b m"]
    """Indices within the dynamics codebook."""
    reward: Float[Tensor, " b"] | None
    """Reward that arrives with the frame, in the environment's scale; None without a reward head."""
    terminal: Float[Tensor, " b"] | None
    """Probability that the frame is terminal; None without a termination head."""
    log_likelihood: Float[Tensor, " b"]
    """Sum over the frame's tokens of the log-probability the model gave them, in nats, before temperature and
    top-k: how sure it was."""


def start(
    model: "WorldModel", frames: UInt8[Tensor, "*b c 3 h w"], *, goal: UInt8[Tensor, "*b 3 h w"] | None, seed: int
) -> RolloutState:
    """See `WorldModel.start`."""
    if not abs(seed) < _SEEDS:
        raise ValueError(f"seed is {seed}; expected a whole number between -2**62 and 2**62")
    context = model.tokenizer.encode_context(_context_frames(model, frames, goal).to(model.device))
    batch = context.codes.shape[0]
    book = model.tokenizer.context_codebook
    embedded = model.embedding.context(model.transformer, context.codes, book)
    _, cache = model.transformer.extend(embedded, model.transformer.empty_cache(batch))
    return RolloutState(
        cache=cache,
        context=context,
        ids=torch.empty(batch, 0, model.layout.dynamics_tokens, dtype=torch.long, device=model.device),
        cells=model.embedding.last_cells(context.codes, book),
        unread=None,
        seeds=seed + torch.arange(batch),
    )


def step(
    model: "WorldModel",
    state: RolloutState,
    action: Tensor | None,
    *,
    decode: bool = True,
    sampling: Sampling,
    vocabulary: Literal["dynamics", "full"] = "dynamics",
) -> tuple[RolloutState, Prediction]:
    """See `WorldModel.step`."""
    if state.frames >= model.max_frames:
        raise ValueError(
            f"the model reads at most {model.config.transformer.max_positions} positions, which is {model.max_frames} "
            f"frames, and this state has imagined all of them; start anew from its last {model.context_frames} frames"
        )
    layout, transformer, book = model.layout, model.transformer, model.tokenizer.dynamics_codebook
    additions = _additions(model, state, _row_actions(model, state, action))
    marker = torch.full((state.batch, 1), layout.dynamics_marker, device=model.device)
    entered = transformer.embed(marker)
    if additions is not None:
        entered = entered + additions[:, :1]
    if state.unread is not None:
        entered = torch.cat([state.unread, entered], dim=1)
    hidden, cache = transformer.extend(entered, state.cache)
    uniforms = _uniforms(state.seeds, state.frames, layout.dynamics_tokens).to(model.device)
    offset = layout.dynamics_ids[0] if vocabulary == "dynamics" else 0
    ids: list[Tensor] = []
    likelihood = torch.zeros(state.batch, device=model.device)
    for cell in range(layout.dynamics_tokens):
        if cell:
            hidden, cache = transformer.extend(entered, cache)
        logits = model.logits(hidden[:, -1], vocabulary).float()
        chosen = choose(logits, sampling, uniforms[:, cell])
        likelihood += logits.log_softmax(-1).gather(1, chosen[:, None])[:, 0]
        ids.append(chosen + offset)
        entered = model.embedding.tokens(transformer, ids[-1][:, None], book)
        if additions is not None and additions.shape[1] > 1:
            entered = entered + additions[:, cell + 1 : cell + 2]
    if model.heads.read_last_token:
        hidden, cache = transformer.extend(entered, cache)
    frame_ids = torch.stack(ids, dim=1)
    codes = layout.dynamics_index(frame_ids, clamp=True)
    cells = model.embedding.cells(codes[:, None], book)
    after = replace(
        state,
        cache=cache,
        ids=torch.cat([state.ids, frame_ids[:, None]], dim=1),
        cells=None if cells is None else cells[:, 0],
        unread=None if model.heads.read_last_token else entered,
    )
    return after, Prediction(
        frame=_pixels(model.tokenizer.decode_frames(codes[:, None], state.context))[:, 0] if decode else None,
        codes=codes,
        reward=model.heads.rewards(hidden[:, -1]),
        terminal=model.heads.terminals(hidden[:, -1]),
        log_likelihood=likelihood,
    )


def decode(model: "WorldModel", state: RolloutState, which: slice) -> UInt8[Tensor, "b f 3 h w"]:
    """See `WorldModel.frames`."""
    codes = model.layout.dynamics_index(state.ids[:, which], clamp=True)
    return _pixels(model.tokenizer.decode_frames(codes, state.context))


def predict(
    model: "WorldModel",
    clip: UInt8[Tensor, "c 3 h w"],
    actions: Tensor | None,
    *,
    frames: int | None,
    samples: int,
    goal: Tensor | None,
    seed: int,
    sampling: Sampling | None,
) -> UInt8[Tensor, "n t 3 h w"]:
    """See `WorldModel.predict`."""
    if actions is not None:
        model.check_actions(actions)
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
    if frames > model.max_frames:
        raise ValueError(
            f"{frames} frames do not fit: the model reads {model.config.transformer.max_positions} positions, "
            f"which is {model.max_frames} frames; predict fewer, or go on from the last ones"
        )
    wanted = model.context_frames - (goal is not None)
    state = start(model, clip, goal=goal, seed=seed).fork(samples)
    for index in range(frames):
        action = None if actions is None else actions[..., index, :]
        state, _ = step(model, state, action, decode=False, sampling=sampling or model.config.sampling)
    future = decode(model, state, slice(None))
    context = clip[:wanted].to(future.device).expand(samples, *clip[:wanted].shape)
    return torch.cat([context, future], dim=1)


_SEEDS = 2**62
"""Seeds lie below this, so that those of rows and branches still fit 64 bits."""
_BRANCH = 1_000_003
"""Distance between the seeds of sibling branches; far from the +1 between the rows of a batch."""


def _uniforms(seeds: Int64[Tensor, " b"], frame: int, count: int) -> Float[Tensor, "b {count}"]:
    """Numbers in [0, 1) that depend on nothing but each row's seed, the frame's index and the position in it."""
    generator = torch.Generator()
    rows = []
    for seed in seeds.tolist():
        generator.manual_seed((seed * 2_654_435_761 + frame * 40_503) % 2**63)
        rows.append(torch.rand(count, generator=generator))
    return torch.stack(rows)


def _context_frames(model: "WorldModel", frames: Tensor, goal: Tensor | None) -> UInt8[Tensor, "b c 3 h w"]:
    size = model.tokenizer.config.resolution
    given = list(frames.shape)
    frames = frames[None] if frames.ndim == 4 else frames
    if frames.ndim != 5 or frames.dtype != torch.uint8 or frames.shape[2] != 3:
        raise ValueError(
            f"context frames are {frames.dtype} {given}; expected RGB uint8 [c 3 h w] or [b c 3 h w], from 0 to 255"
        )
    if frames.shape[-2:] != (size, size):
        raise ValueError(
            f"frames are {frames.shape[-1]}x{frames.shape[-2]} pixels; this model sees {size}x{size}: resize them, "
            f"for instance with read_video(path, size={size})"
        )
    if model.config.goal_conditioned != (goal is not None):
        needs = (
            "starts from a goal frame too: pass goal="
            if model.config.goal_conditioned
            else "takes no goal: leave it out"
        )
        raise ValueError(f"this model {needs}")
    wanted = model.context_frames - (goal is not None)
    if frames.shape[1] != wanted:
        remedy = f"pass the last {wanted}, clip[-{wanted}:]" if frames.shape[1] > wanted else "give a longer clip"
        raise ValueError(
            f"{frames.shape[1]} context frames were given; this model starts from exactly {wanted}: {remedy}"
        )
    if goal is None:
        return frames
    goal = goal[None] if goal.ndim == 3 else goal
    return torch.cat([goal[:, None], frames], dim=1)


def _row_actions(model: "WorldModel", state: RolloutState, action: Tensor | None) -> Float[Tensor, "b 1 a"] | None:
    if action is None:
        return None
    model.check_actions(action)
    if action.ndim > 2 or (action.ndim == 2 and len(action) != state.batch):
        raise ValueError(
            f"actions have shape {list(action.shape)}; expected [{model.action_dim}], one for all {state.batch} "
            f"branches, or [{state.batch}, {model.action_dim}], one for each"
        )
    weight = next(model.parameters())
    return action.to(weight).expand(state.batch, -1)[:, None]


def _additions(model: "WorldModel", state: RolloutState, action: Tensor | None) -> Tensor | None:
    cells = None if state.cells is None else state.cells[:, None]
    additions = model.embedding.additions(cells, action)
    return None if additions is None else additions[:, 0]


def _pixels(frames: Float[Tensor, "b f 3 h w"]) -> UInt8[Tensor, "b f 3 h w"]:
    return (frames.float().clamp(0, 1) * 255).round().to(torch.uint8)
