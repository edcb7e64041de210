"""REINFORCE on the true pushing table in place of a world model: what its reward alone does to a cloned policy.

python tests/benchmarks/reinforce_on_truth.py CLONE [seed=0 rounds=20 episodes=200 spread=0.3 gamma=0.9 ...]

The settings are those of configs/rl/reinforce_pushing_table.yaml but for `average_every`: the latest policy is kept.
Success is by mean actions, over the same episodes before and after.
"""

import dataclasses
import sys

import numpy as np
import torch
from torch import Tensor

from ivideo.evaluation.statistics import bootstrap
from ivideo.simulate.motion import TableState
from ivideo.simulate.policies import GoalPusher
from rl.play import Played, play
from rl.reinforce import Policy, StepsToGo
from rl.reinforce.imagined import Rollouts
from rl.reinforce.learner import Learner, LearnerConfig
from rl.reinforce.steps import WORTH, rewards_of
from rl.sight import shrunken
from rl.tasks import open_task

ACTORS, HORIZON, JUMP, SHRINK = 64, 20, 6.0, 2


class Table:
    """64 true tables side by side, which begin anywhere in scripted demonstrations."""

    def __init__(self, steps: StepsToGo, seed: int) -> None:
        self.steps, self.rng = steps, np.random.default_rng(seed + 10)
        self.envs = [open_task("pushing_table").env for _ in range(ACTORS)]
        self.starts = [states for states in (self._demonstrated() for _ in range(100)) if states]

    def _demonstrated(self) -> list[TableState]:
        env, policy = self.envs[0], GoalPusher()
        frame, info = env.reset(seed=int(self.rng.integers(2**31)))
        states, terminated, truncated = [], False, False
        while not (terminated or truncated):
            states.append(info["state"])
            frame, _, terminated, truncated, info = env.step(policy(frame, info, self.rng))
        return states if terminated else []

    @torch.no_grad()
    def rollouts(self, policy: Policy, spread: float, generator: torch.Generator) -> Rollouts:
        shown = []
        for env in self.envs:
            states = self.starts[self.rng.integers(len(self.starts))]
            state = states[self.rng.integers(len(states))]
            shown.append(env.reset(options={"state": dataclasses.replace(state, step=0)})[0])
        frames = [_seen(shown)]
        left, over = [self.steps.read(frames[0])], torch.zeros(ACTORS, dtype=torch.bool)
        done, broken = over.clone(), over.clone()
        observations, actions, going = [], [], []
        for _ in range(HORIZON):
            observed = torch.cat([frames[max(len(frames) - 2, 0)], frames[-1]], dim=1)
            action = policy.draw(policy(observed), generator, spread)
            for row, env in enumerate(self.envs):
                if not over[row]:
                    shown[row], _, terminated, *_ = env.step(action[row].clamp(-1, 1).numpy())
                    done[row] |= bool(terminated)
            frames.append(_seen(shown))
            read = self.steps.read(frames[-1])
            leapt = ~over & ((read - left[-1]).abs() > JUMP)
            broken, over = broken | leapt, over | leapt
            going.append(~over)
            left.append(torch.where(over, left[-1], read))
            observations.append(observed)
            actions.append(action)
            over = over | (left[-1] < 0.5) | done
        steps = torch.stack(left, dim=1)
        return Rollouts(
            observations=torch.stack(observations, dim=1),
            actions=torch.stack(actions, dim=1),
            going=torch.stack(going, dim=1),
            left=steps,
            rewards=rewards_of(steps, WORTH),
            log_likelihood=0.0,
            reached=float((steps[:, 1:].min(dim=1).values < 0.5).float().mean()),
            broken=float(broken.float().mean()),
        )


def tested(policy: Policy, steps: StepsToGo, episodes: int) -> Tensor:
    """Success of each episode; prints it, and how many failures were once read as reached."""
    task, generator = open_task("pushing_table"), torch.Generator().manual_seed(3)

    def act(observation: Tensor) -> Tensor:
        with torch.inference_mode():
            means = policy(shrunken(observation[None], SHRINK))
        return policy.draw(means, generator, 0.0)[0].clamp(-1, 1)

    seeds = [int(np.random.SeedSequence([77, number]).generate_state(1)[0]) for number in range(episodes)]
    found: list[Played] = [play(task, act, seed=seed, stack=policy.config.stack) for seed in seeds]
    fooled = [
        float(steps.read(shrunken(each.episode.frames, SHRINK)).min()) < 0.5 for each in found if not each.success
    ]
    success = torch.tensor([float(each.success) for each in found])
    print(f"success {success.mean():.3f}, failures read as reached {np.mean(fooled):.2f}", flush=True)
    return success


def _seen(shown: list[np.ndarray]) -> Tensor:
    return shrunken(torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).contiguous(), SHRINK)


def main(clone: str, given: dict[str, str]) -> None:
    seed, rounds, episodes = (
        int(given.pop(name, default)) for name, default in (("seed", "0"), ("rounds", "20"), ("episodes", "200"))
    )
    how = LearnerConfig(**{
        name: value if name == "baseline" else float(value) for name, value in given.items()
    })  # fmt: skip
    policy, steps = Policy.from_folder(clone), StepsToGo.from_folder(clone)
    learner, table = Learner(policy, how, seed=seed), Table(steps, seed)
    before = tested(policy, steps, episodes)
    for number in range(rounds):
        made = table.rollouts(policy, how.spread or 0.3, torch.Generator().manual_seed(seed * 1000 + number))
        learner.update(made)
        print(f"round {number + 1}: reward {made.earned:.3f}, reached {made.reached:.2f}", flush=True)
    print(f"difference {bootstrap(tested(policy, steps, episodes) - before)}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], dict(each.split("=", 1) for each in sys.argv[2:]))
