"""Whether a model that is shown four frames of the past knows what one that is shown a single frame cannot.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/history.py tokenizer FOLDER
    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/history.py train FOLDER one|recent|distant SEED STEPS
    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/history.py compare FOLDER SEED ...

Clips show coloured pieces that rest on a board while an opaque panel, as wide as the board, slides over it column by
column, again and again: what comes out from behind it only earlier frames tell. A square of the board is hidden for
four frames; in one of the four moments to be asked in, the last four frames do not show it any more.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from numpy.typing import NDArray

from ivideo import Sampling, WorldModel, recipes
from ivideo.config import load_config
from ivideo.data.segments import History, frames_back
from ivideo.data.store import EpisodeStore
from ivideo.episode import Episode
from ivideo.evaluation.statistics import bootstrap, pooled_decibels, ratio
from ivideo.training.dataset import DataConfig
from ivideo.training.run import RunConfig
from ivideo.training.tokenizer import TokenizerTraining, train_tokenizer
from ivideo.training.world_model import WorldModelTraining, train_world_model
from tokenizer import EMAVQ, VideoTokenizer
from tokenizer.checkpoint import load_tokenizer, save_tokenizer

SIZE, SIDE, PIECES = 32, 4, 6
"""Pixels and squares along each side of the board, and pieces on it."""
CYCLE = 2 * SIDE
"""Frames after which the panel stands where it stood."""
LENGTH, IMAGINED = 24, SIDE
TRAINING, HELD_OUT = 1500, 200
COLOURS = np.array([(214, 210, 200), (213, 94, 0), (0, 114, 178), (240, 228, 66), (170, 60, 150)], np.uint8)
"""Of the board, and of pieces."""
PANEL = np.array((60, 62, 66), np.uint8)
RADIUS = 3.5
"""Of a piece, in pixels."""
ARMS: dict[str, tuple[int, History]] = {"one": (1, "recent"), "recent": (4, "recent"), "distant": (4, "distant")}
"""Context frames of each kind of history, and how they lie."""
TOKENIZER: dict[str, Any] = {
    "resolution": SIZE,
    "stem_stride": SIZE // SIDE,
    "channels": (96,),
    "patch_size": 1,
    "context_frames": 1,
    "context_codes": 32,
    "dynamics_codes": 32,
    "max_attention_resolution": 0,
    "mask_blend": None,
    "quantizer": EMAVQ(warmup_steps=300),
}
"""One token for each square of the board."""
WINDOWS = 6000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Pieces that rest, and where the panel begins."""

    pieces: Int64[np.ndarray, "n n"]
    """The colour in each square, by rows; 0 in empty ones."""
    phase: int

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Scene":
        pieces = np.zeros(SIDE**2, np.int64)
        pieces[rng.choice(SIDE**2, PIECES, replace=False)] = rng.integers(1, len(COLOURS), PIECES)
        return cls(pieces=pieces.reshape(SIDE, SIDE), phase=int(rng.integers(CYCLE)))

    def covered(self, time: int) -> Bool[np.ndarray, " n"]:
        """Which columns of squares the panel covers."""
        behind = (self.phase + time) % CYCLE - np.arange(SIDE)
        return (behind > 0) & (behind <= SIDE)

    def frame(self, time: int) -> UInt8[np.ndarray, "h w 3"]:
        cell = SIZE // SIDE
        across = np.arange(cell) + 0.5 - cell / 2
        disc = np.clip(RADIUS + 0.5 - np.hypot(across[:, None], across), 0, 1)
        share = np.tile(disc, (SIDE, SIDE))[..., None]
        wide = self.pieces.repeat(cell, 0).repeat(cell, 1)
        shown = (COLOURS[0] * (1 - share) + COLOURS[wide] * share + 0.5).astype(np.uint8)
        shown[:, self.covered(time).repeat(cell)] = PANEL
        return shown

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
        began = time.process_time()
        train_tokenizer(
            replace(
                wanted,
                data=DataConfig(frames=5),
                tokenizer=replace(wanted.tokenizer, **TOKENIZER),
                loop=replace(wanted.loop, steps=600, max_minutes=None, precision="32-true", batch_size=16),
                run=RunConfig(folder=whole, tensorboard=False),
            ),
            stores(),
        )
        print(f"tokenizer trained in {(time.process_time() - began) / 60:.2f} core-minutes", flush=True)
    made = folder / f"tokenizer_{context}"
    if not made.exists():
        trained = load_tokenizer(whole / "model")
        other = VideoTokenizer(replace(trained.config, context_frames=context))
        other.load_state_dict(trained.state_dict())
        save_tokenizer(other, made)
    return made


def train(folder: Path, arm: str, seed: int, steps: int) -> None:
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
                code_smoothing=0.0,
            ),
            loop=replace(settings.loop, steps=steps, max_minutes=None, precision="32-true", batch_size=16, seed=seed),
            run=RunConfig(folder=folder / f"world_model_{arm}_{seed}", tensorboard=False),
        ),
        stores(),
    )
    minutes = (time.process_time() - began) / 60
    print(f"{arm}, seed {seed}: {steps} updates in {minutes:.2f} core-minutes", flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A clip, and the last frame of it that a model is shown."""

    scene: Scene
    now: int

    @property
    def truth(self) -> UInt8[np.ndarray, "f h w 3"]:
        return np.stack([self.scene.frame(self.now + 1 + ahead) for ahead in range(IMAGINED)])

    def out(self) -> list[tuple[int, int, bool]]:
        """Every column that is hidden and comes out: the imagined frame it comes out in, the column, and whether the
        last four frames show it."""
        found = []
        hidden = [self.scene.covered(self.now + ahead) for ahead in range(-3, IMAGINED + 1)]
        for column in np.flatnonzero(hidden[3]).tolist():
            first = next(ahead for ahead in range(1, IMAGINED + 1) if not hidden[3 + ahead][column])
            found.append((first - 1, column, not all(each[column] for each in hidden[:4])))
        return found


def trials() -> list[Trial]:
    """One for each held-out scene, at moments in which something is behind the panel."""
    rng = np.random.default_rng(3)
    found = []
    for scene in scenes(HELD_OUT, 1):
        moments = [now for now in range(7, LENGTH - IMAGINED) if scene.covered(now).any()]
        found.append(Trial(scene=scene, now=int(rng.choice(moments))))
    return found


def imagined(model: WorldModel, chosen: list[Trial], history: History) -> UInt8[np.ndarray, "n f h w 3"]:
    """The imagined frames of every trial."""
    back = frames_back(model.context_frames, history)
    context = [trial.scene.episode().frames[(trial.now + 1 - back).tolist()] for trial in chosen]
    state = model.start(torch.stack(context))
    for _ in range(IMAGINED):
        state, _ = model.step(state, decode=False, sampling=Sampling(temperature=0))
    shown: NDArray[np.uint8] = model.frames(state).permute(0, 1, 3, 4, 2).numpy()
    return shown


def judged(name: str, shown: UInt8[np.ndarray, "n f h w 3"], chosen: list[Trial]) -> None:
    """One line for each kind of square: errors where it came out, and how often what is on it is right."""
    cell = SIZE // SIDE
    middle = slice(cell // 2 - 1, cell // 2 + 1)
    known = np.concatenate([COLOURS, PANEL[None]]).astype(float)
    kinds = ("all", "seen in the last 4", "seen only before")
    errors, pieces, empty = (np.zeros((len(kinds), len(chosen), 2)) for _ in range(3))
    for row, trial in enumerate(chosen):
        truth = trial.truth
        for ahead, column, is_recent in trial.out():
            for line in range(SIDE):
                where = (ahead, slice(line * cell, (line + 1) * cell), slice(column * cell, (column + 1) * cell))
                made, real = shown[row][where].astype(float) / 255, truth[where].astype(float) / 255
                read = int(np.square(known - 255 * made[middle, middle].mean((0, 1))).sum(1).argmin())
                piece = int(trial.scene.pieces[line, column])
                for kind in (0, 1 if is_recent else 2):
                    errors[kind, row] += np.square(made - real).mean(-1).sum(), cell**2
                    (pieces if piece else empty)[kind, row] += read == piece, 1
    for kind, said in enumerate(kinds):
        counts = [int(each[kind, :, 1].sum()) for each in (pieces, empty)]
        columns = (
            bootstrap(_present(errors[kind]), pooled_decibels),
            *(bootstrap(_present(each[kind]) * (100.0, 1.0), ratio) for each in (pieces, empty)),
        )
        print(f"{name:<22} {said:<20} {counts!s:<12} " + "   ".join(f"{each!s:<24}" for each in columns))


def _present(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums and counts of the clips that have any."""
    present: NDArray[np.float64] = rows[rows[:, 1] > 0]
    return present


def compare(folder: Path, seeds: Sequence[str]) -> None:
    chosen = trials()
    truth = np.stack([trial.truth for trial in chosen])
    print(f"{'':<57} dB of squares that came out   % of pieces right   % of empty squares right")
    last = np.stack([trial.scene.frame(trial.now) for trial in chosen])
    judged("copy-last-frame", np.broadcast_to(last[:, None], truth.shape), chosen)
    judged("the empty board", np.broadcast_to(COLOURS[0], truth.shape), chosen)
    with torch.inference_mode():
        clips = torch.from_numpy(np.concatenate([truth[:, :1], truth], axis=1)).permute(0, 1, 4, 2, 3)
        single = load_tokenizer(tokenizer(folder, 1)).eval()
        coded = single.decode(single.encode(clips))[:, 1:].clamp(0, 1).mul(255).round().to(torch.uint8)
    judged("the truth, in tokens", coded.permute(0, 1, 3, 4, 2).numpy(), chosen)
    for arm, (_, history) in ARMS.items():
        for seed in seeds:
            if (folder / f"world_model_{arm}_{seed}" / "model").exists():
                model = WorldModel.from_pretrained(folder / f"world_model_{arm}_{seed}")
                judged(f"{arm}, seed {seed}", imagined(model, chosen, history), chosen)


if __name__ == "__main__":
    verb, place, *rest = sys.argv[1:]
    if verb == "tokenizer":
        for frames in (1, 4):
            tokenizer(Path(place), frames)
    elif verb == "train":
        train(Path(place), rest[0], int(rest[1]), int(rest[2]))
    else:
        compare(Path(place), rest)
