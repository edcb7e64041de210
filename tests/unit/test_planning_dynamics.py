"""What planners see of a world model and of the simulator: forks of one state, only what is asked for, in any cut."""

from dataclasses import replace
from typing import Any

import jaxtyping
import pytest
import torch
from random_lpips import random_backbone, random_heads
from tiny_rollouts import build, clip
from torch import Tensor

from ivideo import memory
from ivideo.embedding import EmbeddingConfig
from ivideo.embodiments import Domain
from ivideo.evaluation.metrics.perceptual import lpips
from ivideo.planning import (
    CEM,
    MPPI,
    Classified,
    GoalFeatures,
    GoalImage,
    GoalLPIPS,
    ModelDynamics,
    RewardSum,
    TableDynamics,
    Unlikely,
    WeightedSum,
)
from ivideo.planning.dynamics import Futures, cut
from ivideo.simulate.motion import TableState
from ivideo.simulate.pushing_table import PushingTable, reward
from ivideo.world_model import WorldModel
from tokenizer import VideoTokenizer
from tokenizer.perceptual import LPIPS
from transformer import Sampling, Transformer

ALL = frozenset({"frames", "features", "rewards", "likelihood"})
DRAWN = Sampling(temperature=1.0, top_k=5)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return build(EmbeddingConfig(action_dim=2, action_on="frame", guide=8), heads=True, full=False)


def some_actions(count: int = 7, frames: int = 3, size: int = 2) -> Tensor:
    return torch.rand(count, frames, size, generator=torch.Generator().manual_seed(4)) * 2 - 1


def together(parts: list[Futures]) -> dict[str, Tensor]:
    names = ("frames", "features", "rewards", "log_likelihood")
    return {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in names
        if getattr(parts[0], name) is not None
    }


def test_rows_are_cut_about_equally() -> None:
    assert [(rows.start, rows.stop) for rows in cut(7, 3)] == [(0, 2), (2, 4), (4, 7)]
    assert [rows.stop for rows in cut(5, 100)] == [5]


@pytest.mark.parametrize("at_once", [1, 3, None])
def test_futures_are_those_of_single_rollouts_in_any_cut(model: WorldModel, at_once: int | None) -> None:
    state, actions = model.start(clip(2, 1)), some_actions()
    dynamics = ModelDynamics(model=model, sampling=DRAWN, at_once=at_once)
    found = together(list(dynamics.imagine(state, actions, ALL, seed=11)))
    for row, own in enumerate(actions):
        alone, seen = state.reseed(11 + row), []
        for action in own:
            alone, prediction = model.step(alone, action, sampling=DRAWN)
            seen.append(prediction)
        assert torch.equal(
            found["features"][row], model.tokenizer.dynamics_codebook[torch.cat([s.codes for s in seen])]
        )
        assert int((found["frames"][row].int() - torch.cat([s.frame for s in seen]).int()).abs().max()) <= 1
        torch.testing.assert_close(found["rewards"][row], torch.cat([s.reward for s in seen]), atol=1e-4, rtol=1e-4)
        likelihood = torch.cat([s.log_likelihood for s in seen]) / model.layout.dynamics_tokens
        torch.testing.assert_close(found["log_likelihood"][row], likelihood, atol=1e-4, rtol=1e-4)


def test_batches_are_cut_to_memory(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    state, actions, dynamics = model.start(clip(2, 1)), some_actions(), ModelDynamics(model=model)
    whole = list(dynamics.imagine(state, actions, ALL))

    def needs(count: int) -> int:
        return memory.rollout_bytes(model, contexts=0, branches=count, frames=3)

    monkeypatch.setattr(memory, "available", lambda device: needs(3))
    parts = list(dynamics.imagine(state, actions, ALL))
    assert (len(whole), [len(part.frames) for part in parts]) == (1, [2, 2, 3])
    assert torch.equal(together(whole)["features"], together(parts)["features"])
    monkeypatch.setattr(memory, "available", lambda device: needs(1) - 1)
    with pytest.raises(ValueError, match=r"1 futures of 3 frames would take .*: ask for fewer frames"):
        list(dynamics.imagine(state, actions, ALL))


def test_nothing_is_computed_that_nobody_asked_for(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, read = [], []
    decode, extend = VideoTokenizer.decode_frames, Transformer.extend

    def count(self: VideoTokenizer, codes: Tensor, context: Any) -> Tensor:
        decoded.append(codes.shape[0] * codes.shape[1])
        return decode(self, codes, context)

    def extended(self: Transformer, embedded: Tensor, cache: Any, *counts: Any) -> Any:
        read.append(embedded.shape[0] * embedded.shape[1])
        return extend(self, embedded, cache, *counts)

    state, actions, dynamics = model.start(clip(2, 1)), some_actions(count=5), ModelDynamics(model=model)
    monkeypatch.setattr(VideoTokenizer, "decode_frames", count)
    monkeypatch.setattr(Transformer, "extend", extended)
    tokens, (branches, frames) = model.layout.dynamics_tokens, actions.shape[:2]
    least = branches * (frames * (tokens + 1) - 1)  # the last token of all is never read
    for needs, pictures, positions in (
        ({"features"}, 0, least),
        ({"likelihood"}, 0, least),
        ({"rewards"}, 0, least + branches),
        ({"last_frame"}, branches, least),
        ({"frames"}, branches * frames, least),
    ):
        decoded.clear(), read.clear()
        (futures,) = dynamics.imagine(state, actions, frozenset(needs))
        assert (sum(decoded), sum(read)) == (pictures, positions), needs
        held = {
            name for name in ("frames", "features", "rewards", "log_likelihood") if getattr(futures, name) is not None
        }
        assert len(held) == 1


def test_a_decision_reads_its_context_once(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted positions: the context's, and for every iteration those of its candidates."""
    read = []
    extend = Transformer.extend

    def extended(self: Transformer, embedded: Tensor, cache: Any, *counts: Any) -> Any:
        read.append(embedded.shape[0] * embedded.shape[1])
        return extend(self, embedded, cache, *counts)

    monkeypatch.setattr(Transformer, "extend", extended)
    state = model.start(clip(2, 1))
    planner = CEM(horizon=3, samples=20, elites=4, iterations=3)
    plan = planner.plan(model, state, GoalFeatures(clip(1, 1)[0, 0]))
    frame = model.layout.dynamics_tokens + 1
    assert sum(read) == model.layout.context_length + 3 * 20 * (3 * frame - 1)
    assert plan.imagined == 180


@torch.inference_mode()
def test_what_was_seen_is_read_behind_the_same_context(model: WorldModel) -> None:
    dynamics, video, actions = ModelDynamics(model=model), clip(4, 1), some_actions(count=2)
    state = model.start(video[:, :2])
    after = dynamics.observe(state, actions[0, 0], video[0, 2])
    assert after.frames == 1
    assert after.context is state.context
    codes = model.tokenizer.encode_frames(video[:, 2:3], state.context)
    assert torch.equal(model.layout.dynamics_index(after.ids), codes)
    found = together(list(dynamics.imagine(after, actions, ALL, seed=3)))
    assert found["features"].shape[:2] == (2, 3)
    assert found["rewards"].shape == (2, 3)
    alone, seen = after.reseed(3), []
    for action in actions[0]:
        alone, prediction = model.step(alone, action, decode=False)
        seen.append(prediction.codes)
    assert torch.equal(found["features"][0], model.tokenizer.dynamics_codebook[torch.cat(seen)])


def test_domains_have_actions_of_their_own() -> None:
    domains = (Domain(name="arm", action_dim=2), Domain(name="base", action_dim=3))
    several = build(EmbeddingConfig(domains=domains), full=False)
    state = several.start(clip(2, 1), domain="arm")
    assert ModelDynamics(model=several).action_size(state) == 2
    action = MPPI(horizon=2, samples=4)(several, state, GoalFeatures(clip(1, 1)[0, 0]))
    assert action.shape == (2,)


def test_a_goal_that_was_imagined_scores_best(model: WorldModel) -> None:
    """An objective given the very frame that one candidate leads to prefers that candidate."""
    state, actions, dynamics = model.start(clip(2, 1)), some_actions(), ModelDynamics(model=model)
    (futures,) = dynamics.imagine(state, actions, ALL)
    goal = futures.frames[4, -1]
    for objective in (GoalImage(goal, which="last"), GoalFeatures(goal, which="last")):
        (seen,) = dynamics.imagine(state, actions, objective.needs)
        scores = objective.prepare(dynamics, state)(seen)
        assert scores.shape == (7,)
        assert float(scores.max()) <= 0
        if isinstance(objective, GoalImage):
            assert int(scores.argmax()) == 4
            assert float(scores[4]) == 0


def test_pixel_errors_are_summed_as_vp2_sums_them(model: WorldModel) -> None:
    goal, frames = clip(1, 1)[0, 0], clip(3, 5, seed=9)
    score = GoalImage(goal).prepare(ModelDynamics(model=model), None)(Futures(frames=frames))
    wanted = -((frames.double() / 255 - goal.double() / 255) ** 2).sum(dim=(1, 2, 3, 4))
    torch.testing.assert_close(score.double(), wanted, rtol=1e-5, atol=0)


def test_objectives_add_up(model: WorldModel) -> None:
    dynamics = ModelDynamics(model=model)
    futures = Futures(
        frames=clip(3, 2),
        rewards=torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]),
        log_likelihood=torch.tensor([[-0.5, -2.0, -3.5], [-1.0, -1.0, -0.1]]),
    )
    assert RewardSum(discount=0.5).prepare(dynamics, None)(futures).tolist() == [2.75, 0.25]
    assert Unlikely(bar=-1.0).prepare(dynamics, None)(futures).tolist() == [-3.5, 0.0]
    bright = Classified(lambda frames: frames.float().mean(dim=(1, 2, 3)))
    means = futures.frames.float().mean(dim=(2, 3, 4)).sum(dim=1)
    torch.testing.assert_close(bright.prepare(dynamics, None)(futures), means)
    both = WeightedSum(parts=((2.0, RewardSum()), (10.0, Unlikely())))
    assert both.needs == {"rewards", "likelihood"}
    assert both.prepare(dynamics, None)(futures).tolist() == [12.0 - 35.0, 2.0]


def test_perceptual_distance_is_summed_over_frames(model: WorldModel) -> None:
    network = LPIPS(random_backbone("alex"), random_heads("alex"), "alex")
    goal, frames = clip(1, 1)[0, 0], clip(2, 3, seed=9)
    frames[1, 0] = goal
    objective = GoalLPIPS(goal, network)
    scores = objective.prepare(ModelDynamics(model=model), None)(Futures(frames=frames))
    wanted = -lpips(goal.expand_as(frames), frames, network).sum(dim=1)
    torch.testing.assert_close(scores.double(), wanted, rtol=1e-5, atol=0)
    last = GoalLPIPS(goal, network, which="last")
    assert (objective.needs, last.needs) == ({"frames"}, {"last_frame"})
    assert float(last.prepare(ModelDynamics(model=model), None)(Futures(frames=frames[1:2, :1]))) == 0


def test_the_simulator_is_a_model() -> None:
    state = TableState(pusher=(20.0, 30.0), disc=(32.0, 30.0), square=(50.0, 50.0))
    dynamics, actions = TableDynamics(size=32), some_actions(count=3, frames=4)
    found = together(list(dynamics.imagine(state, actions, frozenset({"frames", "rewards", "likelihood"}))))
    (last,) = dynamics.imagine(state, actions, frozenset({"last_frame"}))
    table = PushingTable(size=32)
    for row, own in enumerate(actions):
        table.reset(options={"state": state})
        for step, action in enumerate(own):
            frame, paid, *_ = table.step(action.numpy())
            assert torch.equal(found["frames"][row, step], torch.from_numpy(frame).permute(2, 0, 1))
            assert float(found["rewards"][row, step]) == pytest.approx(paid)
    assert torch.equal(last.frames, found["frames"][:, -1:])
    assert not found["log_likelihood"].any()


def test_planners_reach_what_the_simulator_allows() -> None:
    """Behind the disc and in line with its goal 15 units away: five pushes of 3 units, and nothing is better."""
    state = TableState(pusher=(20.0, 30.0), disc=(29.5, 30.0), square=(50.0, 50.0), goal=(44.5, 30.0))
    start, best = reward(state), sum(reward(replace(state, pusher=(20.0 + 3 * n, 30.0), disc=(29.5 + 3 * n, 30.0)))
                                     for n in range(1, 6))  # fmt: skip
    rewards = RewardSum()
    for planner, share in (
        (CEM(horizon=5, samples=200, elites=10, iterations=8), 0.98),
        (MPPI(horizon=5, samples=200, iterations=8, gamma=200.0), 0.93),
    ):
        plan = planner.plan(TableDynamics(), state, rewards, seed=0)
        (reached,) = TableDynamics().imagine(state, plan.actions[None], rewards.needs)
        earned = float(reached.rewards.sum())
        assert earned <= best + 1e-6
        assert (earned - 5 * start) / (best - 5 * start) > share, planner


@pytest.mark.parametrize("objective", [GoalImage, GoalFeatures])
@pytest.mark.parametrize(
    ("goal", "words"),
    [
        (torch.zeros(3, 24, 16, dtype=torch.uint8), "the goal is 16x24 pixels and the model sees 32x32: resize it"),
        (torch.zeros(3, 32, 32), r"the goal is torch.float32 \[3, 32, 32\]; expected one RGB frame"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), r"uint8 \[1, 3, 32, 32\]; expected one RGB frame"),
    ],
)
def test_goals_that_do_not_fit_are_refused(
    model: WorldModel, objective: Any, goal: Tensor, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    with pytest.raises(ValueError, match=words):
        MPPI(horizon=2, samples=2)(model, model.start(clip(2, 1)), objective(goal))


def test_models_that_cannot_serve_are_refused(model: WorldModel) -> None:
    state, goal = model.start(clip(2, 1)), clip(1, 1)[0, 0]
    planner = MPPI(horizon=2, samples=2)
    with pytest.raises(ValueError, match="takes no actions, so there is nothing to plan"):
        planner(build(EmbeddingConfig()), state, GoalImage(goal))
    headless = build(EmbeddingConfig(action_dim=2))
    with pytest.raises(ValueError, match="asks for rewards, but this model has no reward head"):
        planner(headless, headless.start(clip(2, 1)), RewardSum())
    with pytest.raises(ValueError, match="a plan is for one state and this has 2 rows"):
        planner(model, model.start(clip(2, 2)), GoalImage(goal))
    with pytest.raises(ValueError, match="std has 3 values and an action 2"):
        MPPI(std=(0.5, 0.5, 0.5))(model, state, GoalImage(goal))
    table = TableState(pusher=(20.0, 30.0), disc=(32.0, 30.0), square=(50.0, 50.0))
    with pytest.raises(ValueError, match="asks for features, but this model has no token features"):
        planner(TableDynamics(size=32), table, GoalFeatures(goal))
    with pytest.raises(ValueError, match=r"the classifier made \[\] of 4 frames; expected a number for each, \[4\]"):
        planner(model, state, Classified(lambda frames: frames.float().mean()))
    with pytest.raises(ValueError, match="at_once is 0"):
        ModelDynamics(model=model, at_once=0)
    with pytest.raises(ValueError, match="the objective has no parts"):
        WeightedSum(parts=())
    with pytest.raises(ValueError, match="discount is 0"):
        RewardSum(discount=0.0)
