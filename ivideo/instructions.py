"""Words as vectors: what a frozen T5 makes of instructions and of controls, averaged over their tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """Which encoder reads instructions."""

    encoder: str = "google-t5/t5-small"
    """A T5 encoder with its tokenizer: a folder or a Hub id. It is frozen and not part of the saved model."""
    size: int = 512
    """Width of its states (its config's d_model)."""
    actions: bool = False
    """Also read every control of an action in words, beside its bin (UniSim, section 3.1)."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size is {self.size}; expected the width of the encoder's states, such as 512")


class InstructionEncoder:
    """Reads every distinct instruction once; the encoder itself is loaded for the first of them."""

    def __init__(self, config: TextConfig) -> None:
        self.config = config
        self._known: dict[str, Tensor] = {"": torch.zeros(config.size)}
        self._parts: tuple[Any, Any] | None = None

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "b e"]:
        """A vector for each text, on the CPU; zeros for the empty one."""
        for text in dict.fromkeys(texts):
            if text not in self._known:
                self._known[text] = self._read(text)
        return torch.stack([self._known[text] for text in texts])

    @torch.inference_mode(False)
    @torch.no_grad()
    def _read(self, text: str) -> Float[Tensor, " e"]:
        tokenizer, encoder = self._parts = self._parts or self._load()
        # One at a time: in a batch, padding would round what a text becomes differently for each company.
        states: Tensor = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state
        if states.shape[-1] != self.config.size:
            raise ValueError(
                f"the encoder {self.config.encoder} has states of width {states.shape[-1]}, but embedding.text.size is "
                f"{self.config.size}; write {states.shape[-1]}"
            )
        return states[0].mean(0)

    def _load(self) -> tuple[Any, Any]:
        from transformers import AutoTokenizer, T5EncoderModel

        name = self.config.encoder
        try:
            tokenizer = AutoTokenizer.from_pretrained(name)
            encoder = T5EncoderModel.from_pretrained(name, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise OSError(
                f"the text encoder {name!r} is no folder with a T5 model (config.json, model.safetensors, "
                "tokenizer.json), and it cannot be fetched from the Hugging Face Hub; connect, or download it "
                "elsewhere and name its folder as embedding.text.encoder"
            ) from error
        return tokenizer, encoder.eval().requires_grad_(False)


class ControlWords(nn.Module):
    """A projection of what an encoder makes of a domain's controls, each in words of its own: "control 2 is -0.75".

    Vectors are averaged over the controls, as those of an instruction are over its tokens. A control is said to the
    decimal that cuts its range in 100 to 1,000 steps, and read once for each: its bin keeps what that leaves out.
    """

    def __init__(self, reader: InstructionEncoder, width: int) -> None:
        super().__init__()
        self.reader = reader
        self.project = nn.Linear(reader.config.size, width, bias=False)

    def forward(self, values: Float[Tensor, "*n a"], spans: Float[Tensor, " a"]) -> Float[Tensor, "*n d"]:
        """The vector to add for controls whose ranges are `spans` wide."""
        places = [max(0, math.ceil(2 - math.log10(span))) for span in spans.tolist()]
        said = [
            f"control {number + 1} is {round(value, places[number]) + 0.0:.{places[number]}f}"  # no minus before 0
            for action in values.flatten(0, -2).tolist()
            for number, value in enumerate(action)
        ]
        read = self.reader(said).to(self.project.weight).unflatten(0, values.shape)
        out: Tensor = self.project(read.mean(-2))
        return out
