"""What `ivideo judge` is asked for, and the judges that the names in it mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module

from ivideo.config.limits import check_least
from ivideo.judge.baselines import Effort, FirstFrame
from ivideo.judge.classifier import find_classifier
from ivideo.judge.edits import Edit
from ivideo.judge.judges import Classified, Distance, GoalPicture, Judge, Reward, Success, Touched, goal_pictures
from ivideo.judge.labels import Labels, read_labels
from ivideo.judge.table_policies import SCRIPTED
from ivideo.judge.vision import Vision, VisionSettings
from ivideo.play.starts import TABLE
from ivideo.world_model import Precision, WorldModel

LABELS = "labels"
JUDGES = ("reward", "success", "distance", "touched", "pixels", "classifier", "vision", LABELS)
OF_TABLE = ("reward", "success", "distance", "touched")
"""What judges where nothing else is said, on the pushing table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Whom to judge, from where, and by what."""

    model: str
    """A folder, a packaged model or a Hugging Face Hub id."""
    policies: tuple[str, ...] = tuple(SCRIPTED)
    """Names of scripted policies, NAME:ARGUMENT of an installed one such as drqv2:FOLDER, or module:attribute."""
    starts: str = TABLE
    """Where to begin: pushing_table, or episodes, a clip or pictures anywhere; edit those as you like."""
    scenes: int = 32
    """Beginnings, at most."""
    first: int = 0
    """Number of the first one."""
    repeats: int = 1
    """Tries from each."""
    horizons: tuple[int, ...] = (5, 10, 20, 40)
    """Steps after which to judge; policies are rolled out for the most of them."""
    judges: tuple[str, ...] | None = None
    """Some of reward, success, distance, touched, pixels, classifier, vision, labels, or module:attribute; without,
    the first four on the pushing table and reward elsewhere."""
    edit: tuple[str, ...] = ("none",)
    """Changes to the table's first frame, each judged apart: none, recolour, add, move, or such as
    recolour:square=#e0a000, add:mark=black, move:goal=20x44."""
    things: bool | None = None
    """Whether to look for the pushing table's things in frames; without, where scenes are of that table."""
    baselines: bool = False
    """Judge by the first frame and by the size of actions too, and roll out shuffled actions beside."""
    goal: str | None = None
    """A picture of the goal, for judge pixels; of the table it is known."""
    classifier: str = TABLE
    """For judge classifier: pushing_table learns one, as a folder with success/ and failure/ does; a .safetensors file
    or module:attribute is one."""
    vision: VisionSettings = field(default_factory=VisionSettings)
    """For judge vision: which model to ask, and what."""
    labels: str | None = None
    """For judge labels: the table that was filled in; without it, videos and an empty table are written to --out."""
    domain: str | None = None
    """Whose actions they are, for a model of several domains."""
    seed: int = 0
    """Of all that policies and model draw."""
    videos: int = 2
    """Scenes to show of each policy, with --out: the truth beside the dream."""
    at_once: int = 64
    """Worlds that are imagined together; the same comes of any number."""
    out: str | None = None
    """Folder for the report, tables, pictures, videos and rollouts; judging that was stopped goes on there."""
    overwrite: bool = False
    """Replace what was left there before."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    precision: Precision = "float32"
    """In what the model's layers multiply."""

    def __post_init__(self) -> None:
        check_least(self, scenes=1, first=0, repeats=1, seed=0, videos=0, at_once=1)
        if not self.policies:
            raise ValueError("policies is empty; expected at least one, and two to compare")
        if not self.edit:
            raise ValueError("edit is empty; expected none, or changes")
        if not self.horizons or min(self.horizons) < 1:
            said = ",".join(map(str, self.horizons)) or "empty"
            raise ValueError(f"horizons is {said}; expected numbers of steps, each at least 1")
        for text in self.edit:
            Edit.parse(text)
        for name in self.judges or ():
            if name not in JUDGES and ":" not in name:
                near = get_close_matches(name, JUDGES, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"expected some of {', '.join(JUDGES)}"
                raise ValueError(f"judge {name!r} is unknown; {hint}")
        if LABELS in (self.judges or ()) and self.labels is None and self.out is None:
            raise ValueError("judge labels needs a place for videos and a table to fill in: --out FOLDER, or --labels")

    @property
    def of_table(self) -> bool:
        """Whether scenes are of the pushing table, whose truth is known."""
        return self.starts == TABLE

    @property
    def located(self) -> bool:
        """Whether the table's things are looked for."""
        return self.of_table if self.things is None else self.things

    @property
    def wants_template(self) -> bool:
        """Whether a person is still to be asked."""
        return LABELS in (self.judges or ()) and self.labels is None


def find_judges(wanted: Judging, model: WorldModel) -> list[Judge]:
    """Everybody who judges now; a person who has not been asked yet is not among them."""
    names = wanted.judges or (OF_TABLE if wanted.of_table else ("reward",))
    if wanted.judges is None and not model.config.heads.reward:
        names = tuple(name for name in names if name != "reward")
    size = model.tokenizer.config.resolution
    makers: dict[str, Callable[[], Judge]] = {
        "reward": Reward,
        "success": Success,
        "distance": Distance,
        "touched": Touched,
        "pixels": lambda: GoalPicture(goals=goal_pictures(wanted.goal, size)),
        "classifier": lambda: Classified(classifier=find_classifier(wanted.classifier, size)),
        "vision": lambda: Vision(wanted.vision),
        LABELS: lambda: _read(wanted.labels),
    }
    found = [makers[name]() if name in makers else _imported(name) for name in _present(wanted, names)]
    if wanted.baselines:
        found += [Effort(), FirstFrame()] if wanted.located else [Effort()]
    if not found and not wanted.wants_template:
        raise ValueError("nobody judges: this model has no reward head; name --judges")
    return found


def _present(wanted: Judging, names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name != LABELS or not wanted.wants_template]


def _read(path: str | None) -> Labels:
    assert path is not None
    return read_labels(path)


def _imported(name: str) -> Judge:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"judge {name!r} cannot be imported ({error}); is its folder on PYTHONPATH?") from error
    judge: Judge = found() if isinstance(found, type) else found
    if not isinstance(judge, Judge):
        raise ValueError(f"judge {name!r} is a {type(judge).__name__}; expected an ivideo.judge.judges.Judge")
    return judge
