"""Whether a model that is shown four frames of the past knows what one that is shown a single frame cannot.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/history.py tokenizer FOLDER
    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/history.py train FOLDER one|recent|distant SEED
    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/history.py compare FOLDER SEED ...

Clips show a pushing table whose objects rest, in colours of their own, while an opaque panel slides over them from
left to right, again and again. Windows begin while the disc or the square is wholly behind the panel and end once it
has come out: where it is and of which colour only earlier frames tell.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from ivideo import Sampling, WorldModel, recipes
from ivideo.config import load_config
from ivideo.data.segments import History, frames_back
from ivideo.data.store import EpisodeStore
from ivideo.episode import Episode
from ivideo.evaluation.statistics import bootstrap, mean, pooled_decibels
from ivideo.simulate.drawing import GOAL_COLOUR, TABLE_COLOUR, Colour, background, render
from ivideo.simulate.motion import DISC_RADIUS, SQUARE_HALF, TABLE, TableState
from ivideo.training.dataset import DataConfig
from ivideo.training.run import RunConfig
from ivideo.training.tokenizer import TokenizerTraining, train_tokenizer
from ivideo.training.world_model import WorldModelTraining, train_world_model
from tokenizer import VideoTokenizer
from tokenizer.checkpoint import load_tokenizer, save_tokenizer

SIZE, LENGTH, IMAGINED = 32, 50, 10
TRAINING, HELD_OUT = 800, 200
PLACES = (10.0, 24.0, 40.0, 54.0)
"""Where objects stand, along either axis: in a square of a chequered board of four by four."""
PANEL, SPEED = 36.0, 4.0
"""Width of the panel, and how far it slides in a frame, in table units."""
PANEL_COLOUR: Colour = (92, 64, 51)
COLOURS: tuple[Colour, ...] = ((213, 94, 0), (0, 114, 178), (240, 228, 66), (170, 60, 150))
ARMS: dict[str, tuple[int, History]] = {"one": (1, "recent"), "recent": (4, "recent"), "distant": (4, "distant")}
"""Context frames of each kind of history, and how they lie."""
TOKENIZER: dict[str, Any] = {
    "resolution": SIZE,
    "stem_stride": 8,
    "channels": (96,),
    "patch_size": 1,
    "context_frames": 1,
    "max_attention_resolution": 0,
    "mask_blend": None,
}
"""Four by four tokens a frame, one for each square of the board."""
MINUTES = 24.0
"""How long world models are trained, schedules following the clock. Run the three side by side, so that all have the
same share of the machine."""
WINDOWS = 2500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Objects that rest, and where the panel begins."""

    state: TableState
    disc: Colour
    square: Colour
    phase: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Scene":
        disc, square = rng.choice(len(COLOURS), 2, replace=False)
        places = rng.choice(len(PLACES) ** 2, 3, replace=False)
        pusher, first, second = ((PLACES[place % 4], PLACES[place // 4]) for place in places.tolist())
        state = TableState(pusher=pusher, disc=first, square=second)
        phase = float(SPEED * rng.integers((TABLE + PANEL) // SPEED))
        return cls(state=state, disc=COLOURS[disc], square=COLOURS[square], phase=phase)

    def covered(self, time: int) -> Float[np.ndarray, " w"]:
        """Which share of each column of pixels the panel covers."""
        right = (self.phase + SPEED * time) % (TABLE + PANEL)
        scale = SIZE / TABLE
        edges = np.arange(SIZE + 1) / scale
        share: NDArray[np.float64] = np.diff(np.clip(edges, right - PANEL, right)) * scale
        return share

    def frame(self, time: int) -> UInt8[np.ndarray, "h w 3"]:
        share = self.covered(time)[None, :, None]
        shown = render(self.state, SIZE, Look(disc=self.disc, square=self.square))
        return (shown * (1 - share) + np.array(PANEL_COLOUR) * share + 0.5).astype(np.uint8)

    def object(self, name: str) -> NDArray[np.bool_]:
        """The pixels of the disc or the square, but for their edges."""
        places = (np.arange(SIZE) + 0.5) * TABLE / SIZE
        x, y = getattr(self.state, name)
        if name == "square":
            return np.outer(abs(places - y) < SQUARE_HALF - 1, abs(places - x) < SQUARE_HALF - 1)
        return (places - x)[None, :] ** 2 + (places - y)[:, None] ** 2 < (DISC_RADIUS - 1) ** 2

    def shown(self, name: str, time: int) -> float:
        """Which share of an object can be seen."""
        mask = self.object(name)
        return float(((1 - self.covered(time))[None] * mask).sum() / mask.sum())

    def episode(self) -> Episode:
        frames = np.stack([self.frame(time) for time in range(LENGTH)])
        return Episode(frames=torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous())


def scenes(count: int, seed: int) -> list[Scene]:
    return [Scene.drawn(np.random.default_rng([seed, index])) for index in range(count)]


def stores() -> tuple[EpisodeStore, EpisodeStore]:
    """Episodes to train on, and others to look at while training."""
    train, held = ([scene.episode() for scene in scenes(*which)] for which in ((TRAINING, 0), (32, 2)))
    return EpisodeStore(train, source="occlusion"), EpisodeStore(held, source="occlusion")


def tokenizer(folder: Path, context: int) -> Path:
    """One tokenizer for all: a frame's tokens are its own, so that only the transformer sees the past."""
    whole = folder / "tokenizer"
    if not (whole / "model").exists():
        wanted = load_config(TokenizerTraining, recipes.find("pushing_table_quick", "tokenizer"))
        train_tokenizer(
            replace(
                wanted,
                data=DataConfig(frames=1 + IMAGINED),
                tokenizer=replace(wanted.tokenizer, **TOKENIZER),
                loop=replace(wanted.loop, steps=500, max_minutes=None, precision="32-true", batch_size=24),
                run=RunConfig(folder=whole, tensorboard=False),
            ),
            stores(),
        )
    made = folder / f"tokenizer_{context}"
    if not made.exists():
        trained = load_tokenizer(whole / "model")
        other = VideoTokenizer(replace(trained.config, context_frames=context))
        other.load_state_dict(trained.state_dict())
        save_tokenizer(other, made)
    return made


def train(folder: Path, arm: str, seed: int) -> None:
    context, history = ARMS[arm]
    home = tokenizer(folder, context)
    settings = load_config(WorldModelTraining, recipes.find("pushing_table_quick", "world_model"))
    began = time.process_time()
    train_world_model(
        replace(
            settings,
            data=DataConfig(frames=context + IMAGINED, history=history),
            tokenizer=str(home),
            token_cache=WINDOWS,
            model=replace(
                settings.model,
                embedding=replace(settings.model.embedding, action_dim=0),
                heads=replace(settings.model.heads, reward=False),
            ),
            loop=replace(settings.loop, steps=None, max_minutes=MINUTES, precision="32-true", seed=seed),
            run=RunConfig(folder=folder / f"world_model_{arm}_{seed}", tensorboard=False),
        ),
        stores(),
    )
    print(
        f"{arm}, seed {seed}: world model trained in {(time.process_time() - began) / 60:.2f} core-minutes", flush=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A clip that ends with an object behind the panel, which comes out again."""

    scene: Scene
    name: str
    now: int
    """The last frame that a model may be shown."""

    @property
    def is_recent(self) -> bool:
        """Whether half of the object or more was seen in one of the last four frames."""
        return any(self.scene.shown(self.name, self.now - back) >= 0.5 for back in range(4))

    @property
    def region(self) -> NDArray[np.bool_]:
        """The object's pixels that are out from behind the panel in the end."""
        return self.scene.object(self.name) & (self.scene.covered(self.now + IMAGINED) == 0)[None]

    @property
    def uncovered(self) -> NDArray[np.bool_]:
        """All pixels that were behind the panel and no longer are."""
        gone = (self.scene.covered(self.now) == 1) & (self.scene.covered(self.now + IMAGINED) == 0)
        return np.broadcast_to(gone[None], (SIZE, SIZE))


def trials() -> list[Trial]:
    """At most one for each held-out scene."""
    found = []
    rng = np.random.default_rng(3)
    for scene in scenes(HELD_OUT, 1):
        possible = [
            Trial(scene=scene, name=name, now=now)
            for now in range(7, LENGTH - IMAGINED)
            for name in ("disc", "square")
            if scene.shown(name, now) < 0.01 and scene.shown(name, now + IMAGINED) > 0.8
        ]
        if possible:
            found.append(possible[int(rng.integers(len(possible)))])
    return found


def imagined(model: WorldModel, chosen: list[Trial], history: History) -> NDArray[np.uint8]:
    """The last imagined frame of every trial, `[n h w 3]`."""
    episodes = [trial.scene.episode().frames for trial in chosen]
    back = frames_back(model.context_frames, history)
    context = [frames[(trial.now + 1 - back).tolist()] for frames, trial in zip(episodes, chosen, strict=True)]
    state = model.start(torch.stack(context))
    for _ in range(IMAGINED):
        state, _ = model.step(state, decode=False, sampling=Sampling(temperature=0))
    last: NDArray[np.uint8] = model.frames(state, slice(-1, None))[:, 0].permute(0, 2, 3, 1).numpy()
    return last


def judged(name: str, shown: NDArray[np.uint8], chosen: list[Trial]) -> None:
    """One line: errors where the object came out, and on all that came out, and how often its colour is right."""
    objects, areas, right = [], [], []
    for frame, trial in zip(shown, chosen, strict=True):
        truth = trial.scene.frame(trial.now + IMAGINED)
        error = np.square((frame.astype(float) - truth) / 255).mean(-1)
        objects.append([error[trial.region].sum(), trial.region.sum()])
        areas.append([error[trial.uncovered].sum(), trial.uncovered.sum()])
        known = np.array([getattr(trial.scene, trial.name), *COLOURS, TABLE_COLOUR, GOAL_COLOUR, PANEL_COLOUR])
        right.append(int(np.square(known - frame[trial.region].mean(0)).sum(1).argmin() == 0))
    recent = np.array([trial.is_recent for trial in chosen])
    for which, said in ((recent | True, "all"), (recent, "seen in the last 4"), (~recent, "seen only before")):
        columns = (
            bootstrap(np.array(objects)[which], pooled_decibels),
            bootstrap(np.array(areas)[which], pooled_decibels),
            bootstrap(100.0 * np.array(right)[which][:, None], mean),
        )
        print(f"{name:<22} {said:<20} {int(which.sum()):4d}  " + "   ".join(f"{each!s:<22}" for each in columns))


def compare(folder: Path, seeds: Sequence[str]) -> None:
    chosen = trials()
    print(f"{'':<48} dB where the object is   dB of all that came out   % of the right colour")
    last = np.stack([trial.scene.frame(trial.now) for trial in chosen])
    empty = np.stack([background(SIZE, trial.scene.state.goal) for trial in chosen])
    judged("copy-last-frame", last, chosen)
    judged("the empty table", empty, chosen)
    truth = [torch.from_numpy(trial.scene.frame(trial.now + IMAGINED)).permute(2, 0, 1) for trial in chosen]
    with torch.inference_mode():
        clips = torch.stack(truth)[:, None].expand(-1, 2, -1, -1, -1)
        single = load_tokenizer(tokenizer(folder, 1)).eval()
        coded = single.decode(single.encode(clips))[:, 1].clamp(0, 1).mul(255).round().to(torch.uint8)
    judged("the truth, in tokens", coded.permute(0, 2, 3, 1).numpy(), chosen)
    for arm, (_, history) in ARMS.items():
        for seed in seeds:
            model = WorldModel.from_pretrained(folder / f"world_model_{arm}_{seed}")
            judged(f"{arm}, seed {seed}", imagined(model, chosen, history), chosen)


if __name__ == "__main__":
    verb, place, *rest = sys.argv[1:]
    if verb == "tokenizer":
        for frames in (1, 4):
            tokenizer(Path(place), frames)
    elif verb == "train":
        train(Path(place), rest[0], int(rest[1]))
    else:
        compare(Path(place), rest)
