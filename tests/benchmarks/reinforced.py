"""What REINFORCE in a model is worth on the true table: the same 300 episodes of mean actions before and after.

python tests/benchmarks/reinforced.py CLONE AFTER [CLONE AFTER ..]    pairs of runs; several are pooled at the end
"""

import sys

import torch

from ivideo.evaluation.statistics import bootstrap
from rl.reinforce import Policy, StepsToGo
from rl.reinforce.imagined import lived
from rl.reinforce.truth import played
from rl.sight import shrunken
from rl.tasks import open_task

EPISODES, STEPS, WORTH = 300, 20, 0.05


def main(folders: list[str]) -> None:
    task = open_task("pushing_table")
    pooled: list[torch.Tensor] = []
    for clone, after in zip(folders[::2], folders[1::2], strict=True):
        steps, rows = StepsToGo.from_folder(clone), []
        for folder in (clone, after):
            policy = Policy.from_folder(folder)
            shrink = task.size // policy.config.size
            found = played(policy, task, EPISODES)
            left = [lived(each.episode, steps, STEPS, shrink) for each in found]
            earned = [float(each[0] - each[-1]) * WORTH for each in left]
            rows.append(torch.tensor([[float(each.success) for each in found], earned]))
            failed = [steps.read(shrunken(each.episode.frames, shrink)) for each in found if not each.success]
            fooled = sum(float(each.min()) < 0.5 for each in failed) / max(1, len(failed))
            success, reward = rows[-1].mean(1).tolist()
            print(f"{folder}: success {success:.3f}, reward {reward:.3f}, failures read as reached {fooled:.2f}")
        pooled.append(rows[1] - rows[0])
        print(f"    success {bootstrap(pooled[-1][0])}, reward {bootstrap(pooled[-1][1])}")
    whole = torch.cat(pooled, dim=1)
    print(f"all: success {bootstrap(whole[0])}, reward {bootstrap(whole[1])}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
