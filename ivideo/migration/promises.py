"""What each change leaves as it was, said as exactly as tests/unit/test_migration_promises.py checks it."""

from collections.abc import Iterator
from dataclasses import fields

from ivideo.layout import layout_of
from ivideo.migration.report import Promise, Strength
from ivideo.world_model_config import WorldModelConfig
from tokenizer import TokenizerConfig


def of_tokenizer(old: TokenizerConfig, new: TokenizerConfig) -> Iterator[Promise]:
    """The promises of a tokenizer's change."""
    if new.context_frames < old.context_frames:
        yield Promise(
            change=_change("context_frames", old, new),
            strength="bit for bit",
            holds="a context frame has the codes it had; frames after it see fewer frames, so theirs differ",
        )
    elif new.context_frames > old.context_frames:
        repeated = (
            "; the frame repeated gives later frames the codes and pixels they had, up to rounding"
            if old.context_frames == 1
            else ""
        )
        yield Promise(
            change=_change("context_frames", old, new),
            strength="bit for bit",
            holds=f"without the further frames, cut back to {old.context_frames}, it is the old model; a context frame "
            f"has the codes it had{repeated}; given the further frames, later ones differ: train it on them",
        )
    yield from _grids(old, new)
    for name in ("context_codes", "dynamics_codes"):
        if getattr(old, name) != getattr(new, name):
            yield Promise(
                change=_change(name, old, new),
                strength="up to rounding",
                holds="frames come back as they were and tokens are read as they were; a new code has its twin's "
                "probability, so that twinned codes are drawn twice as often, unless every code has as many twins",
            )


def of_model(
    old: WorldModelConfig, new: WorldModelConfig, old_tokenizer: TokenizerConfig, new_tokenizer: TokenizerConfig
) -> Iterator[Promise]:
    """The promises of a change of what reads the sequences."""
    before, after = old.embedding.action_dim, new.embedding.action_dim
    if before != after:
        strength, holds = _ACTIONS[(bool(before), bool(after), after > before)]
        yield Promise(change=f"action_dim {before} -> {after}", strength=strength, holds=holds)
    for name in ("reward", "termination"):
        had, has = getattr(old.heads, name), getattr(new.heads, name)
        if had != has:
            told = f"; {_UNTRAINED[name]} until it is trained" if has else ""
            yield Promise(
                change=f"{name} {'added' if has else 'removed'}",
                strength="bit for bit",
                holds=f"tokens, logits and frames are as before{told}",
            )
    if old.goal_conditioned != new.goal_conditioned:
        yield Promise(
            change=f"goal_conditioned {old.goal_conditioned} -> {new.goal_conditioned}",
            strength="bit for bit",
            holds="the same frames give the same future; the first of them is now "
            + ("the goal" if new.goal_conditioned else "a frame like the others"),
        )
    if bool(old.heads.action_reconstruction) != bool(new.heads.action_reconstruction):
        yield Promise(
            change=f"action_reconstruction {'added' if new.heads.action_reconstruction else 'removed'}",
            strength="bit for bit",
            holds="tokens, logits and frames are as before",
        )
    if bool(old.embedding.guide) != bool(new.embedding.guide) or (
        old.embedding.code_vectors != new.embedding.code_vectors
    ):
        grows = new.embedding.guide >= old.embedding.guide and new.embedding.code_vectors >= old.embedding.code_vectors
        yield Promise(
            change="embedding.guide or embedding.code_vectors",
            strength="bit for bit" if grows else "nothing",
            holds="what is added starts at zero" if grows else "what is removed is missed",
        )
    yield from _reread(old, new)
    if old.transformer.layers != new.transformer.layers:
        yield Promise(
            change=f"layers {old.transformer.layers} -> {new.transformer.layers}",
            strength="bit for bit",
            holds="the model as it was: further layers add nothing until they are trained",
        )
    if old.transformer.max_positions != new.transformer.max_positions:
        room = layout_of(old_tokenizer).max_frames(old.transformer.max_positions)
        fits = layout_of(new_tokenizer).max_frames(new.transformer.max_positions)
        yield Promise(
            change=f"max_positions {old.transformer.max_positions} -> {new.transformer.max_positions}",
            strength="bit for bit",
            holds=f"sequences that fit both; {fits} imagined frames are read at most (were {room}), and positions "
            "beyond those it was trained on want training",
        )


def _reread(old: WorldModelConfig, new: WorldModelConfig) -> Iterator[Promise]:
    """Settings that no tensor's shape shows, and under which the same tensors compute something else."""
    for part in ("embedding", "transformer"):
        mine, theirs = getattr(new, part), getattr(old, part)
        for each in fields(mine):
            before, after = getattr(theirs, each.name), getattr(mine, each.name)
            if before == after or each.name in _SAID or each.name.endswith("dropout"):
                continue
            if each.name in _CONTROLS and not old.embedding.action_dim:
                continue  # said of action_dim
            if each.name == "text" and not (before and after):
                held = "an instruction starts without effect" if after else "as when no instruction is given"
                yield Promise(change=f"text {'added' if after else 'removed'}", strength="bit for bit", holds=held)
                continue
            if each.name == "guide_blocks" and not (old.embedding.guide and new.embedding.guide):
                continue
            yield Promise(
                change=f"{part}.{each.name} {before} -> {after}",
                strength="nothing",
                holds="the same weights compute something else: keep the old value, or train",
            )


_CONTROLS = {"domains", "bins", "scale_actions"}
"""Settings of how actions enter, once there are any."""
_SAID = {"action_dim", "guide", "code_vectors", "max_positions", "layers", "vocab_size", "init_std", "attention"}
"""Settings that have promises of their own, or that change no result."""


def _grids(old: TokenizerConfig, new: TokenizerConfig) -> Iterator[Promise]:
    names = [n for n in ("resolution", "stem_stride", "patch_size") if getattr(old, n) != getattr(new, n)]
    if not names:
        return
    change = ", ".join(_change(name, old, new) for name in names)
    same_grids = (old.context_grid, old.dynamics_grid) == (new.context_grid, new.dynamics_grid)
    if same_grids and new.resolution > old.resolution:
        k = new.resolution // old.resolution
        yield Promise(
            change=change,
            strength="up to rounding",
            holds=f"frames with every pixel repeated {k}x{k} have the codes they had, so the same future, and come "
            "back enlarged alike",
        )
        return
    tokens = (
        f"a context frame is {new.context_tokens} tokens (was {old.context_tokens}), an imagined one "
        f"{new.dynamics_tokens} (was {old.dynamics_tokens})"
    )
    yield Promise(
        change=change, strength="nothing", holds=f"{tokens}; the weights are a start: train tokenizer and world model"
    )


_ACTIONS: dict[tuple[bool, bool, bool], tuple[Strength, str]] = {
    # had actions, has actions, more than before
    (False, True, True): ("bit for bit", "the model as it was, whatever the action, until it is trained"),
    (True, True, True): ("up to rounding", "the model as it was, whatever the further numbers, until it is trained"),
    (True, True, False): ("up to rounding", "the model as it was where the numbers that are gone were zero"),
    (True, False, False): ("bit for bit", "the model as it was where no action was given"),
}
_UNTRAINED = {"reward": "rewards are 0", "termination": "every frame is terminal with probability 1/2"}


def _change(name: str, old: TokenizerConfig, new: TokenizerConfig) -> str:
    return f"{name} {getattr(old, name)} -> {getattr(new, name)}"
