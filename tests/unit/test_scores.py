"""The table of an evaluation, on imagined clips whose figures are known beforehand."""

import math
from io import StringIO

import pytest
import torch
from rich.console import Console

from ivideo.evaluation.case import Case
from ivideo.evaluation.clips import pushed_clips
from ivideo.evaluation.measures import scores
from ivideo.evaluation.metrics.pixels import psnr
from ivideo.evaluation.series import COPY, PREDICTION, SHUFFLED, Series
from ivideo.evaluation.table import FigureTable
from ivideo.simulate.demonstrations import demonstrate
from ivideo.simulate.policies import Pusher


def table_of(
    truth: torch.Tensor,
    predicted: torch.Tensor,
    *,
    context: int = 2,
    shuffled: torch.Tensor | None = None,
    states: tuple = (),
    rewards: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> FigureTable:
    """All scores of some videos, as a table."""
    videos = {PREDICTION: predicted, COPY: scores.copied(truth, context)}
    if shuffled is not None:
        videos[SHUFFLED] = shuffled
    series = [
        Series(quantity="PSNR, dB", source=name, values=psnr(truth, video)[:, context:, None])
        for name, video in videos.items()
    ]
    series += scores.gains(truth, videos, context) + scores.changes(truth, videos, context)
    if states:
        series += scores.objects(states, videos, context)
    if rewards is not None:
        series.append(scores.rewards(*rewards, context))
    return FigureTable.of(series, (1, 5, 10), resamples=50)


@pytest.fixture(scope="module")
def clips() -> Case:
    return pushed_clips(demonstrate(Pusher(), 10, seed=4), context=2, frames=10, limit=12)


@pytest.fixture(scope="module")
def perfect(clips: Case) -> FigureTable:
    other = clips.frames.roll(1, dims=0)
    rewards = (clips.rewards, clips.rewards)
    return table_of(clips.frames, clips.frames, shuffled=other, states=clips.states, rewards=rewards)


def test_perfect_predictions_get_perfect_figures(perfect: FigureTable) -> None:
    for horizon in (1, 5, 10):
        assert perfect.at("PSNR", "prediction", horizon).value == 100.0
        assert perfect.at("PSNR on changed pixels", "prediction", horizon).value == 100.0
        assert perfect.at("Pusher error, median px", "prediction", horizon).value < 0.1
        assert perfect.at("Objects lost", "prediction", horizon).value == 0.0
        assert perfect.at("Reward", "prediction", horizon).value == 1.0
    assert perfect.at("Error of objects that moved, mean px", "prediction / copy", 10).value < 0.05


def test_the_copied_frame_is_the_last_of_the_context(clips: Case) -> None:
    copied = torch.cat([clips.frames[:, :2], clips.frames[:, 1:2].expand(-1, 10, -1, -1, -1)], dim=1)
    table = table_of(clips.frames, copied, states=clips.states)
    for horizon in (1, 5, 10):
        assert table.at("PSNR", "prediction", horizon) == table.at("PSNR", "copy-last-frame", horizon)
        assert table.at("Gain in PSNR", "over copy-last-frame", horizon).value == 0.0
        found = table.at("Pusher error", "prediction", horizon).value
        assert found == pytest.approx(table.at("Pusher error", "copy-last-frame", horizon).value, abs=0.1)
    assert table.at("Error of objects that moved, mean px", "prediction / copy", 10).value == pytest.approx(
        1.0, abs=0.05
    )


def test_gains_are_the_difference_and_hold_against_other_clips(perfect: FigureTable) -> None:
    gain = perfect.at("Gain in PSNR", "over shuffled actions", 5)
    assert gain.value == pytest.approx(100.0 - perfect.at("PSNR", "shuffled actions", 5).value)
    assert gain.low > 70.0
    assert perfect.at("Pusher error", "shuffled actions", 5).value > 5.0


def test_context_frames_do_not_count(clips: Case) -> None:
    spoiled = clips.frames.clone()
    spoiled[:, :2] = 0
    table = table_of(clips.frames, spoiled)
    assert table.at("PSNR", "prediction", 1).value == 100.0


def test_figures_belong_to_the_frame_they_name(clips: Case) -> None:
    spoiled, rewards = clips.frames.clone(), clips.rewards.clone()
    spoiled[:, 2 + 4] = 0  # the fifth imagined frame
    rewards[:, 1 + 4] = 0.0  # and the reward that arrives with it
    table = table_of(clips.frames, spoiled, rewards=(clips.rewards, rewards))
    assert [table.at("PSNR", "prediction", horizon).value > 99 for horizon in (4, 5, 6)] == [True, False, True]
    assert [table.at("Reward", "prediction", horizon).value > 0.99 for horizon in (4, 5, 6)] == [True, False, True]


def test_a_picture_without_objects_has_lost_them(clips: Case) -> None:
    blank = torch.full_like(clips.frames, 200)
    table = table_of(clips.frames, blank, states=clips.states)
    assert table.at("Objects lost", "prediction", 10).value == 100.0
    assert table.at("Object error, median px", "prediction", 10).value == math.inf
    assert table.at("Error of objects that moved, mean px", "prediction / copy", 10).value == 1.0


def test_the_table_prints_for_papers_and_for_terminals(perfect: FigureTable) -> None:
    lines = perfect.markdown().splitlines()
    assert lines[0] == "|  |  | frame 1 | frame 5 | frame 10 |"
    assert lines[2].startswith("| PSNR, dB | prediction | 100.00 [100.00, 100.00] |")
    assert len(lines) == 2 + len(perfect.figures)
    out = StringIO()
    Console(width=80, file=out).print(perfect.rich("a model"))
    text = out.getvalue()
    assert "12 clips" in text
    assert "over shuffled actions" in text
    assert max(map(len, text.splitlines())) <= 80


def test_unknown_figures_are_named(perfect: FigureTable) -> None:
    with pytest.raises(KeyError, match="no figure 'FVD'"):
        perfect.at("FVD", "prediction", 1)


def test_pooled_figures_average_errors_before_the_logarithm() -> None:
    truth = torch.zeros(2, 2, 3, 4, 4, dtype=torch.uint8)
    truth[:, 1, :, 0] = 255
    predicted = truth.clone()
    predicted[0, 1, :, 0, :2] = 0  # two of the four changed pixels of one clip of two
    table = table_of(truth, predicted, context=1)
    assert table.at("Pooled PSNR", "prediction", 1).value == pytest.approx(-10 * math.log10(2 / 32))
    assert table.at("Pooled PSNR on changed pixels", "prediction", 1).value == pytest.approx(-10 * math.log10(2 / 8))
    assert table.at("PSNR", "prediction", 1).value == pytest.approx((100 - 10 * math.log10(2 / 16)) / 2)
