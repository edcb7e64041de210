"""Mixtures keep their shares in every block, walk each set without repeats, and say what is missing."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ivideo import recipes
from ivideo.data import Augmentation, SegmentSampler
from ivideo.data.mixture import Mixture, MixtureSet, load_mixture, open_mixture
from ivideo.data.mixture_sampler import MixtureSampler
from ivideo.data.recorder import save_episodes
from ivideo.episode import Batch, Episode
from ivideo.training.dataset import DataConfig

NAMES = [name for name in recipes.names() if name.startswith("mixture/")]


def fill(folder: Path, name: str, level: int, *, width: int, count: int = 12) -> None:
    """Episodes whose red says the set, green the episode, blue the frame."""
    episodes = []
    for number in range(count):
        frames = torch.zeros(9, 3, 8, 8, dtype=torch.uint8)
        frames[:, 0], frames[:, 1] = level, number
        frames[:, 2] = torch.arange(9, dtype=torch.uint8)[:, None, None]
        actions = torch.full((8, width), float(level)) if width else None
        episodes.append(Episode(frames=frames, actions=actions))
    save_episodes(folder / name, episodes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for level, (name, width) in enumerate((("arm", 3), ("table", 2), ("people", 0)), start=1):
        fill(tmp_path, name, level, width=width)
    return tmp_path


SETS = (
    MixtureSet(name="people", source="people", weight=1, augment=False, tokenizer_only=True),
    MixtureSet(name="arm", source="arm", weight=5, stride=2),
    MixtureSet(name="table", source="table", weight=2),
)
SMALL = Mixture(sets=SETS, block=16)


def windows(batch: Batch) -> list[tuple[int, int, int]]:
    return [tuple(clip[0, :, 0, 0].tolist()) for clip in batch.frames]


def test_every_block_holds_the_shares_and_no_window_comes_twice(root: Path) -> None:
    train, held = open_mixture(SMALL, root, size=8, held_out=4)
    sampler = MixtureSampler(train, frames=4, seed=3)
    seen: dict[int, list[tuple[int, int, int]]] = {1: [], 2: [], 3: []}
    for block in range(6):
        batch = sampler.batch(block, 16)
        assert batch.domains is not None
        assert torch.bincount(batch.domains, minlength=3).tolist() == [2, 10, 4]
        for window in windows(batch):
            seen[window[0]].append(window)
    counts = {level: Counter(windows_of) for level, windows_of in seen.items()}
    assert len(counts[1]) == 9 * 3, "nine episodes to train on, three windows of seven frames in each"
    assert set(counts[1].values()) == {2, 3}, "sixty samples: twice every window, then some"
    assert set(counts[2].values()) == set(counts[3].values()) == {1}
    assert {window[1] for windows_of in seen.values() for window in windows_of}.isdisjoint({0, 4, 8})
    assert [len(domain.episodes) for domain in held.domains] == [3, 3, 3]


def test_samples_depend_on_their_number_alone(root: Path) -> None:
    train, _ = open_mixture(SMALL, root, size=8)
    sampler, again = (MixtureSampler(train, frames=4, seed=1, augmentation=Augmentation()) for _ in range(2))
    whole = sampler.batch(1, 12)
    for part in range(3):
        piece = again.batch(3 + part, 4)
        rows = slice(4 * part, 4 * part + 4)
        assert whole.actions is not None
        assert piece.actions is not None
        assert whole.domains is not None
        assert piece.domains is not None
        assert torch.equal(piece.frames, whole.frames[rows])
        assert torch.equal(piece.actions, whole.actions[rows])
        assert torch.equal(piece.domains, whole.domains[rows])


def test_actions_are_padded_and_only_who_wants_it_is_augmented(root: Path) -> None:
    train, _ = open_mixture(SMALL, root, size=8)
    assert train.action_dim == 3
    batch = MixtureSampler(train, frames=4, augmentation=Augmentation(brightness=0.5)).batch(0, 16)
    assert batch.actions is not None
    assert batch.domains is not None
    assert batch.instructions == ("",) * 16
    assert batch.rewards is None
    expected = {0: [0, 0, 0], 1: [1, 1, 1], 2: [2, 2, 0]}
    for domain, actions, clip in zip(batch.domains.tolist(), batch.actions, batch.frames, strict=True):
        assert actions.tolist() == [expected[domain]] * 3
        if domain == 0:
            assert (clip[:, 0] == 3).all()


def test_transformers_do_without_the_sets_for_tokenizers(root: Path) -> None:
    train, _ = open_mixture(SMALL, root, size=8, transformer=True)
    assert train.shares == [5 / 7, 2 / 7]
    batch = MixtureSampler(train, frames=4).batch(0, 16)
    assert batch.domains is not None
    assert set(batch.domains.tolist()) == {1, 2}, "domains keep their numbers"
    assert train.names == ("people", "arm", "table")


def test_a_set_is_walked_in_its_own_order_whatever_stands_beside_it(root: Path) -> None:
    both, _ = open_mixture(SMALL, root, size=8)
    alone, _ = open_mixture(replace(SMALL, sets=SETS[1:2]), root, size=8)
    orders = []
    for mixed in (both, alone):
        sampler = MixtureSampler(mixed, frames=4, seed=5)
        own = next(each for each in sampler.samplers if each.stride == 2)
        orders.append(windows(own.samples(np.arange(20))))
    assert orders[0] == orders[1]


def test_missing_sets_are_all_named(root: Path) -> None:
    lacking = replace(
        SMALL,
        sets=(*SETS, *(MixtureSet(name=name, source=name, weight=8, public=name == "far") for name in ("far", "lost"))),
    )
    with pytest.raises(FileNotFoundError, match=r"2 of the 5 sets .*far, .*lost \(not public\).*skip_missing"):
        open_mixture(lacking, root, size=8)
    train, _ = open_mixture(lacking, root, size=8, skip_missing=True)
    assert train.shares == [1 / 8, 5 / 8, 2 / 8]
    assert [line.split()[:2] for line in train.describe()[1:]] == [
        ["people", "12.50%"],
        ["arm", "62.50%"],
        ["table", "25.00%"],
    ]
    with pytest.raises(FileNotFoundError, match="3 of the 3 sets"):
        open_mixture(SMALL, root / "nowhere", size=8, skip_missing=True)


def test_named_clips_are_dropped(root: Path) -> None:
    (root / "test.txt").write_text("# published test clips\narm/000003.npz\n000005\n")
    mixture = Mixture(sets=(replace(SETS[1], drop="test.txt"),))
    train, held = open_mixture(mixture, root, size=8, held_out=5)
    names = sorted(train.domains[0].episodes.names + held.domains[0].episodes.names)
    assert names == [f"{number:06d}" for number in range(12) if number not in (3, 5)]
    (root / "test.txt").write_text("nothing\n")
    with pytest.raises(ValueError, match="names no episode of"):
        open_mixture(mixture, root, size=8)


def test_mistakes_in_a_mixture_are_named() -> None:
    with pytest.raises(ValueError, match="weight is 0"):
        MixtureSet(name="a", source="a", weight=0)
    with pytest.raises(ValueError, match="'arm' names two sets"):
        Mixture(sets=(SETS[1], SETS[1]))
    with pytest.raises(ValueError, match="3 sets in blocks of 2"):
        Mixture(sets=SETS, block=2)
    with pytest.raises(ValueError, match="stride is 2, but every set"):
        DataConfig(mixture="example", stride=2)


def test_settings_open_and_draw_a_mixture(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "mine.yaml").write_text(
        "sets:\n  - {name: a, source: arm, weight: 1}\n  - {name: b, source: gone, weight: 1}\n"
    )
    data = DataConfig(mixture=str(root / "mine.yaml"), root=str(root), frames=4, skip_missing=True)
    train, held = data.open(8)
    assert "100.00%" in capsys.readouterr().err
    assert data.sampler(train, 0).batch(0, 4).frames.shape == (4, 4, 3, 8, 8)
    assert data.clips(held, 3).frames.shape == (3, 4, 3, 8, 8)
    assert isinstance(data.sampler(train, 0), MixtureSampler)
    assert isinstance(DataConfig(frames=4).sampler(train.domains[0].episodes, 0), SegmentSampler)


@pytest.mark.parametrize("name", NAMES)
def test_packaged_mixtures_are_whole(name: str) -> None:
    assert recipes.headline(recipes.find(name))
    assert load_mixture(name).sets


def test_the_published_mixture_is_the_published_one() -> None:
    published = load_mixture("oxe_ssv2")
    weights = {each.name: each.weight for each in published.sets}
    total = sum(weights.values())
    assert abs(total - 100) < 0.01
    shown = {name: round(weight, 1) for name, weight in weights.items()}
    assert [shown[name] for name in ("fractal", "bridge", "bc_z", "robonet")] == [12.8] * 4
    assert [shown[name] for name in ("kuka", "language_table", "stanford_mask_vit", "ssv2")] == [8.5, 4.2, 4.2, 15.0]
    cameras = [name for name in weights if name.startswith("d3field")]
    assert round(sum(weights[name] for name in cameras), 1) == 2.2
    robots = [each for each in published.sets if not each.tokenizer_only]
    assert len({each.source for each in robots}) == 35
    assert [each.name for each in published.sets if each.tokenizer_only] == ["ssv2"]
    assert [each.name for each in published.sets if not each.augment] == ["ssv2"]
    assert [each.name for each in published.sets if each.drop] == ["robonet"]
    assert load_mixture("oxe").sets == tuple(robots)
    assert abs(sum(each.weight for each in load_mixture("unisim").sets) - 1) < 1e-9
