"""A vision-language model as the judge: it is shown frames and a rubric, asked several times, and outvotes itself.

After WorldGym (Quevedo et al. 2025, arXiv 2506.00613): frames of the dream at a stride, a rubric of 0, 0.5 and 1 whose
middle is written out, several sampled answers, the majority of them, ties to the higher score; the question says that
what looks broken is the fault of whoever made the video. Every answer is kept on disk under a hash of all that it
depends on, so that nothing is asked twice.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo.config.limits import check_least
from ivideo.files import replace_file
from ivideo.judge.judges import Scores
from ivideo.judge.rollouts import Rollouts
from ivideo.judge.scenes import Scene
from ivideo.world_model import WorldModel

Pipeline: TypeAlias = Callable[..., Any]
"""What `transformers.pipeline("image-text-to-text", ...)` gives: called with `text=` a chat, it answers
`[{"generated_text": ...}]`."""
LEVELS = (0.0, 0.5, 1.0)
_QUESTION = """These are {count} frames, in order, of a video of a robot at work. What it is to do: {task}

Score how far it got by the end:
1: {whole}
0.5: {partial}
0: neither of these.

The video was made by a computer. Blur, flicker and odd shapes are the video's fault and not the robot's: judge what \
was done, not how it looks. Think in a sentence or two, then end with a line "Score: 0", "Score: 0.5" or "Score: 1"."""
_SAID = re.compile(r"score\s*[:=]?\s*\**\s*(0\.5|0|1)(?:\.0+)?(?![\d.]*\d)", re.IGNORECASE)
_ALONE = re.compile(r"(?<![\d.])(0\.5|0|1)(?:\.0+)?(?![\d.]*\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionSettings:
    """How a vision-language model judges."""

    model: str = ""
    """A folder or a Hugging Face Hub id of a model that `image-text-to-text` pipelines know."""
    task: str = "Push the orange disc so that all of it lies inside the pale green circle."
    """What the policy is to do; a scene's own instruction comes first."""
    whole: str = "the task is done."
    """When the score is 1."""
    partial: str = "the disc was clearly moved nearer to the circle, but does not lie inside it."
    """When it is 0.5."""
    samples: int = 5
    """Answers, of which the majority counts; ties go to the higher score."""
    stride: int = 4
    """Every so many frames one is shown, and the last."""
    side: int = 256
    """Frames are enlarged to this many pixels a side, where they are smaller."""
    temperature: float = 0.7
    """Of the answers; 0 gives the same each time, so that one is enough."""
    longest: int = 256
    """Tokens of an answer, at most."""
    cache: str = "~/.cache/ivideo/judge"
    """Folder of answers."""

    def __post_init__(self) -> None:
        check_least(self, samples=1, stride=1, side=1, longest=1)
        if not self.temperature >= 0:
            raise ValueError(f"temperature is {self.temperature}; expected 0 or more")


@dataclass(frozen=True, slots=True, eq=False)
class Vision:
    """Judges by asking a `pipeline` of yours, or the one that the settings name, loaded when it is first needed."""

    settings: VisionSettings
    pipeline: Pipeline | None = None
    name: str = "vision"
    counterpart: str = "success"
    judges_truth: bool = False

    def check(self, model: WorldModel, scenes: Sequence[Scene], *, located: bool) -> None:
        """There has to be a model to ask."""
        if self.pipeline is None and not self.settings.model:
            raise ValueError("judge vision asks a vision-language model and none is named; give one, --vision.model ID")

    def __call__(self, rollouts: Rollouts) -> Scores:
        asked: list[Pipeline] = [] if self.pipeline is None else [self.pipeline]
        found = []
        for scene, frames in zip(rollouts.scenes, rollouts.frames, strict=True):
            shown = frames[self._places(len(frames))]
            answers = [self._answer(scene, shown, number, asked) for number in range(self.settings.samples)]
            found.append(majority([score for score in map(read_score, answers) if score is not None]))
        return np.array(found, dtype=np.float64)

    def question(self, scene: Scene, count: int) -> str:
        """What is asked of a scene's frames."""
        settings = self.settings
        return _QUESTION.format(
            count=count, task=scene.instruction or settings.task, whole=settings.whole, partial=settings.partial
        )

    def _places(self, frames: int) -> list[int]:
        return sorted({*range(0, frames, self.settings.stride), frames - 1})

    def _answer(self, scene: Scene, frames: UInt8[Tensor, "k 3 h w"], number: int, asked: list[Pipeline]) -> str:
        """One answer: the one that is kept, or a new one, which is then kept."""
        question = self.question(scene, len(frames))
        file = self._file(question, frames, number)
        if file.is_file():
            try:
                return str(json.loads(file.read_text(encoding="utf-8"))["answer"])
            except (ValueError, KeyError, TypeError):
                pass  # damaged: ask again
        if not asked:
            asked.append(load_pipeline(self.settings.model))
        answer = self._asked(asked[0], question, frames, number)
        text = json.dumps({"model": self.settings.model, "question": question, "answer": answer}, indent=1)
        replace_file(file, lambda path: path.write_text(text, encoding="utf-8"))
        return answer

    def _asked(self, pipeline: Pipeline, question: str, frames: UInt8[Tensor, "k 3 h w"], number: int) -> str:
        content = [*({"type": "image", "image": _picture(frame, self.settings.side)} for frame in frames)]
        chat = [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]
        warm = self.settings.temperature > 0
        how: dict[str, Any] = {"do_sample": warm} | ({"temperature": self.settings.temperature} if warm else {})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            given = pipeline(
                text=chat, max_new_tokens=self.settings.longest, return_full_text=False, generate_kwargs=how
            )
        return str(given[0]["generated_text"])

    def _file(self, question: str, frames: UInt8[Tensor, "k 3 h w"], number: int) -> Path:
        """Where an answer is kept: named for all that it depends on."""
        settings = self.settings
        said = [settings.model, question, settings.temperature, settings.longest, settings.side, number]
        digest = hashlib.sha256(json.dumps([*said, list(frames.shape)]).encode())
        digest.update(frames.contiguous().numpy().tobytes())
        name = digest.hexdigest()
        return Path(settings.cache).expanduser() / name[:2] / f"{name}.json"


def read_score(answer: str) -> float | None:
    """The score that an answer ends with: the last one after the word, else the last of the levels; None of neither."""
    found = _SAID.findall(answer) or _ALONE.findall(answer)
    return float(found[-1]) if found else None


def majority(scores: Sequence[float]) -> float:
    """The score that most answers give, of several the highest; NaN of no answers."""
    if not scores:
        return float("nan")
    counted = Counter(scores)
    return max(counted, key=lambda score: (counted[score], score))


def load_pipeline(model: str) -> Pipeline:
    """The pipeline of a vision-language model; OSError, with what to do, where it cannot be had."""
    from transformers import pipeline

    try:
        found: Pipeline = pipeline("image-text-to-text", model=model)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise OSError(
            f"the vision-language model {model!r} cannot be loaded ({reason}); connect to the Hugging Face Hub, or "
            "download it elsewhere and give its folder as --vision.model"
        ) from error
    return found


def _picture(frame: UInt8[Tensor, "3 h w"], side: int) -> Any:
    from PIL import Image

    image = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
    return image.resize((side, side), Image.Resampling.NEAREST) if image.width < side else image
