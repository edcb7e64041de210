"""Options and configs that nobody knows, or whose values cannot be: one line each, before anything is written."""

from collections.abc import Callable

import pytest
import torch

from ivideo import cli
from ivideo.cli import main

Refuse = Callable[..., None]
TABLE = "ivideo/PushingTable-v0"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("predict model clip.mp4 --frmes 3", "unknown option --frmes; did you mean --frames?"),
        ("evaluate model --hold_out all", "unknown option --hold_out; did you mean --held_out?"),
        ("demo --modle model", "unknown option --modle; did you mean --model?"),
        ("data show data --cmera x", "unknown option --cmera; did you mean --camera?"),
        (f"data record {TABLE} new --episode 3", "unknown option --episode; did you mean --episodes?"),
        ("convert model new --dtpye float16", "unknown option --dtpye; did you mean --dtype?"),
        ("info --modle model", "unknown option --modle; did you mean --model?"),
        ("train tokenizer --loop.stps 3", "unknown option --loop.stps; did you mean --loop.steps?"),
        ("train tokenizer --config misspelt.yaml", "unknown key loop.stps in misspelt.yaml; did you mean loop.steps?"),
        ("train world-model --config misspelt.yaml", "unknown key loop.stps in misspelt.yaml"),
        ("train world-model --model.embeding.guide 3", "did you mean --model.embedding.guide?"),
        ("train tokenizer --config broken.yaml", "broken.yaml, line 2: no valid YAML"),
        (
            "train tokenizer --config tokenizer/oxe46",
            "neither a file nor a packaged name; did you mean tokenizer/oxe64",
        ),
        ("train tokenizer --config", "--config stands without a value; give a packaged name or the path"),
        ("configs tokenizer/oxe46", "did you mean tokenizer/oxe64"),
        ("configs --all", "takes at most one name"),
        ("predict model clip.mp4 more", "unexpected argument 'more'; options are written --name VALUE"),
        ("predict model", "video is missing; give --video VALUE"),
        ("predict '' clip.mp4", "model is empty"),
        ("predcit model clip.mp4", "did you mean `ivideo predict`?"),
        ("train tokeniser", "did you mean `ivideo train tokenizer`?"),
    ],
)
def test_what_is_misspelt_or_missing(refuse: Refuse, command: str, words: str) -> None:
    refuse(command, words)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("predict model clip.mp4 --frames three", "frames is 'three'; expected int"),
        ("predict model clip.mp4 --frames 0", "frames is 0; expected at least 1"),
        ("predict model clip.mp4 --samples 0", "samples is 0; expected at least 1"),
        ("predict model clip.mp4 --stride 0", "stride is 0; expected at least 1"),
        ("predict model clip.mp4 --temperature nan", "temperature is 'nan'; expected float or null"),
        ("predict model clip.mp4 --temperature -1", "temperature=-1.0 must be 0 (greedy) or a positive number"),
        ("predict model clip.mp4 --actions all", "actions is 'all'; expected 'recorded' or 'none'"),
        ("predict model clip.mp4 --device cuba", "'cuba' is no device; expected cpu, or cuda"),
        ("predict model clip.mp4 --seed 99999999999999999999", "seed is 99999999999999999999; expected"),
        ("predict model clip.mp4 --fps 0", "fps is 0.0; expected more than 0"),
        ("evaluate model --horizons first", "horizons is 'first'; expected list of int"),
        (
            "evaluate model --frames 3",
            "horizons is [1, 5, 10]; expected imagined frames",
        ),
        ("evaluate model --frames 0", "frames is 0 and clips 128; expected at least 1 of each"),
        ("evaluate model --seeds []", "seeds is []; expected at least one"),
        ("evaluate model --source data --held_out some", 'held_out is \'some\'; expected "last", "all" or a number'),
        ("evaluate model --source data --held_out 1", "expected a whole number from 2 up"),
        ("demo --seed one", "seed is 'one'; expected int"),
        ("demo --clips 0", "clips is 0; expected at least 2"),
        ("data show data --size big", "size is 'big'; expected int"),
        ("data show data --size 0", "size is 0; expected the side of a frame in pixels"),
        ("data show data --rows 0", "rows is 0; expected at least 1"),
        ("data show data --limit 0", "limit is 0; expected at least 1"),
        ("data show data --key picture", "there is no array 'picture'; it holds 'frames'"),
        (f"data record {TABLE} new --episodes few", "episodes is 'few'; expected int"),
        (f"data record {TABLE} new --episodes 0", "episodes is 0; expected at least 1"),
        (f"data record {TABLE} new --max_steps 0", "max_steps is 0; expected at least 1"),
        (f"data record {TABLE} new --policy expert", "policy is 'expert'; expected 'random', 'scripted' or 'probing'"),
        (
            "data record CartPole-v1 new --policy probing",
            "policy probing plays ivideo/PushingTable-v0, not CartPole-v1",
        ),
        ("data record ivideo/PushingTabel-v0 new", "Did you mean: `PushingTable`?"),
        (
            "data record CartPole-v1 new --policy scripted",
            "policy scripted plays ivideo/PushingTable-v0, ivideo/PushT-v0 and",
        ),
        (
            "data record CartPole-v1 new --noise 0.5",
            "noise is 0.5, which only the demonstrators of Meta-World and RoboDesk take",
        ),
        ("convert model new --dtype float8", "dtype is 'float8'; expected 'float32', 'float16' or 'bfloat16'"),
        ("train tokenizer --loop.steps many", "loop.steps is 'many'; expected int or null"),
        ("train tokenizer --config untyped.yaml", "loop.steps is 'many' in untyped.yaml; expected int or null"),
        ("train tokenizer --config tiny.yaml --tokenizer.resolution 33", "resolution 33 is not a multiple of 8"),
        ("train tokenizer --config tiny.yaml --data.frames 2", "data.frames is 2, all of it context"),
        ("train tokenizer --config tiny.yaml --data.size 64", "data.size is 64, but the model sees 32x32"),
        ("train tokenizer --config tiny.yaml --init model --tokenizer.context_codes 9", "context_codes 16"),
        ("train tokenizer --resume --overwrite", "resume and overwrite are both set"),
        ("train world-model", "no tokenizer is given; name one with --tokenizer"),
        ("train world-model --config tiny_world.yaml --data.frames 999", "set data.frames to"),
        ("train world-model --config tiny_world.yaml --context_frames 3", "cannot turn 2 context frames into 3"),
    ],
)
def test_what_is_of_the_wrong_type_or_out_of_range(refuse: Refuse, command: str, words: str) -> None:
    refuse(command, words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(refuse: Refuse) -> None:
    refuse("predict model clip.mp4 --device cuda", "device 'cuda' cannot be used", "`ivideo info` says what there is")


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(capfd: pytest.CaptureFixture[str], verb: str) -> None:
    try:
        status = main([*verb.split(), "--help"])
    except SystemExit as left:
        status = int(left.code or 0)
    out, err = capfd.readouterr()
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: ivideo {verb} ")
