"""Kill -9 a run of MBPO at random moments, for a while: `kill_rl.py [MINUTES]`, 5 by default.

A run of seconds (tiny models, the pushing table, demonstrations in a folder) is killed twice at moments that a seed
draws, a third of them inside a call that writes, and goes on to its end; then another one is. Every one must equal the
run that was never killed to the last bit: weights, optimizers, buffers, random states and all that was measured but
time. The demonstrations must be as they were, and no leg may need more memory than the unbroken run by more than a
tenth. Run it from the repository's root:

    PYTHONPATH=.:tests python tests/benchmarks/kill_rl.py
"""

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from killed_rl import Leg, give_demonstrations, outcome, run_leg
from tiny_rollouts import OPTIONS, build

from ivideo.files import digest

CALLS = ("RunFolder.save", "Replay.add", "Replay.settle", "DrQv2.update", "ModelLearner.update", "Imagination.rollouts")


def moment(draw: random.Random, seconds: float, *, inside: bool) -> Leg:
    return (draw.choice(CALLS), draw.randint(1, 5)) if inside else ("after", draw.uniform(0.05, 0.95) * seconds)


def main(minutes: float, folder: Path) -> int:
    build(OPTIONS[3], heads=True, full=False).save_pretrained(folder / "small")
    give_demonstrations(folder / "demonstrations")
    shown = {path: digest(path) for path in (folder / "demonstrations").iterdir()}
    began = time.monotonic()
    _, needed = run_leg(str(folder / "small"), folder / "never", None)
    seconds, truth = time.monotonic() - began, outcome(folder / "never")
    draw, ends, runs, kills, equal, most = random.Random(0), began + 60 * minutes, 0, 0, 0, 0
    while time.monotonic() < ends:
        place = folder / f"run {runs}"
        for leg in (*(moment(draw, seconds, inside=turn == runs % 3) for turn in range(2)), None):
            killed, memory = run_leg(str(folder / "small"), place, leg)
            kills, most = kills + killed, max(most, memory)
        found = outcome(place)
        differ = sorted(name for name in truth.keys() | found.keys() if found.get(name) != truth.get(name))
        if differ:
            print(f"run {runs} differs in {', '.join(differ)}", flush=True)
        equal += not differ
        runs += 1
        shutil.rmtree(place)
    same = all(digest(path) == before for path, before in shown.items())
    kept = "as they were" if same else "CHANGED"
    print(
        f"{equal} of {runs} runs equal to the one never killed; {kills} kills; {seconds:.1f} s a run; at most "
        f"{most / 2**20:.0f} MiB, {needed / 2**20:.0f} without kills; demonstrations {kept}"
    )
    return 0 if equal == runs and same and most <= 1.1 * needed else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0, Path(place)))
