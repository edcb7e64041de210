"""`ivideo VERB ...`: finds the verb, imports what it needs and no more, and turns user mistakes into one line.

A verb is a function `main(argv: list[str]) -> int`, named as "module:function" and imported when it is called.
Another distribution adds verbs through the entry-point group `ivideo.verbs`; a dot in the entry point's name stands
for the space in the verb's: `rl.mbpo = "rl.train:mbpo"` is called as `ivideo rl mbpo`.
"""

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import cast

from ivideo._siblings import check

GROUP = "ivideo.verbs"
USER_ERRORS = (ValueError, OSError, ImportError)


@dataclass(frozen=True, slots=True)
class Verb:
    """What a verb runs and the line that `ivideo --help` says about it."""

    target: str
    help: str
    imports_models: bool = True
    """Whether it needs `tokenizer` or `transformer`, so that an impostor of them is worth an error."""

    def load(self) -> Callable[[list[str]], int]:
        """Import the module and return its function."""
        if self.imports_models:
            check()
        module, _, function = self.target.partition(":")
        return cast(Callable[[list[str]], int], getattr(import_module(module), function))


VERBS: dict[str, Verb] = {
    "demo": Verb("ivideo.demo:main", "imagine futures of the pushing table beside the truth, small and offline"),
    "play": Verb("ivideo.play.command:main", "play in a world model at a page of its own, or record a film of it"),
    "serve": Verb("ivideo.serve.command:main", "let many clients at once step in a world model, over the network"),
    "judge": Verb("ivideo.judge.command:main", "roll out policies in a world model and say which is best"),
    "predict": Verb("ivideo.predict:main", "imagine how a video goes on"),
    "evaluate": Verb("ivideo.evaluation.evaluate:main", "compare imagined with true frames on held-out clips"),
    "plan": Verb("ivideo.planning.command:main", "plan with a world model, beside the simulator and random actions"),
    "train tokenizer": Verb("ivideo.training.tokenizer:main", "train a video tokenizer"),
    "train world-model": Verb("ivideo.training.world_model:main", "train a world model on a trained tokenizer"),
    "train inverse-dynamics": Verb(
        "ivideo.training.inverse_dynamics:main", "train a network that recovers actions from frames"
    ),
    "data show": Verb("ivideo.data.show:main", "say what a data set holds and draw some of it"),
    "data check": Verb("ivideo.data.check.command:main", "read every episode and say what is wrong with a data set"),
    "data record": Verb("ivideo.data.recorder:main", "record episodes of a Gymnasium environment"),
    "data convert": Verb("ivideo.data.conversion:main", "write episodes in the form that training maps into memory"),
    "data tokenize": Verb("ivideo.training.token_writer:main", "write the codes of windows, to train on them alone"),
    "data bench": Verb("ivideo.bench.data:main", "measure how fast episodes or codes can be read"),
    "bench": Verb("ivideo.bench.command:main", "measure how fast this machine imagines, beside the released way"),
    "reproduce": Verb(
        "ivideo.reproduce.command:main", "repeat a published figure: its commands, cost and a tiny version"
    ),
    "configs": Verb("ivideo.recipes:main", "list the packaged configs, or print one", imports_models=False),
    "convert": Verb("ivideo.convert:main", "write a model anew, such as in half the bytes"),
    "info": Verb("ivideo.info:main", "say what a checkpoint is, or what this installation can do"),
}


def main(argv: list[str] | None = None) -> int:
    """Run `ivideo` with these arguments and return its exit status: 0 done, 2 a user's mistake, 130 interrupted."""
    # PyTorch warns of processes that are lost with a page of stack; our own line says which, and what to do.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    arguments = sys.argv[1:] if argv is None else list(argv)
    debug = False
    try:
        while arguments and arguments[0] == "--debug":
            debug = True
            del arguments[0]
        return _run(arguments)
    except KeyboardInterrupt:
        _fail("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output has left. Python flushes stdout once more on exit, so point it somewhere harmless.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except USER_ERRORS as error:
        if debug:
            traceback.print_exc()
        _fail(_one_line(error))
        return 2
    except (MemoryError, RuntimeError) as error:
        if debug or not _is_shortage(error):
            raise
        _fail(f"out of memory ({_one_line(error)[:160]}); ask for less at once: fewer samples, a smaller batch")
        return 2


def own_version() -> str:
    """The installed version; a checkout that runs without installation has none."""
    try:
        return version("ivideo")
    except PackageNotFoundError:
        return "(not installed)"


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"ivideo {own_version()}")
        return 0
    if arguments[0].startswith("-"):
        raise ValueError(f"unknown option {arguments[0]!r} before the verb; expected --debug, --version or --help")
    words, verb = _find(arguments)
    if verb is None:
        print(_overview(arguments[0]))
        return 0 if len(arguments) > 1 else 2
    return verb.load()(arguments[words:])


def _find(arguments: list[str]) -> tuple[int, Verb | None]:
    """How many words name the verb, and the verb; None for the first word of longer verbs on its own."""
    found = _among(VERBS, arguments)  # the entry points of other distributions cost time: read where they matter
    if found is None:
        verbs = VERBS | _other_verbs()
        found = _among(verbs, arguments)
    if found is None:
        inner = [name for name in verbs if name.startswith(f"{arguments[0]} ")]
        if inner:
            raise ValueError(_unknown(" ".join(arguments[:2]), inner))
        raise ValueError(_unknown(arguments[0], [*verbs, *(name.partition(" ")[0] for name in verbs)]))
    return found


def _among(verbs: dict[str, Verb], arguments: list[str]) -> tuple[int, Verb | None] | None:
    for words in range(min(len(arguments), 3), 0, -1):
        name = " ".join(arguments[:words])
        if name in verbs:
            return words, verbs[name]
    is_alone = len(arguments) == 1 or arguments[1] in ("-h", "--help")
    return (1, None) if is_alone and any(name.startswith(f"{arguments[0]} ") for name in verbs) else None


def _other_verbs() -> dict[str, Verb]:
    return {_spoken(point): Verb(point.value, _help(point)) for point in entry_points(group=GROUP)}


def _spoken(point: EntryPoint) -> str:
    return point.name.replace(".", " ")


def _help(point: EntryPoint) -> str:
    """Where a verb comes from; of those that come with ivideo, which import nothing, what they say of themselves."""
    if point.dist is None:
        return ""
    if point.dist.name != "ivideo":
        return f"from {point.dist.name}"
    return (point.load().__doc__ or "").partition("\n")[0]


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    remedy = f"did you mean `ivideo {near[0]}`?" if near else "`ivideo --help` lists the verbs"
    return f"unknown verb {name!r}; {remedy}"


def _overview(first_word: str = "") -> str:
    """What `--help` says: every verb, or those that begin with a word."""
    verbs = {name: verb for name, verb in (VERBS | _other_verbs()).items() if first_word in ("", name.split()[0])}
    width = max(map(len, verbs))
    lines = [f"usage: ivideo [--debug] {first_word or 'VERB'} ...", ""]
    if not first_word:
        lines += ["Token-based autoregressive world models: load, train, step, watch.", ""]
    lines += [f"  {name:<{width}}  {verb.help}" for name, verb in verbs.items()]
    lines += ["", "`ivideo VERB --help` explains a verb, --debug shows the traceback of an error."]
    return "\n".join(lines)


def _one_line(error: BaseException) -> str:
    """The message without line breaks; an OSError of the system's own as `what: which file`."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def _is_shortage(error: BaseException) -> bool:
    """Whether memory ran out, by NumPy's words or by PyTorch's, which has no class of its own for it on a CPU."""
    words = ("not enough memory", "out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(each in str(error) for each in words)


def _fail(message: str) -> None:
    print(f"ivideo: error: {message}", file=sys.stderr)
