"""Recordings of real robots and of Meta-World are read as what they are.

They are not part of this project: the folder with them is named by IVIDEO_DATA, and without it all of this is skipped.
"""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ivideo.data import EpisodeStore, SegmentSampler, open_episodes

DATA = Path(os.environ.get("IVIDEO_DATA", "no such folder"))

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="IVIDEO_DATA names no folder of recorded episodes")

LAYOUTS = [
    # folder, episodes, frames, action dimension, rewards, camera
    ("bair", 1, 30, 4, False, None),
    ("bair", 1, 30, 4, False, "main"),
    ("fractal", 1, 22, None, False, None),
    ("metaworld", 20, 2020, 4, True, None),
    ("bridge", 7, 235, 7, False, None),
    ("droid", 5, 664, 7, False, 0),
    ("droid", 5, 664, 7, False, 1),
    ("droid", 5, 664, 7, False, 2),
    ("language_table", 1, 18, 2, False, None),
]


def first_frame(store: EpisodeStore) -> Tensor:
    return store[0].frames[0].float()


@pytest.mark.parametrize(("folder", "episodes", "frames", "actions", "rewards", "camera"), LAYOUTS)
def test_every_layout_opens_as_what_it_holds(
    folder: str, episodes: int, frames: int, actions: int | None, rewards: bool, camera: str | int | None
) -> None:
    store = open_episodes(DATA / folder, size=64, camera=camera)
    assert (len(store), store.total_frames) == (episodes, frames)
    assert (store.action_dim, store.has_rewards) == (actions, rewards)
    assert store.frame_size == (64, 64)
    assert len(set(store.names)) == episodes
    for episode in store:
        assert episode.frames.float().std() > 10, "a picture, not a flat colour"
        step = (episode.frames[1:].float() - episode.frames[:-1].float()).abs().mean((1, 2, 3))
        assert step.max() > 0.5, "something moves"
        assert step.median() < 40, "and one frame follows from the one before"
    batch = SegmentSampler(store, frames=8, seed=0).batch(0, 4)
    assert batch.frames.shape == (4, 8, 3, 64, 64)


def test_cameras_show_different_things() -> None:
    views = [open_episodes(DATA / "droid", camera=camera, limit=1)[0].frames for camera in (0, 1, 2)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (views[one].float() - views[other].float()).abs().mean() > 20


def test_colours_and_orientation() -> None:
    """Red arm and grey sky in Meta-World; blue board along the lower edge of Language Table; wood at BAIR's centre."""
    red, green, blue = first_frame(open_episodes(DATA / "metaworld/hammer"))
    arm = (red > 120) & (green < 60) & (blue < 60)
    assert arm.sum() > 100
    assert arm[:, :32].sum() > 3 * arm[:, 32:].sum(), "the arm reaches in from the left"
    sky = (red - blue).abs() < 12
    assert sky[:10].float().mean() > 0.8, "the upper part is grey"
    red, _, blue = first_frame(open_episodes(DATA / "language_table"))[:, 61:].mean((1, 2))
    assert blue > red + 60
    red, _, blue = first_frame(open_episodes(DATA / "bair"))[:, 30:40].mean((1, 2))
    assert red > blue + 15


@pytest.mark.parametrize("folder", ["bridge", "droid", "metaworld"])
def test_actions_explain_the_motion_of_their_own_step(folder: str) -> None:
    """Where an arm moves fast, pixels change much: and more with a step's own action than another's."""
    own, shifted = [], []
    for episode in open_episodes(DATA / folder, size=64):
        assert episode.actions is not None
        change = (episode.frames[1:].float() - episode.frames[:-1].float()).abs().mean((1, 2, 3))
        speed = episode.actions[:, :3].norm(dim=1)
        own.append(torch.corrcoef(torch.stack([change[4:-4], speed[4:-4]]))[0, 1])
        shifted.append(torch.corrcoef(torch.stack([change[4:-4], speed[8:]]))[0, 1])
    assert torch.stack(own).nanmean() > 0.3
    assert torch.stack(own).nanmean() > torch.stack(shifted).nanmean() + 0.05


def test_instructions_and_rates_where_the_files_have_them() -> None:
    droid = open_episodes(DATA / "droid", camera=1)
    assert all(episode.instruction for episode in droid)
    assert droid[0].instruction == "pick the blue block and place it in plate"
    for folder in ("droid", "bridge", "language_table"):
        assert all(1 <= (episode.fps or 0) <= 60 for episode in open_episodes(DATA / folder))
    assert {episode.instruction for episode in open_episodes(DATA / "bridge")} == {""}


def test_one_held_out_demonstration_per_task() -> None:
    train, held = open_episodes(DATA / "metaworld").split("last")
    assert (len(train), len(held)) == (16, 4)
    assert len({name.split("/")[0] for name in held.names}) == 4
    assert not set(train.names) & set(held.names)


def test_metaworld_rewards_end_high_and_actions_are_what_the_arm_did() -> None:
    for episode in open_episodes(DATA / "metaworld"):
        assert episode.rewards is not None
        assert episode.actions is not None
        assert episode.rewards[-10:].mean() > 2 * episode.rewards[:3].mean()
        assert episode.actions.abs().max() <= 1
        assert not episode.terminal


def test_a_folder_with_everything_says_what_to_open() -> None:
    with pytest.raises(ValueError, match=r"several layouts in one folder .* bair, bridge, droid"):
        open_episodes(DATA)
