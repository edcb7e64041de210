"""A dream as it is played: forked, rewound, done otherwise, handed over and saved, without any server."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_play import drawing_model, session, starts
from tiny_rollouts import build

from ivideo import open_episodes, read_video
from ivideo.embedding import EmbeddingConfig
from ivideo.episode import Episode
from ivideo.play import keeping
from ivideo.play.dreamer import LONGEST, Dreamer
from ivideo.play.session import MOST_BRANCHES, Session, picture_of
from ivideo.play.starts import Starts
from ivideo.play.timeline import KEPT_EVERY, Timeline
from ivideo.simulate.policies import GoalPusher
from ivideo.simulate.pushing_table import PushingTable
from ivideo.world_model import WorldModel

RIGHT, DOWN = (1.0, 0.0), (0.0, 1.0)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return drawing_model()


@pytest.fixture
def play(model: WorldModel) -> Session:
    return session(model)


def frames(timeline: Timeline) -> torch.Tensor:
    return timeline.dreamt()


def walk(play: Session, steps: int, action: tuple[float, ...] = RIGHT) -> None:
    for _ in range(steps):
        play.act(action)


def test_the_same_seed_and_actions_give_the_same_dream_and_another_seed_another(model: WorldModel) -> None:
    first, again, other = session(model), session(model), session(model, seed=1)
    for each in (first, again, other):
        walk(each, 5)
    assert torch.equal(frames(first.timeline), frames(again.timeline))
    assert not torch.equal(frames(first.timeline), frames(other.timeline))
    assert torch.equal(frames(first.timeline)[0], frames(other.timeline)[0])


def test_the_dream_is_what_the_model_imagines_step_by_step(model: WorldModel, play: Session) -> None:
    walk(play, 12)  # longer than the model remembers
    state = model.start(starts(model)[0].frames)
    for moment in play.timeline.moments[1:]:
        state, seen = model.step(state, torch.tensor(RIGHT))
        assert torch.equal(moment.dream, seen.frame[0])
        assert moment.reward == float(seen.reward)
        assert moment.log_likelihood == float(seen.log_likelihood)


def test_the_true_table_goes_along(play: Session) -> None:
    table = PushingTable(32, horizon=100)
    start = play.timeline.start.table
    frame, _ = table.reset(options={"state": start})
    assert np.array_equal(play.moment.truth.permute(1, 2, 0).numpy(), frame)
    for action in (RIGHT, DOWN, RIGHT):
        moment = play.act(action)
        frame, earned, _, _, info = table.step(np.array(action, np.float32))
        assert np.array_equal(moment.truth.permute(1, 2, 0).numpy(), frame)
        assert moment.true_reward == earned
        assert moment.table == info["state"]


def test_acting_in_the_past_leaves_the_future_that_was_there(play: Session) -> None:
    walk(play, 6)
    before = frames(play.timeline)
    play.look(3)
    play.act(DOWN)
    assert list(play.branches) == [0, 1]
    assert (play.current, play.frame, len(play.timeline)) == (1, 4, 5)
    assert torch.equal(frames(play.branches[0].timeline), before)
    assert torch.equal(frames(play.timeline)[:4], before[:4])
    assert play.timeline.moments[4].table != play.branches[0].timeline.moments[4].table
    assert play.branches[1].parent == 0
    assert play.branches[1].since == 4


def test_a_fork_with_the_same_actions_repeats_what_was(play: Session) -> None:
    walk(play, 8, DOWN)
    play.show("truth")
    walk(play, KEPT_EVERY + 4)
    kept = [moment.state is not None for moment in play.timeline.moments]
    assert kept[0]
    assert not any(kept[1:12])
    actions = [moment.action for moment in play.timeline.moments]
    play.look(11)  # whose state is let go: it is computed again from frame 0, past the reset
    play.fork()
    for action in actions[12:]:
        play.act(action)
    assert torch.equal(frames(play.branches[0].timeline), frames(play.timeline))


def test_branches_are_compared_at_one_frame(play: Session) -> None:
    walk(play, 4)
    play.look(2)
    play.act(DOWN)
    beside = play.beside()
    assert list(beside) == [0]
    assert torch.equal(beside[0].dream, play.branches[0].timeline.moments[3].dream)
    play.look(4, 0)
    assert beside != play.beside()
    assert torch.equal(play.beside()[1].dream, play.branches[1].timeline.moments[3].dream)  # its last


def test_a_past_action_is_done_otherwise_and_the_rest_as_it_was(play: Session) -> None:
    walk(play, 3)
    walk(play, 3, DOWN)
    before = play.timeline
    play.redo(2, (-1.0, 0.5))
    after = play.timeline
    assert [each.action for each in after.moments[1:]] == [RIGHT, (-1.0, 0.5), RIGHT, DOWN, DOWN, DOWN]
    assert (play.frame, play.branches[1].since) == (2, 2)
    assert torch.equal(frames(after)[:2], frames(before)[:2])
    assert after.moments[2].table != before.moments[2].table
    same = play.dreamer.redo(before, 2, RIGHT)
    assert torch.equal(frames(same), frames(before))
    for frame in (0, 7):
        with pytest.raises(ValueError, match="frames 1 to 6"):
            play.redo(frame, RIGHT)


def test_the_horizon_is_reset_on_the_dream_or_the_truth(model: WorldModel, play: Session) -> None:
    walk(play, 5)
    end = play.timeline
    play.show("truth")
    play.act(RIGHT)
    shown = torch.stack([each.truth for each in end.moments[-model.context_frames :]])
    state = model.start(shown, seed=5 * 7_919)
    _, seen = model.step(state, torch.tensor(RIGHT))
    assert torch.equal(play.moment.dream, seen.frame[0])
    assert [each.shown for each in play.timeline.moments] == [None] * 6 + ["truth"]
    play.look(3)
    play.show("dream")
    assert play.current == 1
    play.act(RIGHT)
    assert play.moment.shown == "dream"
    play.begin_with(play.moment.dream)
    with pytest.raises(ValueError, match="no true environment"):
        play.show("truth")


def test_a_policy_takes_the_wheel_and_gives_it_back(model: WorldModel) -> None:
    first, again = session(model), session(model)
    for each in (first, again):
        each.act(RIGHT)
        each.hand_over("goal_pusher")
        for _ in range(4):
            each.drive()
    assert [each.by for each in first.timeline.moments] == ["", "hand", *["goal_pusher"] * 4]
    assert torch.equal(frames(first.timeline), frames(again.timeline))
    taken = [each.action for each in first.timeline.moments[2:]]
    policy, rng = GoalPusher(), np.random.default_rng([0, 0, 1])
    for moment, action in zip(first.timeline.moments[1:], taken, strict=False):
        shown = moment.dream.permute(1, 2, 0).numpy()
        assert tuple(map(float, policy(shown, {"state": moment.table}, rng))) == pytest.approx(action)
    first.act(DOWN)
    assert first.driver is None
    with pytest.raises(ValueError, match="hand over"):
        first.drive()
    first.hand_over("mixed")
    first.look(2)
    assert first.driver is None


def test_any_callable_can_drive_and_sees_the_dream(play: Session) -> None:
    seen = []

    def left(frame: np.ndarray, info: dict[str, Any], rng: np.random.Generator) -> list[float]:
        seen.append(frame)
        return [-1, 0]

    play.hand_over(left)
    moment = play.drive()
    assert moment.action == (-1.0, 0.0)
    assert moment.by == "left"
    assert np.array_equal(seen[0], play.timeline.moments[0].dream.permute(1, 2, 0).numpy())
    play.hand_over(lambda frame, info, rng: [float("nan"), 0.0])
    with pytest.raises(ValueError, match="NaN"):
        play.drive()
    with pytest.raises(ValueError, match="expected one of pusher"):
        play.hand_over("gripper")


def test_a_picture_begins_a_dream_without_truth(play: Session) -> None:
    pixels = bytes(range(256)) * 12
    picture = picture_of(pixels, 32)
    assert picture[:, 0, 1].tolist() == [3, 4, 5]
    play.begin_with(picture)
    assert play.moment.truth is None
    assert play.act(RIGHT).truth is None
    with pytest.raises(ValueError, match="looks at the true table"):
        play.hand_over("pusher")
    with pytest.raises(ValueError, match="3072"):
        picture_of(pixels[1:], 32)


def test_what_cannot_be_is_refused_and_changes_nothing(play: Session) -> None:
    walk(play, 2)
    refused = [
        lambda: play.look(3),
        lambda: play.look(-1),
        lambda: play.look(0, 4),
        lambda: play.act((1.0,)),
        lambda: play.act((float("inf"), 0.0)),
        lambda: play.begin(-1),
        lambda: play.begin_with(torch.zeros(3, 16, 16, dtype=torch.uint8)),
        lambda: play.drop(0),
        lambda: play.drop(7),
    ]
    for each in refused:
        with pytest.raises(ValueError, match=r"expected|takes|NaN or infinite|only branch|no branch|has frames"):
            each()
        assert (list(play.branches), play.current, play.frame, len(play.timeline)) == ([0], 0, 2, 3)


def test_branches_are_dropped_and_their_number_is_bounded(play: Session) -> None:
    walk(play, 3)
    for _ in range(MOST_BRANCHES - 1):
        play.fork()
    for refused in (play.fork, lambda: play.redo(1, DOWN)):
        with pytest.raises(ValueError, match="drop one"):
            refused()
    play.drop(2)
    assert play.current == MOST_BRANCHES - 1
    play.drop(play.current)
    assert play.current == MOST_BRANCHES - 2
    assert play.fork() == MOST_BRANCHES  # numbers are not used twice
    play.look(1)
    play.fork()
    play.look(1, 0)
    with pytest.raises(ValueError, match="drop one"):
        play.act(DOWN)


def test_a_dream_ends_at_its_longest(play: Session) -> None:
    first = play.timeline
    full = Timeline(start=first.start, moments=first.moments * LONGEST)
    with pytest.raises(ValueError, match=f"at most {LONGEST}"):
        play.dreamer.step(full, RIGHT)


@pytest.mark.parametrize("kind", ["mp4", "gif", "webm"])
def test_a_film_shows_dream_beside_truth(play: Session, tmp_path: Path, kind: str) -> None:
    walk(play, 3)
    path = tmp_path / f"play.{kind}"
    path.write_bytes(keeping.packed(kind, [play.timeline], fps=10))
    film = read_video(path)
    assert len(film) == 4
    assert film.shape[3] == 66 * 8
    if kind == "gif":
        left, right = film[0, :, 4:250, 4:250], film[0, :, 4:250, 34 * 8 + 4 : 34 * 8 + 250]
        assert (left.float() - right.float()).abs().mean() < 1  # frame 0 is given


def test_an_episode_is_read_back_as_it_was_played(play: Session, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="single frame"):
        keeping.packed("npz", [play.timeline], fps=10)
    walk(play, 3)
    keeping.write(tmp_path / "play.npz", [play.timeline], fps=10)
    (episode,) = open_episodes(tmp_path / "play.npz", size=None)
    assert torch.equal(episode.frames, frames(play.timeline))
    assert episode.actions.tolist() == [list(RIGHT)] * 3
    torch.testing.assert_close(episode.rewards, play.timeline.rewards())
    with pytest.raises(ValueError, match=r"ends in \.mp4"):
        keeping.write(tmp_path / "play.avi", [play.timeline], fps=10)


def test_models_without_actions_and_of_wide_actions_dream_without_truth(tmp_path: Path) -> None:
    episodes = [Episode(frames=torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)) for _ in range(2)]
    for width in (0, 3):
        embedding = EmbeddingConfig(action_dim=width, action_on="frame") if width else EmbeddingConfig()
        model = build(embedding, full=False)
        play = Session(Dreamer(model=model), Starts(side=32, context=2, episodes=episodes))
        assert play.act().action == ((0.0,) * width if width else None)
        assert play.moment.reward is None
        assert play.moment.truth is None
        assert torch.equal(play.timeline.moments[0].dream, episodes[0].frames[1])
        keeping.write(tmp_path / "play.gif", [play.timeline], fps=10)
        with pytest.raises(ValueError, match="expected 0 to 1"):
            play.begin(2)
        with pytest.raises(ValueError, match="pushing table 2"):
            Session(play.dreamer, starts(model))
        with pytest.raises(ValueError, match="true table" if width else "no actions"):
            play.hand_over("pusher")
    with pytest.raises(ValueError, match="goal"):
        Dreamer(model=build(EmbeddingConfig(), goal=True, full=False))
