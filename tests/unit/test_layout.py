"""The token arithmetic, against the figures of the released checkpoints and by property."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ivideo.layout import IGNORE, TokenLayout
from tokenizer import FrameCodes

RELEASED = TokenLayout(context_frames=2)


def layouts() -> st.SearchStrategy[TokenLayout]:
    small = st.integers(1, 5)
    return st.builds(
        TokenLayout,
        context_frames=st.integers(1, 3),
        context_tokens=small,
        dynamics_tokens=small,
        context_codes=small,
        dynamics_codes=small,
    )


def random_codes(layout: TokenLayout, frames: int, batch: int = 2, seed: int = 0) -> FrameCodes:
    generator = torch.Generator().manual_seed(seed)
    return FrameCodes(
        context=torch.randint(
            layout.context_codes, (batch, layout.context_frames, layout.context_tokens), generator=generator
        ),
        dynamics=torch.randint(layout.dynamics_codes, (batch, frames, layout.dynamics_tokens), generator=generator),
    )


@pytest.mark.parametrize(("context", "frames", "length"), [(1, 16, 511), (2, 16, 751), (2, 12, 683), (2, 17, 768)])
def test_published_sequence_lengths(context: int, frames: int, length: int) -> None:
    assert TokenLayout(context_frames=context).sequence_length(frames - context) == length


def test_released_vocabulary() -> None:
    assert RELEASED.vocab_size == 16_386
    assert (RELEASED.context_marker, RELEASED.dynamics_marker) == (16_384, 16_385)
    assert RELEASED.dynamics_ids == (8192, 16_384)
    assert RELEASED.max_frames(1024) == 30


def test_order_of_a_small_sequence() -> None:
    layout = TokenLayout(context_frames=2, context_tokens=2, dynamics_tokens=1, context_codes=10, dynamics_codes=5)
    codes = FrameCodes(context=torch.tensor([[[1, 2], [3, 4]]]), dynamics=torch.tensor([[[0], [4]]]))
    ids = layout.pack(codes)
    assert ids.tolist() == [[1, 2, 15, 3, 4, 16, 10, 16, 14]]
    assert layout.labels(ids).tolist() == [[IGNORE] * 6 + [10, 16, 14]]
    assert layout.targets(ids).tolist() == [[10, 16, 14]]


@given(layouts(), st.integers(0, 3))
def test_unpack_inverts_pack(layout: TokenLayout, frames: int) -> None:
    codes = random_codes(layout, frames)
    ids = layout.pack(codes)
    assert ids.shape[1] == layout.sequence_length(frames)
    back = layout.unpack(ids)
    assert torch.equal(back.context, codes.context)
    assert torch.equal(back.dynamics, codes.dynamics)


@given(layouts(), st.integers(1, 3))
def test_targets_are_the_labels_that_count(layout: TokenLayout, frames: int) -> None:
    ids = layout.pack(random_codes(layout, frames))
    labels = layout.labels(ids)
    assert torch.equal(labels[labels != IGNORE].view(2, -1), layout.targets(ids))
    assert layout.targets(ids).shape[1] == frames * layout.frame_length - 1
    hidden = torch.arange(ids.shape[1]).expand(2, -1)[..., None].float()
    assert torch.equal(layout.predicting(hidden)[0, :, 0] + 1, torch.where(labels[0] != IGNORE)[0].float())
    assert (ids.gather(1, layout.split_frames(hidden)[:, :, 0, 0].long()) == layout.dynamics_marker).all()


def test_a_stray_id_is_named_or_clamped() -> None:
    ids = RELEASED.pack(random_codes(RELEASED, 1))
    ids[0, -1] = 3
    with pytest.raises(ValueError, match="clamp=True"):
        RELEASED.unpack(ids)
    assert RELEASED.unpack(ids, clamp=True).dynamics[0, 0, -1] == 0


def test_ragged_sequences_and_empty_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="whole number of 17-token frames"):
        RELEASED.predicted_frames(600)
    with pytest.raises(ValueError, match="context_frames is 0"):
        TokenLayout(context_frames=0)
