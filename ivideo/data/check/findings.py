"""What a check can find: every lint with its rule, threshold and remedy, and its word on one episode or on a set."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["problem", "note"]
Confidence = Literal["certain", "likely", "possible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint:
    """One thing that is looked for. Its code is stable: programs may rely on it."""

    code: str
    severity: Severity
    """A problem makes the check fail; a note is for a person to judge."""
    confidence: Confidence
    """certain: a fact of the files. likely: measured on planted faults. possible: right data can look like this."""
    rule: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One lint's word on one episode, or on the whole set where `episode` is empty."""

    lint: Lint
    detail: str
    episode: str = ""
    file: str = ""
    place: int | None = None
    """Which episode of the set; None for the set, and for a file without episodes."""


_LINTS = [
    Lint(
        code="unreadable",
        severity="problem",
        confidence="certain",
        rule="the reader of the layout refuses it: truncated, damaged, a video shorter than its header says, NaN or "
        "infinite numbers, wrong shapes or kinds, counts of actions and frames that do not belong together",
        remedy="fetch or record the file again, or remove it",
    ),
    Lint(
        code="reader-failed",
        severity="problem",
        confidence="certain",
        rule="reading it ended in an error that the reader did not foresee",
        remedy="look at the file; the same error would stop a training run",
    ),
    Lint(
        code="hash-mismatch",
        severity="problem",
        confidence="certain",
        rule="a file's size or SHA-256 differs from the folder's manifest.json, or the file is missing",
        remedy="fetch or convert the folder again",
    ),
    Lint(
        code="layout",
        severity="problem",
        confidence="certain",
        rule="the folder cannot be opened as a whole, though files in it can: several layouts, or a damaged index",
        remedy="keep one layout to a folder",
    ),
    Lint(
        code="one-frame",
        severity="problem",
        confidence="certain",
        rule="fewer than 2 frames",
        remedy="remove the episode: nothing in it can be predicted",
    ),
    Lint(
        code="value-range",
        severity="problem",
        confidence="certain",
        rule="no pixel of the episode is above 1 and some are 1",
        remedy="frames were stored as 0 to 1; multiply by 255 before they become whole numbers",
    ),
    Lint(
        code="flat-frames",
        severity="problem",
        confidence="likely",
        rule="a frame whose pixels lie within 8 of 255 levels, such as a black one",
        remedy="cut such frames off, or drop the episode",
    ),
    Lint(
        code="static",
        severity="problem",
        confidence="likely",
        rule="all frames of the episode (at least 3) are identical",
        remedy="the camera or the recording stood still; drop the episode",
    ),
    Lint(
        code="frozen",
        severity="problem",
        confidence="likely",
        rule="5 or more frames in a row are identical to the one before while the actions keep changing (their "
        "standard deviation there is over a tenth of the set's), and the next frame changes by 1.2 usual steps or more",
        remedy="frames were lost: look at the strip, cut or drop the episode",
    ),
    Lint(
        code="still",
        severity="note",
        confidence="possible",
        rule="5 or more frames in a row are identical to the one before while the actions keep changing, but nothing "
        "jumps afterwards; or there are no actions to compare with",
        remedy="the robot may have been blocked or at rest, or the camera stopped; look at the strip",
    ),
    Lint(
        code="duplicate",
        severity="problem",
        confidence="certain",
        rule="every pixel equals that of another episode (128 bits of BLAKE2b)",
        remedy="keep one of them; two sides of a split must not share an episode",
    ),
    Lint(
        code="mixed-sizes",
        severity="problem",
        confidence="certain",
        rule="frames of another height or width than most episodes have",
        remedy="resize while opening (size=), or keep the kinds apart",
    ),
    Lint(
        code="mixed-actions",
        severity="problem",
        confidence="certain",
        rule="another number of action dimensions than most episodes have, or none, or rewards where most have none",
        remedy="keep the kinds in folders of their own and mix them when training",
    ),
    Lint(
        code="fps",
        severity="problem",
        confidence="likely",
        rule="frames per second differ by more than 5% from what most episodes have",
        remedy="resample: the same action moves more in a slower recording",
    ),
    Lint(
        code="length",
        severity="note",
        confidence="possible",
        rule="less than a fifth, or more than five times, of the median number of frames",
        remedy="look whether the recording broke off or was never stopped",
    ),
    Lint(
        code="swapped-colours",
        severity="problem",
        confidence="likely",
        rule="among the episodes that look most alike, whichever way they are turned, at least twice as many are "
        "nearer with red and blue exchanged",
        remedy="exchange the channels: BGR was taken for RGB; with few scenes alike, look first",
    ),
    Lint(
        code="upside-down",
        severity="problem",
        confidence="likely",
        rule="the same vote, for turning the picture top to bottom",
        remedy="flip the frames: [::-1] along their height",
    ),
    Lint(
        code="mirrored",
        severity="problem",
        confidence="likely",
        rule="the same vote, for turning the picture left to right",
        remedy="flip the frames along their width; actions are then of the other hand",
    ),
    Lint(
        code="rotated",
        severity="problem",
        confidence="likely",
        rule="the same vote, for half a turn",
        remedy="turn the frames by 180 degrees",
    ),
    Lint(
        code="action-lag",
        severity="problem",
        confidence="likely",
        rule="on held-out episodes, frame changes explain the actions of another step better: of the variance that "
        "those of their own step leave unexplained, later actions leave at most 0.8, earlier ones half; for a single "
        "episode 0.7, either way, with R^2 0.5 or more",
        remedy="shift the actions by so many steps: actions[t] has to lead from frame t to frame t+1",
    ),
    Lint(
        code="action-delay",
        severity="note",
        confidence="possible",
        rule="frames answer actions a step or more later, not clearly enough for action-lag: inertia does that too",
        remedy="compare with the controller's latency; give the model several frames of context",
    ),
    Lint(
        code="action-scale",
        severity="problem",
        confidence="likely",
        rule="actions are over 2.5 times, or under 0.4 times, what the frame changes say by the rest of the set",
        remedy="bring the episodes to one unit (metres or millimetres, per step or per second, normalised or not)",
    ),
    Lint(
        code="action-size",
        severity="note",
        confidence="possible",
        rule="actions are over 5 times larger or smaller than the set's median, by root mean square",
        remedy="look whether the unit differs; an idle or a hasty episode looks the same",
    ),
    Lint(
        code="action-sign",
        severity="problem",
        confidence="likely",
        rule="a dimension that frame changes explain well in the set (R^2 0.5) goes the other way here (r below -0.5)",
        remedy="the axis is reversed, or the picture is mirrored",
    ),
    Lint(
        code="action-foreign",
        severity="note",
        confidence="possible",
        rule="frame changes explain the actions of the set well (R^2 0.6), and hardly this episode's (less than "
        "0.3 of that at every lag, 30 or more steps)",
        remedy="the actions may belong to another episode; compare the strip with the curves",
    ),
    Lint(
        code="action-constant",
        severity="note",
        confidence="certain",
        rule="a dimension has one value throughout the set",
        remedy="drop it, or find out why it was not recorded",
    ),
    Lint(
        code="action-clipped",
        severity="note",
        confidence="likely",
        rule="a dimension with over 10 values sits at its smallest or largest one for over a fifth of all steps",
        remedy="the recorder or reader cut the values; keep what was really carried out",
    ),
    Lint(
        code="action-unexplained",
        severity="note",
        confidence="possible",
        rule="frame changes explain less than a twentieth of a dimension, at any lag, on held-out episodes",
        remedy="expected for grippers, small rotations and few episodes; of all dimensions, look at the strips",
    ),
    Lint(
        code="reward-constant",
        severity="note",
        confidence="certain",
        rule="one reward throughout the set, or an episode's is constant where most are not",
        remedy="nothing can be learnt from it: record the rewards, or leave them out",
    ),
    Lint(
        code="reward-lag",
        severity="problem",
        confidence="likely",
        rule="changes of reward follow frame changes of another step (R^2 0.4 on held-out episodes, and it leaves at "
        "most 0.7 of what their own step leaves)",
        remedy="shift the rewards: rewards[t] arrives with frame t+1",
    ),
]
LINTS: dict[str, Lint] = {lint.code: lint for lint in _LINTS}
