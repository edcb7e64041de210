"""From the name of a task to the task."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from typing import TypeAlias

import gymnasium
from gymnasium.wrappers import TransformReward

import ivideo.simulate  # registers the pushing table
from ivideo.simulate import metaworld
from rl.tasks import deepmind_control
from rl.tasks.options import TaskOptions
from rl.tasks.task import Task

PUSHING_TABLE = "pushing_table"
TOUCHING = "pushing_table/touch"
PUBLISHED = (
    "button-press-topdown-wall-v3",
    "plate-slide-v3",
    "hammer-v3",
    "door-lock-v3",
    "handle-pull-side-v3",
    "coffee-push-v3",
)
"""The tasks of iVideoGPT's reinforcement learning (paper, Figure 7), in Meta-World's third version."""
META_WORLD_STEPS = 200
"""Simulator steps of an episode there (paper, Table 5)."""
META_WORLD_BONUS = 10.0
TABLE_STEPS = 60
_META_WORLD = re.compile(r"[a-z]+(-[a-z]+)*-v3")
_Opener: TypeAlias = Callable[[str, int, TaskOptions], Task]


def open_task(name: str, *, size: int = 64, options: TaskOptions | None = None) -> Task:
    """Return what an agent can act in.

    ==============================  ===============================================================================
    metaworld/hammer-v3, hammer-v3  any task of Meta-World's third version
    pushing_table                   the packaged table, which needs nothing installed: push the disc into the goal
    pushing_table/touch             the same table: touch the disc
    dm_control/cartpole-balance     DOMAIN-TASK of dm_control's suite
    a Gymnasium id                  any registered environment with continuous actions that can be drawn or already
                                    shows pictures; "module:Id-v0" imports the module first
    ==============================  ===============================================================================

    The task's environment shows uint8 RGB frames `[size size 3]`, takes actions in [-1, 1], says in
    `info["success"]` whether the aim is reached, and depends on `reset(seed=...)` and the actions alone.

    Args:
        name: one of the above.
        size: side of the frames in pixels.
        options: choices; None takes the task's own.

    Raises:
        ValueError: for a name that is not known, with the nearest ones, and for choices that a task does not have.
        ImportError: when something is not installed that the task needs; it names the package.
    """
    if size < 8:
        raise ValueError(f"size is {size}; expected the side of a frame in pixels, at least 8")
    options = options or TaskOptions()
    task = _opened(name, size, options)
    scale = options.reward_scale
    return task if scale is None else replace(task, env=TransformReward(task.env, lambda reward: scale * float(reward)))


def _opened(name: str, size: int, options: TaskOptions) -> Task:
    stem, _, rest = name.partition("/")
    openers: dict[str, _Opener] = {"metaworld": _meta_world, "dm_control": _deepmind_control}
    if name in (PUSHING_TABLE, TOUCHING):
        return _pushing_table(name, size, options)
    if rest and stem in openers:
        return openers[stem](name, size, options)
    if _is_registered(name):
        return _gymnasium(name, size, options)
    if _META_WORLD.fullmatch(name) and (name in PUBLISHED or metaworld.PREFIX + name in known()):
        return _meta_world(metaworld.PREFIX + name, size, options)
    names = known()
    short = {each.rpartition("/")[2].lower(): each for each in names}
    near = get_close_matches(name.rpartition("/")[2].lower(), short, n=3, cutoff=0.5)
    offered = [short[each] for each in near] or [PUSHING_TABLE, "metaworld/hammer-v3", "dm_control/cartpole-balance"]
    raise ValueError(f"no task {name!r}; did you mean {', '.join(offered)}?")


def known() -> list[str]:
    """The names of all tasks of which something is installed; of Meta-World at least the published six."""
    names = [PUSHING_TABLE, TOUCHING]
    try:
        names += [metaworld.PREFIX + each for each in metaworld.tasks()]
    except ImportError:
        names += [metaworld.PREFIX + each for each in PUBLISHED]
    try:
        names += [deepmind_control.PREFIX + each for each in deepmind_control.tasks()]
    except ImportError:
        names += [f"{deepmind_control.PREFIX}cartpole-balance", f"{deepmind_control.PREFIX}walker-walk"]
    return [*names, *gymnasium.registry]


def _meta_world(name: str, size: int, options: TaskOptions) -> Task:
    options.only(name, "camera", "shadows")
    repeat = options.action_repeat or 2
    horizon = options.horizon or math.ceil(META_WORLD_STEPS / repeat)
    env = metaworld.MetaWorld(
        name.removeprefix(metaworld.PREFIX),
        size,
        options.camera or "corner",
        repeat,
        horizon,
        META_WORLD_BONUS if options.success_bonus is None else options.success_bonus,
        bool(options.shadows),
    )
    return Task(name=name, env=env, size=size, action_dim=4, action_repeat=repeat, horizon=horizon)


def _pushing_table(name: str, size: int, options: TaskOptions) -> Task:
    from rl.tasks.repeated import Repeated

    options.only(name, "random_goal")
    repeat = options.action_repeat or 1
    horizon = options.horizon or math.ceil(TABLE_STEPS / repeat)
    chosen = {"goal": None} if options.random_goal else {}
    aim = "touch" if name == TOUCHING else "push"
    table = ivideo.simulate.PushingTable(size, horizon * repeat, render_mode="rgb_array", aim=aim, **chosen)
    env = Repeated(table, repeat, horizon, options.success_bonus or 0.0)
    return Task(name=name, env=env, size=size, action_dim=2, action_repeat=repeat, horizon=horizon)


def _deepmind_control(name: str, size: int, options: TaskOptions) -> Task:
    options.only(name, "camera", "shadows")
    if options.success_bonus is not None:
        raise ValueError(f"{name} defines no success, so success_bonus has no meaning there; leave it out")
    repeat = options.action_repeat or 2
    horizon = options.horizon or math.ceil(deepmind_control.STEPS / repeat)
    env = deepmind_control.DeepMindControl(
        name.removeprefix(deepmind_control.PREFIX), size, options.camera, repeat, horizon, bool(options.shadows)
    )
    return Task(name=name, env=env, size=size, action_dim=env.action_dim, action_repeat=repeat, horizon=horizon)


def _gymnasium(name: str, size: int, options: TaskOptions) -> Task:
    from rl.tasks.pictured import make

    options.only(name)
    repeat = options.action_repeat or 1
    env, horizon = make(name, size=size, repeat=repeat, horizon=options.horizon, bonus=options.success_bonus or 0.0)
    dim = gymnasium.spaces.flatdim(env.action_space)
    return Task(name=name, env=env, size=size, action_dim=dim, action_repeat=repeat, horizon=horizon)


def _is_registered(name: str) -> bool:
    """Whether Gymnasium knows the id; ImportError when the module in front of it cannot be imported."""
    module, _, name_there = name.rpartition(":")
    if module:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise ImportError(f"{name}: cannot import {module} ({error}); check its name, or install it") from error
    try:
        gymnasium.spec(name_there)
    except gymnasium.error.Error:
        return False
    return True
