"""`ivideo evaluate MODEL`: how well a model imagines held-out clips, beside a copied frame and the wrong actions."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from rich.console import Console
from torch import Tensor

from ivideo.config import parse
from ivideo.data import open_episodes
from ivideo.data.segments import window_indices
from ivideo.evaluation.clips import Clips, pushed_clips
from ivideo.evaluation.imagine import imagine
from ivideo.evaluation.rollout import RolloutTable, evaluate_rollouts
from ivideo.files import check_new_file, replace_file
from ivideo.simulate.demonstrations import demonstrate
from ivideo.simulate.policies import Pusher
from ivideo.world_model import Precision, WorldModel
from transformer import Sampling

HELD_OUT = 900_000
"""First seed of the pushing table's held-out episodes; training records from seeds far below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What to evaluate, on what, and how."""

    model: str
    """A folder, a packaged model or a Hugging Face Hub id."""
    source: str = "pushing_table"
    """Where clips come from: "pushing_table" (held-out seeds, clips in which an object is pushed) or a data folder."""
    held_out: str = "last"
    """Of a data folder: "last" takes the last episode of every folder, a number n every n-th, "all" takes all."""
    camera: str | None = None
    """Which view, in sources with several."""
    domain: str | None = None
    """Whose episodes these are, for a model of several domains. Instructions come with the episodes."""
    guidance: float = 0.0
    """How far to exaggerate what the actions and instructions change; 0 is the model as it is."""
    frames: int = 10
    """Frames to imagine."""
    horizons: tuple[int, ...] = (1, 5, 10)
    """Imagined frames to report on, counted from 1."""
    clips: int = 128
    """Clips per seed, at most."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each draws its own held-out episodes, its own tokens and its own exchange of actions. The clips of a data folder
    are the same for every seed, so of these only the first is used."""
    temperature: float = 0.0
    """0 takes the likeliest token, as in the recorded results; above it, tokens are drawn."""
    top_k: int = 100
    """Draw among this many likeliest tokens."""
    out: str | None = None
    """Write the figures, their protocol and versions to this JSON file."""
    overwrite: bool = False
    """Replace a file of that name."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    precision: Precision = "float32"
    """How the transformer's weights are held; bfloat16 and int8 make large ones faster and less exact."""

    def __post_init__(self) -> None:
        if self.frames < 1 or self.clips < 1:
            raise ValueError(f"frames is {self.frames} and clips {self.clips}; expected at least 1 of each")
        if not self.seeds or min(self.seeds) < 0:
            raise ValueError(f"seeds is {list(self.seeds)}; expected at least one, such as 0,1,2, and none below 0")
        if not self.horizons or not 1 <= min(self.horizons) <= max(self.horizons) <= self.frames:
            fitting = ",".join(map(str, sorted({1, self.frames})))
            raise ValueError(
                f"horizons is {list(self.horizons)}; expected imagined frames to report on, from 1 to frames, which is "
                f"{self.frames}: pass --horizons {fitting}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Clips of one seed; states where the truth behind the pixels is known."""

    frames: UInt8[Tensor, "n t 3 h w"]
    actions: Float[Tensor, "n t-1 a"] | None
    rewards: Float[Tensor, "n t-1"] | None
    table: Clips | None = None
    instructions: tuple[str, ...] | None = None


def main(argv: list[str]) -> int:
    """`ivideo evaluate MODEL [...]`."""
    wanted = parse(
        Evaluation,
        argv,
        prog="ivideo evaluate",
        description="Compare imagined with true frames on held-out clips.",
        positional=("model",),
    )
    if wanted.out is not None:
        check_new_file(Path(wanted.out), overwrite=wanted.overwrite)
    sampling = Sampling(temperature=wanted.temperature, top_k=wanted.top_k)
    model = WorldModel.from_pretrained(wanted.model, device=wanted.device, precision=wanted.precision)
    seeds = wanted.seeds if wanted.source == "pushing_table" else wanted.seeds[:1]
    cases = [_case(wanted, model, seed) for seed in seeds]
    if cases[0].actions is not None and model.action_dim:
        model.check_actions(cases[0].actions, where=f"{wanted.source}: ", domain=wanted.domain)
    began = time.perf_counter()
    table = evaluate_cases(
        model, cases, seeds, sampling, horizons=wanted.horizons, domain=wanted.domain, guidance=wanted.guidance
    )
    took = time.perf_counter() - began
    Console(width=80).print(table.rich(f"{wanted.model} on {wanted.source}, seeds {seeds}"))
    print(f"{table.clips} clips imagined twice in {took:.0f} s")
    if wanted.out is not None:
        record = {
            "protocol": asdict(wanted) | {"seeds": seeds},
            "clips": table.clips,
            "figures": [asdict(figure) for figure in table.figures],
            "torch": torch.__version__,
        }
        text = json.dumps(record, indent=2) + "\n"
        replace_file(Path(wanted.out), lambda path: path.write_text(text, encoding="utf-8"))
    return 0


def evaluate_cases(
    model: WorldModel,
    cases: list[Case],
    seeds: tuple[int, ...],
    sampling: Sampling,
    *,
    horizons: tuple[int, ...] = (1, 5, 10),
    domain: str | None = None,
    guidance: float = 0.0,
) -> RolloutTable:
    """The table over the clips of all cases, pooled; case i is imagined under `seeds[i]`."""
    true, wrong, rewards = [], [], []
    for case, seed in zip(cases, seeds, strict=True):
        how: dict[str, Any] = {"sampling": sampling, "seed": seed, "guidance": guidance}
        how["domains"] = None if domain is None else [domain] * len(case.frames)
        how["instructions"] = case.instructions if model.read_instructions is not None else None
        seen = imagine(model, case.frames, case.actions, **how)
        true.append(seen.frames)
        if seen.rewards is not None and case.rewards is not None:
            rewards.append(seen.rewards)
        if case.actions is not None and model.action_dim:
            exchanged = exchange_actions(case.actions, model.context_frames, seed)
            wrong.append(imagine(model, case.frames, exchanged, **how).frames)
    known = [case.table.states for case in cases if case.table is not None]
    given = [case.rewards for case in cases if case.rewards is not None]
    return evaluate_rollouts(
        torch.cat([case.frames for case in cases]),
        torch.cat(true),
        context=model.context_frames,
        shuffled=torch.cat(wrong) if wrong else None,
        states=[state for states in known for state in states] if known else None,
        rewards=torch.cat(given) if rewards else None,
        predicted_rewards=torch.cat(rewards) if rewards else None,
        horizons=horizons,
    )


def exchange_actions(actions: Float[Tensor, "n s a"], context: int, seed: int) -> Float[Tensor, "n s a"]:
    """Every clip with another clip's actions on the way to its imagined frames; no clip keeps its own."""
    if len(actions) < 2:
        raise ValueError(
            f"there is {len(actions)} clip; expected two or more, between which actions are exchanged: pass more "
            "--clips, or --held_out all"
        )
    order = torch.randperm(len(actions), generator=torch.Generator().manual_seed(seed))
    exchanged = actions.clone()
    exchanged[order, context - 1 :] = actions[order.roll(1), context - 1 :]
    return exchanged


def table_case(seed: int, *, context: int, frames: int, clips: int, size: int = 64) -> Case:
    """Held-out clips of the pushing table in which an object is pushed, at a model's resolution."""
    found = pushed_clips(
        demonstrate(Pusher(), episodes=max(2, clips // 2), seed=HELD_OUT + seed, size=size),
        context=context,
        frames=frames,
        limit=clips,
    )
    return Case(frames=found.frames, actions=found.actions, rewards=found.rewards, table=found)


def _case(wanted: Evaluation, model: WorldModel, seed: int) -> Case:
    context, length = model.context_frames, model.context_frames + wanted.frames
    size = model.tokenizer.config.resolution
    if wanted.source == "pushing_table":
        return table_case(seed, context=context, frames=wanted.frames, clips=wanted.clips, size=size)
    episodes = open_episodes(wanted.source, size=size, camera=wanted.camera)
    if wanted.held_out != "all":
        share = _held_out(wanted.held_out)
        try:
            episodes = episodes.split(share)[1]
        except ValueError as error:
            raise ValueError(f"{error}; or evaluate on every episode with --held_out all") from error
    windows = [
        (episode, int(start))
        for episode in episodes
        if len(episode) >= length
        for start in window_indices(len(episode), length)
    ][: wanted.clips]
    if not windows:
        longest = max(map(len, episodes))
        spare = longest - context
        remedy = f"pass --frames {spare}" if spare > 0 else "give longer episodes"
        raise ValueError(
            f"no held-out episode of {wanted.source} has {length} frames, {context} to start from and {wanted.frames} "
            f"to imagine; the longest has {longest}: {remedy}"
        )
    cut = [(episode, slice(start, start + length), slice(start, start + length - 1)) for episode, start in windows]
    return Case(
        frames=torch.stack([episode.frames[shown] for episode, shown, _ in cut]),
        actions=_stack([None if e.actions is None else e.actions[between] for e, _, between in cut]),
        rewards=_stack([None if e.rewards is None else e.rewards[between] for e, _, between in cut]),
        instructions=tuple(episode.instruction for episode, _, _ in cut),
    )


def _held_out(text: str) -> int | Literal["last"]:
    if text == "last":
        return "last"
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'held_out is {text!r}; expected "last", "all" or a number') from None


def _stack(values: list[Tensor | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    return torch.stack(present) if len(present) == len(values) else None
