"""`ivideo predict MODEL VIDEO`: how a video could go on, beside how it did where it is long enough to tell."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.chain import chained, reach, usual
from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.data import open_episodes
from ivideo.data.segments import frames_back
from ivideo.episode import Episode
from ivideo.evaluation.metrics.pixels import psnr
from ivideo.files import check_new_file
from ivideo.video import check_output, grid, write_video
from ivideo.world_model import Precision, WorldModel
from transformer import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What to continue, and how."""

    model: str
    """A folder, a packaged model or a Hugging Face Hub id."""
    video: str
    """An mp4, webm, gif or npz, a folder of episodes, or "pushing_table"."""
    episode: int = 0
    """Which episode, where the source holds several."""
    camera: str | None = None
    """Which view, in sources with several."""
    start: int = 0
    """First context frame."""
    stride: int = 1
    """Source frames from one frame to the next; the actions of skipped frames are left out."""
    frames: int = 14
    """How many frames to imagine; with `instructions`, for each of them."""
    samples: int = 4
    """How many futures to imagine."""
    actions: Literal["recorded", "none"] = "recorded"
    """Imagine under the recorded actions where the model takes actions, or under none."""
    domain: str | None = None
    """Whose actions these are, for a model of several domains."""
    instruction: str | None = None
    """What is to be done, for a model that reads instructions; null takes what comes with the video."""
    instructions: tuple[str, ...] = ()
    """What is to be done one after the other, each in a segment of its own: words, or names of a domain's choices."""
    history: Literal["recent", "distant"] | None = None
    """Start from the frames just before the first imagined one, or 1, 2, 4, ... before it; null: as in training."""
    guidance: float = 0.0
    """How far to exaggerate what the action and the instruction change; 0 is the model as it is."""
    seed: int = 0
    """Future i draws from a seed derived from this one and i."""
    temperature: float | None = None
    """How boldly tokens are drawn; 0 takes the likeliest, which makes all futures one. Null: as the model says."""
    top_k: int | None = None
    """Draw among this many likeliest tokens, 0 for all; null: as the model says."""
    out: str = "futures.mp4"
    """Where to: .mp4, .webm or .gif play truth and futures side by side; a .png strip is written beside it."""
    fps: float = 5.0
    """Frames a second of what is written."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    precision: Precision = "float32"
    """In what the model's layers multiply; bfloat16 and int8 make large models faster and less exact."""
    overwrite: bool = False
    """Replace files of those names."""

    def __post_init__(self) -> None:
        check_least(self, episode=0, start=0, stride=1, frames=1, samples=1)
        if self.instructions and self.instruction is not None:
            raise ValueError("instruction and instructions are both given; leave one of them out")

    @property
    def length(self) -> int:
        """Frames to imagine in all."""
        return self.frames * max(1, len(self.instructions))


def main(argv: list[str]) -> int:
    """`ivideo predict MODEL VIDEO [...]`."""
    wanted = parse(
        Prediction,
        _with_list(argv, "--instructions"),
        prog="ivideo predict",
        description="Imagine how a video goes on.",
        positional=("model", "video"),
    )
    out = Path(wanted.out)
    if out.suffix.lower() == ".png":
        raise ValueError(f"out is {out}; expected .mp4, .webm or .gif: a .png strip is written beside it in any case")
    check_output(out, fps=wanted.fps)
    strip = out.with_suffix(".png")
    for path in (out, strip):
        check_new_file(path, overwrite=wanted.overwrite)
    model = WorldModel.from_pretrained(wanted.model, device=wanted.device, precision=wanted.precision)
    episode = _episode(wanted, model.tokenizer.config.resolution)
    clip, truth = _window(episode, wanted, reach(model, wanted.history or usual(model)))
    actions = None if wanted.instructions else _actions(episode, wanted, model, len(clip))
    futures = _futures(episode, wanted, model, clip, actions)
    rows = [_repeat_last(torch.cat([clip, truth]), futures.shape[1])[None], futures]
    shown = torch.cat(rows if len(truth) else rows[1:])
    write_video(out, grid(shown), fps=wanted.fps, zoom=max(1, 128 // shown.shape[-1]))
    write_video(strip, grid(shown, columns=1), zoom=1)
    _report(wanted, episode, clip, truth, futures, conditioned=actions is not None)
    for number, words in enumerate(wanted.instructions):
        print(f"  from frame {number * wanted.frames + 1:3d}: {words}")
    print(f"wrote {out} and {strip}: {'the true video first, then ' if len(truth) else ''}{len(futures)} futures")
    return 0


def _futures(
    episode: Episode, wanted: Prediction, model: WorldModel, clip: Tensor, actions: Tensor | None
) -> UInt8[Tensor, "n t 3 h w"]:
    """What is imagined, behind the clip; one segment for each of several instructions."""
    shown = clip.expand(wanted.samples, *clip.shape)
    sampling = _sampling(wanted, model.config.sampling)
    if wanted.instructions:
        made = chained(
            model,
            clip,
            wanted.instructions,
            frames=wanted.frames,
            history=wanted.history,
            samples=wanted.samples,
            domain=wanted.domain,
            guidance=wanted.guidance,
            seed=wanted.seed,
            sampling=sampling,
        )
        return torch.cat([shown, *made], dim=1)
    given = model.context_frames - model.config.goal_conditioned
    context = clip[(len(clip) - frames_back(given, wanted.history or usual(model))).tolist()]
    future = model.predict(
        context,
        actions,
        frames=wanted.frames,
        samples=wanted.samples,
        domain=wanted.domain,
        instruction=_instruction(episode, wanted, model),
        guidance=wanted.guidance,
        seed=wanted.seed,
        sampling=sampling,
    ).cpu()
    return torch.cat([shown, future[:, len(context) :]], dim=1)


def _with_list(argv: Sequence[str], option: str) -> list[str]:
    """The same words, those that follow an option written as one list."""
    rest = list(argv)
    if option not in rest:
        return rest
    first = rest.index(option) + 1
    last = next((place for place in range(first, len(rest)) if rest[place].startswith("--")), len(rest))
    if last - first == 1 and rest[first].startswith("["):
        return rest
    return [*rest[: first - 1], f"{option}={json.dumps(rest[first:last])}", *rest[last:]]


def _sampling(wanted: Prediction, usual: Sampling) -> Sampling:
    sampling = Sampling(
        temperature=usual.temperature if wanted.temperature is None else wanted.temperature,
        top_k=usual.top_k if wanted.top_k is None else wanted.top_k,
        top_p=usual.top_p,
    )
    if sampling.temperature == 0 and wanted.samples > 1:
        print("temperature 0 makes all futures the same one; pass --temperature 0.5 to see several")
    return sampling


def _episode(wanted: Prediction, size: int) -> Episode:
    episodes = open_episodes(wanted.video, size=size, camera=wanted.camera, limit=wanted.episode + 1)
    if not 0 <= wanted.episode < len(episodes):
        raise ValueError(
            f"episode is {wanted.episode}, but {wanted.video} holds {len(episodes)}; expected 0 to {len(episodes) - 1}"
        )
    return episodes[wanted.episode]


def _window(
    episode: Episode, wanted: Prediction, span: int
) -> tuple[UInt8[Tensor, "c 3 h w"], UInt8[Tensor, "f 3 h w"]]:
    """The frames that the history reaches back, and as many of the true frames after them as there are."""
    frames = episode.frames[wanted.start :: wanted.stride][: span + wanted.length]
    if len(frames) < span:
        raise ValueError(
            f"{episode.name or wanted.video} has {len(episode)} frames, of which start {wanted.start} and stride "
            f"{wanted.stride} leave {len(frames)}; expected {span} or more, from which the model starts"
        )
    return frames[:span], frames[span:]


def _actions(episode: Episode, wanted: Prediction, model: WorldModel, span: int) -> Float[Tensor, "f a"] | None:
    if wanted.actions == "none" or not model.action_dim:
        return None
    if episode.actions is None:
        print("this video comes without actions: imagining without them")
        return None
    first = wanted.start + (span - 1) * wanted.stride
    actions = episode.actions[first :: wanted.stride][: wanted.frames]
    if len(actions) < wanted.frames:
        fewer = f"pass --frames {len(actions)}" if len(actions) else "give a longer video"
        raise ValueError(
            f"{wanted.frames} frames need {wanted.frames} actions and the video has {len(actions)} after its context; "
            f"{fewer}, another --start, or --actions none"
        )
    model.check_actions(actions, where=f"{wanted.video}: ", domain=wanted.domain)
    return actions


def _instruction(episode: Episode, wanted: Prediction, model: WorldModel) -> str | None:
    return wanted.instruction or (episode.instruction if model.read_instructions and episode.instruction else None)


def _repeat_last(frames: UInt8[Tensor, "t 3 h w"], length: int) -> UInt8[Tensor, "length 3 h w"]:
    return torch.cat([frames, frames[-1:].expand(length - len(frames), -1, -1, -1)])


def _report(
    wanted: Prediction, episode: Episode, clip: Tensor, truth: Tensor, futures: Tensor, *, conditioned: bool
) -> None:
    kind = "under the recorded actions" if conditioned else "without actions"
    kind = f"under {len(wanted.instructions)} instructions" if wanted.instructions else kind
    print(f"{episode.name or wanted.video}: {len(futures)} futures of {wanted.length} frames, {kind}")
    if not len(truth):
        print("the video ends with its context, so there is no truth to compare with")
        return
    predicted = futures[:, len(clip) : len(clip) + len(truth)]
    last = clip[-1:].expand_as(truth)
    for frame in sorted({1, min(5, len(truth)), len(truth)}):
        each = psnr(truth[frame - 1].expand_as(predicted[:, frame - 1]), predicted[:, frame - 1])
        copy = psnr(truth[frame - 1], last[frame - 1])
        print(f"  frame {frame:2d}: PSNR {each.mean():5.2f} dB, mean of {len(futures)} (copy-last-frame {copy:5.2f})")
