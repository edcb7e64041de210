"""Forty mistakes that people make, each with the argument that it is about, which the one line of an answer names."""

from collections.abc import Callable

import pytest

Refuse = Callable[..., None]
WORLD = "train world-model --config tiny_world.yaml"
TOKENIZER = "train tokenizer --config tiny.yaml"
MISTAKES = [
    # actions
    ("action", "predict model wide --frames 3", "an action has 7 values; this model takes 2"),
    ("action", "demo --model free --out new", "this model is action-free"),
    (
        "action_dim",
        f"{WORLD} --data.source wide --model.embedding.action_dim 2",
        "holds actions of 7 numbers; set it to 7",
    ),
    ("action_dim", f"{WORLD} --model.embedding.action_dim -3", "expected 0, for no actions, or more"),
    ("action_dim", "convert model new --action_dim -1", "expected 0, for no actions, or more"),
    ("action_dim", "convert model new --action_dim two", "expected int or null"),
    ("action_reconstruction", f"{WORLD} --model.heads.action_reconstruction 1", "set embedding.action_dim"),
    ("actions", "predict model clip.mp4 --actions all", "expected 'recorded' or 'none'"),
    # context
    ("context_frames", f"{WORLD} --context_frames 0", "expected at least 1"),
    ("context frames", f"{WORLD} --context_frames 3", "cannot turn 2 context frames into 3"),
    ("context_frames", "convert model new --context_frames 0", "expected at least 1"),
    ("max_positions", "convert model new --context_frames 20", "set it to"),
    ("frames", f"{TOKENIZER} --data.frames 2", "all of it context"),
    ("goal", "convert model new --goal_conditioned true --context_frames 1", "at least 2 context frames"),
    ("views", "convert model new --views 0", "expected at least 1"),
    # resolution and grids
    ("resolution", f"{TOKENIZER} --tokenizer.resolution 33", "not a multiple of 8"),
    ("resolution", "convert model new --resolution 100", "take 96 or 104"),
    ("channels", f"{TOKENIZER} --init model --tokenizer.channels [8,8]", "keep (8, 16), or train anew"),
    ("size", f"{TOKENIZER} --data.size 64", "the model sees 32x32"),
    ("stem_stride", "convert model new --stem_stride 3 --resolution 48", "take 4"),
    ("patch_size", "convert model new --patch_size 3 --resolution 48", "take 2 or 4"),
    ("patch_size", f"{TOKENIZER} --tokenizer.patch_size 3", "choose a divisor of 4"),
    ("max_attention_resolution", f"{TOKENIZER} --tokenizer.max_attention_resolution 2", "raise it to 4"),
    # vocabulary against tokenizer
    ("context_codes", f"{TOKENIZER} --init model --tokenizer.context_codes 9", "keep 16"),
    ("context_codes", "convert model new --context_codes 15", "any code may be in use; keep 16"),
    ("dynamics_codes", "convert model new --dynamics_codes 12", "any code may be in use; keep 24"),
    ("tokenizer", "convert model new --tokenizer pushing_table", "--freeze_codebooks"),
    ("tokenizer", "convert model new --tokenizer model --action_dim 3", "do the one, then the other"),
    ("tokenizer", "train world-model --data.source data", "name one with --tokenizer"),
    # transformer
    ("width", f"{WORLD} --model.transformer.width 18", "multiple of 4"),
    ("blocks", f"{WORLD} --init model --model.transformer.ffn_width 40", "write the same"),
    ("max_positions", f"{WORLD} --data.frames 999", "set data.frames to"),
    ("attention_dropout", f"{WORLD} --model.transformer.attention_dropout 1.5", "choose 0 to 0.99"),
    ("remember", f"{WORLD} --model.remember 0", "expected at least 1 frame"),
    # numbers, types, rewards
    ("dtype", "convert model new --dtype float8", "expected 'float32', 'float16' or 'bfloat16'"),
    ("device", "predict model clip.mp4 --device cuba", "expected cpu, or cuda"),
    ("temperature", "predict model clip.mp4 --temperature -1", "must be 0 (greedy) or a positive number"),
    ("fps", "predict model clip.mp4 --fps 0", "expected more than 0"),
    ("reward", f"{WORLD} --data.source clip.mp4 --data.held_out_source clip.mp4 --model.heads.reward", "no rewards"),
    ("channels", "data show grey.npz", "expected 3 (RGB)"),
]


@pytest.mark.parametrize(("argument", "command", "remedy"), MISTAKES)
def test_a_mistake_is_answered_by_its_name_and_a_remedy(
    refuse: Refuse, argument: str, command: str, remedy: str
) -> None:
    refuse(command, argument, remedy)


def test_there_are_forty() -> None:
    assert len(MISTAKES) == 40
    assert len({command for _, command, _ in MISTAKES}) == 40
