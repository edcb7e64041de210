"""Whatever a user gets wrong is one line that names it and says what to do, and nothing that existed is touched."""

import hashlib
import resource
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub  # noqa: F401  (so that its import, of seconds, is not taken for the answer's time)
import jaxtyping
import pytest
import torch
from broken_files import BROKEN_MODELS, fill

from ivideo import cli, rollout
from ivideo.cli import main
from ivideo.simulate.pushing_table import PushingTable

HUB = "thuml/ivideogpt-oxe-64-act-free"
TABLE = "ivideo/PushingTable-v0"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    fill(folder)
    return folder


@pytest.fixture(autouse=True)
def untouched(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test runs among the files, as outside of tests, and must leave them exactly as they were."""
    monkeypatch.chdir(files)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    before = contents(files)
    yield
    assert contents(files) == before


def contents(folder: Path) -> dict[str, str]:
    """Hashes of all files, and all folders, hidden ones included."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


Refuse = Callable[..., None]


@pytest.fixture
def refuse(capfd: pytest.CaptureFixture[str]) -> Refuse:
    """Runs a command line, which must end in status 2 and one line that holds all the words."""

    def run(command: str, *words: str) -> None:
        assert main(shlex.split(command)) == 2
        said = capfd.readouterr().err  # of the process, so that what FFmpeg would print counts as well
        assert said.startswith("ivideo: error: ")
        assert said.endswith("\n")
        assert said.count("\n") == 1, said
        assert len(said) < 600, said
        for word in words:
            assert word in said, f"{word!r} is not in {said!r}"

    return run


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
        (
            "predict model clip.mp4 --frames 30",
            "30 frames do not fit: the model reads 128 positions, which is 19 frames",
        ),
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
        (f"data record {TABLE} new --policy expert", "policy is 'expert'; expected 'random' or 'scripted'"),
        ("data record ivideo/PushingTabel-v0 new", "Did you mean: `PushingTable`?"),
        ("data record CartPole-v1 new --policy scripted", "policy scripted plays ivideo/PushingTable-v0 alone"),
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


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("predict model wide --frames 3", "wide: an action has 7 values; this model takes 2"),
        ("evaluate model --source wide --frames 3 --horizons 3", "wide: an action has 7 values; this model takes 2"),
        ("demo --model free --out new", "the pushing table: this model is action-free"),
        (
            "train world-model --config tiny_world.yaml --data.source wide --model.embedding.action_dim 2",
            "model.embedding.action_dim is 2, but wide holds actions of 7 numbers; set it to 7",
        ),
        (
            "train world-model --config tiny_world.yaml --data.source clip.mp4 --data.held_out_source clip.mp4 "
            "--model.heads.reward",
            "model.heads.reward is set, but clip.mp4 holds no rewards",
        ),
        ("predict model data", "14 frames need 14 actions and the video has 6 after its context; pass --frames 6"),
        ("predict model short --frames 3", "3 frames need 3 actions and the video has 0 after its context; give"),
        ("predict model single.mp4", "single.mp4: 1 frames; expected at least 2"),
        ("predict model data --start 7 --frames 1", "has 8 frames, of which start 7 and stride 1 leave 1; expected 2"),
        ("predict model data --episode 9", "episode is 9, but data holds 3; expected 0 to 2"),
        ("evaluate model --source data --frames 20", "the longest has 8: pass --frames 6"),
        ("evaluate model --source short", "no held-out episode of short has 12 frames"),
        ("evaluate model --source data --frames 3 --horizons 3", "there is 1 clip; expected two or more"),
        ("evaluate model --source clip.mp4", "evaluate on every episode with --held_out all"),
        ("train tokenizer --config tiny.yaml --data.source clip.mp4", "clip.mp4 holds a single episode"),
    ],
)
def test_data_that_do_not_fit_the_model(refuse: Refuse, command: str, words: str) -> None:
    refuse(command, words)


READERS = (
    "predict model {}",
    "evaluate model --source {}",
    "data show {}",
    "train tokenizer --config tiny.yaml --data.source {}",
)


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cut.mp4", "of the 16 its header promises; the file is truncated or damaged"),
        ("cut.webm", "truncated"),
        ("cut.gif", "expected a complete gif: the file is truncated"),
        ("empty.mp4", "the file is empty; expected an mp4, webm or gif"),
        ("empty.webm", "the file is empty"),
        ("empty.gif", "the file is empty"),
        ("cut.npz", "truncated or damaged, fetch or record it again"),
        ("empty.npz", "the file is empty; expected an .npz"),
        ("object.npz", "array of Python objects, which could run code when read"),
        ("pickle.npz", "no readable .npz archive"),
        ("model.pt", "pickles are refused, they could run code when read"),
        ("grey.npz", "that is 1 channels; expected 3 (RGB)"),
        ("float.npz", "holds float64; expected whole numbers from 0 to 255"),
        ("nan.npz", "actions are NaN or infinite at step 0; expected numbers: repair or drop the file"),
        ("inf.npz", "rewards are NaN or infinite at step 0"),
        ("told.mp4", "told.json: no valid JSON"),
        ("file", "unknown kind; expected an .npz, .mp4, .webm or .gif file"),
        ("clp.mp4", "there is no such file or folder; did you mean clip.mp4"),
        ("nowhere/clip.mp4", "there is no such file or folder; this folder holds"),
        ("model/tokenizer", "no episodes there, only .json, .safetensors; expected .npz"),
    ],
)
def test_files_that_cannot_be_read(refuse: Refuse, command: str, name: str, words: str) -> None:
    refuse(command.format(name), name.partition(".")[0], words)


@pytest.mark.parametrize("command", ["predict {} clip.mp4", "info {}"])
@pytest.mark.parametrize(("damage", "words"), BROKEN_MODELS)
def test_models_that_are_damaged(
    refuse: Refuse, tmp_path: Path, command: str, damage: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    shutil.copytree("model", tmp_path / "broken")
    damage(tmp_path / "broken")
    refuse(command.format(tmp_path / "broken"), str(tmp_path / "broken"), *words)


def test_a_model_whose_tensors_do_not_fit(refuse: Refuse, tmp_path: Path) -> None:
    shutil.copytree("model", tmp_path / "mixed")
    shutil.copy("free/transformer/model.safetensors", tmp_path / "mixed/transformer")
    refuse(f"predict {tmp_path / 'mixed'} clip.mp4", "transformer/model.safetensors lacks action_linear.bias")


MODELS = (
    "predict {} clip.mp4",
    "evaluate {}",
    "demo --out new --model {}",
    "info {}",
    "convert {} new",
    "train world-model --config tiny_world.yaml --tokenizer {}",
    "train world-model --config tiny_world.yaml --init {}",
    "train tokenizer --config tiny.yaml --init {}",
)


@pytest.mark.parametrize("command", MODELS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("modle", "there is no model 'modle': it is neither a folder here nor"),
        ("modle", "did you mean model?"),
        ("./data/x", "there is no model './data/x'"),
        ("model.pt", "model.pt is a pickled checkpoint, which could run code when it is opened"),
        ("clip.mp4", "clip.mp4 is a file; expected a model"),
        ("data", "data is no model: expected the subfolders tokenizer/ and transformer/, but it holds 000000.npz"),
    ],
)
def test_what_is_no_model(refuse: Refuse, command: str, name: str, words: str) -> None:
    refuse(command.format(name), words)


@pytest.mark.parametrize("command", MODELS)
def test_a_hub_id_while_offline_is_answered_at_once(refuse: Refuse, command: str) -> None:
    began = time.perf_counter()
    refuse(command.format(HUB), f"there is no folder '{HUB}' here", "Hub cannot be reached", "connect and try again")
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "predict model clip.mp4 --out clip.webm",
            "clip.webm exists already; choose another --out, or pass --overwrite",
        ),
        ("predict model clip.mp4 --out strip.mp4", "strip.png exists already"),
        ("predict model clip.mp4 --out new.avi", "cannot write .avi; expected .mp4, .webm, .gif"),
        ("predict model clip.mp4 --out new.png", "expected .mp4, .webm or .gif: a .png strip is written beside it"),
        ("predict model clip.mp4 --out file/new.mp4", "file/new.mp4 cannot be written, for file is a file"),
        ("predict model clip.mp4 --out /proc/new.mp4", "/proc/new.mp4 cannot be written"),
        ("predict model clip.mp4 --out ''", "cannot write without a suffix"),
        ("evaluate model --out table.json", "table.json exists already; choose another --out, or pass --overwrite"),
        ("evaluate model --out data --overwrite", "data is a folder; expected the name of a file"),
        ("evaluate model --out file/new.json", "file/new.json cannot be written, for file is a file"),
        ("evaluate model --out /proc/new.json", "/proc/new.json cannot be written"),
        ("demo --model model", "demo/futures.gif exists already; choose another --out, or pass --overwrite"),
        ("demo --model model --out file", "file/futures.mp4 cannot be written, for file is a file"),
        ("demo --model model --out /proc/new", "/proc/new/futures.mp4 cannot be written"),
        ("data show data --out clip.gif", "clip.gif exists already"),
        ("data show data --out file/new.png", "file/new.png cannot be written, for file is a file"),
        ("data show data --out /proc/new.png", "/proc/new.png cannot be written"),
        (f"data record {TABLE} data", "data exists already; choose another folder, or pass --overwrite"),
        (f"data record {TABLE} model --overwrite", "model holds tokenizer, which is no recorded episode"),
        (f"data record {TABLE} file --overwrite", "file is a file; expected a folder to make"),
        (f"data record {TABLE} file/new", "file/new cannot be written, for file is a file"),
        (f"data record {TABLE} /proc/new", "/proc/new cannot be written"),
        ("convert model data", "data exists already and is not empty; choose another name"),
        ("convert model file", "file is a file; expected a folder to make"),
        ("convert model file/new", "file/new cannot be written, for file is a file"),
        ("convert model /proc/new", "/proc/new cannot be written"),
        (
            "train tokenizer --config tiny.yaml --run.folder run",
            "run holds",
        ),
        (
            "train tokenizer --config tiny.yaml --run.folder data --overwrite",
            "data holds 000000.npz but no run of ours",
        ),
        ("train tokenizer --config tiny.yaml --run.folder file", "file"),
        ("train tokenizer --config tiny.yaml --run.folder file/new", "file/new"),
        ("train tokenizer --config tiny.yaml --run.folder /proc/new", "/proc/new"),
        ("train world-model --config tiny_world.yaml --run.folder run", "add --resume to go on with that run"),
        ("train tokenizer --config tiny.yaml --run.folder run --overwrite --data.source cut.npz", "cut.npz"),
        ("train world-model --config tiny_world.yaml --run.folder run --overwrite --data.source cut.npz", "cut.npz"),
        ("train world-model --config tiny_world.yaml --run.folder run --overwrite --tokenizer modle", "modle"),
    ],
)
def test_places_that_are_taken_or_cannot_be_written(refuse: Refuse, command: str, words: str) -> None:
    refuse(command, words)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 4 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("small_disk")
@pytest.mark.parametrize(
    "command",
    [
        "predict model clip.mp4 --out clip.webm --overwrite --frames 1 --samples 1",
        f"data record {TABLE} data --overwrite --episodes 1 --max_steps 30",
        "convert model new",
    ],
)
def test_a_full_disk(refuse: Refuse, command: str) -> None:
    refuse(command, "too large")


@pytest.mark.parametrize(
    "command",
    [
        "predict model clip.mp4 --out clip.webm --overwrite --frames 1",
        "evaluate model --source data --held_out all --frames 3 --horizons 3 --out table.json --overwrite",
        f"data record {TABLE} data --overwrite --episodes 1",
    ],
)
def test_an_interrupt_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rollout, "step", interrupt)
    monkeypatch.setattr(PushingTable, "step", interrupt)
    assert main(command.split()) == 130
    assert capfd.readouterr().err == "ivideo: error: interrupted\n"


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(capfd: pytest.CaptureFixture[str], verb: str) -> None:
    try:
        status = main([*verb.split(), "--help"])
    except SystemExit as left:
        status = int(left.code or 0)
    out, err = capfd.readouterr()
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: ivideo {verb} ")
