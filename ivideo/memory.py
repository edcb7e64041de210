"""How much memory a rollout takes, known before it starts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel

DECODED_AT_ONCE = {"cpu": 32}
"""Frames whose pixels are computed together, by kind of device."""
_DECODED_AT_ONCE_ELSEWHERE = 256
_MAPS_ALIVE = 8
"""Full-resolution feature maps that exist at one time while a frame is decoded; 6.2 at the released size."""
_CGROUP = Path("/sys/fs/cgroup")


def decoded_at_once(device: torch.device) -> int:
    """Frames whose pixels are computed together."""
    return DECODED_AT_ONCE.get(device.type, _DECODED_AT_ONCE_ELSEWHERE)


def cache_bytes(model: "WorldModel", *, contexts: int, branches: int, frames: int, guided: bool = False) -> int:
    """Bytes of keys and values: `contexts` prefixes, and behind them `branches` futures of `frames` frames in all.

    Guided ones are held twice.
    """
    shape, layout = model.config.transformer, model.layout
    position = 2 * shape.layers * shape.width * model.transformer.norm.weight.element_size()
    own = layout.frame_length * min(frames, model.remembered_frames)
    return (1 + guided) * position * (contexts * layout.context_length + branches * own)


def rollout_bytes(
    model: "WorldModel", *, contexts: int, branches: int, frames: int, decode: bool = True, guided: bool = False
) -> int:
    """Bytes that imagining takes beside the weights: the cache, the pixels and what they are decoded through."""
    total = cache_bytes(model, contexts=contexts, branches=branches, frames=frames, guided=guided)
    if not decode:
        return total
    tokenizer = model.tokenizer.config
    pixels = tokenizer.resolution**2
    once = min(branches * frames, decoded_at_once(model.device))
    size = next(model.tokenizer.parameters()).element_size()
    return total + branches * frames * 3 * pixels + once * _MAPS_ALIVE * pixels * tokenizer.channels[0] * size


def check_rollout(
    model: "WorldModel", *, contexts: int, branches: int, frames: int, decode: bool = True, guided: bool = False
) -> None:
    """ValueError where that is more than there is, with what it would take and how many branches would fit."""
    free = available(model.device)
    if free is None:
        return

    def need(count: int) -> int:
        return rollout_bytes(
            model, contexts=min(contexts, count), branches=count, frames=frames, decode=decode, guided=guided
        )

    if need(branches) <= free:
        return
    fit = _most(branches, lambda count: need(count) <= free)
    remedy = f"{fit:,} would fit" if fit else "ask for fewer frames"
    raise ValueError(
        f"{branches:,} futures of {frames:,} frame{'s' * (frames > 1)} would take {_amount(need(branches))} of memory, "
        f"and {_amount(free)} are free: {remedy}"
    )


def branches_at_once(
    model: "WorldModel", *, branches: int, frames: int, decode: bool = True, guided: bool = False
) -> int:
    """How many of so many futures of one context fit together; at least 1, or ValueError as `check_rollout` has it."""
    free = available(model.device)
    if free is None:
        return branches

    def fits(count: int) -> bool:
        return rollout_bytes(model, contexts=0, branches=count, frames=frames, decode=decode, guided=guided) <= free

    if fits(branches):
        return branches
    if not fits(1):
        check_rollout(model, contexts=0, branches=1, frames=frames, decode=decode, guided=guided)
    return _most(branches, fits)


def _most(upper: int, fits: Callable[[int], bool]) -> int:
    """The largest number below `upper` that fits, by bisection; what fits is assumed to go on fitting when smaller."""
    low = 0
    while upper - low > 1:
        middle = (low + upper) // 2
        low, upper = (middle, upper) if fits(middle) else (low, middle)
    return low


def _amount(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def available(device: torch.device) -> int | None:
    """Bytes that can still be allocated; None where nothing says how many."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    known = [amount for amount in (_available_to_all(), _left_to_group()) if amount is not None]
    return min(known, default=None)


def _available_to_all() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    amounts = dict(line.split(":", 1) for line in lines)
    return int(amounts["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in amounts else None


def _left_to_group() -> int | None:
    """What a container's limit leaves, the page cache counted as free."""
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        details = dict(line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
    except OSError:
        return None
    return None if limit == "max" else int(limit) - used + int(details.get("inactive_file", 0))
