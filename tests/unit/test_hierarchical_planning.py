"""Plans as videos: who imagines them, the search over sub-goals, the filter, and their trials on the table."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tiny_rollouts import build, clip

from ivideo.embedding import EmbeddingConfig
from ivideo.planning import (
    CommandedVideos,
    FrameDynamics,
    FrameSight,
    GoalImage,
    GoalVideos,
    ImaginedVideos,
    InverseDynamics,
    InverseDynamicsConfig,
    ModelDynamics,
    PixelNearness,
    Planner,
    Proposer,
    RandomShooting,
    RewardSum,
    StepsLeft,
    TeleportFilter,
    TreeSearch,
    VideoMaker,
    VideoPlanner,
    Videos,
    WayPoints,
    Words,
)
from ivideo.planning.table_task import instances
from ivideo.planning.tree import table_commands
from ivideo.planning.trial import Sight, run_trial
from ivideo.planning.videos import Wish, latest
from ivideo.world_model import WorldModel

COMMANDS = {"left": (-1.0, 0.0), "right": (1.0, 0.0)}


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return build(EmbeddingConfig(action_dim=2), full=False)


@pytest.fixture(scope="module")
def inverse() -> InverseDynamics:
    torch.manual_seed(0)
    return InverseDynamics(InverseDynamicsConfig(resolution=32, width=4, blocks=1, stride=4, hidden=8), 2).eval()


def line(place: int, *, size: int = 32) -> torch.Tensor:
    """A frame of a world that is one number: a bright column."""
    frame = torch.zeros(3, size, size, dtype=torch.uint8)
    frame[..., place] = 255
    return frame


def place_of(frame: torch.Tensor) -> int:
    return int(frame[0, 0].argmax())


class Walk:
    """Imagines a column that walks one pixel a frame, left or right, or jumps."""

    def __init__(self, steps: int = 2) -> None:
        self.steps = steps

    def __call__(self, seen: torch.Tensor, wishes: Sequence[Wish], *, count: int, seed: int) -> Videos:
        now, ways = place_of(seen[-1]), {"left": -1, "right": 1, "jump": 6}
        moves = [ways[str(wish)] for wish in wishes for _ in range(count)]
        frames = [torch.stack([line((now + move * t) % 32) for t in range(self.steps + 1)]) for move in moves]
        actions = torch.tensor(moves, dtype=torch.float32)[:, None, None].expand(-1, self.steps, 1)
        return Videos(frames=torch.stack(frames), actions=actions, imagined=len(moves) * self.steps)


def nearness(frames: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    return -torch.tensor([abs(place_of(frame) - place_of(goal)) for frame in frames], dtype=torch.float32)


def search(maker: Walk, words: tuple[str, ...] = ("left", "right"), **how: Any) -> TreeSearch:
    settings = {"beams": 2, "subgoals": 2, "depth": 3} | how
    return TreeSearch(maker=maker, proposer=Words(sentences=words), heuristic=nearness, **settings)


def test_the_search_walks_to_the_goal_and_stops_there() -> None:
    found = search(Walk())(line(10)[None], [line(15)], count=2, seed=0)
    assert [place_of(frame) for frame in found.frames[0]] == [10, 11, 12, 13, 14, 15]
    assert found.actions is not None
    assert found.actions.shape == (2, 5, 1)
    assert found.actions[0, :, 0].tolist() == [1.0] * 5
    assert found.imagined == 2 * 2 * 2 * 3  # beams, sub-goals, frames, levels
    whole = search(Walk(), stop=False)(line(10)[None], [line(15)], count=1, seed=0)
    assert whole.frames.shape[1] == 7


def test_one_sub_goal_is_no_search_and_more_beams_find_more() -> None:
    ends = []
    for beams in (1, 8):
        tries = [search(Walk(), subgoals=1, beams=beams)(line(10)[None], [line(16)], count=1, seed=s) for s in range(8)]
        ends.append(sum(float(nearness(each.frames[:, -1], line(16))) for each in tries))
    assert ends[0] < ends[1]


def test_the_worst_beam_is_replaced_by_the_best() -> None:
    """With one word to each beam some beams go the wrong way; replaced, they end no further off."""
    spread = search(Walk(), subgoals=1, beams=3, replace_every=9, stop=False)
    shared = search(Walk(), subgoals=1, beams=3, replace_every=1, stop=False)
    worst = [
        [float(nearness(each(line(10)[None], [line(16)], count=3, seed=s).frames[-1:, -1], line(16))) for s in range(8)]
        for each in (spread, shared)
    ]
    assert sum(worst[0]) < sum(worst[1])


def test_jumps_are_discarded_and_a_beam_without_videos_stays() -> None:
    seen, goal = line(4)[None], [line(16)]
    jumper = search(Walk(), ("left", "right", "jump"), subgoals=3)
    assert [place_of(frame) for frame in jumper(seen, goal, count=1, seed=0).frames[0]][:3] == [4, 10, 16]
    for filter in (TeleportFilter(jump=2.0), TeleportFilter(unexplained=0.01, reach=2)):
        careful = search(Walk(), ("left", "right", "jump"), subgoals=3, teleports=filter)
        found = careful(seen, goal, count=1, seed=0)
        assert [place_of(frame) for frame in found.frames[0]] == [4, 5, 6, 7, 8, 9, 10]
        stuck = search(Walk(), ("jump",), subgoals=1, teleports=filter)(seen, goal, count=1, seed=0)
        assert [place_of(frame) for frame in stuck.frames[0]] == [4]


def test_a_seed_decides_all(model: WorldModel) -> None:
    maker = CommandedVideos(dynamics=ModelDynamics(model=model), commands=COMMANDS, frames=2, noise=0.5)
    tree = TreeSearch(maker=maker, proposer=Words(sentences=tuple(COMMANDS)), heuristic=PixelNearness(), depth=2)
    seen, goal = clip(3, batch=1)[0], clip(1, batch=1, seed=5)[0, 0]
    one, again, other = (tree(seen, [goal], count=1, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.frames, again.frames)
    assert one.actions is not None
    assert other.actions is not None
    assert not torch.equal(one.actions[:, :1], other.actions[:, :1])
    assert torch.equal(one.frames[0, 0], seen[-1])


def test_thresholds_are_those_that_pass_what_they_were_found_on() -> None:
    calm = torch.stack([torch.stack([line(place + step) for step in range(4)]) for place in range(20)])
    goals = torch.stack([nearness(video, line(0)) for video in calm])
    found = TeleportFilter.calibrated(calm, goals, false_alarms=0.0, reach=1)
    assert found.jump == 1.0
    assert found.unexplained == 0.0
    assert bool(found.keeps(calm, goals).all())
    jumps = torch.stack([torch.stack([line(place), line(place + 7)]) for place in range(20)])
    assert not bool(found.keeps(jumps, torch.stack([nearness(video, line(0)) for video in jumps])).any())
    assert float(TeleportFilter(reach=1).from_nowhere(jumps)[0]) == pytest.approx(1 / 32)
    assert bool(TeleportFilter().keeps(jumps).all())


def test_way_points_lie_in_between() -> None:
    pool = torch.stack([line(place) for place in range(32)])
    proposer = WayPoints(frames=pool, heuristic=nearness, among=3)
    first, *others = proposer(line(8), line(20), count=4, seed=0)
    assert isinstance(first, torch.Tensor)
    assert place_of(first) == 20
    assert sorted(place_of(each) for each in others if isinstance(each, torch.Tensor)) == [13, 14, 15]


def test_steps_left_are_read_off_the_pair(inverse: InverseDynamics) -> None:
    frames = clip(3, batch=1)[0]
    found = StepsLeft(network=inverse)(frames[:2], frames[2])
    assert torch.allclose(found[1], -inverse.recover(frames[1:])[0, 0])


def test_makers_keep_to_what_they_promise(model: WorldModel) -> None:
    dynamics, seen, goal = ModelDynamics(model=model), clip(2, batch=1)[0], clip(1, batch=1, seed=3)[0, 0]
    commanded = CommandedVideos(dynamics=dynamics, commands=COMMANDS, frames=3)
    found = commanded(seen, ["right", "left"], count=2, seed=0)
    assert found.frames.shape == (4, 4, 3, 32, 32)
    assert found.imagined == 12
    assert found.actions is not None
    assert found.actions[:, 0, 0].tolist() == [1.0, 1.0, -1.0, -1.0]
    assert torch.equal(found.frames[:, 0], seen[-1].expand(4, 3, 32, 32))
    shooting = RandomShooting(horizon=2, samples=3)
    best = ImaginedVideos(dynamics=dynamics, planner=shooting)(seen, [goal], count=1, seed=1)
    assert best.actions is not None
    state = model.start(latest(seen, model.context_frames))
    assert torch.equal(best.actions[0], shooting.plan(model, state, GoalImage(goal), seed=1).actions)
    assert best.imagined == 3 * 2 + 2
    conditioned = build(EmbeddingConfig(), goal=True, full=False)
    way = GoalVideos(model=conditioned, frames=3)(seen, [goal, seen[0]], count=1, seed=0)
    assert way.frames.shape == (2, 4, 3, 32, 32)
    assert way.actions is None
    assert torch.equal(way.frames[0, 0], seen[-1])
    assert not torch.equal(way.frames[0, 1:], way.frames[1, 1:])  # the goal matters
    for maker in (commanded, ImaginedVideos(dynamics=dynamics, planner=shooting)):
        assert isinstance(maker, VideoMaker)


def test_an_instance_is_tried_by_video(model: WorldModel, inverse: InverseDynamics) -> None:
    dynamics = ModelDynamics(model=model)
    maker = CommandedVideos(dynamics=dynamics, commands=table_commands(), frames=2)
    tree = TreeSearch(
        maker=maker, proposer=Words(sentences=tuple(table_commands())), heuristic=PixelNearness(), beams=1, depth=1
    )
    sight = FrameSight(dynamics=FrameDynamics(dynamics=dynamics))
    (task,) = instances(1, goals="place", within=4)
    how: dict[str, Any] = {"who": "tree", "steps": 3, "every": 2, "seed": 0}
    trials = []
    for known in (False, True):
        planner = VideoPlanner(maker=tree, inverse=inverse, horizon=2, known=known)
        assert isinstance(planner, Planner)
        trials.append(run_trial(task, sight, planner, GoalImage, **how))
        assert trials[-1].imagined == 2 * 4 * 2
    assert isinstance(sight, Sight)
    assert isinstance(Words(sentences=("left",)), Proposer)
    assert trials[0].distances[0] == trials[1].distances[0]


def test_a_plan_is_what_was_read_off_or_to_stay_where_nothing_was_imagined(inverse: InverseDynamics) -> None:
    planner = VideoPlanner(maker=Walk(), inverse=inverse, horizon=9)
    video = Videos(frames=clip(4, batch=1))
    assert torch.equal(planner.read(video), inverse.recover(video.frames[0]).clamp(-1, 1))
    assert torch.equal(planner.read(Videos(frames=clip(1, batch=1))), torch.zeros(1, 2))


def test_mistakes_are_one_line_each(model: WorldModel, inverse: InverseDynamics) -> None:
    dynamics, seen = ModelDynamics(model=model), clip(2, batch=1)[0]
    goal = seen[0]
    commanded = CommandedVideos(dynamics=dynamics, commands=COMMANDS)
    planned = ImaginedVideos(dynamics=dynamics, planner=RandomShooting(horizon=2, samples=2))
    reader = VideoPlanner(maker=planned, inverse=inverse, horizon=2)
    frames = FrameDynamics(dynamics=dynamics)
    unknown = VideoPlanner(
        maker=GoalVideos(model=build(EmbeddingConfig(), goal=True, full=False), frames=2),
        inverse=inverse,
        horizon=2,
        known=True,
    )
    for wrong, message in (
        (lambda: commanded(seen, ["fly"], count=1, seed=0), "'fly' is no command; expected one of left, right"),
        (lambda: commanded(seen, [goal], count=1, seed=0), "an image is no command"),
        (lambda: planned(seen, ["left"], count=1, seed=0), "goes towards images and 'left' is words"),
        (lambda: commanded(seen[:0], ["left"], count=1, seed=0), "no frame was seen"),
        (lambda: CommandedVideos(dynamics=dynamics, commands={"up": (1.0,)}), "'up' has 1 numbers and an action"),
        (lambda: GoalVideos(model=model, frames=2), "does not imagine the way to a goal by itself"),
        (lambda: reader.plan(frames, seen, RewardSum()), "objective is RewardSum; give a GoalImage"),
        (lambda: reader.plan(frames, seen, GoalImage(goal[:, :16, :16])), "the goal is 16x16 pixels"),
        (lambda: unknown.plan(frames, seen, GoalImage(goal)), "come without actions"),
        (lambda: search(Walk())(seen, ["left"], count=1, seed=0), "towards one image and was given 'left'"),
        (lambda: search(Walk(), beams=0), "beams is 0; expected at least 1"),
        (lambda: Words(sentences=()), "no sentences to propose"),
        (lambda: WayPoints(frames=seen[:0], heuristic=nearness), "no frames to propose"),
        (lambda: TeleportFilter(jump=-1.0), "jump is -1.0; expected 0 or more"),
        (lambda: TeleportFilter(jump=1.0).keeps(seen[None]), "there are no scores to jump"),
        (lambda: TeleportFilter.calibrated(seen[None][:0]), "no videos to calibrate on"),
        (lambda: TeleportFilter.calibrated(seen[None], false_alarms=1.0), "false_alarms is 1.0; expected a share"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            wrong()
        assert "\n" not in str(caught.value)
