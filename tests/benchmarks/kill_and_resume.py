"""Kill -9 at random moments, resume, compare with the run never killed: `kill_and_resume.py [POINTS [RECIPE...]]`.

A tokenizer and a world model (both tiny, 30 steps, a checkpoint every 5) are each killed at POINTS moments (default
20), a third of them inside a save, every time once more after resuming. Everything must be equal to the last bit:
weights, optimizer, average, random states, and every line of the metrics. RECIPE is "tokenizer" or "world model", which
runs on the former's model, made first where it is not asked for; both by default. Run it from the repository's root:

    PYTHONPATH=.:tests python tests/benchmarks/kill_and_resume.py
"""

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from killed_run import Leg, outcome, run_leg

from ivideo.training import checkpoints

CALLS = ("sync", "digest", "save_file", "_write", "_discard", "publish")


def moment(draw: random.Random, seconds: float, *, inside: bool) -> Leg:
    return (draw.choice(CALLS), draw.randint(1, 6)) if inside else ("after", draw.uniform(0.05, 0.95) * seconds)


def main(points: int, recipes: Sequence[str], folder: Path) -> int:
    draw, wrong = random.Random(0), 0
    if "tokenizer" not in recipes:
        assert not run_leg("tokenizer", folder / "tokenizer", None)
    for recipe in recipes:
        began = time.monotonic()
        assert not run_leg(recipe, folder / recipe, None)
        seconds, truth = time.monotonic() - began, outcome(folder / recipe)
        kills = saves = unreadable = equal = 0
        for point in range(points):
            place, inside = folder / f"{recipe} {point}", point % 3 == 0
            for _ in range(2):
                killed = run_leg(recipe, place, moment(draw, seconds, inside=inside))
                kills, saves = kills + killed, saves + (killed and inside)
                unreadable += sum(bool(checkpoints.damage(path)) for path in checkpoints.listed(place / "checkpoints"))
            assert not run_leg(recipe, place, None)
            left = [path.name for path in (place / "checkpoints").iterdir() if path.name.startswith(".")]
            equal += outcome(place) == truth and not left
        wrong += points - equal + unreadable
        print(
            f"{recipe}: {equal} of {points} runs equal to the one never killed; {kills} kills, {saves} of them inside "
            f"a save; {unreadable} checkpoints unreadable; {seconds:.1f} s a run",
            flush=True,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        points = int(sys.argv[1]) if len(sys.argv) > 1 else 20
        sys.exit(main(points, sys.argv[2:] or ["tokenizer", "world model"], Path(place)))
