"""A small network that tells success from a frame, learned from examples: the table's own, or two folders of pictures.

::

    EXAMPLES/success/*.png       frames in which the task is done
             failure/*.png       frames in which it is not
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from ivideo.files import replace_file
from ivideo.resizing import resize
from ivideo.simulate.drawing import render
from ivideo.simulate.motion import DISC_RADIUS, TOLERANCE, TableState, inside, penetration
from ivideo.simulate.pushing_table import GOAL_TOLERANCE, in_goal, random_state

_SEED = 990_000
"""First of the seeds that examples of the table are drawn from; no scene is."""
_WIDTH = 16
_SUFFIXES = (".png", ".jpg", ".jpeg")


class SuccessNet(nn.Module):
    """Logits of success of uint8 frames of one size, [k 3 s s] to [k]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, _WIDTH, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * _WIDTH, 2 * _WIDTH, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        side = -(-size // 8)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(2 * _WIDTH * side * side, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, frames: UInt8[Tensor, "k 3 s s"]) -> Float[Tensor, " k"]:
        if tuple(frames.shape[-2:]) != (self.size, self.size):
            raise ValueError(
                f"frames are {list(frames.shape)} and this classifier learned {self.size}x{self.size} pixels; resize "
                "them, or train another"
            )
        pixels = frames.to(next(self.parameters()).device).float() / 127.5 - 1.0
        logits: Tensor = self.head(self.convolutions(pixels))[:, 0]
        return logits


def train_classifier(
    frames: UInt8[Tensor, "n 3 s s"], labels: Bool[Tensor, " n"], *, steps: int = 600, seed: int = 0
) -> SuccessNet:
    """Learn to tell success from frames; ValueError where one of the two kinds is missing."""
    if not bool(labels.any()) or bool(labels.all()):
        raise ValueError(
            f"of {len(labels)} examples {int(labels.sum())} are successes; a classifier needs some of each kind"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SuccessNet(frames.shape[-1])
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    kinds = [labels.nonzero()[:, 0], (~labels).nonzero()[:, 0]]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1.0 - step / steps)
        rows = torch.cat([kind[torch.randint(len(kind), (32,), generator=generator)] for kind in kinds])
        noisy = frames[rows].int() + torch.randint(-12, 13, frames[rows].shape, generator=generator)
        logits = network(noisy.clamp(0, 255).to(torch.uint8))
        loss = F.binary_cross_entropy_with_logits(logits, labels[rows].float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


def table_examples(count: int, *, size: int, seed: int = 0) -> tuple[UInt8[Tensor, "n 3 s s"], Bool[Tensor, " n"]]:
    """Frames of the pushing table and whether the disc is in the goal: a third near enough, a third nearly, a third
    anywhere."""
    rng = np.random.default_rng([_SEED, seed])
    states: list[TableState] = []
    while len(states) < count:
        state = random_state(rng)
        reach = (GOAL_TOLERANCE, 3 * GOAL_TOLERANCE, None)[len(states) % 3]
        states.append(state if reach is None else _near(state, reach, rng))
    frames = torch.from_numpy(np.stack([render(state, size) for state in states])).permute(0, 3, 1, 2).contiguous()
    return frames, torch.tensor([in_goal(state) for state in states])


def find_classifier(source: str, size: int) -> Callable[[Tensor], Tensor]:
    """What gives frames their logits.

    Args:
        source: "pushing_table" learns from the table's examples; a `.safetensors` file is one that was saved; a folder
            with success/ and failure/ is learned from; `module:attribute` is any function of frames.
        size: side of the frames.
    """
    if source == "pushing_table":
        return train_classifier(*table_examples(1800, size=size))
    place = Path(source).expanduser()
    if place.is_dir():
        return train_classifier(*_pictures(place, size))
    if place.suffix == ".safetensors":
        return load_classifier(place)
    module, colon, attribute = source.partition(":")
    if not colon:
        raise ValueError(
            f"classifier {source!r} is neither pushing_table, a folder of examples, a .safetensors file nor "
            "module:attribute; give one of those"
        )
    try:
        found: Callable[[Tensor], Tensor] = getattr(import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"classifier {source!r} cannot be imported ({error}); is its folder on PYTHONPATH?") from error
    return found


def save_classifier(network: SuccessNet, file: Path) -> None:
    """Write it in one step."""
    from safetensors.torch import save_file

    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    replace_file(file, lambda path: save_file(tensors, path, metadata={"size": str(network.size)}))


def load_classifier(file: Path) -> SuccessNet:
    """Read it back; ValueError of a file that is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as held:
            network = SuccessNet(int((held.metadata() or {}).get("size", 0)))
            network.load_state_dict({name: held.get_tensor(name) for name in held.keys()})  # noqa: SIM118
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{file} is no classifier of ivideo ({reason}); train another") from error
    return network.eval().requires_grad_(False)


def _near(state: TableState, reach: float, rng: np.random.Generator) -> TableState:
    """The state with the disc within reach of the goal; where it was, if something is in the way."""
    from dataclasses import replace

    for _ in range(100):
        angle, far = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform())
        place = state.goal[0] + far * float(np.cos(angle)), state.goal[1] + far * float(np.sin(angle))
        moved = replace(state, disc=place)
        if inside(place, DISC_RADIUS) == place and penetration(moved) <= TOLERANCE:
            return moved
    return state


def _pictures(folder: Path, size: int) -> tuple[UInt8[Tensor, "n 3 s s"], Bool[Tensor, " n"]]:
    from ivideo.data.sources.encoded_image import decode_image

    frames, labels = [], []
    for kind in ("success", "failure"):
        files = sorted(file for file in (folder / kind).glob("*") if file.suffix.lower() in _SUFFIXES)
        if not files:
            raise ValueError(f"{folder / kind} holds no pictures; expected some .png or .jpg of {kind}")
        for file in files:
            picture = torch.from_numpy(decode_image(file.read_bytes(), str(file)).copy()).permute(2, 0, 1)
            frames.append(resize(picture[None].contiguous(), size)[0])
            labels.append(kind == "success")
    return torch.stack(frames), torch.tensor(labels)
